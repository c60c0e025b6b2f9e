"""What Flowstead costs, measured beside the least that the same work could cost. See docs/performance.md."""

"""`python -m flowstead` is the command line, too."""

from flowstead.cli import main

main()

"""The stream that a flow prints to: threads of a map print side by side, and each of their lines stays whole."""

from __future__ import annotations

import io
import threading

LONGEST_HELD = 8192
"""Letters of a line that are held back until it ends."""


class PrintedLines(io.TextIOWrapper):
    """A text stream that takes whole lines: `print` writes one in pieces, between which other threads may write.

    A line that was only begun comes out when its own thread flushes, or the main one, as it does when a step ends.
    """

    def __init__(self, buffer: io.BufferedWriter) -> None:
        super().__init__(buffer, encoding="utf-8", errors="backslashreplace", line_buffering=True)
        self._begun: dict[int, str] = {}

    def write(self, text: str, /) -> int:
        thread = threading.get_ident()
        line = self._begun.pop(thread, "") + text
        whole = max(line.rfind("\n"), line.rfind("\r")) + 1
        if len(line) - whole > LONGEST_HELD:
            whole = len(line)
        if whole:
            super().write(line[:whole])
        if whole < len(line):
            self._begun[thread] = line[whole:]
        return len(text)

    def flush(self) -> None:
        is_main = threading.current_thread() is threading.main_thread()
        for thread in list(self._begun) if is_main else [threading.get_ident()]:
            if begun := self._begun.pop(thread, ""):
                super().write(begun)
        super().flush()

"""What C code printed and still holds in a buffer of its own, which no flush of Python's streams reaches."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.machinery import EXTENSION_SUFFIXES

_modules = 0
_flush: Callable[[], object] | None = None


def flush_native_output() -> None:
    """Writes out what native code has printed so far. Costs nothing while only the standard library is loaded."""
    global _modules, _flush
    if len(sys.modules) != _modules:
        _modules = len(sys.modules)
        if _flush is None and _loaded_native_code():
            _flush = _find_flush()
    if _flush is not None:
        _flush()


def _loaded_native_code() -> bool:
    if "ctypes" in sys.modules:
        return True
    suffixes = tuple(EXTENSION_SUFFIXES)
    files = [getattr(module, "__dict__", {}).get("__file__") for module in list(sys.modules.values())]
    return any(isinstance(file, str) and file.endswith(suffixes) and "lib-dynload" not in file for file in files)


def _find_flush() -> Callable[[], object] | None:
    try:
        import ctypes

        library = ctypes.CDLL("ucrtbase" if sys.platform == "win32" else None)
        flush = library.fflush
        if sys.platform == "win32":
            return lambda: flush(None)
        # Standard output alone: flushing every file would wait for one that another thread is blocked on.
        stream = ctypes.c_void_p.in_dll(library, "__stdoutp" if sys.platform == "darwin" else "stdout")
        return lambda: flush(stream)
    except (ImportError, OSError, ValueError, AttributeError):
        return None

"""Flowstead: run a folder of Python flows. These are the names that authors write; each is loaded when first used."""

from flowstead.version import __version__

TYPE_CHECKING = False  # type checkers read it as true; importing typing would cost more than all the rest here

if TYPE_CHECKING:
    from flowstead.flow.batch import Batch, FileRef, ItemResult
    from flowstead.flow.context import FlowContext
    from flowstead.flow.definition import Flow
    from flowstead.flow.discovery import discover_flows, load_flow
    from flowstead.flow.errors import RunCancelled
    from flowstead.flow.foreground import run
    from flowstead.flow.params import Choice

__all__ = [
    "Batch",
    "Choice",
    "FileRef",
    "Flow",
    "FlowContext",
    "ItemResult",
    "RunCancelled",
    "__version__",
    "discover_flows",
    "load_flow",
    "run",
]

_HOMES = {
    "Batch": "batch",
    "Choice": "params",
    "FileRef": "batch",
    "Flow": "definition",
    "FlowContext": "context",
    "ItemResult": "batch",
    "RunCancelled": "errors",
    "discover_flows": "discovery",
    "load_flow": "discovery",
    "run": "foreground",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"flowstead.flow.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""What a step's function is called, and whether it can be called as a step or a map calls it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from flowstead.flow.errors import FlowDefinitionError


def check_step_function(argument: str, fn: object) -> None:
    """Raises FlowDefinitionError unless `fn(context)` is a call that `fn` takes."""
    signature = _signature(argument, fn, "def read(context): ...")
    if signature is not None and not _takes(signature, 1):
        raise _arity(argument, fn, signature, "exactly one parameter, the context", "def read(context): ...")


def check_map_function(argument: str, fn: object) -> bool:
    """Whether `fn` is to be called as `fn(context, item)`; otherwise as `fn(item)`.

    Raises FlowDefinitionError when it takes neither. A second parameter with a default is the author's own, unless
    the first is called `context`.
    """
    example = "def read(item): ... or def read(context, item): ..."
    signature = _signature(argument, fn, example)
    if signature is None:
        return False
    if _takes(signature, 1):
        return _takes(signature, 2) and next(iter(signature.parameters)) == "context"
    if _takes(signature, 2):
        return True
    raise _arity(argument, fn, signature, "one parameter, the item, or two, the context and the item", example)


def base_name(fn: object) -> str:
    """The name `fn` was defined by; empty for a lambda."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    name = getattr(fn, "__name__", None) or type(fn).__name__
    return "" if name == "<lambda>" else name


def first_line(fn: Callable[..., Any] | None) -> int | None:
    """The line `fn` is defined on, below its decorators' wrappers; None for what has no Python source."""
    while True:
        if isinstance(fn, functools.partial):
            fn = fn.func
        elif hasattr(fn, "__wrapped__"):
            fn = fn.__wrapped__  # type: ignore[union-attr]
        elif hasattr(fn, "__func__"):
            fn = fn.__func__  # type: ignore[union-attr]
        else:
            break
    if callable(fn) and not hasattr(fn, "__code__"):
        fn = type(fn).__call__
    code = getattr(fn, "__code__", None)
    return None if code is None else code.co_firstlineno


def title(name: str) -> str:
    """A name in words: "read_docs" is "Read Docs"."""
    return " ".join(word[:1].upper() + word[1:] for word in name.replace("_", " ").split()) or name


def _signature(argument: str, fn: object, example: str) -> inspect.Signature | None:
    if not callable(fn):
        called = " Pass the function itself, without calling it." if fn is None else ""
        raise FlowDefinitionError(
            f"{argument} is {fn!r}, which cannot be called.",
            code="step-not-callable",
            hint=f"Give a function: {example}{called}",
        )
    if inspect.iscoroutinefunction(fn) or inspect.isasyncgenfunction(fn):
        raise FlowDefinitionError(
            f"{argument} is the async function {base_name(fn)}().",
            code="step-async",
            hint="Give a plain function; inside it, asyncio.run(...) runs a coroutine.",
        )
    try:
        return inspect.signature(fn)
    except (ValueError, TypeError):
        return None  # a function written in C that does not tell its parameters


def _takes(signature: inspect.Signature, count: int) -> bool:
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True


def _arity(argument: str, fn: object, signature: inspect.Signature, wanted: str, example: str) -> FlowDefinitionError:
    return FlowDefinitionError(
        f"{argument} is {base_name(fn) or 'a lambda'}{signature}, which cannot be called with {wanted}.",
        code="step-arity",
        hint=f"Write {example}",
    )

"""What a new file begins with."""

from __future__ import annotations

import os

from flowstead.daemon.authoring.files import EditableFile
from flowstead.daemon.authoring.notebooks import new_notebook

_FLOW = """\
from flowstead import Flow, FlowContext

DESCRIPTION = "What this flow does."


def build() -> Flow:
    return Flow("{group}").step(begin, save_as="rows").step(finish, use="rows")


def begin(context: FlowContext) -> list[int]:
    return [1, 2, 3]


def finish(context: FlowContext) -> None:
    context.summary = f"{{len(context.current)}} rows"
"""

_HELPER = '"""Shared by flows: from flow_helpers.{module} import ..."""\n'
_CONFIG = "# Read by flows, as config/{name}\n"


def beginning(file: EditableFile) -> bytes:
    """The content of a new file."""
    stem = os.path.splitext(file.name)[0]
    if file.kind == "helper":
        module = file.path.removeprefix("flow_modules/flow_helpers/").removesuffix(".py").replace("/", ".")
        return b"" if stem == "__init__" else _HELPER.format(module=module).encode()
    if file.kind == "config":
        return _CONFIG.format(name=file.name).encode()
    text = _FLOW.format(group="Flows")
    if file.kind == "flow":
        return text.encode()
    head, *functions = text.rstrip().split("\n\n\ndef ")
    title = f"# {stem.replace('_', ' ').capitalize()}"
    return new_notebook(("markdown", title), ("code", head), *(("code", f"def {each}") for each in functions))

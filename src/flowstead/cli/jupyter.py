"""`flowstead jupyter`: kernels for JupyterLab, VS Code and the like."""

from __future__ import annotations

import importlib.util
import json as jsonlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cyclopts import App, Group

from flowstead.cli.invocation import Call
from flowstead.cli.screen import Cell, Column, Screen
from flowstead.model.errors import FlowsteadError, UsageError

if TYPE_CHECKING:
    from flowstead.jupyter.kernels import Kernel

app = App(
    name="jupyter",
    help="Kernels for JupyterLab, VS Code and the like, from the pool or in a flow's environment.",
    group_commands=Group("Commands"),
)


@app.command(name="install")
def install(
    *,
    flow: str | None = None,
    pool: Literal["uv", "conda"] = "uv",
    name: str | None = None,
    title: str | None = None,
    user: bool = False,
    sys_prefix: bool = False,
    prefix: Path | None = None,
    json: bool = False,
    invocation: Call,
) -> int:
    """Let Jupyter's programs start kernels of ours.

    Each kernel gets an environment of the pool, or the one that a flow runs in.

    Examples::

        flowstead jupyter install
        flowstead jupyter install --flow daily_totals

    Parameters
    ----------
    flow
        Start kernels in this flow's environment.
    pool
        From which pool kernels come otherwise: uv (the default) or conda.
    name
        The kernel's name; else flowstead, flowstead-conda, or flowstead-FLOW.
    title
        What Jupyter shows.
    user
        For this user, wherever Jupyter is installed (the default).
    sys_prefix
        For the environment that Flowstead runs in.
    prefix
        For the environment at this path.
    json
        Print {"kernel": {name, title, folder, pool, flow, workspace}}.
    """
    _need_jupyter()
    if user + sys_prefix + (prefix is not None) > 1:
        raise UsageError("--user, --sys-prefix and --prefix exclude each other.")
    from flowstead.jupyter.kernels import install_kernel

    if flow is not None:
        root = invocation.root()
        with invocation.client(root, "jupyter install") as client:
            client.flow(flow, runs=0)  # raises when there is no such flow
        config = {"flow": flow, "workspace": str(root)}
        usual, shown = f"flowstead-{flow}", f"{flow} (Flowstead)"
    else:
        config = {"pool": pool}
        usual, shown = ("flowstead", "Flowstead") if pool == "uv" else ("flowstead-conda", "Flowstead (conda)")
    where = Path(sys.prefix) if sys_prefix else prefix
    kernel = install_kernel(name or usual, title or shown, config=config, prefix=where)
    if json:
        print(jsonlib.dumps({"kernel": _as_dict(kernel)}, indent=2))
        return 0
    screen = Screen(sys.stdout)
    screen.print(f"{screen.glyph('ok')} Jupyter knows the kernel {kernel.name} ({kernel.title}), by {kernel.folder}.")
    screen.print(f"  jupyter console --kernel {kernel.name}")
    return 0


@app.command(name="list")
def list_kernels(*, prefix: Path | None = None, json: bool = False, invocation: Call) -> int:
    """List the kernels of ours that Jupyter knows.

    Parameters
    ----------
    prefix
        Look into the environment at this path too.
    json
        Print {"kernels": [...]}.
    """
    _need_jupyter()
    from flowstead.jupyter.kernels import kernels

    found = kernels(prefix)
    if json:
        print(jsonlib.dumps({"kernels": [_as_dict(each) for each in found]}, indent=2))
        return 0
    screen = Screen(sys.stdout)
    if not found:
        screen.print(f"Jupyter knows no kernel of ours. Add one with: {invocation.command('jupyter install')}")
        return 0
    heads = [Column("KERNEL"), Column("FROM"), Column("FOLDER", least=20, from_left=True)]
    rows: list[list[Cell]] = []
    for each in found:
        source = f"the {each.pool} pool" if each.flow is None else f"{each.flow} in {each.workspace}"
        rows.append([each.name, source, str(each.folder)])
    screen.table(heads, rows)
    return 0


@app.command(name="uninstall")
def uninstall(name: str, /, *, prefix: Path | None = None, json: bool = False, invocation: Call) -> int:
    """Remove a kernel of ours from Jupyter's list. Kernels that run go on.

    Parameters
    ----------
    name
        The kernel's name, as list shows it.
    prefix
        Look into the environment at this path too.
    json
        Print {"removed": PATH}.
    """
    _need_jupyter()
    from flowstead.jupyter.kernels import uninstall_kernel

    removed = uninstall_kernel(name, prefix)
    if json:
        print(jsonlib.dumps({"removed": str(removed)}, indent=2))
        return 0
    screen = Screen(sys.stdout)
    screen.print(f"{screen.glyph('ok')} Removed {removed}.")
    return 0


def _need_jupyter() -> None:
    if importlib.util.find_spec("jupyter_client") is None:
        raise FlowsteadError(
            "Jupyter's part is not installed here.",
            code="jupyter-missing",
            hint="Install it with: uv pip install 'flowstead[jupyter]'",
        )


def _as_dict(kernel: Kernel) -> dict[str, Any]:
    return {
        "name": kernel.name,
        "title": kernel.title,
        "folder": str(kernel.folder),
        "pool": kernel.pool,
        "flow": kernel.flow,
        "workspace": kernel.workspace,
    }

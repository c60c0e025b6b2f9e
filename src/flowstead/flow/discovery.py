"""Finding a workspace's flows from a script or a notebook."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from flowstead.flow.errors import FlowDefinitionError

if TYPE_CHECKING:
    from flowstead.flow.definition import Flow


def discover_flows(workspace: str | os.PathLike[str] | None = None) -> list[Flow]:
    """The flows of `workspace`, sorted by name: a folder with `flow_modules/`.

    Without one given: `$FLOWSTEAD_WORKSPACE`, else the nearest parent of the current folder. A module that cannot be
    loaded is left out with a warning that says why. Raises FlowDefinitionError (`workspace-not-found`).
    """
    root = _workspace(workspace)
    flows = []
    for name in sorted(_modules(root)):
        try:
            flows.append(load_flow(name, root))
        except (Exception, SystemExit) as error:
            warnings.warn(f"{name} is left out: {type(error).__name__}: {error}", RuntimeWarning, stacklevel=2)
    return flows


def load_flow(name: str, workspace: str | os.PathLike[str] | None = None) -> Flow:
    """The flow of the module `flow_modules/<name>.py` or `.ipynb` of `workspace` (found as in discover_flows).

    Raises FlowDefinitionError (`workspace-not-found`, `flow-not-found`, `flow-ambiguous`), and what the module raises.
    """
    from flowstead.flow.loading import build_flow, load_module

    root = _workspace(workspace)
    modules = _modules(root)
    found = modules.get(name, [])
    if len(found) != 1:
        folder = root / "flow_modules"
        if found:
            raise FlowDefinitionError(
                f"{folder} has both {found[0].name} and {found[1].name}.",
                code="flow-ambiguous",
                hint="Rename or remove one: the file name is the flow's name.",
            )
        raise FlowDefinitionError(
            f"There is no flow {name!r} in {folder}.",
            code="flow-not-found",
            hint=f"Flows there: {', '.join(sorted(modules)) or 'none'}.",
        )
    helpers = root / "flow_modules" / "flow_helpers"
    module = load_module(
        found[0].read_bytes(), origin=found[0], stem=name, helpers_dir=helpers if helpers.is_dir() else None
    )
    return build_flow(module, stem=name, module_dir=found[0].parent, workspace_root=root)


def _modules(root: Path) -> dict[str, list[Path]]:
    modules: dict[str, list[Path]] = {}
    for path in sorted((root / "flow_modules").iterdir()):
        if path.suffix.lower() in (".py", ".ipynb") and not path.name.startswith(("_", ".")) and path.is_file():
            modules.setdefault(path.stem, []).append(path)
    return modules


def _workspace(chosen: str | os.PathLike[str] | None) -> Path:
    named = chosen or os.environ.get("FLOWSTEAD_WORKSPACE")
    here = Path(named).expanduser().absolute() if named else Path.cwd()
    for folder in (here,) if named else (here, *here.parents):
        if (folder / "flow_modules").is_dir():
            return folder
    raise FlowDefinitionError(
        f"{here} is not a workspace: it has no flow_modules/." if named else f"No workspace here, in {here}.",
        code="workspace-not-found",
        hint='Name a folder that holds flow_modules/: load_flow("name", workspace="path/to/it").',
    )

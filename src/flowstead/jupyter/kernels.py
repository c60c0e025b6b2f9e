"""The entries by which Jupyter's programs know kernels of ours."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowstead.model.errors import FlowsteadError, NotFound, UsageError

PROVISIONER = "flowstead"


@dataclass(frozen=True, slots=True)
class Kernel:
    """An entry in `folder`; `flow` and `workspace` are None for one of the pool."""

    name: str
    title: str
    folder: Path
    pool: str | None
    flow: str | None
    workspace: str | None


def install_kernel(
    name: str, title: str, *, config: dict[str, str], user: bool = True, prefix: Path | None = None
) -> Kernel:
    """Writes an entry, for this user or below `prefix`, in place of one of the same name.

    `config` is the provisioner's. Raises UsageError for a bad name, and FlowsteadError (`jupyter-unwritable`).
    """
    from jupyter_client.kernelspec import KernelSpecManager

    from flowstead.jupyter.provisioner import PYTHON

    if not re.fullmatch(r"[A-Za-z0-9._-]+", name):
        raise UsageError(f"{name!r} cannot be a kernel's name.", hint="Use letters, digits, '.', '_' and '-'.")
    spec = {
        "argv": [PYTHON, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": title,
        "language": "python",
        "interrupt_mode": "signal",
        "metadata": {
            "debugger": True,
            "kernel_provisioner": {"provisioner_name": PROVISIONER, "config": config},
        },
    }
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "kernel.json").write_text(json.dumps(spec, indent=1) + "\n", "utf-8")
        try:
            made = KernelSpecManager().install_kernel_spec(
                folder, name, user=user and prefix is None, prefix=None if prefix is None else str(prefix)
            )
        except OSError as error:
            raise FlowsteadError(
                f"Cannot write the kernel's entry: {error}.",
                code="jupyter-unwritable",
                hint="Install it for you alone with --user, or elsewhere with --prefix PATH.",
            ) from error
    return _kernel(name.lower(), Path(made), spec)


def kernels(prefix: Path | None = None) -> list[Kernel]:
    """The entries of ours that Jupyter finds, and those below `prefix`, by name."""
    from jupyter_client.kernelspec import KernelSpecManager

    manager = KernelSpecManager()
    if prefix is not None:
        manager.kernel_dirs = [str(prefix / "share" / "jupyter" / "kernels"), *manager.kernel_dirs]
    found: list[Kernel] = []
    for name, folder in sorted(manager.find_kernel_specs().items()):
        try:
            spec = json.loads(Path(folder, "kernel.json").read_text("utf-8"))
        except (OSError, ValueError):
            continue
        if spec.get("metadata", {}).get("kernel_provisioner", {}).get("provisioner_name") == PROVISIONER:
            found.append(_kernel(name, Path(folder), spec))
    return found


def uninstall_kernel(name: str, prefix: Path | None = None) -> Path:
    """Removes an entry of ours; returns where it was. Raises NotFound, FlowsteadError (`jupyter-unwritable`)."""
    found = next((each for each in kernels(prefix) if each.name == name.lower()), None)
    if found is None:
        raise NotFound(
            f"Flowstead has no kernel {name!r}.", code="kernel-not-found", hint="See: flowstead jupyter list"
        )
    try:
        shutil.rmtree(found.folder)
    except OSError as error:
        raise FlowsteadError(f"Cannot remove {found.folder}: {error}.", code="jupyter-unwritable") from error
    return found.folder


def _kernel(name: str, folder: Path, spec: dict[str, Any]) -> Kernel:
    config = spec["metadata"]["kernel_provisioner"].get("config", {})
    flow = config.get("flow") or None
    pool = None if flow else config.get("pool", "uv")
    return Kernel(name, spec["display_name"], folder, pool, flow, config.get("workspace") or None)

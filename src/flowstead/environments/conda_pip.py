"""What pip installs on top of conda's packages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from flowstead.environments.declaration import Declaration
from flowstead.environments.manifest import Trace
from flowstead.environments.requirements_file import Entry, read_entries


def with_pip(
    declaration: Declaration, entries: Sequence[Entry], folder: Path, workspace: Path, trace: Trace
) -> Declaration:
    """A declaration with what pip is to install besides; paths in `entries` are relative to `folder`.

    Raises ManifestInvalid.
    """
    found = read_entries(entries, folder, workspace, trace)
    return replace(
        declaration,
        pip=tuple(found.requirements),
        constraints=tuple(found.constraints),
        options=(*declaration.options, *found.options),
        local=found.local,
    )

"""The command line in a workspace of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from calling import ACTING_ON_US, FLOWSTEAD, CommandLine


@pytest.fixture
def cli(workspace: Any, home: Path) -> Iterator[CommandLine]:
    kept = {name: value for name, value in os.environ.items() if name not in ACTING_ON_US}
    path = os.pathsep.join((os.path.dirname(FLOWSTEAD), kept["PATH"]))
    command_line = CommandLine(workspace, {**kept, "PATH": path, "FLOWSTEAD_HOME": str(home)})
    yield command_line
    command_line.close()

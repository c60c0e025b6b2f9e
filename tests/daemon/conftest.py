"""What tests of the daemon share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from daemons import Daemons
from looking import Looking
from serving import Served

from flowstead.daemon.files.readers import READERS


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for all tests of a module that only try what gets through; it has an empty workspace, `door.key`."""
    folder = tmp_path_factory.mktemp("door")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLOWSTEAD_HOME", str(folder / "home"))
        (folder / "workspace" / "flow_modules").mkdir(parents=True)
        served = Served(folder / "home")
        with served.machine_client() as machine:
            served.key = machine.open(folder / "workspace")["workspace"]
        yield served
        served.close()


@pytest.fixture
def served(home: Path, workspace: Any) -> Iterator[Served]:
    """The API of this home, served; see Served."""
    served = Served(home)
    yield served
    served.close()


@pytest.fixture
def daemons() -> Iterator[Daemons]:
    """Starts daemons; they end with the test."""
    daemons = Daemons()
    yield daemons
    daemons.close()


@pytest.fixture
def looking(home: Path, workspace: Any, warm_readers: None) -> Iterator[Looking]:
    """The routes of the workspace that look at files."""
    looking = Looking(workspace.root)
    yield looking
    looking.close()


@pytest.fixture(scope="session")
def warm_readers() -> Iterator[None]:
    """The children that read tables stay warm from test to test, and end with the last one."""
    yield
    READERS.close()

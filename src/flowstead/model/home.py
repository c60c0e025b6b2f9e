"""Where this machine's own state is kept."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """The machine-local folder: `$FLOWSTEAD_HOME`, or the platform's user data folder."""
    chosen = os.environ.get("FLOWSTEAD_HOME")
    if chosen:
        return Path(chosen).expanduser().absolute()
    from platformdirs import user_data_path

    return user_data_path("flowstead", appauthor=False)

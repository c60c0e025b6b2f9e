"""What the author of a flow can do about an exception."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from flowstead.flow.errors import CodedError

_USUAL_IMPORTS = {
    "pl": "import polars as pl",
    "pd": "import pandas as pd",
    "np": "import numpy as np",
    "plt": "import matplotlib.pyplot as plt",
    "alt": "import altair as alt",
    "px": "import plotly.express as px",
    "pa": "import pyarrow as pa",
    "Path": "from pathlib import Path",
    "datetime": "from datetime import datetime",
    "date": "from datetime import date",
    "timedelta": "from datetime import timedelta",
    "duckdb": "import duckdb",
}
_FLOWSTEAD_NAMES = ("Flow", "FlowContext", "Batch", "FileRef", "Choice")
_PACKAGES = {
    "cv2": "opencv-python",
    "PIL": "pillow",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
    "bs4": "beautifulsoup4",
}


def hint_for(error: BaseException, workspace_root: Path) -> str:
    """What the author can do about `error`; empty when nothing better is known than to read the message."""
    if isinstance(error, CodedError):
        return error.hint
    if isinstance(error, ImportError):
        return _import_hint(error, workspace_root)
    if isinstance(error, UnboundLocalError):
        return "Assign it before its first use in this function."
    if isinstance(error, NameError):
        return _name_hint(error)
    if isinstance(error, AttributeError) and isinstance(error.name, str):
        return _nearest(error.name, _names_of(error.obj))
    if isinstance(error, EOFError):
        return "Flow code has no standard input; declare an input with .ask(name) and read context.params[name]."
    if isinstance(error, SystemExit):
        return "Remove the exit: return from the function instead, or raise an error that says what is wrong."
    return ""


def _name_hint(error: NameError) -> str:
    name = error.name or ""
    if name in _USUAL_IMPORTS:
        return f"Add: {_USUAL_IMPORTS[name]}"
    if name in _FLOWSTEAD_NAMES:
        return f"Add: from flowstead import {name}"
    frame = _last_frame(error)
    if frame is not None:
        hint = _nearest(name, [*frame.f_locals, *frame.f_globals, *frame.f_builtins])
        if hint:
            return hint
    if name in sys.stdlib_module_names:
        return f"Add: import {name}"
    return f"Define {name}, or import it, before it is used." if name else ""


def _import_hint(error: ImportError, workspace_root: Path) -> str:
    name = error.name or ""
    wanted = re.match(r"cannot import name '([^']+)'", str(error))
    if wanted:
        return _nearest(wanted[1], _names_of(sys.modules.get(name)))
    modules = workspace_root / "flow_modules"
    top, _, rest = name.partition(".")
    if top == "flow_helpers":
        folder = modules / "flow_helpers"
        file = folder / f"{rest.replace('.', '/')}.py"
        if rest and file.exists():
            return f"{file.relative_to(workspace_root).as_posix()} cannot be read: check its permissions."
        known = [path.relative_to(folder).with_suffix("").as_posix().replace("/", ".") for path in folder.rglob("*.py")]
        if not rest:
            return "Put shared modules into flow_modules/flow_helpers/."
        return _nearest(rest, known) or f"Create flow_modules/flow_helpers/{rest.replace('.', '/')}.py."
    if (modules / f"{top}.py").exists() or (modules / f"{top}.ipynb").exists():
        return "Flow modules do not import one another: move what they share to flow_modules/flow_helpers/."
    if (modules / "flow_helpers" / f"{top}.py").exists():
        return f"Import it as: from flow_helpers import {top}"
    if "." not in name:
        from pkgutil import iter_modules

        near = _nearest(name, [*sys.stdlib_module_names, *(module.name for module in iter_modules())])
        if near:
            return near
    if top in sys.modules:
        return f"The installed {top} has no {name}: check the spelling, or install the version that has it."
    package = _PACKAGES.get(top, top)
    where = "the module's script block, or the workspace's requirements.txt or pyproject.toml"
    return f"Name {package} among what the flow needs: in {where}." if top else ""


def _nearest(name: str, known: list[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, [other for other in dict.fromkeys(known) if other != name], n=1, cutoff=0.75)
    return f"Did you mean {near[0]}?" if near else ""


def _names_of(value: Any) -> list[str]:
    try:
        return dir(value)
    except Exception:
        return []


def _last_frame(error: BaseException) -> FrameType | None:
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback.tb_frame if traceback is not None else None

"""The digest that names an environment: of exactly what gets installed, and of what it is installed into."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from flowstead.environments.runtime import runtime_digest
from flowstead.version import __version__

if TYPE_CHECKING:
    from flowstead.environments.declaration import Declaration, Interpreter

_MOST_KNOWN = 256

# By identity: a declaration cannot be hashed, and writing out a lock file takes longer than all else at a claim.
_known: dict[tuple[int, str], tuple[Declaration, str]] = {}


def digest_of(declaration: Declaration, interpreter: Interpreter | None) -> str:
    """32 hex digits, equal where the same is to be installed by this version of Flowstead, on any machine like this.

    `interpreter` counts with its version and platform, not with its path; conda brings its own, and has None.
    """
    python = interpreter.key if interpreter is not None else ""
    key = id(declaration), python
    known = _known.get(key)
    if known is not None and known[0] is declaration:
        return known[1]
    whole = {
        "content": declaration.content(),
        "python": [python, interpreter.version] if interpreter is not None else None,
        "flowstead": __version__,
        "runtime": runtime_digest(),
    }
    text = json.dumps(whole, sort_keys=True, ensure_ascii=True, default=str)
    digest = hashlib.sha256(text.encode()).hexdigest()[:32]
    if len(_known) >= _MOST_KNOWN:
        _known.clear()
    # The declaration is kept too, so that no other one takes its identity.
    _known[key] = declaration, digest
    return digest

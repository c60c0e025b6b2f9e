"""Coded errors: what every surface prints, and what the exit code of a command is.

FlowsteadError
├── UsageError              2   the request itself is wrong
│   └── ParameterError
├── NotFound                3
│   ├── WorkspaceNotFound
│   ├── FlowNotFound
│   └── RunNotFound
├── WorkspaceBusy           4   another process of this machine has it
├── WorkspaceOwned          4   another workstation owns it
├── OwnershipLost           4   this workstation owned it, and does no longer
├── WorkspaceUntrusted      4
├── FlowBroken              1   the module cannot be described
├── TransitionRefused       1   the run is not in a state that allows this
├── StaleWriter             1   a write came with an old attempt token or epoch
├── EnvironmentUnusable     1   an environment cannot be had
│   ├── ManifestInvalid             what a flow says it needs cannot be read
│   ├── EnvironmentPending          it is being built
│   ├── PythonMissing               no interpreter of this machine fits
│   └── BuildFailed                 installing it failed, with the installer's own words
├── PoolRefused             1   the pool does not take back, or give out, what was asked
├── DaemonRunning           4   there can be only one
├── DaemonUnreachable       1   nobody answers where the daemon should
│   ├── DaemonLost              it went away in the middle of an answer
│   └── DaemonUnresponsive      it is there, and says nothing
└── StorageError            1
    ├── LedgerTooNew
    ├── LedgerDamaged
    └── HomeUnwritable
"""

from __future__ import annotations

from typing import Any


class FlowsteadError(Exception):
    """An error a person can act on.

    `code` is stable and kebab-case, `message` says what happened, `hint` names what to do next, `detail` holds
    JSON-able facts (file, line, holder, ...), and `exit_code` is what a command line returns for it.
    """

    code = "error"
    exit_code = 1
    default_hint = ""

    def __init__(self, message: str, *, hint: str | None = None, code: str | None = None, **detail: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = self.default_hint if hint is None else hint
        self.detail: dict[str, Any] = detail
        if code is not None:
            self.code = code

    def as_dict(self) -> dict[str, Any]:
        """`{code, message, hint, detail}`: the one shape errors have on every wire."""
        return {"code": self.code, "message": self.message, "hint": self.hint, "detail": self.detail}


class UsageError(FlowsteadError):
    code = "usage"
    exit_code = 2


class ParameterError(UsageError):
    code = "parameter-invalid"


class NotFound(FlowsteadError):
    code = "not-found"
    exit_code = 3


class WorkspaceNotFound(NotFound):
    code = "workspace-not-found"
    default_hint = "Create one with: flowstead init PATH, or name one with --workspace PATH."


class FlowNotFound(NotFound):
    code = "flow-not-found"
    default_hint = "See the flows of this workspace with: flowstead list"


class RunNotFound(NotFound):
    code = "run-not-found"
    default_hint = "See recent runs with: flowstead runs"


class WorkspaceBusy(FlowsteadError):
    code = "workspace-busy"
    exit_code = 4


class WorkspaceOwned(FlowsteadError):
    code = "workspace-owned"
    exit_code = 4
    default_hint = "Ask for it with: flowstead workspace request-control"


class OwnershipLost(FlowsteadError):
    code = "ownership-lost"
    exit_code = 4
    default_hint = "See who owns the workspace with: flowstead workspace status"


class WorkspaceUntrusted(FlowsteadError):
    code = "workspace-untrusted"
    exit_code = 4


class FlowBroken(FlowsteadError):
    code = "flow-broken"


class TransitionRefused(FlowsteadError):
    code = "transition-refused"


class StaleWriter(FlowsteadError):
    code = "stale-writer"
    default_hint = "Another attempt of this run has taken over; nothing of this write was recorded."


class EnvironmentUnusable(FlowsteadError):
    code = "environment-unusable"
    default_hint = "See the environments there are with: flowstead env list"


class ManifestInvalid(EnvironmentUnusable):
    code = "manifest-invalid"


class EnvironmentPending(EnvironmentUnusable):
    code = "environment-pending"
    default_hint = "Running the flow waits for it: flowstead run FLOW"


class PythonMissing(EnvironmentUnusable):
    code = "python-missing"


class BuildFailed(EnvironmentUnusable):
    code = "environment-failed"


class PoolRefused(FlowsteadError):
    code = "pool-refused"
    default_hint = "See what the pool holds with: flowstead pool status"


class DaemonRunning(FlowsteadError):
    code = "daemon-running"
    exit_code = 4
    default_hint = "See: flowstead daemon status"


class DaemonUnreachable(FlowsteadError):
    code = "daemon-unreachable"
    default_hint = "Start the daemon with: flowstead daemon start"


class DaemonLost(DaemonUnreachable):
    code = "daemon-lost"
    default_hint = "See what happened with: flowstead daemon status"


class DaemonUnresponsive(DaemonUnreachable):
    code = "daemon-unresponsive"
    default_hint = "End it, and what it runs, with: flowstead daemon kill"


class StorageError(FlowsteadError):
    code = "storage-failed"


class LedgerTooNew(StorageError):
    code = "ledger-too-new"
    default_hint = "This history was written by a newer Flowstead: upgrade this one to open it."


class LedgerDamaged(StorageError):
    code = "ledger-damaged"


class HomeUnwritable(StorageError):
    code = "home-unwritable"
    default_hint = "Set FLOWSTEAD_HOME to a folder you can write to."

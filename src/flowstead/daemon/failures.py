"""Errors as HTTP tells them."""

from __future__ import annotations

from flowstead.model.errors import (
    FlowsteadError,
    NotFound,
    OwnershipLost,
    StaleWriter,
    StorageError,
    TransitionRefused,
    UsageError,
    WorkspaceBusy,
    WorkspaceOwned,
    WorkspaceUntrusted,
)


class Refused(FlowsteadError):
    """A request that is not let in; `status` is the answer's HTTP status."""

    def __init__(self, status: int, code: str, message: str, hint: str) -> None:
        super().__init__(message, code=code, hint=hint)
        self.status = status


class TooManyStreams(FlowsteadError):
    code = "too-many-streams"
    default_hint = "Close some of the windows or programs that watch runs."


STATUSES: tuple[tuple[type[FlowsteadError], int], ...] = (
    (UsageError, 400),
    (NotFound, 404),
    (WorkspaceUntrusted, 403),
    (WorkspaceBusy, 409),
    (WorkspaceOwned, 409),
    (OwnershipLost, 409),
    (TransitionRefused, 409),
    (StaleWriter, 409),
    (StorageError, 500),
    (TooManyStreams, 503),
)
"""The HTTP status of each class of errors; 422 of any other: the request was understood and could not be done."""


def status_of(error: FlowsteadError) -> int:
    """The HTTP status of an error."""
    if isinstance(error, Refused):
        return error.status
    if error.code == "disk-full":
        return 507
    if error.code == "internal-error":
        return 500
    if error.code == "events-gone":
        return 410
    return next((status for kind, status in STATUSES if isinstance(error, kind)), 422)


def class_of(error: FlowsteadError) -> str:
    """The name of an error's class among those that every surface knows; a client raises it again as that."""
    return next(kind.__name__ for kind in type(error).__mro__ if kind.__module__ == FlowsteadError.__module__)


def internal_error() -> FlowsteadError:
    """What is told of a failure that is ours; what it was is in the daemon's log alone."""
    return FlowsteadError(
        "Something went wrong within Flowstead.", code="internal-error", hint="See: flowstead daemon logs"
    )

"""What goes wrong in authoring and inside a running step.

CodedError                       code, message, hint
├── FlowDefinitionError          a flow is written wrongly: raised while it is built (also a ValueError)
│   └── ParameterRefused         a value given for an asked parameter does not fit
└── StepFailure                  what Flowstead itself refuses while a step runs
    ├── PathRefused              a name is absolute or leaves its root (also a ValueError)
    └── ArtifactRefused          a value cannot be shown or saved (also a TypeError)
RunCancelled                     a BaseException, so that `except Exception` in a step lets it pass
"""

from __future__ import annotations


class CodedError(Exception):
    """An error with a stable kebab-case `code`, a `message` that says what happened, and a `hint` that says
    what would be right. `str()` gives message and hint together, for wherever only a traceback is seen."""

    def __init__(self, message: str, *, code: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()

    def __reduce__(self):
        # Exceptions rebuild themselves from `args` alone, which would lose the code and the hint.
        return _rebuild, (type(self), self.message, self.code, self.hint)


def _rebuild(kind: type[CodedError], message: str, code: str, hint: str) -> CodedError:
    error = kind.__new__(kind)  # not kind(...): a subclass may be made from something else
    CodedError.__init__(error, message, code=code, hint=hint)
    return error


class FlowDefinitionError(CodedError, ValueError):
    """A flow is written wrongly; names the argument, what was given, and what would be right."""


class ParameterRefused(FlowDefinitionError):
    """A parameter of a run is unknown, missing, or of the wrong type; `parameter` is its name."""

    parameter = ""

    def __init__(self, message: str, *, code: str, hint: str = "", parameter: str = "") -> None:
        super().__init__(message, code=code, hint=hint)
        self.parameter = parameter


class StepFailure(CodedError):
    """Flowstead refuses something that a running step asked for."""


class PathRefused(StepFailure, ValueError):
    """A file name is absolute, leaves its root, or is no name at all."""


class ArtifactRefused(StepFailure, TypeError):
    """A value cannot be saved or shown as what was asked for."""


class RunCancelled(BaseException):
    """The run was cancelled. Let it pass; catch it only to clean up, and raise it again."""

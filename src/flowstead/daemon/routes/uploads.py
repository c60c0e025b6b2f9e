"""Requests that bring files."""

from __future__ import annotations

from flowstead.daemon.routes.route import Route
from flowstead.daemon.uploading import Upload, begin_upload
from flowstead.daemon.workspace_host import WorkspaceHost


def upload_file(host: WorkspaceHost, name: str, *, file: str, replace: bool = False) -> Upload:
    """Puts the body, as a file of the name `file`, into the source folder of a flow.

    The answer is `{flow, path, size, replaced, source_path, starts_by_itself}`: runs on it have that `source_path`, or,
    where a flow runs on its whole folder, none. The file is in place at once and whole, or not at all; one that is
    there is replaced only with `replace`. A source folder below the workspace is made when it is not there yet.

    Raises FlowNotFound, FlowBroken, WorkspaceOwned, UsageError (`upload-name-invalid`, `upload-type-refused`),
    TransitionRefused (`file-exists`), FlowsteadError (`upload-no-source`), StorageError (`disk-full`).
    """
    return begin_upload(host, name, file, replace=replace)


ROUTES = (Route("POST", "/flows/{name}/upload", upload_file, receives=True),)

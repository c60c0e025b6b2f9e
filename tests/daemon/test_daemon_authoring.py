"""Files as the editor reads, checks and writes them: on real disks, described by real processes."""

from __future__ import annotations

import errno
import json
import os
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flowstead.daemon.authoring import editing
from flowstead.daemon.authoring.diagnosing import MOST_AT_ONCE, Checks
from flowstead.daemon.authoring.files import editable_file
from flowstead.daemon.authoring.notebooks import cells_of, with_cells
from flowstead.daemon.authoring.text import MOST_BYTES, encode
from flowstead.daemon.routes import find
from flowstead.daemon.workspace_host import WorkspaceHost
from flowstead.model.errors import (
    FlowsteadError,
    NotFound,
    StorageError,
    TransitionRefused,
    UsageError,
    WorkspaceOwned,
)
from flowstead.model.run import now_us
from flowstead.workspace.claims import Claim, Claims
from flowstead.workspace.machine import MachineIdentity
from flowstead.workspace.shared import SharedFolder

GOOD = """
    from flowstead import Flow

    def build():
        return Flow("Good").step(first, save_as="one").step(second, use="one")

    def first(context):
        return 1

    def second(context):
        return 2
"""
SLOW = """
    import time
    from flowstead import Flow

    def build():
        return Flow("Slow").step(first)

    def first(context):
        while True:
            context.check_cancelled()
            time.sleep(0.01)
"""


class Editor:
    """The routes of one workspace, called as every transport calls them."""

    def __init__(self, root: Path) -> None:
        self.host = WorkspaceHost(root, command="test")

    def call(self, method: str, route_path: str, /, **fields: Any) -> Any:
        route, values = find(method, route_path)
        return route.handler(self.host, **values, **fields)

    def files(self) -> dict[str, dict[str, Any]]:
        return {each["path"]: each for each in self.call("GET", "/sources")["files"]}

    def read(self, path: str) -> dict[str, Any]:
        return self.call("GET", "/sources/content", path=path)

    def check(self, path: str, **fields: Any) -> list[dict[str, Any]]:
        return self.call("POST", "/sources/check", path=path, **fields)["diagnostics"]

    def write(self, path: str, text: str | None = None, **fields: Any) -> dict[str, Any]:
        fields = {"tag": fields.pop("tag", None) or self.read(path)["tag"], **fields}
        return self.call("POST", "/sources/write", path=path, text=text, **fields)

    def create(self, path: str, **fields: Any) -> dict[str, Any]:
        return self.call("POST", "/sources/create", path=path, **fields)


@pytest.fixture
def editor(home: Path, workspace: Any) -> Iterator[Editor]:
    editor = Editor(workspace.root)
    yield editor
    editor.host.close()


def one(diagnostics: list[dict[str, Any]]) -> dict[str, Any]:
    assert len(diagnostics) == 1, diagnostics
    return diagnostics[0]


# -- what there is -------------------------------------------------------------------------------------------------


def test_what_people_edit_is_listed_and_nothing_else(editor: Editor, workspace: Any, tmp_path: Path) -> None:
    for path in (
        "flow_modules/good.py",
        "flow_modules/book.ipynb",
        "flow_modules/flow_helpers/dates.py",
        "flow_modules/flow_helpers/deep/__init__.py",
        "config/rates.toml",
    ):
        workspace.file(path, "# x\n")
    for path in (
        "flow_modules/_private.py",
        "flow_modules/.hidden.py",
        "flow_modules/notes.txt",
        "flow_modules/other/inner.py",
        "flow_modules/flow_helpers_old/x.py",
        "flow_modules/flow_helpers/__pycache__/dates.py",
        "config/deep/x.toml",
        ".workspace_state/x.toml",
        "setup.py",
    ):
        workspace.file(path, "# x\n")
    (workspace.flow_modules / "linked.py").symlink_to(tmp_path / "elsewhere.py")
    found = editor.files()
    assert list(found) == [
        "config/rates.toml",
        "flow_modules/book.ipynb",
        "flow_modules/flow_helpers/dates.py",
        "flow_modules/flow_helpers/deep/__init__.py",
        "flow_modules/good.py",
        "flow_modules/linked.py",
    ]
    assert found["flow_modules/good.py"] | {"modified_at": None} == {
        "path": "flow_modules/good.py",
        "kind": "flow",
        "flow": "good",
        "size": 4,
        "modified_at": None,
        "linked": False,
    }
    assert [each["kind"] for each in found.values()] == ["config", "notebook", "helper", "helper", "flow", "flow"]
    assert found["flow_modules/linked.py"]["linked"]
    answer = editor.call("GET", "/sources")
    assert (answer["actions"], answer["refusal"]) == (["write", "create", "rename", "delete"], None)


@pytest.mark.parametrize(
    "path",
    [
        *("", "flow_modules", "../x.py", "flow_modules/../x.py", "/etc/passwd.py", "flow_modules//x.py", "x\0.py"),
        *("flow_modules\\x.py", ".workspace_state/x.toml", "config/../.workspace_state/x.toml", "config/x/y.toml"),
        *("flow_modules/_x.py", "flow_modules/.x.py", "flow_modules/x.txt", "setup.py", "flow_modules/a/x.py"),
        *("flow_modules/flow_helpers/../x.py", "flow_modules/flow_helpers/.git/x.py", "C:\\x.py", "a" * 5000),
    ],
)
def test_no_path_leads_elsewhere(editor: Editor, workspace: Any, path: str) -> None:
    for method, route, fields in (
        ("GET", "content", {}),
        ("POST", "check", {"text": "x"}),
        ("POST", "write", {"text": "x", "tag": "x"}),
        ("POST", "create", {"text": "x"}),
        ("POST", "delete", {"tag": "x"}),
        ("POST", "rename", {"tag": "x", "to": "flow_modules/y.py"}),
    ):
        before = sorted(workspace.root.rglob("*"))
        with pytest.raises(UsageError) as caught:
            editor.call(method, f"/sources/{route}", path=path, **fields)
        assert caught.value.code in ("path-invalid", "path-outside")
        assert sorted(workspace.root.rglob("*")) == before


@pytest.mark.skipif(os.name != "posix", reason="links")
def test_no_link_is_read_or_written_through(editor: Editor, workspace: Any, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    secret = elsewhere / "secret.py"
    secret.write_text("secret = 1\n")
    (workspace.flow_modules / "link.py").symlink_to(secret)
    (workspace.flow_modules / "flow_helpers").symlink_to(elsewhere)
    for path in ("flow_modules/link.py", "flow_modules/flow_helpers/secret.py"):
        with pytest.raises(FlowsteadError) as caught:
            editor.read(path)
        assert caught.value.code == "path-outside"
        with pytest.raises(FlowsteadError) as caught:
            editor.write(path, "gone", tag="x")
        assert caught.value.code == "path-outside"
    with pytest.raises(FlowsteadError):
        editor.create("flow_modules/flow_helpers/new.py")
    with pytest.raises(FlowsteadError):
        editor.create("flow_modules/flow_helpers/deeper/new.py")
    assert [path.name for path in elsewhere.iterdir()] == ["secret.py"] and secret.read_text() == "secret = 1\n"


# -- saving --------------------------------------------------------------------------------------------------------


def test_a_saved_file_tells_what_is_wrong_and_then_that_nothing_is(editor: Editor, workspace: Any) -> None:
    path = workspace.module("good", GOOD)
    read = editor.read("flow_modules/good.py")
    assert (read["kind"], read["flow"], read["cells"]) == ("flow", "good", None)
    saved = editor.write("flow_modules/good.py", read["text"].replace("return 2", "return 2 +"))
    found = one(saved["diagnostics"])
    assert (found["file"], found["flow"], found["line"], found["severity"]) == (
        "flow_modules/good.py",
        "good",
        10,
        "error",
    )
    assert found["message"] == "invalid syntax" and found["hint"]
    assert saved["tag"] != read["tag"] and path.read_text().endswith("return 2 +\n")
    saved = editor.write("flow_modules/good.py", read["text"].replace('use="one"', 'use="two"'), tag=saved["tag"])
    found = one(saved["diagnostics"])
    assert (found["code"], found["severity"], found["line"]) == ("waypoint-unknown", "warning", 9)
    saved = editor.write("flow_modules/good.py", read["text"], tag=saved["tag"])
    assert (saved["diagnostics"], saved["tag"]) == ([], read["tag"])


def test_only_the_version_that_was_read_is_replaced(editor: Editor, workspace: Any) -> None:
    path = workspace.module("good", GOOD)
    read = editor.read("flow_modules/good.py")
    path.write_text("someone = 'else'\n")
    for route, fields in (
        ("write", {"text": "mine = 1\n"}),
        ("delete", {}),
        ("rename", {"to": "flow_modules/other.py"}),
    ):
        with pytest.raises(TransitionRefused) as caught:
            editor.call("POST", f"/sources/{route}", path="flow_modules/good.py", tag=read["tag"], **fields)
        error = caught.value
        assert error.code == "edit-conflict"
        now = error.detail["now"]
        assert now == editor.read("flow_modules/good.py") and now["text"] == "someone = 'else'\n"
        assert now["modified_at"][:19].replace("T", " ") in error.message
    assert path.read_text() == "someone = 'else'\n"
    editor.write("flow_modules/good.py", "mine = 1\n", tag=now["tag"])
    assert path.read_text() == "mine = 1\n"


def test_of_many_who_save_at_once_one_wins(editor: Editor, workspace: Any) -> None:
    path = workspace.file("config/rates.toml", "rate = 0\n")
    tag = editor.read("config/rates.toml")["tag"]
    won: list[int] = []
    lost: list[str] = []

    def save(number: int) -> None:
        try:
            editor.write("config/rates.toml", f"rate = {number}\n", tag=tag)
            won.append(number)
        except TransitionRefused as error:
            lost.append(error.code)

    threads = [threading.Thread(target=save, args=(number,)) for number in range(1, 17)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1 and lost == ["edit-conflict"] * 15
    assert path.read_text() == f"rate = {won[0]}\n"
    assert [each.name for each in path.parent.iterdir()] == ["rates.toml"], "nothing temporary is left"


@pytest.mark.parametrize("moment", ["edited", "fsync"])
@pytest.mark.parametrize("way", ["in place", "replaced"])
def test_what_another_program_saves_meanwhile_is_kept(
    editor: Editor, workspace: Any, monkeypatch: pytest.MonkeyPatch, moment: str, way: str
) -> None:
    path = workspace.file("config/rates.toml", "a = 1\n")
    tag = editor.read("config/rates.toml")["tag"]
    where: Any = editing if moment == "edited" else os
    real = getattr(where, moment)

    def meanwhile(*args: Any) -> Any:
        monkeypatch.setattr(where, moment, real)
        other = path.with_name("other") if way == "replaced" else path
        other.write_text("a = 7\n")
        os.replace(other, path)
        return real(*args)

    monkeypatch.setattr(where, moment, meanwhile)
    with pytest.raises(TransitionRefused) as caught:
        editor.write("config/rates.toml", "a = 2\n", tag=tag)
    assert (caught.value.code, caught.value.detail["now"]["text"]) == ("edit-conflict", "a = 7\n")
    assert path.read_text() == "a = 7\n" and [each.name for each in path.parent.iterdir()] == ["rates.toml"]


def test_a_write_that_fails_leaves_the_file_as_it_was(
    editor: Editor, workspace: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = workspace.file("config/rates.toml", "a = 1\n")
    tag = editor.read("config/rates.toml")["tag"]

    def full(*args: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    assert editor.call("GET", "/sources")["actions"], "this machine has its name by now"
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError) as caught:
        editor.write("config/rates.toml", "a = 2\n", tag=tag)
    assert (caught.value.code, path.read_text()) == ("disk-full", "a = 1\n")
    with pytest.raises(StorageError):
        editor.create("config/more.toml")
    assert [each.name for each in path.parent.iterdir()] == ["rates.toml"]


@pytest.mark.parametrize(
    ("before", "edited", "after"),
    [
        (b"a = 1\r\nb = 2\r\n", "a = 1\nb = 3\nc = 4\n", b"a = 1\r\nb = 3\r\nc = 4\r\n"),
        (b"\xef\xbb\xbfa = 1\n", "a = 2\n", b"\xef\xbb\xbfa = 2\n"),
        (b"\xef\xbb\xbfa = 1\r\n", "a = 2", b"\xef\xbb\xbfa = 2"),
        (b"a = 1", "a = 2\n", b"a = 2\n"),
        (b"", "a = 2\n", b"a = 2\n"),
        (b"a\rb\r", "a\nc\n", b"a\rc\r"),
        (b"a\nb\r\nc\r\nd\n", "a\nb\nx\nc\nd\n", b"a\nb\r\nx\nc\r\nd\n"),
        (b"a\nb\r\nc\r\nd\n", "a\nd\n", b"a\nd\n"),
        (b"a\nb\r\nc\r\nd\n", "", b""),
        (b"a\nb\r\nc\r\n", "a\nb\nc\nd", b"a\nb\r\nc\r\nd"),
        (b"a\r\nb\n", "a\nb\n", b"a\r\nb\n"),
        ("ä\r\n".encode(), "ä\nö\n", "ä\r\nö\r\n".encode()),
    ],
)
def test_line_ends_and_byte_order_marks_stay(
    editor: Editor, workspace: Any, before: bytes, edited: str, after: bytes
) -> None:
    path = workspace.file("config/rates.toml")
    path.write_bytes(before)
    assert "\r" not in editor.read("config/rates.toml")["text"]
    editor.write("config/rates.toml", edited, check=False)
    assert path.read_bytes() == after


@pytest.mark.skipif(os.name != "posix", reason="modes")
def test_a_file_keeps_its_mode_and_one_that_is_read_only_is_kept(editor: Editor, workspace: Any) -> None:
    path = workspace.file("config/rates.toml", "a = 1\n")
    path.chmod(0o640)
    editor.write("config/rates.toml", "a = 2\n")
    assert (stat.S_IMODE(path.stat().st_mode), path.read_text()) == (0o640, "a = 2\n")
    path.chmod(0o444)
    with pytest.raises(FlowsteadError) as caught:
        editor.write("config/rates.toml", "a = 3\n")
    assert caught.value.code == "file-read-only" and path.read_text() == "a = 2\n"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"a = '\xe4'\n", "file-not-text"),
        (b"a\0b", "file-not-text"),
        (b"\xff\xfea\0", "file-not-text"),
        (b"x" * (MOST_BYTES + 1), "file-too-large"),
    ],
)
def test_what_is_no_text_is_neither_shown_nor_replaced(
    editor: Editor, workspace: Any, content: bytes, code: str
) -> None:
    path = workspace.file("flow_modules/odd.py")
    path.write_bytes(content)
    with pytest.raises(FlowsteadError) as caught:
        editor.read("flow_modules/odd.py")
    assert caught.value.code == code
    from flowstead.daemon.authoring.text import tag_of

    with pytest.raises(FlowsteadError) as caught:
        editor.write("flow_modules/odd.py", "a = 1\n", tag=tag_of(content))
    assert caught.value.code == code and path.read_bytes() == content


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "ä" * (MOST_BYTES // 2 + 1)])
def test_what_cannot_be_a_file_is_refused(editor: Editor, workspace: Any, text: str) -> None:
    path = workspace.file("config/rates.toml", "a = 1\n")
    with pytest.raises(UsageError) as caught:
        editor.write("config/rates.toml", text)
    assert caught.value.code in ("text-invalid", "text-too-large")
    assert path.read_text() == "a = 1\n"
    assert len(encode("ä" * (MOST_BYTES // 2))) == MOST_BYTES


# -- checking ------------------------------------------------------------------------------------------------------


def test_checking_what_is_typed_stores_nothing(editor: Editor, workspace: Any) -> None:
    path = workspace.module("good", GOOD)
    text = path.read_text()
    assert editor.check("flow_modules/good.py", text=text) == []
    found = one(editor.check("flow_modules/good.py", text=text + "\nnowhere\n"))
    assert (found["line"], found["severity"]) == (12, "error") and "nowhere" in found["message"]
    found = one(editor.check("flow_modules/unsaved.py", text="def build(:\n"))
    assert (found["flow"], found["line"], found["message"]) == ("unsaved", 1, "invalid syntax")
    assert path.read_text() == text and not (workspace.flow_modules / "unsaved.py").exists()
    assert list(editor.host.layout.versions.iterdir()) == []


def test_of_checks_that_wait_only_the_newest_of_a_file_is_made(editor: Editor, workspace: Any) -> None:
    checks = Checks()
    file = editable_file(editor.host.layout, "config/rates.toml")
    for _ in range(MOST_AT_ONCE):
        checks._free.acquire()
    told: list[Any] = []

    def check(number: int) -> None:
        try:
            told.append(checks.diagnose(editor.host, file, b"a = \n" * number)[0]["line"])
        except FlowsteadError as error:
            told.append(error.code)

    threads: list[threading.Thread] = []
    for number in range(1, 6):
        threads.append(threading.Thread(target=check, args=(number,)))
        threads[-1].start()
        deadline = time.monotonic() + 60
        while checks._count < number:
            assert time.monotonic() < deadline
            time.sleep(0.001)
    for _ in range(MOST_AT_ONCE):
        checks._free.release()
    for thread in threads:
        thread.join()
    assert sorted(told, key=str) == [1, *["check-superseded"] * 4]
    assert checks._newest == {}


def test_toml_is_told_its_line(editor: Editor, workspace: Any) -> None:
    workspace.file("config/rates.toml", "a = 1\n")
    assert editor.check("config/rates.toml", text="a = 1\n[b]\nc = 'x'\n") == []
    found = one(editor.check("config/rates.toml", text="a = 1\nb = \nc = 2\n"))
    assert (found["line"], found["column"], found["code"]) == (2, 5, "toml-invalid")
    assert found["message"] == "Invalid value."
    assert one(editor.check("config/rates.toml", text="a = 1\na = 2\n"))["line"] == 2
    assert one(editor.check("config/rates.toml", text="a = 1\nb = '"))["severity"] == "error"
    (workspace.root / "config" / "odd.toml").write_bytes(b"a = 1\nb = '\xe4'\n")
    assert one(editor.check("config/odd.toml"))["line"] == 2
    # What is saved is checked in the same way.
    assert one(editor.write("config/rates.toml", "a = \n")["diagnostics"])["line"] == 1


def test_a_helper_is_checked_in_the_flows_that_mention_it(editor: Editor, workspace: Any) -> None:
    workspace.file("flow_modules/flow_helpers/dates.py", "def parse(text):\n    return text\n")
    workspace.file("flow_modules/flow_helpers/months.py", "from flow_helpers.dates import parse\n")
    workspace.module("direct", "from flow_helpers.dates import parse\n" + _plain())
    workspace.module("indirect", "from flow_helpers import months\n" + _plain())
    workspace.module("apart", "import missing_altogether\n" + _plain())
    helper = "flow_modules/flow_helpers/dates.py"
    assert editor.check(helper, text=editor.read(helper)["text"]) == []
    found = editor.check(helper, text="def parsed(text):\n    return text\n")
    assert sorted((each["flow"], each["file"]) for each in found) == [
        ("direct", "flow_modules/direct.py"),
        ("indirect", "flow_modules/flow_helpers/months.py"),
    ]
    found = editor.check(helper, text="def parse(text)\n    return text\n")
    assert {(each["file"], each["line"]) for each in found} == {(helper, 1)}
    # A helper that nobody imports is looked at too; only its own text, for what it imports may be elsewhere.
    workspace.file("flow_modules/flow_helpers/alone.py", "")
    alone = "flow_modules/flow_helpers/alone.py"
    assert one(editor.check(alone, text="x = 1\nx = (\n"))["file"] == alone
    assert editor.check(alone, text="import missing_altogether\n") == []


def test_who_misses_a_helper_is_told(editor: Editor, workspace: Any) -> None:
    workspace.file("flow_modules/flow_helpers/dates.py", "def parse(text):\n    return text\n")
    workspace.module("direct", "from flow_helpers.dates import parse\n" + _plain())
    workspace.module("apart", _plain())
    tag = editor.read("flow_modules/flow_helpers/dates.py")["tag"]
    path, to = "flow_modules/flow_helpers/dates.py", "flow_modules/flow_helpers/days.py"
    saved = editor.call("POST", "/sources/rename", path=path, to=to, tag=tag)
    assert (saved["path"], saved["tag"]) == (to, tag)
    found = one(saved["diagnostics"])
    assert (found["flow"], found["line"], found["severity"]) == ("direct", 1, "error") and "dates" in found["message"]
    saved = editor.write("flow_modules/direct.py", "from flow_helpers.days import parse\n" + _plain())
    assert saved["diagnostics"] == []
    gone = editor.call("POST", "/sources/delete", path=to, tag=tag)
    assert (gone["deleted"], one(gone["diagnostics"])["flow"]) == (to, "direct")


def _plain() -> str:
    return (
        "from flowstead import Flow\n\ndef build():\n    return Flow('x').step(first)\n\n"
        "def first(context):\n    return 1\n"
    )


@pytest.mark.skipif(os.name != "posix", reason="modes")
def test_an_untrusted_workspace_is_edited_and_not_run(editor: Editor, workspace: Any) -> None:
    path = workspace.module("good", GOOD)
    (workspace.flow_modules).chmod(0o777)
    saved = editor.write("flow_modules/good.py", "from pathlib import Path\nPath('ran').write_text('')\n")
    assert one(saved["diagnostics"])["code"] == "workspace-untrusted"
    assert one(editor.check("flow_modules/good.py", text="1/0\n"))["code"] == "workspace-untrusted"
    assert "Path('ran')" in path.read_text() and not (workspace.flow_modules / "ran").exists()


# -- creating, renaming, deleting ----------------------------------------------------------------------------------


def test_new_files_begin_with_something_sound(editor: Editor, workspace: Any) -> None:
    for path in ("flow_modules/daily.py", "flow_modules/book.ipynb", "flow_modules/flow_helpers/deep/dates.py"):
        assert editor.create(path)["diagnostics"] == [], path
    (workspace.root / "config").rmdir()
    assert editor.create("config/rates.toml")["path"] == "config/rates.toml"
    assert editor.create("config/more.toml", text="a = \n")["diagnostics"][0]["line"] == 1
    flows = editor.call("GET", "/flows")["flows"]
    assert [(each["name"], each["status"]) for each in flows] == [("book", "ok"), ("daily", "ok")]
    (run_id,) = editor.call("POST", "/flows/book/start")["started"]
    deadline = time.monotonic() + 60
    while (run := editor.host.reader.run(run_id)).status != "succeeded":
        assert time.monotonic() < deadline and run.status in ("queued", "starting", "running")
        time.sleep(0.01)
    assert run.summary == "3 rows"


@pytest.mark.parametrize(
    "name",
    ["1x", "a-b", "a b", "class", "con", "a.b", "x" * 101, "é" * 60, "flow_helpers"],
)
def test_names_that_make_trouble_are_refused(editor: Editor, workspace: Any, name: str) -> None:
    with pytest.raises(UsageError) as caught:
        editor.create(f"flow_modules/{name}.py")
    assert caught.value.code == "name-invalid" and caught.value.hint
    assert list(workspace.flow_modules.iterdir()) == []


def test_nothing_is_replaced_by_a_new_name(editor: Editor, workspace: Any) -> None:
    workspace.module("good", GOOD)
    workspace.file("config/rates.toml", "a = 1\n")
    for path in ("flow_modules/good.py", "flow_modules/good.ipynb", "flow_modules/GOOD.py", "config/rates.toml"):
        with pytest.raises(TransitionRefused) as caught:
            editor.create(path)
        assert caught.value.code == "file-exists"
    workspace.module("other", GOOD)
    tag = editor.read("flow_modules/other.py")["tag"]

    def rename(to: str) -> Any:
        return editor.call("POST", "/sources/rename", path="flow_modules/other.py", to=to, tag=tag)

    for to, code in (
        ("flow_modules/good.py", "file-exists"),
        ("flow_modules/other.ipynb", "name-invalid"),
        ("config/other.toml", "name-invalid"),
        ("flow_modules/in.py", "name-invalid"),
    ):
        with pytest.raises(FlowsteadError) as caught:
            rename(to)
        assert caught.value.code == code
    assert (rename("flow_modules/Other.py")["flow"], rename_back(editor, tag)) == ("Other", "other")
    assert sorted(path.name for path in workspace.flow_modules.iterdir()) == ["good.py", "other.py"]
    editor.call("POST", "/sources/delete", path="flow_modules/other.py", tag=tag)
    with pytest.raises(NotFound):
        editor.read("flow_modules/other.py")


def rename_back(editor: Editor, tag: str) -> str:
    answer = editor.call("POST", "/sources/rename", path="flow_modules/Other.py", to="flow_modules/other.py", tag=tag)
    return answer["flow"]


def test_a_flow_with_runs_ahead_is_neither_deleted_nor_renamed(editor: Editor, workspace: Any) -> None:
    workspace.module("slow", SLOW)
    (run_id,) = editor.call("POST", "/flows/slow/start")["started"]
    tag = editor.read("flow_modules/slow.py")["tag"]
    for route, fields in (("delete", {}), ("rename", {"to": "flow_modules/fast.py"})):
        with pytest.raises(TransitionRefused) as caught:
            editor.call("POST", f"/sources/{route}", path="flow_modules/slow.py", tag=tag, **fields)
        assert (caught.value.code, caught.value.detail["runs"]) == ("flow-in-use", [run_id])
    editor.call("POST", f"/runs/{run_id}/cancel")
    deadline = time.monotonic() + 60
    while editor.host.reader.run(run_id).status != "cancelled":
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert editor.call("POST", "/sources/delete", path="flow_modules/slow.py", tag=tag) == {
        "deleted": "flow_modules/slow.py",
        "diagnostics": [],
    }
    assert not (workspace.flow_modules / "slow.py").exists()


def test_an_observer_reads_and_changes_nothing(editor: Editor, workspace: Any) -> None:
    workspace.module("good", GOOD)
    other = MachineIdentity("another", "DESK-07", "boot", "node")
    assert Claims(SharedFolder(workspace.root / ".workspace_state")).put(
        Claim(1, 1, other, "", "daemon", 7, "0.1.0", now_us(), "test", 0, "none", "token")
    )
    answer = editor.call("GET", "/sources")
    assert answer["actions"] == [] and "DESK-07" in answer["refusal"]["message"]
    read = editor.read("flow_modules/good.py")
    assert editor.check("flow_modules/good.py", text="1 +\n")[0]["line"] == 1
    before = {path: path.read_bytes() for path in workspace.flow_modules.rglob("*") if path.is_file()}
    for route, fields in (
        ("write", {"text": "x = 1\n", "tag": read["tag"]}),
        ("create", {"path": "flow_modules/more.py"}),
        ("delete", {"tag": read["tag"]}),
        ("rename", {"to": "flow_modules/more.py", "tag": read["tag"]}),
    ):
        with pytest.raises(WorkspaceOwned) as caught:
            editor.call("POST", f"/sources/{route}", **{"path": "flow_modules/good.py", **fields})
        assert "DESK-07" in caught.value.message and caught.value.hint
    assert {path: path.read_bytes() for path in workspace.flow_modules.rglob("*") if path.is_file()} == before


# -- notebooks -----------------------------------------------------------------------------------------------------

NOTEBOOK = {
    "cells": [
        {"cell_type": "markdown", "id": "intro", "metadata": {"tags": ["x"]}, "source": ["# Ti", "tle\n", "text"]},
        {
            "cell_type": "code",
            "execution_count": 3,
            "id": "one",
            "metadata": {"collapsed": True},
            "outputs": [{"output_type": "stream", "name": "stdout", "text": ["é\n"]}],
            "source": ["from flowstead import Flow\n", "\n", "def build():\n", "    return Flow('x').step(first)"],
        },
        {"cell_type": "raw", "id": "raw", "metadata": {}, "source": "raw"},
        {
            "cell_type": "code",
            "execution_count": None,
            "id": "two",
            "metadata": {},
            "outputs": [],
            "source": "def first(context):\n    return 1",
        },
    ],
    "metadata": {"kernelspec": {"language": "python", "name": "python3"}, "custom": {"a": [1, 2.5, None]}},
    "nbformat": 4,
    "nbformat_minor": 5,
}


def notebook(workspace: Any, content: Any = NOTEBOOK, **how: Any) -> Path:
    path = workspace.file("flow_modules/book.ipynb")
    path.write_text(json.dumps(content, **{"indent": 1, "ensure_ascii": False, **how}) + "\n", "utf-8")
    return path


def test_a_notebook_loses_nothing_that_was_not_edited(editor: Editor, workspace: Any) -> None:
    path = notebook(workspace)
    before = path.read_bytes()
    read = editor.read("flow_modules/book.ipynb")
    assert read["text"] is None
    assert [(each["id"], each["kind"]) for each in read["cells"]] == [
        ("intro", "markdown"),
        ("one", "code"),
        ("raw", "raw"),
        ("two", "code"),
    ]
    assert read["cells"][0]["source"] == "# Title\ntext"
    saved = editor.write("flow_modules/book.ipynb", cells=read["cells"])
    assert (saved["diagnostics"], path.read_bytes(), saved["tag"]) == ([], before, read["tag"])
    cells = [dict(each) for each in read["cells"]]
    cells[1]["source"] += "\n\nx = 'é'\n"
    del cells[2]
    cells.insert(1, {"id": None, "kind": "markdown", "source": "new\ncell"})
    saved = editor.write("flow_modules/book.ipynb", cells=cells)
    assert saved["diagnostics"] == []
    now = json.loads(path.read_text("utf-8"))
    new = now["cells"].pop(1)
    assert new == {"cell_type": "markdown", "id": new["id"], "metadata": {}, "source": ["new\n", "cell"]}
    expected = json.loads(json.dumps(NOTEBOOK))
    expected["cells"][1]["source"] = [*expected["cells"][1]["source"][:-1], "    return Flow('x').step(first)\n"]
    expected["cells"][1]["source"] += ["\n", "x = 'é'\n"]
    del expected["cells"][2]
    assert now == expected
    assert list(now) == list(NOTEBOOK) and list(now["cells"][1]) == list(expected["cells"][1])
    text = path.read_text("utf-8")
    assert text.startswith('{\n "cells"') and text.endswith("}\n") and "é" in text


def test_a_mistake_in_a_notebook_is_told_by_its_cell(editor: Editor, workspace: Any) -> None:
    notebook(workspace)
    cells = editor.read("flow_modules/book.ipynb")["cells"]
    cells[3]["source"] = "def first(context):\n    return 1 +\n"
    found = one(editor.check("flow_modules/book.ipynb", cells=cells))
    assert (found["cell"], found["line"], found["severity"]) == ("two", 2, "error")
    saved = editor.write("flow_modules/book.ipynb", cells=cells)
    assert one(saved["diagnostics"])["cell"] == "two"


def test_notebooks_without_ids_and_of_other_layouts(tmp_path: Path) -> None:
    plain = json.loads(json.dumps(NOTEBOOK))
    plain["nbformat_minor"] = 4
    for cell in plain["cells"]:
        del cell["id"]
    for how in ({"indent": 1}, {"indent": 4}, {"indent": None}, {"indent": "\t"}, {"separators": (",", ":")}):
        for content in (json.dumps(plain, **how).encode(), b"\xef\xbb\xbf" + json.dumps(plain, **how).encode()):
            cells = cells_of(content, "x")
            assert [each["id"] for each in cells] == ["#0", "#1", "#2", "#3"]
            assert with_cells(content, cells, "x") == content
            cells[0]["source"] = "# Titel\ntext"
            # Only that one is another: it is back once its text is.
            edited = with_cells(content, [*cells[1:], cells[0]], "x")
            assert edited[:20] == content[:20]
            back = json.loads(edited.decode("utf-8-sig"))
            back["cells"].insert(0, back["cells"].pop())
            assert back["cells"][0].pop("source") == ["# Titel\n", "text"]
            assert back["cells"][0] == {"cell_type": "markdown", "metadata": {"tags": ["x"]}}
            back["cells"][0] = plain["cells"][0]
            assert back == plain
    windows = json.dumps(plain, indent=1).replace("\n", "\r\n").encode()
    cells = cells_of(windows, "x")
    cells[0]["source"] = "other"
    assert with_cells(windows, cells, "x").count(b"\r\n") == with_cells(windows, cells, "x").count(b"\n")


def test_a_cell_becomes_another_kind(tmp_path: Path) -> None:
    content = json.dumps(NOTEBOOK, indent=1).encode()
    cells = cells_of(content, "x")
    cells[0]["kind"], cells[1]["kind"] = "code", "markdown"
    now = json.loads(with_cells(content, cells, "x"))["cells"]
    assert (now[0]["outputs"], now[0]["execution_count"], now[0]["id"]) == ([], None, "intro")
    assert set(now[1]) == {"cell_type", "id", "metadata", "source"} and now[1]["metadata"] == {"collapsed": True}


@pytest.mark.parametrize(
    "content",
    [
        '{"cells": [{"cell_type": "code", "source": "\\ud800"}]}',
        "[" * 100_000,
        "{",
        "[]",
        '{"cells": 3}',
        '{"cells": [3]}',
        '{"cells": [{"cell_type": "x"}]}',
        '{"worksheets": []}',
    ],
)
def test_what_is_no_notebook_is_told(editor: Editor, workspace: Any, content: str) -> None:
    workspace.file("flow_modules/book.ipynb", content)
    with pytest.raises(FlowsteadError) as caught:
        editor.read("flow_modules/book.ipynb")
    assert caught.value.code == "notebook-invalid" and caught.value.hint


@pytest.mark.parametrize(
    "cells",
    [
        [{"kind": "code"}],
        [{"kind": "other", "source": ""}],
        [{"kind": "code", "source": 3}],
        [{"kind": "code", "source": "", "outputs": []}],
        [{"id": "one", "kind": "code", "source": ""}] * 2,
        [3],
        [{"kind": "code", "source": "a\0b"}],
        [{"kind": "code", "source": "x" * MOST_BYTES}, {"kind": "code", "source": "x"}],
    ],
)
def test_cells_that_are_none_are_refused(editor: Editor, workspace: Any, cells: Any) -> None:
    path = notebook(workspace)
    before = path.read_bytes()
    with pytest.raises(UsageError):
        editor.write("flow_modules/book.ipynb", cells=cells)
    with pytest.raises(UsageError):
        editor.write("flow_modules/book.ipynb", text="x")
    assert path.read_bytes() == before


def test_outputs_of_any_kind_survive(tmp_path: Path) -> None:
    odd = json.loads(json.dumps(NOTEBOOK))
    odd["cells"][1]["outputs"] = [{"text": "\ud83d", "data": {"n": float("nan"), "i": 10**300, "deep": [[[[1]]]]}}]
    content = json.dumps(odd, indent=1).encode()
    cells = cells_of(content, "x")
    cells[3]["source"] = "x = 1"
    back = json.loads(with_cells(content, cells, "x"))
    assert json.dumps(back["cells"][1]) == json.dumps(odd["cells"][1])


def test_a_large_output_stays(editor: Editor, workspace: Any) -> None:
    large = json.loads(json.dumps(NOTEBOOK))
    large["cells"][1]["outputs"] = [{"output_type": "display_data", "data": {"image/png": "x" * 6_000_000}}]
    path = notebook(workspace, large)
    cells = editor.read("flow_modules/book.ipynb")["cells"]
    cells[3]["source"] += "\n"
    editor.write("flow_modules/book.ipynb", cells=cells, check=False)
    assert len(json.loads(path.read_text("utf-8"))["cells"][1]["outputs"][0]["data"]["image/png"]) == 6_000_000

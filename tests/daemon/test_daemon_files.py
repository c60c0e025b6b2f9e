"""Folders, files and text, and which of them may be looked at."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from looking import Looking

from flowstead.daemon.files.answers import FileAnswer
from flowstead.daemon.files.opening import PathOutside, Place, open_file
from flowstead.model.errors import FlowsteadError, NotFound, UsageError

COMPLETE_RUN = os.environ.get("FLOWSTEAD_TEST_ALL") == "1"
SECRET = b"nobody outside may see this"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)

READS_AND_WRITES = """
    from pathlib import Path
    from flowstead import Flow

    def build():
        return (
            Flow("Elsewhere")
            .watch(mode="poll", source="{source}", interval="1h", extensions=[".csv"])
            .step(copy)
        )

    def copy(context):
        target = Path("{target}")
        target.write_bytes(Path(context.source.path).read_bytes())
        return target
"""


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "outside" / "secret.txt"
    path.parent.mkdir()
    path.write_bytes(SECRET)
    return path


def refused(looking: Looking, path: str, **fields: Any) -> FlowsteadError:
    """What every way to a file says of a path; all of them say the same."""
    errors: list[FlowsteadError] = []
    ways: list[tuple[str, str]] = [
        ("GET", "/files"),
        ("GET", "/files/info"),
        ("GET", "/files/content"),
        ("GET", "/files/text"),
        ("POST", "/tables/page"),
        ("POST", "/tables/statistics"),
    ]
    for method, route in ways:
        with pytest.raises(FlowsteadError) as caught:
            looking.call(method, route, path=path, **fields)
        errors.append(caught.value)
    with pytest.raises(FlowsteadError) as caught:
        looking.call("POST", "/tables/export", path=path, format="csv", **fields)
    assert caught.value.code == errors[-1].code
    return errors[1]


# -- folders -------------------------------------------------------------------------------------------------------


def test_a_folder_lists_folders_first_then_files_by_name(looking: Looking, workspace: Any) -> None:
    workspace.file("data/b.csv", "a\n1\n")
    workspace.file("data/A.md", "# Title")
    workspace.file("data/plot.png", "x")
    (workspace.root / "data" / "zoo").mkdir()
    workspace.file(".workspace_state/note.txt", "x")
    answer = looking.call("GET", "/files", path="data")
    assert [(entry["name"], entry["kind"]) for entry in answer["entries"]] == [
        ("zoo", "folder"),
        ("A.md", "markdown"),
        ("b.csv", "table"),
        ("plot.png", "image"),
    ]
    assert answer["entries"][2]["path"] == "data/b.csv"
    assert answer["entries"][2]["size"] == 4
    root = looking.call("GET", "/files")
    assert ".workspace_state" not in [entry["name"] for entry in root["entries"]]
    assert root["sources"] == []


def test_a_long_folder_comes_in_pages(looking: Looking, workspace: Any) -> None:
    for number in range(25):
        workspace.file(f"data/{number:02}.txt")
    names: list[str] = []
    cursor = 0
    while cursor is not None:
        answer = looking.call("GET", "/files", path="data", limit=10, cursor=cursor)
        names += [entry["name"] for entry in answer["entries"]]
        cursor = answer["next"]
    assert names == [f"{number:02}.txt" for number in range(25)]


def test_links_and_special_files_are_told_as_what_they_are(looking: Looking, workspace: Any, secret: Path) -> None:
    workspace.file("data/real.csv", "a\n1\n")
    (workspace.root / "data" / "within.csv").symlink_to("real.csv")
    (workspace.root / "data" / "out.csv").symlink_to(secret)
    (workspace.root / "data" / "nowhere.csv").symlink_to("missing")
    os.mkfifo(workspace.root / "data" / "pipe.csv")
    entries = {entry["name"]: entry for entry in looking.call("GET", "/files", path="data")["entries"]}
    assert {name: entry["kind"] for name, entry in entries.items()} == {
        "real.csv": "table",
        "within.csv": "table",
        "out.csv": "link",
        "pipe.csv": "special",
    }
    assert entries["out.csv"]["size"] is None
    assert looking.content("data/within.csv") == b"a\n1\n"


# -- what may be looked at -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "../outside/secret.txt",
        "data/../../outside/secret.txt",
        "data\\..\\..\\outside",
        "/etc/passwd",
        "//etc/passwd",
        "/",
        "/dev/zero",
        "/proc/self/environ",
        "C:\\Windows\\win.ini",
        "C:/Windows",
        "\\\\server\\share",
        ".workspace_state/note.txt",
        ".WORKSPACE_STATE",
    ],
)
def test_paths_that_lead_out_are_refused(looking: Looking, workspace: Any, secret: Path, path: str) -> None:
    workspace.file("data/x.csv", "a\n1\n")
    workspace.file(".workspace_state/note.txt", "x")
    assert refused(looking, path).code == "path-outside"


@pytest.mark.parametrize("path", ["a\0b", "x" * 5000, "\ud800", 7, None])
def test_what_is_no_path_is_refused(looking: Looking, path: Any) -> None:
    with pytest.raises(UsageError):
        looking.info(path)


def test_links_out_are_refused_wherever_they_stand(looking: Looking, workspace: Any, secret: Path) -> None:
    (workspace.root / "out.txt").symlink_to(secret)
    (workspace.root / "folder").symlink_to(secret.parent)
    (workspace.root / "twice").symlink_to("folder/secret.txt")
    (workspace.root / "loop").symlink_to("loop")
    for path in ("out.txt", "folder/secret.txt", "twice"):
        assert refused(looking, path).code == "path-outside", path
    assert refused(looking, "loop").code == "path-outside"
    with pytest.raises(PathOutside):
        looking.call("GET", "/files", path="folder")


def test_the_home_is_not_looked_at_but_for_the_runs(looking: Looking, home: Path) -> None:
    home.mkdir(exist_ok=True)
    (home / "daemon.json").write_text('{"token": "secret"}')
    assert refused(looking, str(home / "daemon.json")).code == "path-outside"
    assert refused(looking, str(looking.host.layout.ledger)).code == "path-outside"
    folder = looking.host.layout.run_folder("r_1")
    folder.mkdir(parents=True)
    (folder / "note.txt").write_text("hello")
    assert looking.content(str(folder / "note.txt")) == b"hello"


def test_not_even_a_source_that_holds_it_opens_the_home(looking: Looking, workspace: Any, home: Path) -> None:
    inbox = home.parent
    workspace.module("elsewhere", READS_AND_WRITES.format(source=inbox, target=inbox / "out.txt"))
    (inbox / "in.csv").write_text("a\n1\n")
    looking.run("elsewhere")
    assert looking.content(str(inbox / "in.csv")) == b"a\n1\n"
    (home / "daemon.json").write_text('{"token": "secret"}')
    (inbox / "link.csv").symlink_to(home / "daemon.json")
    for path in (home / "daemon.json", looking.host.layout.ledger, inbox / "link.csv"):
        assert refused(looking, str(path)).code == "path-outside"


@pytest.mark.parametrize("name", ["x.csv", "x.parquet", "x.txt"])
def test_a_fifo_is_never_opened(looking: Looking, workspace: Any, name: str) -> None:
    os.mkfifo(workspace.root / name)
    with pytest.raises(FlowsteadError) as caught:
        looking.info(name)
    assert caught.value.code == "not-a-file"
    with pytest.raises(FlowsteadError):
        looking.page(name)


def test_a_socket_and_a_folder_are_no_files(looking: Looking, workspace: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(workspace.root)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s.csv")
        assert refused(looking, "s.csv").code == "not-a-file"
    assert looking.info("databases")["kind"] == "folder"
    with pytest.raises(FlowsteadError) as caught:
        looking.content("databases")
    assert caught.value.code == "not-a-file"
    with pytest.raises(FlowsteadError) as caught:
        looking.call("GET", "/files", path="flow_modules/none")
    assert isinstance(caught.value, NotFound)


def test_a_link_put_in_after_the_check_is_not_followed(looking: Looking, workspace: Any, secret: Path) -> None:
    workspace.file("data/deep/x.txt", "mine")
    answer: FileAnswer = looking.call("GET", "/files/content", path="data/deep/x.txt")
    file = workspace.root / "data/deep/x.txt"
    file.unlink()
    file.symlink_to(secret)
    with pytest.raises(PathOutside):
        answer.open()
    file.unlink()
    (workspace.root / "data/deep").rmdir()
    (workspace.root / "data/deep").symlink_to(secret.parent)
    with pytest.raises(PathOutside):
        open_file(Place(str(workspace.root), "data/deep/secret.txt"))


def test_what_runs_have_read_and_written_elsewhere_is_seen(looking: Looking, workspace: Any, tmp_path: Path) -> None:
    source, target = tmp_path / "share" / "inbox", tmp_path / "results" / "copy.csv"
    source.mkdir(parents=True)
    target.parent.mkdir()
    (source / "day.csv").write_text("a,b\n1,2\n")
    (target.parent / "private.csv").write_text("x\n1\n")
    workspace.module("elsewhere", READS_AND_WRITES.format(source=source, target=target))
    assert refused(looking, str(source / "day.csv")).code == "path-outside"
    run_id = looking.run("elsewhere")
    assert looking.page(str(source / "day.csv"))["rows"] == [[1, 2]]
    assert looking.call("GET", "/files")["sources"] == [source.as_posix()]
    assert [entry["name"] for entry in looking.call("GET", "/files", path=str(source))["entries"]] == ["day.csv"]
    assert looking.page(run_id=run_id, step="copy")["rows"] == [[1, 2]]
    assert looking.page(str(target))["rows"] == [[1, 2]]
    # An output opens itself, not what stands beside it; nor does a source open what stands above it.
    assert refused(looking, str(target.parent / "private.csv")).code == "path-outside"
    assert refused(looking, str(source.parent)).code == "path-outside"
    (source / "escape").symlink_to(target.parent)
    assert refused(looking, str(source / "escape" / "private.csv")).code == "path-outside"


_PARTS = st.one_of(
    st.sampled_from(["..", ".", "", "data", "x.csv", "out", "loop", "secret.txt", "outside", "~", "C:", "\\", "NUL"]),
    st.text(st.characters(exclude_characters="\0"), max_size=8),
)


@settings(
    max_examples=300 if COMPLETE_RUN else 100,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    deadline=None,
)
@given(st.lists(_PARTS, max_size=8), st.sampled_from(["", "/", "//", "\\\\", "C:\\", "data/"]))
@example(["out", "secret.txt"], "")
@example(["..", "..", "outside", "secret.txt"], "data/")
def test_no_path_reaches_what_is_outside(
    looking: Looking, workspace: Any, secret: Path, parts: list[str], before: str
) -> None:
    root = workspace.root
    if not (root / "data").exists():
        workspace.file("data/x.csv", "a\n1\n")
        (root / "out").symlink_to(secret.parent)
        (root / "data" / "out").symlink_to("../../../outside")
        (root / "loop").symlink_to(".")
    path = before + "/".join(parts)
    for route in ("/files/content", "/files"):
        try:
            answer = looking.call("GET", route, path=path)
        except FlowsteadError:
            continue
        if isinstance(answer, FileAnswer):
            with answer.open() as file:
                assert SECRET not in file.read()
        else:
            assert "secret.txt" not in [entry["name"] for entry in answer["entries"]]


# -- what a file is, and its content -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.txt", b"hello", "text"),
        ("noname", b"plain text, no suffix", "text"),
        ("a.bin", b"\0\1\2", "binary"),
        ("a.md", b"# Title", "markdown"),
        ("a.html", b"<script>1</script>", "html"),
        ("a.pdf", b"%PDF-1.7", "pdf"),
        ("a.png", PNG, "image"),
        ("a.svg", b"<svg/>", "image"),
        ("a.json", b'{"a": 1}', "json"),
        ("list.json", b"[1, 2]", "json"),
        ("rows.json", b'[{"a": 1}]', "table"),
        ("lines.json", b'{"a": 1}\n{"a": 2}\n', "table"),
        ("a.py", b"import os", "text"),
        ("latin.log", "Gr\xfc\xdfe".encode("latin-1"), "text"),
    ],
)
def test_what_a_file_is(looking: Looking, workspace: Any, name: str, content: bytes, kind: str) -> None:
    (workspace.root / name).write_bytes(content)
    answer = looking.info(name)
    assert (answer["kind"], answer["size"], answer["problem"]) == (kind, len(content), None)
    assert answer["modified_at"].endswith("Z")
    assert looking.content(name) == content


def test_what_a_browser_gets_can_do_nothing(looking: Looking, workspace: Any) -> None:
    for name in ("a.html", "a.svg", "a.md", "a.txt", "a.json", "a.pdf", "a.zip", 'ü"x.csv'):
        (workspace.root / name).write_bytes(b"<script>alert(1)</script>\0"[: 25 + name.endswith("zip")])
        answer: FileAnswer = looking.call("GET", "/files/content", path=name)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        if name != "a.pdf":
            policy = answer.headers["Content-Security-Policy"]
            assert policy.startswith("sandbox;") and "default-src 'none'" in policy and "script" not in policy
        inline = name not in ("a.zip", 'ü"x.csv')
        assert answer.headers["Content-Disposition"].startswith("inline" if inline else "attachment")
        assert answer.headers["Content-Disposition"].isascii()
        assert all("\n" not in value and "\r" not in value for value in answer.headers.values())
    assert looking.call("GET", "/files/content", path="a.html").media_type.startswith("text/html")
    assert looking.call("GET", "/files/content", path="a.md").media_type.startswith("text/plain")


def test_long_text_comes_in_parts_that_end_with_lines(looking: Looking, workspace: Any) -> None:
    text = "".join(f"line {number} grüße €uro\n" for number in range(2000))
    (workspace.root / "long.log").write_text(text, encoding="utf-8")
    parts: list[str] = []
    offset = 0
    while offset is not None:
        answer = looking.call("GET", "/files/text", path="long.log", offset=offset, limit=1000)
        parts.append(answer["text"])
        offset = answer["next"]
    assert "".join(parts) == text
    assert all(part.endswith("\n") for part in parts)
    assert len(parts) > 30


@pytest.mark.parametrize("limit", [16, 17, 18, 19, 64])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_characters_are_never_cut(looking: Looking, workspace: Any, encoding: str, limit: int) -> None:
    text = "a€𝄞üß" * 50
    (workspace.root / "one-line.txt").write_bytes(text.encode(encoding))
    parts: list[str] = []
    offset = 0
    while offset is not None:
        answer = looking.call("GET", "/files/text", path="one-line.txt", offset=offset, limit=limit)
        parts.append(answer["text"])
        offset = answer["next"]
    assert "".join(parts) == text
    assert looking.info("one-line.txt")["kind"] == "text"


def test_bytes_that_are_no_text_do_not_end_the_reading(looking: Looking, workspace: Any) -> None:
    (workspace.root / "broken.txt").write_bytes(b"ok \xff\xfe\x80" * 20 + b"\xe2\x82")
    answer = looking.call("GET", "/files/text", path="broken.txt")
    assert answer["next"] is None and answer["text"].startswith("ok \ufffd")


@pytest.mark.parametrize("fields", [{"limit": 0}, {"limit": 10**9}, {"cursor": -1}, {"limit": True}, {"limit": "5"}])
def test_numbers_out_of_reach_are_refused(looking: Looking, fields: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        looking.call("GET", "/files", **fields)

"""Path namespaces: where names lead, and that none of them leads out."""

import hashlib
import os
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowstead.flow.errors import PathRefused
from flowstead.flow.paths import MirrorPaths, SourcePaths, relative_name


@pytest.fixture
def source(tmp_path):
    return SourcePaths(tmp_path / "in", tmp_path / "in/2024/north.data.csv")


def test_source_names(source, tmp_path):
    root = tmp_path / "in"
    assert (source.root, source.path) == (root, root / "2024/north.data.csv")
    assert source.relative_path == Path("2024/north.data.csv")
    assert source.folder == root / "2024"
    assert source.dir == root / "2024/north.data"
    assert source.with_suffix(".json") == source.with_extension("json") == root / "2024/north.data.json"
    assert source.file("notes.txt") == root / "2024/notes.txt"
    assert source.file("../lookup.csv") == root / "lookup.csv"
    assert source.namespaced_file("a/b.txt") == root / "2024/north.data/a/b.txt"
    assert source.root_file("lookup.csv") == root / "lookup.csv"
    assert not root.exists(), "reading names makes no folder"


def test_mirror_names_come_with_their_folders(source, tmp_path):
    root = tmp_path / "out"
    mirror = MirrorPaths(root, source)
    assert (mirror.root, mirror.source_path) == (root, source.path)
    assert mirror.relative_path == Path("2024/north.data.csv")
    assert not root.exists()
    assert mirror.with_suffix(".parquet") == mirror.with_extension("parquet") == root / "2024/north.data.parquet"
    assert (root / "2024").is_dir() and not (root / "2024/north.data").exists()
    assert mirror.dir == root / "2024/north.data" and mirror.dir.is_dir()
    assert mirror.folder == root / "2024"
    for path in (mirror.file("deep/a.txt"), mirror.namespaced_file("b/c.txt"), mirror.root_file("all/d.txt")):
        path.write_text("x")
    assert sorted(p.relative_to(root).as_posix() for p in root.rglob("*.txt")) == [
        "2024/deep/a.txt", "2024/north.data/b/c.txt", "all/d.txt"]  # fmt: skip


@pytest.mark.parametrize("with_root", [True, False])
def test_without_a_file_names_are_relative_to_the_root(tmp_path, with_root):
    source = SourcePaths(tmp_path / "in") if with_root else None
    mirror = MirrorPaths(tmp_path / "out", source)
    namespaces = [mirror] if source is None else [mirror, source]
    for names in namespaces:
        assert names.relative_path is None
        assert names.file("a.txt") == names.namespaced_file("a.txt") == names.root_file("a.txt") == names.root / "a.txt"
        assert names.dir == names.folder == names.root
        for build in (names.with_suffix, names.with_extension):
            with pytest.raises(PathRefused, match="needs one source file") as caught:
                build(".csv")
            assert caught.value.code == "path-no-source-file"
    assert mirror.source_path is None


def test_a_source_that_is_one_file_has_its_folder_as_root(tmp_path):
    file = tmp_path / "book.xlsx"
    file.write_text("x")
    assert SourcePaths.of(file) == SourcePaths.of(file, "book.xlsx") == SourcePaths(tmp_path, file)
    assert SourcePaths.of(tmp_path) == SourcePaths(tmp_path, None)
    assert SourcePaths.of(tmp_path, "a/b.csv").path == tmp_path / "a/b.csv"


@pytest.mark.parametrize("path", ["other/a.csv", "in/../secret.csv", "in2/a.csv"])
def test_a_source_file_lies_below_its_root(tmp_path, path):
    with pytest.raises(PathRefused) as caught:
        SourcePaths(tmp_path / "in", tmp_path / path)
    assert caught.value.code == "path-escapes"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("/etc/passwd", "path-absolute"),
        ("\\share\\a", "path-absolute"),
        ("\\\\server\\share\\a", "path-absolute"),
        ("C:\\a.txt", "path-absolute"),
        ("c:a.txt", "path-absolute"),
        ("./c:a.txt", "path-absolute"),
        ("x/../c:a.txt", "path-absolute"),
        (Path("/etc/passwd"), "path-absolute"),
        ("../../a.txt", "path-escapes"),
        ("..\\..\\a.txt", "path-escapes"),
        ("a/../../../b.txt", "path-escapes"),
        ("x/y/../../../../in2/b", "path-escapes"),
        ("", "path-empty"),
        ("  ", "path-empty"),
        (".", "path-empty"),
        ("./", "path-empty"),
        ("..", "path-empty"),
        ("a/..", "path-empty"),
        ("a\0b", "path-invalid"),
        ("...", "path-invalid"),
        (".. /.. /.. /a", "path-invalid"),
        (3, "path-invalid"),
        (None, "path-invalid"),
        (b"a", "path-invalid"),
    ],
)
@pytest.mark.parametrize("side", ["source", "mirror"])
def test_names_that_leave_the_root_are_refused(source, tmp_path, side, name, code):
    names = source if side == "source" else MirrorPaths(tmp_path / "out", source)
    with pytest.raises(PathRefused) as caught:
        names.file(name)
    error = caught.value
    assert isinstance(error, ValueError)
    assert error.code == code
    assert f"{side}.file(name) is " in error.message and "relative to" in error.hint
    assert not (tmp_path / "out").exists(), "a refused name makes no folder"


@pytest.mark.parametrize("extension", ["", ".", "..", "../x", "a/b", "a\\b", "c:x", "x.", "x ", " x", "\0", None, 3])
def test_what_is_no_extension_is_refused(source, extension):
    with pytest.raises(PathRefused) as caught:
        source.with_suffix(extension)
    assert caught.value.code == "path-invalid" and repr(extension) in str(caught.value)


PARTS = st.sampled_from(["..", ".", "a", "b.txt", "C:", "c:x", "", " ", "...", ".. ", "~", "\0"]) | st.text(max_size=3)
NAMES = st.lists(st.tuples(PARTS, st.sampled_from(["/", "\\", ""])), max_size=6).map(
    lambda pairs: "".join(part + separator for part, separator in pairs)
)


@given(NAMES, st.sampled_from(["", "x", "x/y"]))
def test_no_name_leads_out_of_the_root_on_any_system(name, base):
    try:
        relative = relative_name(name, argument="name", root=Path("/data/root"), base=PurePosixPath(base))
    except PathRefused:
        return
    assert relative.parts and ".." not in relative.parts
    posix = os.path.normpath(PurePosixPath("/data/root") / relative)
    assert posix.startswith("/data/root/")
    windows = PureWindowsPath("D:/data/root") / str(relative)
    assert windows.is_relative_to(PureWindowsPath("D:/data/root")) and windows.drive == "D:"
    assert ".." not in windows.parts and windows.root == "\\"


def test_the_file_hash_is_that_of_the_relative_path(source, tmp_path):
    from flowstead import FlowContext
    from flowstead.flow.local import LocalSink

    context = FlowContext(
        flow_name="f", group="g", run_id="r", attempt=1, params={}, module_dir=tmp_path, workspace_root=None,
        source=source, mirror=None, sink=LocalSink({}),
    )  # fmt: skip
    assert context.metadata["file_hash"] == hashlib.sha1(b"2024/north.data.csv").hexdigest()

import os
import sys

import pytest

from flowstead.flow.batch import Batch, FileRef
from flowstead.flow.files import is_temporary, iter_files, scan, scan_named


@pytest.mark.parametrize(
    "name", ["~$book.xlsx", ".hidden", ".~lock.a#", "a.csv~", "a.TMP", "a.part", "a.crdownload", ".a.swp", "a.swp"]
)
def test_temporary_names(name):
    assert is_temporary(name)


@pytest.mark.parametrize("name", ["a.csv", "a~b.csv", "tmp.csv", "part", "a.tmp.csv", "~a.csv"])
def test_ordinary_names(name):
    assert not is_temporary(name)


@pytest.fixture
def folder(tmp_path):
    for name in ("b.CSV", "a.csv", "~$a.csv", "a.csv.part", "c.txt", "sub/d.csv", "sub/deep/e.csv", ".git/f.csv"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path


def test_scan_gives_the_signature_of_every_file_below(folder):
    found = scan(folder)
    assert sorted(found) == ["a.csv", "b.CSV", "c.txt", "sub/d.csv", "sub/deep/e.csv"]
    status = (folder / "sub/d.csv").stat()
    assert found["sub/d.csv"] == (status.st_size, status.st_mtime_ns)
    assert sorted(scan(folder, (".csv",))) == ["a.csv", "b.CSV", "sub/d.csv", "sub/deep/e.csv"]


def test_scan_of_a_single_file_and_of_a_missing_root(folder):
    assert list(scan(folder / "c.txt", (".csv",))) == ["c.txt"]
    with pytest.raises(FileNotFoundError):
        scan(folder / "gone")


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_links_to_files_count_and_links_to_folders_or_nowhere_do_not(folder):
    (folder / "link.csv").symlink_to(folder / "a.csv")
    (folder / "loop").symlink_to(folder)
    (folder / "loop.csv").symlink_to(folder)
    (folder / "nowhere.csv").symlink_to(folder / "gone")
    assert sorted(scan(folder, (".csv",))) == ["a.csv", "b.CSV", "link.csv", "sub/d.csv", "sub/deep/e.csv"]
    names = [entry.name for entry in iter_files(folder, (".csv",), recursive=True)]
    assert names == ["a.csv", "b.CSV", "link.csv", "d.csv", "e.csv"]


def test_a_folder_that_cannot_be_read_is_not_taken_for_empty(folder, monkeypatch):
    scandir = os.scandir

    def refuse(path):
        if os.path.basename(path) == "sub":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError):
        scan(folder)


def test_collected_files_are_sorted_and_a_missing_root_has_none(folder):
    def names(root, **more):
        return Batch(FileRef(entry) for entry in iter_files(root, (".csv",), **more)).names()

    assert names(folder) == ("a.csv", "b.CSV")
    assert names(folder, recursive=True) == ("a.csv", "b.CSV", "d.csv", "e.csv")
    assert names(folder / "gone") == ()
    assert names(folder / "a.csv") == ("a.csv",)
    assert len(list(iter_files(folder))) == 3


def test_a_look_at_names_finds_what_a_look_at_everything_does(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    for name in ("a.csv", "b.txt", ".c.csv", "~$d.csv", "deep/er/e.csv", ".hidden/f.csv", "deep/.hidden/g.csv"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (outside / "in").mkdir(parents=True)
    (outside / "in" / "h.csv").write_text("h")
    (root / "linked").symlink_to(outside)
    (root / "deep" / "linked.csv").symlink_to(outside / "in" / "h.csv")
    (root / "nowhere.csv").symlink_to(outside / "none")
    names = [path.relative_to(root).as_posix() for path in sorted(root.rglob("*"))]
    names += ["linked/in", "linked/in/h.csv", "gone.csv", "gone/x.csv", "a.csv/x.csv", ""]
    everything = scan(root, (".csv",))
    assert set(everything) == {"a.csv", "deep/er/e.csv", "deep/linked.csv"}
    assert scan_named(root, names, (".csv",)) == everything
    assert scan_named(root, ["deep"], (".csv",)) == {
        name: signature for name, signature in everything.items() if name.startswith("deep/")
    }
    for name in names:
        found = scan_named(root, [name], (".csv",))
        inside = {each for each in everything if each == name or each.startswith(f"{name}/")} if name else set()
        assert set(found) == inside, name

import os
import sys

import pytest

from flowstead.flow.batch import Batch, FileRef
from flowstead.flow.files import is_temporary, iter_files, scan


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

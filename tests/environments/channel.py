"""A conda channel in a folder, made by the tests: the interpreter that runs them as a `python` package, and small
packages beside it. Installing from it needs no network, and what is installed starts.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import shutil
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

PLACEHOLDER = "/placeholder" * 21 + "/pl"
"""255 characters, as conda-build's: room for the path of any environment."""

_LEFT_OUT = {
    "site-packages", "dist-packages", "test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3",
    "pydoc_data",
}  # fmt: skip


@dataclass(frozen=True)
class File:
    """A file of a package; `placeholder` is the path in it that stands for the environment's, `link` its target."""

    path: str
    content: bytes = b""
    mode: int = 0o644
    placeholder: str | None = None
    binary: bool = False
    link: str | None = None
    mtime: float = 1_700_000_000


@dataclass(frozen=True)
class Built:
    """A package to be put in a channel."""

    name: str
    version: str
    files: tuple[File, ...] = ()
    depends: tuple[str, ...] = ()
    constrains: tuple[str, ...] = ()
    subdir: str = "noarch"
    build: str = "0"
    entry_points: tuple[str, ...] = ()
    """Scripts of a noarch package, as `name = module:function`."""

    @property
    def filename(self) -> str:
        return f"{self.name}-{self.version}-{self.build}.conda"


@dataclass
class LocalChannel:
    """A channel at `folder`: put packages in it, then `index` it."""

    folder: Path
    built: list[Built] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.folder.as_uri()

    def add(self, *packages: Built) -> None:
        """Writes packages into the channel and indexes it."""
        (self.folder / "noarch").mkdir(parents=True, exist_ok=True)
        for package in packages:
            path = self.folder / package.subdir / package.filename
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(_archive(package))
            self.built.append(package)
        self.index()

    def index(self) -> None:
        """Writes repodata.json for what is in the channel."""
        from rattler.index import index_fs

        asyncio.run(index_fs(self.folder, write_zst=False, write_shards=False, force=True))

    def copy(self, folder: Path) -> LocalChannel:
        """A channel with the same packages, for tests that add or break some."""
        shutil.copytree(self.folder, folder, copy_function=os.link)
        for repodata in folder.glob("*/repodata*"):
            text = repodata.read_bytes()
            repodata.unlink()
            repodata.write_bytes(text)
        return LocalChannel(folder, list(self.built))


def library(name: str, version: str, *depends: str, source: str = "", **files: str) -> Built:
    """A small noarch Python package: module `name` with `version` in it, `source` below that, and more files."""
    module = f'version = "{version}"\n{source}'
    made = [File(f"site-packages/{name}/__init__.py", module.encode())]
    made += [File(f"site-packages/{path}", text.encode()) for path, text in files.items()]
    information = f"site-packages/{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    record = "".join(f"{each.path.removeprefix('site-packages/')},,\n" for each in made)
    made += [
        File(f"{information}/METADATA", metadata.encode()),
        File(f"{information}/INSTALLER", b"conda\n"),
        File(f"{information}/RECORD", record.encode()),
    ]
    return Built(name, version, tuple(made), ("python", *depends))


def script(name: str) -> Built:
    """A noarch package with a script of its name, which prints where its environment is."""
    source = "import sys\n\ndef main():\n    print(sys.prefix)\n"
    return replace(library(name, "1.0", source=source), entry_points=(f"{name} = {name}:main",))


def with_prefixes(name: str, version: str = "1.0") -> Built:
    """A package whose files know where they are: a text, a script, and a binary with two paths in one string."""
    inside = PLACEHOLDER.encode()
    binary = b"\x7fBIN\0" + inside + b"/share:" + inside + b"/lib\0after\0" + inside + b"\0end"
    return Built(
        name,
        version,
        (
            File("share/prefixed.txt", inside + b"/share\n", placeholder=PLACEHOLDER),
            File("share/prefixed.bin", binary, placeholder=PLACEHOLDER, binary=True),
            File("bin/prefixed", b"#!" + inside + b"/bin/python\nimport sys\nprint(sys.prefix)\n", 0o755, PLACEHOLDER),
            File("share/prefixed.link", link="prefixed.txt"),
        ),
        ("python",),
        subdir=this_subdir(),
    )


def this_subdir() -> str:
    from rattler import Subdir

    return str(Subdir.current())


def can_repack() -> bool:
    """Whether the interpreter that runs this can be made a package."""
    return sys.platform == "linux"


def repacked_python() -> Built:
    """The interpreter that runs this, without test suites and site-packages, as a `python` package."""
    version = ".".join(str(each) for each in sys.version_info[:3])
    short = sysconfig.get_python_version()
    tag = sys.implementation.cache_tag or ""
    executable = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    files = [
        File(f"bin/python{short}", _relocatable(executable.read_bytes()), 0o755),
        *(File(f"bin/{name}", link=f"python{short}") for name in ("python", "python3")),
    ]
    if sysconfig.get_config_var("Py_ENABLE_SHARED"):
        folder, name = (str(sysconfig.get_config_var(each)) for each in ("LIBDIR", "INSTSONAME"))
        shared = Path(folder) / name
        if not shared.exists():
            shared = Path(sys.base_prefix) / "lib" / name
        files.append(File(f"lib/{name}", shared.read_bytes(), 0o755))
    for root in {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}:
        files += _standard_library(Path(root), f"lib/python{short}", tag)
    unique = {each.path: each for each in files}
    return Built("python", version, tuple(unique.values()), subdir=this_subdir())


def _standard_library(root: Path, target: str, tag: str) -> Iterator[File]:
    prefix = sys.base_prefix
    for folder, folders, names in os.walk(root):
        folders[:] = [each for each in folders if each not in _LEFT_OUT and not each.startswith("config-")]
        for name in names:
            path = Path(folder, name)
            compiled = path.parent.name == "__pycache__"
            if (compiled and not name.endswith(f".{tag}.pyc")) or not path.is_file():
                continue
            content = path.read_bytes()
            known = name.startswith("_sysconfigdata") and not compiled and len(prefix) > 8
            yield File(
                f"{target}/{path.relative_to(root).as_posix()}",
                content,
                0o755 if ".so" in name else 0o644,
                prefix if known and prefix.encode() in content else None,
                mtime=path.stat().st_mtime,
            )


def _relocatable(executable: bytes) -> bytes:
    """An ELF program that looks for its libraries beside itself, instead of where it was built."""
    here = b"$ORIGIN/../lib"
    was = str(sysconfig.get_config_var("LIBDIR") or "").encode()
    if len(was) < len(here) or was + b"\0" not in executable:
        return executable
    return executable.replace(was + b"\0", here.ljust(len(was), b"\0") + b"\0")


# -- the package format ----------------------------------------------------------------------------------------------


def _archive(package: Built) -> bytes:
    """A `.conda`: a zip of two zstd-compressed tars."""
    index: dict[str, Any] = {
        "name": package.name,
        "version": package.version,
        "build": package.build,
        "build_number": 0,
        "depends": list(package.depends),
        "constrains": list(package.constrains),
        "subdir": package.subdir,
        "timestamp": 1_700_000_000_000,
    }
    if package.subdir == "noarch":
        index["noarch"] = "python"
    paths = [_path_of(each) for each in package.files]
    about = [
        ("info/index.json", index),
        ("info/paths.json", {"paths": paths, "paths_version": 1}),
        ("info/about.json", {"summary": f"{package.name} of the tests"}),
    ]
    if package.subdir == "noarch":
        about.append(
            (
                "info/link.json",
                {
                    "noarch": {"type": "python", "entry_points": list(package.entry_points)},
                    "package_metadata_version": 1,
                },
            )
        )
    information = [File(path, json.dumps(content).encode()) for path, content in about]
    stem = package.filename.removesuffix(".conda")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("metadata.json", json.dumps({"conda_pkg_format_version": 2}))
        archive.writestr(f"pkg-{stem}.tar.zst", _tar(package.files))
        archive.writestr(f"info-{stem}.tar.zst", _tar(information))
    return buffer.getvalue()


def _path_of(each: File) -> dict[str, Any]:
    content = each.content
    entry: dict[str, Any] = {
        "_path": each.path,
        "path_type": "softlink" if each.link else "hardlink",
        "sha256": hashlib.sha256(content).hexdigest(),
        "size_in_bytes": len(content),
    }
    if each.placeholder:
        entry |= {"prefix_placeholder": each.placeholder, "file_mode": "binary" if each.binary else "text"}
    return entry


def _tar(files: Iterable[File]) -> bytes:
    import pyarrow

    sink = pyarrow.BufferOutputStream()
    with (
        pyarrow.CompressedOutputStream(sink, "zstd") as compressed,
        tarfile.open(fileobj=compressed, mode="w|") as archive,
    ):
        for each in files:
            member = tarfile.TarInfo(each.path)
            member.mode, member.mtime = each.mode, int(each.mtime)
            if each.link:
                member.type, member.linkname = tarfile.SYMTYPE, each.link
                archive.addfile(member)
            else:
                member.size = len(each.content)
                archive.addfile(member, io.BytesIO(each.content))
    return sink.getvalue().to_pybytes()

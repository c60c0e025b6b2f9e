"""From the text of a flow module to a module object and its flow.

Nothing here touches `sys.path`: a flow module named `csv` shadows no other. `flow_helpers` is found through the
`__import__` of each module's own `__builtins__`, so that two workspaces in one process never see each other's.
"""

from __future__ import annotations
import __future__ as future_features

import builtins
import hashlib
import linecache
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any

from flowstead.flow.notebooks import ModuleLoadError, code_cells, magic_line

if TYPE_CHECKING:
    from flowstead.flow.definition import Flow

_FUTURE_FLAGS = 0
for _name in future_features.all_feature_names:
    _FUTURE_FLAGS |= getattr(future_features, _name).compiler_flag


def load_module(source: bytes, *, origin: Path, stem: str, helpers_dir: Path | None) -> ModuleType:
    """Executes `source` as the module `flow_modules.<stem>` and returns it.

    `origin` is the authored file: its suffix tells `.py` from `.ipynb`, and tracebacks, `__file__` and the files of
    helpers are told as lying there, wherever the text came from. Code of a notebook is located as
    `<origin>#cell-<n>`, code cells counted from 1, lines within the cell. `helpers_dir` is the folder that
    `flow_helpers` is imported from; None means that there are none.

    Raises ModuleLoadError (`notebook-invalid`, `notebook-magic`), SyntaxError, and whatever the module raises.
    """
    blocks = _compile_notebook(source, origin) if origin.suffix.lower() == ".ipynb" else [_compile(source, str(origin))]
    name = f"flow_modules.{stem}"
    if "flow_modules" not in sys.modules:
        parent = ModuleType("flow_modules")
        parent.__path__ = []
        sys.modules["flow_modules"] = parent
    module = ModuleType(name)
    module.__file__ = str(origin)
    module.__package__ = "flow_modules"
    if helpers_dir is not None:
        _see_helpers(module, _FINDER.mount(helpers_dir, origin.parent / "flow_helpers"))
    previous = sys.modules.get(name)
    # Registered before it runs: classes look up their module while they are being defined.
    sys.modules[name] = module
    try:
        for block in blocks:
            exec(block, module.__dict__)
    except BaseException:
        if previous is None:
            sys.modules.pop(name, None)
        else:
            sys.modules[name] = previous
        raise
    return module


def build_flow(module: ModuleType, *, stem: str, module_dir: Path, workspace_root: Path | None) -> Flow:
    """The flow that `module.build()` returns, bound to its name and place.

    Raises ModuleLoadError (`build-missing`, `build-invalid`), FlowDefinitionError, and whatever `build` raises.
    """
    from flowstead.flow.definition import Flow

    build = getattr(module, "build", None)
    if build is None:
        hint = 'Add: def build(): return Flow("group").step(...)'
        raise ModuleLoadError("The module has no function build().", code="build-missing", hint=hint)
    if not callable(build):
        raise _build_invalid(f"build is {_article(build)}, not a function.", build)
    unwanted = _parameters(build)
    if unwanted:
        raise _build_invalid(f"build() takes no parameters, but this one takes {', '.join(unwanted)}.", build)
    flow = build()
    if not isinstance(flow, Flow):
        raise _build_invalid(f"build() returned {_article(flow)}, not a Flow.", build)
    return flow.bind(name=stem, module_dir=module_dir, workspace_root=workspace_root)


def load_version(
    folder: Path, helpers_dir: Path | None, *, origin: Path, stem: str, workspace_root: Path | None
) -> Flow:
    """The flow of a stored version: `folder` holds `module.py` or `module.ipynb`, by the suffix of `origin`.

    Raises what `load_module` and `build_flow` raise, and OSError when the stored text cannot be read.
    """
    source = (folder / f"module{origin.suffix.lower()}").read_bytes()
    module = load_module(source, origin=origin, stem=stem, helpers_dir=helpers_dir)
    return build_flow(module, stem=stem, module_dir=origin.parent, workspace_root=workspace_root)


def _compile(source: bytes | str, filename: str, flags: int = 0) -> CodeType:
    text = source if isinstance(source, str) else _decode(source)
    # Without a time the entry is never thrown away, nor replaced by what the file holds by now.
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    return compile(source, filename, "exec", flags=flags, dont_inherit=True)


def _compile_notebook(source: bytes, origin: Path) -> list[CodeType]:
    blocks: list[CodeType] = []
    flags = 0
    for number, text in enumerate(code_cells(source), start=1):
        try:
            block = _compile(text, f"{origin}#cell-{number}", flags)
        except SyntaxError:
            line = magic_line(text)
            if line is None:
                raise
            magic = text.splitlines()[line - 1].strip()
            raise ModuleLoadError(
                f"Code cell {number} uses a notebook magic: {magic}",
                code="notebook-magic",
                hint="Flows run as plain Python: remove the line, or write it in Python (subprocess, os.chdir, ...).",
                line=line,
                cell=number,
            ) from None
        flags |= block.co_flags & _FUTURE_FLAGS
        blocks.append(block)
    return blocks


def _decode(source: bytes) -> str:
    try:
        return source.decode("utf-8-sig")
    except UnicodeDecodeError:
        return source.decode("latin-1")


def _parameters(build: Callable[..., Any]) -> list[str]:
    import inspect

    try:
        parameters = inspect.signature(build).parameters.values()
    except (TypeError, ValueError):
        return []
    return [parameter.name for parameter in parameters if parameter.kind.name not in ("VAR_POSITIONAL", "VAR_KEYWORD")]


def _build_invalid(message: str, build: object) -> ModuleLoadError:
    code = getattr(build, "__code__", None)
    line = cell = None
    if code is not None:
        line = code.co_firstlineno
        number = code.co_filename.rpartition("#cell-")[2]
        cell = int(number) if number.isdecimal() else None
    hint = 'Write it as: def build(): return Flow("group").step(...)'
    return ModuleLoadError(message, code="build-invalid", hint=hint, line=line, cell=cell)


def _article(value: object) -> str:
    if value is None:
        return "None"
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _see_helpers(module: ModuleType, package: str) -> None:
    """Gives `module` its own builtins, in which `flow_helpers` means `package`."""
    plain_import = builtins.__import__

    def scoped_import(
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        head, _, rest = name.partition(".")
        if level or head != "flow_helpers":
            return plain_import(name, globals, locals, fromlist or (), level)
        try:
            return plain_import(f"{package}.{rest}" if rest else package, globals, locals, fromlist or (), 0)
        except ModuleNotFoundError as error:
            missing = error.name or ""
            if missing.partition(".")[0] != package:
                raise
            told = "flow_helpers" + missing[len(package) :]
            raise ModuleNotFoundError(f"No module named {told!r}", name=told) from None

    scoped = dict(vars(builtins))
    scoped["__import__"] = scoped_import
    module.__dict__["__builtins__"] = scoped


class _HelperLoader:
    """Executes one helper; `file` is where its text is read, None for a folder without `__init__.py`."""

    def __init__(self, package: str, file: Path | None, authored: Path) -> None:
        self.package = package
        self.file = file
        self.authored = authored
        self.source = b""

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        if self.file is None:
            return
        self.source = self.file.read_bytes()
        code = _compile(self.source, str(self.authored))
        _see_helpers(module, self.package)
        exec(code, module.__dict__)

    def get_source(self, fullname: str) -> str:
        return _decode(self.source)

    def outdated(self) -> bool:
        try:
            return self.file is not None and self.file.read_bytes() != self.source
        except OSError:
            return True


class _HelpersFinder:
    """Finds the helpers of every workspace that this process loads modules of."""

    def __init__(self) -> None:
        self.folders: dict[str, tuple[Path, Path]] = {}

    def mount(self, folder: Path, authored: Path) -> str:
        """The package name under which `folder` is imported, as if it were `authored`.

        The name depends on `authored` alone: what is pickled today unpickles after the helpers have changed.
        """
        digest = hashlib.sha256(os.fsencode(authored)).hexdigest()[:12]
        package = f"flow_helpers_{digest}"
        place = (folder, authored)
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)
        if self.folders.get(package, place) != place or self._outdated(package):
            for name in self._loaded(package):
                del sys.modules[name]
        self.folders[package] = place
        return package

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        package, *parts = fullname.split(".")
        place = self.folders.get(package)
        if place is None:
            return None
        folder, authored = place[0].joinpath(*parts), place[1].joinpath(*parts)
        is_package = folder.is_dir()
        if is_package:
            file, authored = folder / "__init__.py", authored / "__init__.py"
        else:
            file, authored = folder.with_name(f"{folder.name}.py"), authored.with_name(f"{folder.name}.py")
        found = file.is_file()
        if not (found or is_package):
            return None
        loader = _HelperLoader(package, file if found else None, authored)
        spec = ModuleSpec(fullname, loader, origin=str(authored) if found else None, is_package=is_package)  # pyright: ignore[reportArgumentType]
        spec.has_location = found
        if is_package:
            spec.submodule_search_locations = [str(folder)]
        return spec

    def _loaded(self, package: str) -> list[str]:
        return [name for name in list(sys.modules) if name == package or name.startswith(f"{package}.")]

    def _outdated(self, package: str) -> bool:
        loaders = (getattr(sys.modules[name], "__loader__", None) for name in self._loaded(package))
        return any(isinstance(loader, _HelperLoader) and loader.outdated() for loader in loaders)


_FINDER = _HelpersFinder()

"""environment.yml and pixi manifests: what they ask for, and where they are wrong."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from flowstead.environments.conda_channels import this_platform
from flowstead.environments.conda_manifest import read_environment_yml, read_pixi
from flowstead.environments.declaration import Declaration
from flowstead.model.errors import EnvironmentUnusable, ManifestInvalid

pytest.importorskip("yaml", reason="the extra conda is not installed")

HERE = this_platform()
ELSEWHERE = "win-64" if HERE != "win-64" else "linux-64"


def conda(folder: Path, text: str) -> Declaration:
    path = folder / "environment.yml"
    path.write_text(textwrap.dedent(text), "utf-8")
    return read_environment_yml(path, folder)


def pixi(folder: Path, text: str, name: str = "pixi.toml") -> Declaration:
    path = folder / name
    path.write_text(textwrap.dedent(text).replace("ELSEWHERE", ELSEWHERE).replace("HERE", HERE), "utf-8")
    return read_pixi(path, folder)


def asked(declaration: Declaration) -> list[tuple[str, int | None]]:
    return [(each.text, each.line) for each in declaration.requirements]


def pip(declaration: Declaration) -> list[tuple[str, int | None]]:
    return [(each.text, each.line) for each in declaration.pip]


# -- environment.yml -------------------------------------------------------------------------------------------------


def test_an_environment_yml_has_channels_packages_and_what_pip_installs(tmp_path: Path) -> None:
    found = conda(
        tmp_path,
        """\
        name: ignored
        channels: [second, conda-forge, nodefaults, ./mine]
        dependencies:
          - python=3.11
          - numpy>=1,<2
          - "second::mill =1.0=build_0"  # a comment
          - flowstead >=0.1
          - ./mine::grain
          - pip:
              - requests[socks]>=2
              - flowstead
              - --extra-index-url https://packages.example/simple
        prefix: /somewhere
        """,
    )

    mine = (tmp_path / "mine").as_uri()
    assert found.channels == ("second", "conda-forge", mine)
    assert asked(found) == [
        ("python=3.11", 4),
        ("numpy>=1,<2", 5),
        ("second::mill =1.0=build_0", 6),
        (f"{mine}::grain", 8),
    ]
    assert pip(found) == [("requests[socks]>=2", 10)]
    assert found.options == ("--extra-index-url https://packages.example/simple",)
    assert (found.provider, found.file, found.platforms) == ("conda", "environment.yml", (HERE,))


@pytest.mark.parametrize(
    ("channels", "expected"),
    [
        ("", ("conda-forge",)),
        ("channels:\n", ("conda-forge",)),
        ("channels: [a, defaults, a]\n", ("a", "main", "r")),
        ("channels: [file:///somewhere/channel]\n", ("file:///somewhere/channel",)),
        ("channels: [/somewhere/channel]\n", ("file:///somewhere/channel",)),
        ("channels: [owner/label/dev]\n", ("owner/label/dev",)),
    ],
)
def test_channels(tmp_path: Path, channels: str, expected: tuple[str, ...]) -> None:
    assert conda(tmp_path, f"{channels}dependencies: [python]\n").channels == expected


def test_variables_are_not_set_and_that_is_said(tmp_path: Path) -> None:
    found = conda(tmp_path, "dependencies: [python]\nvariables: {A: b}\n")

    assert "variables are not set" in found.why
    assert found.content() == conda(tmp_path, "dependencies: [python]\nname: other\n").content()


def test_local_packages_of_pip_are_told_by_their_whole_path(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "pyproject.toml").write_text(f'[project]\nname = "{name}"\nversion = "1"\n')
    found = conda(
        tmp_path,
        """\
        dependencies:
          - pip:
            - -e ./one[extra]
            - ./two
            - --find-links ./wheels
        """,
    )

    assert [(each.text, each.editable) for each in found.pip] == [
        (f"{tmp_path}/one[extra]", True),
        (f"{tmp_path}/two", False),
    ]
    assert found.options == (f"--find-links {tmp_path}/wheels",)


def test_files_that_pip_is_to_read_are_included(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "requirements.txt").write_text("# what pip installs\nalpha>=1\n")
    (tmp_path / "limits.txt").write_text("beta<2\n")

    found = conda(tmp_path, "dependencies:\n- pip:\n  - -r more/requirements.txt\n  - -c limits.txt\n  - beta\n")

    assert [(each.text, each.file, each.line) for each in found.pip] == [
        ("alpha>=1", "more/requirements.txt", 2),
        ("beta", "environment.yml", 5),
    ]
    assert [(each.text, each.file) for each in found.constraints] == [("beta<2", "limits.txt")]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "keys and values"),
        ("- python\n", 1, "keys and values"),
        ("name: x\n", None, "no list of dependencies"),
        ("name: x\ndependancies: [python]\n", 2, "'dependancies'"),
        ("name: x\ndependencies: python\n", 2, "no list under 'dependencies'"),
        ("dependencies:\n  - python\n  - 3.11\n", 3, "'3.11' (float)"),
        ("dependencies:\n  - python\n  -\n", 3, "a dependency must be a text"),
        ("dependencies:\n  - python\n  - [a]\n", 3, "a list"),
        ("dependencies:\n  - python\n  - '>=1'\n", 3, "names no package"),
        ("dependencies:\n  - conda: [a]\n", 2, "'conda'"),
        ("dependencies:\n  - pip: requests\n", 2, "no list under 'pip'"),
        ("dependencies:\n  - pip:\n    - ok\n    - 1.0\n", 4, "'1.0' (float)"),
        ("dependencies:\n  - pip:\n    - ok\n    - =1\n", 4, "cannot be read"),
        ("dependencies:\n  - pip:\n    - -e ./nowhere\n", 3, "not there"),
        ("dependencies: [a]\ndependencies: [b]\n", 2, "twice"),
        ("dependencies:\n  - a\n - b\n", 3, "not valid YAML"),
        ("dependencies: [a]\nname: 'open\n", 3, "not valid YAML"),
        ("dependencies: [a]\n---\ndependencies: [b]\n", 2, "not valid YAML"),
        ("dependencies: [a]\nname: &x !!python/object:os.system {}\nplatforms: [beos-1]\n", 3, "unknown platform"),
        ("dependencies: [a]\nchannels: [1]\n", 2, "a channel must be a text"),
        ("dependencies: [a]\nchannels: [nodefaults]\n", 2, "no channel"),
    ],
)
def test_what_is_wrong_in_an_environment_yml_is_told_with_its_line(
    tmp_path: Path, text: str, line: int | None, words: str
) -> None:
    with pytest.raises(ManifestInvalid) as raised:
        conda(tmp_path, text)

    assert words in raised.value.message
    assert raised.value.detail.get("line") == line
    assert raised.value.detail["file"] == "environment.yml"
    assert raised.value.hint


def test_a_manifest_for_other_machines_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestInvalid) as raised:
        conda(tmp_path, f"dependencies: [python]\nplatforms:\n  - {ELSEWHERE}\n")

    assert raised.value.code == "platform-excluded"
    assert HERE in raised.value.message and ELSEWHERE in raised.value.message
    assert raised.value.detail["line"] == 3
    assert conda(tmp_path, f"dependencies: [python]\nplatforms: [{ELSEWHERE}, {HERE}]\n").platforms == (HERE,)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@example(text="[" * 100_000)
@example(text="- " * 100_000)
@example(text="dependencies: &a [*a]\n")
@example(text="dependencies: \x00\n")
@example(text="? {}\n: 1\ndependencies: []\n")
@given(
    text=st.text(st.sampled_from("dependencies:pip-[]{}&*!'\"#\n ,>=1.\\|?%@\t"), max_size=60).map(
        lambda each: "dependencies:\n - " + each
    )
)
def test_no_text_ends_otherwise_than_with_a_declaration_or_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "environment.yml"
    path.write_text(text, "utf-8")

    try:
        assert read_environment_yml(path, tmp_path).provider == "conda"
    except ManifestInvalid as error:
        assert error.detail["file"] == "environment.yml"


def test_a_manifest_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "environment.yml").write_bytes(b"dependencies: [\xff\xfe]")

    for name, words in (("environment.yml", "UTF-8"), ("absent.yml", "is not there")):
        with pytest.raises(ManifestInvalid, match=words):
            read_environment_yml(tmp_path / name, tmp_path)


def test_where_the_extra_is_missing_the_command_that_installs_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.path", [])
    monkeypatch.setattr("sys.path_importer_cache", {})
    for name in ("rattler", "yaml"):
        monkeypatch.delitem(sys.modules, name, raising=False)

    with pytest.raises(EnvironmentUnusable) as raised:
        conda(tmp_path, "dependencies: [python]\n")

    assert raised.value.code == "conda-missing"
    assert 'pip install "flowstead[conda]"' in raised.value.hint


def test_whoever_reads_manifests_does_not_load_what_installs_them(tmp_path: Path) -> None:
    (tmp_path / "environment.yml").write_text("dependencies: [python]\n")
    code = (
        "import sys, pathlib as p; from flowstead.environments import conda, conda_manifest; "
        "conda_manifest.read_environment_yml(p.Path(sys.argv[1]), p.Path()); print('rattler' in sys.modules)"
    )
    place = tmp_path / "environment.yml"
    assert subprocess.check_output([sys.executable, "-c", code, place], text=True).strip() == "False"


# -- pixi ------------------------------------------------------------------------------------------------------------


def test_a_pixi_toml_has_specs_of_all_forms(tmp_path: Path) -> None:
    found = pixi(
        tmp_path,
        """\
        [workspace]
        name = "x"
        channels = ["conda-forge", "./mine"]
        platforms = ["HERE", "ELSEWHERE"]

        [dependencies]
        python = "3.11.*"
        numpy = "*"
        grain = { version = ">=1,<2", build = "py*", channel = "./mine" }
        flowstead = "*"

        [target.unix.dependencies]
        numpy = ">=1"

        [target.HERE.dependencies]
        numpy = ">=2"

        [target.ELSEWHERE.dependencies]
        other = "*"

        [pypi-dependencies]
        requests = { version = ">=2", extras = ["socks"] }
        plain = "1.0"
        any = "*"
        from-git = { git = "https://code.example/x.git", rev = "abc", subdirectory = "y" }
        marked = { version = "*", env-markers = "sys_platform == 'linux'" }

        [pypi-options]
        extra-index-urls = ["https://packages.example/simple"]
        """,
    )

    mine = (tmp_path / "mine").as_uri()
    assert found.channels == ("conda-forge", mine)
    assert asked(found) == [
        ("python 3.11.*", 7),
        ("numpy >=2", 16),
        (f'grain[version=">=1,<2",build="py*",channel="{mine}"]', 9),
    ]
    assert pip(found) == [
        ("requests[socks]>=2", 22),
        ("plain==1.0", 23),
        ("any", 24),
        ("from-git @ git+https://code.example/x.git@abc#subdirectory=y", 25),
        ('marked; sys_platform == "linux"', 26),
    ]
    assert found.options == ("--extra-index-url https://packages.example/simple",)
    assert found.groups == ("default",)


FEATURES = """\
    [project]
    channels = ["base", { channel = "first", priority = 1 }]
    platforms = ["HERE"]

    [dependencies]
    python = "*"

    [feature.test]
    channels = ["testing"]
    dependencies = { grain = "1.*" }

    [environments]
    test = ["test"]
    bare = { features = ["test"], no-default-feature = true }
    """


@pytest.mark.parametrize(
    ("environment", "packages", "channels"),
    [
        ("default", {"python"}, ("first", "base")),
        ("test", {"python", "grain 1.*"}, ("first", "testing", "base")),
        ("bare", {"grain 1.*"}, ("first", "testing", "base")),
    ],
)
def test_the_environment_that_is_named_has_its_features(
    tmp_path: Path, environment: str, packages: set[str], channels: tuple[str, ...]
) -> None:
    found = pixi(tmp_path, textwrap.dedent(FEATURES) + f'[tool.flowstead]\nenvironment = "{environment}"\n')

    assert {text for text, _ in asked(found)} == packages
    assert found.channels == channels
    assert environment in found.why and found.groups == (environment,)


def test_pixi_in_a_pyproject_toml_takes_the_project_along(tmp_path: Path) -> None:
    found = pixi(
        tmp_path,
        """\
        [project]
        name = "x"
        requires-python = ">= 3.11"
        dependencies = ["requests>=2"]

        [project.optional-dependencies]
        more = ["rich"]
        other = ["absent"]

        [tool.pixi.workspace]
        channels = ["conda-forge"]
        platforms = ["HERE"]

        [tool.pixi.dependencies]
        numpy = "*"

        [tool.pixi.pypi-dependencies]
        x = { path = ".", editable = true }

        [tool.pixi.environments]
        default = ["more"]
        """,
        "pyproject.toml",
    )

    assert asked(found) == [("numpy", 15), ("python >=3.11", 3)]
    assert [(each.text, each.line, each.editable) for each in found.pip] == [
        (str(tmp_path), 18, True),
        ("rich", 7, False),
        ("requests>=2", 4, False),
    ]
    assert found.file == "pyproject.toml"


def test_a_lock_file_is_part_of_what_is_asked_for(tmp_path: Path) -> None:
    text = '[workspace]\nchannels = ["a"]\nplatforms = ["HERE"]\n[dependencies]\npython = "*"\n'
    without = pixi(tmp_path, text)
    (tmp_path / "pixi.lock").write_text("version: 6\n")

    assert without.lock is None
    assert pixi(tmp_path, text).lock == "version: 6\n"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("[workspace\n", 1, "not valid TOML"),
        ("[dependencies]\npython = '*'\n", None, "no table [workspace]"),
        ("[workspace]\nchannels = 'a'\n", 2, "no list under 'channels'"),
        ("[workspace]\nplatforms = ['beos-1']\n", 2, "unknown platform"),
        ("[workspace]\nplatforms = ['ELSEWHERE']\n", 2, "this machine is"),
        ("[workspace]\n[dependencies]\npython = 3.11\n", 3, "3.11"),
        ("[workspace]\n[dependencies]\nx = { path = './x' }\n", 3, "built from its source"),
        ("[workspace]\n[dependencies]\nx = { verison = '1' }\n", 3, "'verison'"),
        ("[workspace]\n[dependencies.x]\nversion = 1.5\n", 2, "must be a text"),
        ("[workspace]\n[target.beos.dependencies]\nx = '*'\n", 2, "unknown platform 'beos'"),
        ("[workspace]\n[pypi-dependencies]\nx = { path = './x' }\n", 3, "not there"),
        ("[workspace]\n[pypi-dependencies]\nx = { extras = 1 }\n", 3, "extras of x"),
        ("[workspace]\n[pypi-dependencies]\nx = { version = 1 }\n", 3, "version of x"),
        ("[workspace]\n[pypi-dependencies]\nx = { versoin = '1' }\n", 3, "'versoin' of x"),
        ("[workspace]\n[pypi-options]\nindexurl = 'x'\n", 3, "'indexurl' in pypi-options"),
        ("[workspace]\n[environments]\ntest = ['nothing']\n[tool.flowstead]\nenvironment = 'test'\n", 3, "'nothing'"),
        ("[workspace]\n[tool.flowstead]\nenvironment = 'test'\n", 3, "no environment 'test'"),
        ("workspace = 1\n", 1, "no table"),
        ("[workspace]\ndependencies = 1\n[target]\nlinux = 2\n", 4, "no table"),
    ],
)
def test_what_is_wrong_in_a_pixi_toml_is_told_with_its_line(
    tmp_path: Path, text: str, line: int | None, words: str
) -> None:
    with pytest.raises(ManifestInvalid) as raised:
        pixi(tmp_path, text)

    assert words in raised.value.message
    assert raised.value.detail.get("line") == line
    assert raised.value.detail["file"] == "pixi.toml"


VALUES = st.sampled_from([1, 1.5, True, "", "a", "default", HERE, "*", ">=1", "=", "-r a", "./a", "a b", '"'])
ANY = st.recursive(
    VALUES, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.just("a"), inner), max_leaves=3
)


def tables(*keys: str, values: st.SearchStrategy[object] = ANY) -> st.SearchStrategy[object]:
    return st.dictionaries(st.sampled_from(keys), values, max_size=3) | ANY


CONDA = tables("a", "python", "=", values=tables("version", "channel", "path", "git", "build", "url"))
PIP = tables("a", "b", "=", values=tables("version", "extras", "path", "editable", "git", "rev", "url", "env-markers"))
OPTIONS = tables(
    "find-links", "extra-index-urls", "index-url", values=st.lists(tables("url", "path"), max_size=2) | ANY
)
LISTS = st.lists(tables("channel", "priority", "platform"), max_size=2) | ANY
FEATURE = st.one_of(  # one table each: what is wrong in one hides what is wrong in the next
    st.fixed_dictionaries({"dependencies": CONDA}),
    st.fixed_dictionaries({"pypi-dependencies": PIP}),
    st.fixed_dictionaries({"pypi-options": OPTIONS}),
    st.fixed_dictionaries(
        {"target": tables("linux", "unix", "x", HERE, values=tables("dependencies", "activation", values=CONDA))}
    ),
    st.fixed_dictionaries({"channels": LISTS}),
    st.fixed_dictionaries({"platforms": LISTS}),
    st.fixed_dictionaries({"activation": ANY}),
)
ENVIRONMENT = st.fixed_dictionaries(
    {
        "feature": st.fixed_dictionaries({"a": FEATURE | ANY}) | ANY,
        "environments": tables("a", "default", values=tables("features", "no-default-feature") | st.just(["a"])),
        "tool": st.just({"flowstead": {"environment": "a"}}) | tables("flowstead", values=tables("environment")),
    },
)
TOP = st.one_of(
    FEATURE, ENVIRONMENT, st.fixed_dictionaries({"workspace": FEATURE | ANY}), st.dictionaries(st.just("project"), ANY)
).map(lambda top: {"workspace": {}, **top})


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(top=TOP, in_project=st.booleans())
def test_no_tables_end_otherwise_than_with_a_declaration_or_an_error(
    tmp_path: Path, top: dict[str, object], in_project: bool
) -> None:
    import tomli_w

    path = tmp_path / ("pyproject.toml" if in_project else "pixi.toml")
    content = {"tool": {"pixi": top}, "project": {"name": "a"}} if in_project else top
    path.write_text(tomli_w.dumps(content), "utf-8")

    try:
        assert read_pixi(path, tmp_path).provider == "conda"
    except ManifestInvalid as error:
        assert error.detail["file"] == path.name

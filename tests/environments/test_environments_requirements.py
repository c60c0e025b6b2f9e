"""Requirement files, as pip has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowstead.environments.requirements_file import RequirementsFile, read_requirements
from flowstead.model.errors import ManifestInvalid


def read(folder: Path, text: str | bytes, **others: str) -> RequirementsFile:
    for name, other in others.items():
        (folder / f"{name}.txt").write_text(other)
    content = text.encode() if isinstance(text, str) else text
    (folder / "requirements.txt").write_bytes(content)
    return read_requirements(folder / "requirements.txt", folder)


def texts(found: RequirementsFile) -> list[str]:
    return [each.text for each in found.requirements]


def test_lines_have_their_numbers(tmp_path: Path) -> None:
    found = read(tmp_path, "# what\n\nPolars  >= 1.0 , < 2  # comment\n  duckdb\\\n  ==1.0\nlast_one # no\n")
    assert [(each.text, each.file, each.line) for each in found.requirements] == [
        ("polars<2,>=1.0", "requirements.txt", 3),
        ("duckdb==1.0", "requirements.txt", 4),
        ("last-one", "requirements.txt", 6),
    ]


@pytest.mark.parametrize(
    "content",
    [
        "alpha==1 # é\r\nbeta\r\n".encode(),
        "\ufeffalpha==1\nbeta".encode(),
        "alpha==1\r\nbeta\r\n".encode("utf-16"),
        b"alpha==1\rbeta\r",
    ],
)
def test_encodings_and_line_ends_do_not_matter(tmp_path: Path, content: bytes) -> None:
    assert texts(read(tmp_path, content)) == ["alpha==1", "beta"]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ('alpha ; python_version<"3.12"', 'alpha; python_version < "3.12"'),
        ("alpha[B,a]>=1", "alpha[a,b]>=1"),
        ("alpha @ https://example.org/alpha.zip#sha256=00", "alpha @ https://example.org/alpha.zip#sha256=00"),
        ("git+https://example.org/alpha.git@main#egg=alpha", "git+https://example.org/alpha.git@main#egg=alpha"),
        ("alpha==1 --hash=sha256:BB --hash sha256:aa", "alpha==1 --hash=sha256:aa --hash=sha256:bb"),
        ("alpha==1 \\\n  --hash=sha256:bb \\\n  --hash=sha256:aa", "alpha==1 --hash=sha256:aa --hash=sha256:bb"),
        ("alpha==1 ; sys_platform == 'linux' --hash=sha256:aa", 'alpha==1; sys_platform == "linux" --hash=sha256:aa'),
        ("alpha==1 \\\n  # a comment ends it\nbeta", "alpha==1"),
    ],
)
def test_requirements_in_all_their_forms(tmp_path: Path, line: str, text: str) -> None:
    assert texts(read(tmp_path, line))[0] == text


def test_includes_are_relative_to_the_file_that_has_them(tmp_path: Path) -> None:
    (tmp_path / "sub" / "wheels").mkdir(parents=True)
    (tmp_path / "sub" / "more.txt").write_text("beta\n-f wheels\n-r ../third.txt\n--constraint=limits.txt\n")
    (tmp_path / "sub" / "limits.txt").write_text("gamma<2\n-r other.txt\n")
    (tmp_path / "sub" / "other.txt").write_text("delta<3\n")
    found = read(tmp_path, "-rsub/more.txt\nalpha\n-r third.txt\n", third="third\n")
    assert [(each.text, each.file, each.line) for each in found.requirements] == [
        ("beta", "sub/more.txt", 1),
        ("third", "third.txt", 1),
        ("alpha", "requirements.txt", 2),
    ]
    assert [(each.text, each.file) for each in found.constraints] == [
        ("gamma<2", "sub/limits.txt"),
        ("delta<3", "sub/other.txt"),
    ]
    assert found.options == [f"--find-links {tmp_path / 'sub' / 'wheels'}"]


def test_options_get_their_long_names(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        "-i https://example.org/simple\n--extra-index-url=https://example.org/more\n--pre\n--no-index\n"
        "--only-binary :all:\n--trusted-host example.org\n--require-hashes\n-f 'my wheels'\n--pre\n",
    )
    assert found.options == [
        "--index-url https://example.org/simple",
        "--extra-index-url https://example.org/more",
        "--pre",
        "--no-index",
        "--only-binary :all:",
        "--trusted-host example.org",
        "--require-hashes",
        f"--find-links {(tmp_path / 'my wheels').as_uri()}",
    ]


def test_variables_stand_for_values_but_not_in_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BETA_VERSION", "2.0")
    monkeypatch.setenv("INDEX_HOST", "example.org")
    monkeypatch.setenv("INDEX_TOKEN", "secret")
    monkeypatch.delenv("NOT_SET", raising=False)
    found = read(
        tmp_path,
        "beta==${BETA_VERSION}\n--index-url https://me:${INDEX_TOKEN}@${INDEX_HOST}/simple\n"
        "gamma @ git+https://${INDEX_TOKEN}@${INDEX_HOST}/g.git\ndelta @ https://example.org/${NOT_SET}/$HOME\n",
    )
    assert texts(found) == [
        "beta==2.0",
        "gamma @ git+https://${INDEX_TOKEN}@example.org/g.git",
        "delta @ https://example.org/${NOT_SET}/$HOME",
    ]
    assert found.options == ["--index-url https://me:${INDEX_TOKEN}@example.org/simple"]


def test_local_packages_are_absolute(tmp_path: Path) -> None:
    for name in ("near", "with space", "percent%20"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "setup.py").touch()
    (tmp_path / "some-1.0-py3-none-any.whl").write_bytes(b"x")
    found = read(
        tmp_path,
        f"-e near\n-e ./near[b,A]\n./with space\n./percent%20\nsome-1.0-py3-none-any.whl\nnear @ ./near\n"
        f"file:near ; sys_platform == 'linux'\n{tmp_path}/near[x]\n",
    )
    assert [(each.text, each.editable) for each in found.requirements] == [
        (f"{tmp_path}/near", True),
        (f"{tmp_path}/near[a,b]", True),
        (f"{tmp_path}/with space", False),
        (f"file://{tmp_path}/percent%2520", False),
        (f"{tmp_path}/some-1.0-py3-none-any.whl", False),
        (f"near @ file://{tmp_path}/near", False),
        (f"{tmp_path}/near ; sys_platform == 'linux'", False),
        (f"{tmp_path}/near[x]", False),
    ]
    assert set(found.local) == {
        str(tmp_path / name) for name in ("near", "with space", "percent%20", "some-1.0-py3-none-any.whl")
    }


def test_flowstead_itself_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "checkout").mkdir()
    (tmp_path / "checkout" / "pyproject.toml").write_text('[project]\nname = "Flowstead"\n')
    found = read(tmp_path, "flowstead[conda]==1.0\nflowstead-other\n-e ./checkout\n")
    assert texts(found) == ["flowstead-other"] and found.ourselves and not found.local


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("alpha\n-r gone.txt\n", 2, "includes gone.txt, which is not there"),
        ("\n-r requirements.txt\n", 2, "includes requirements.txt, and so itself"),
        ("-r loop.txt\n", None, "requirements.txt > loop.txt > requirements.txt"),
        ("-c ./loop.txt\n", None, "and so itself"),
        ("alpha\nnot a requirement\n", 2, "'not a requirement'"),
        ("alpha==\n", 1, "cannot be read"),
        ("alpha ; nonsense == 1\n", 1, "cannot be read"),
        ("--unknown x\n", 1, "not understood: --unknown"),
        ("--pre x\n", 1, "--pre with a value"),
        ("-\n", 1, "cannot be read"),
        ("-r\n", 1, "--requirement without a value"),
        ("-e\n", 1, "--editable without a value"),
        ("alpha==1 --hash=nonsense\n", 1, "--hash=nonsense"),
        ("alpha==1 --global-option=x\n", 1, "--global-option=x"),
        ("-r https://example.org/r.txt\n", 1, "which is an address"),
        ("-i https://example.org --pre\n", 1, "more than one option in a line"),
        ("-f 'open\n", 1, "cannot be read"),
        ("-e ./gone\n", 1, "which is not there"),
        ("./gone.whl\n", 1, "which is not there"),
        ("alpha\n.\n", 2, "which is no package: it has neither pyproject.toml nor setup.py"),
        ("-e /\n", 1, "which is no package"),
        ("./\0\n", 1, "which is not there"),
        (b"alpha\n\xff\xff\n", 2, "no UTF-8 text"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, text: str | bytes, line: int | None, words: str) -> None:
    with pytest.raises(ManifestInvalid) as caught:
        read(tmp_path, text, loop="-r requirements.txt\n")
    assert words in caught.value.message and caught.value.hint and caught.value.code == "manifest-invalid"
    expected = {"file": "loop.txt", "line": 1} if line is None else {"file": "requirements.txt", "line": line}
    assert caught.value.detail == expected


def test_a_deep_chain_of_includes_ends(tmp_path: Path) -> None:
    for number in range(200):
        (tmp_path / f"r{number}.txt").write_text(f"-r r{number + 1}.txt\n")
    with pytest.raises(ManifestInvalid, match="through 50 files, and includes"):
        read(tmp_path, "-r r0.txt\n")

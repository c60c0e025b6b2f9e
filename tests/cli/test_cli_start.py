"""What a call costs before it does anything, what --help tells, and how wrong calls end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from calling import THREE_STEPS, CommandLine

from flowstead.version import __version__

COMMANDS = [
    "list",
    "show",
    "check",
    "run",
    "preview",
    "runs",
    "logs",
    "cancel",
    "retry",
    "resume",
    "init",
    "demo",
    "doctor",
    "workspace",
    "completions",
]


def modules_of(arguments: list[str], cli: CommandLine) -> set[str]:
    """The modules that a call imports in its own process."""
    code = (
        "import os, sys; end = os._exit\n"
        "os._exit = lambda code: (print(*sys.modules, file=sys.stderr, flush=True), end(code))\n"
        f"sys.argv = ['flowstead', *{arguments!r}]; from flowstead.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cli.workspace.root, env=cli.environment, capture_output=True, check=True
    )
    return set(done.stderr.decode().split())


def test_the_version_imports_next_to_nothing(cli: CommandLine) -> None:
    found = modules_of(["--version"], cli)
    ours = {name for name in found if name.startswith("flowstead")}
    assert ours == {"flowstead", "flowstead.cli", "flowstead.version"}
    assert not found & {"cyclopts", "argparse", "typing", "pathlib", "json.decoder", "rich"}


def test_the_version_is_told(cli: CommandLine) -> None:
    done = cli("--version")
    assert (done.code, done.out) == (0, f"flowstead {__version__}\n")


@pytest.mark.parametrize("arguments", [["list"], ["runs"], ["run", "small"]])
def test_plain_output_needs_no_rich_and_no_data_library(arguments: list[str], cli: CommandLine) -> None:
    cli.workspace.module("small", THREE_STEPS)
    found = {name.partition(".")[0] for name in modules_of(arguments, cli)}
    assert "cyclopts" in found
    assert not found & {"rich", "polars", "duckdb", "pyarrow", "pandas", "matplotlib"}


def test_help_names_every_command_and_the_exit_codes(cli: CommandLine) -> None:
    done = cli("--help")
    assert done.code == 0
    words = done.out.split()
    for command in COMMANDS:
        assert command in words
    for said in ("Exit codes:", "0 all is well", "130 interrupted", "--workspace"):
        assert said in done.out


@pytest.mark.parametrize("command", [*COMMANDS, "runs show", "workspace trust", "completions generate"])
def test_each_command_explains_itself_with_an_example(command: str, cli: CommandLine) -> None:
    done = cli(*command.split(), "--help")
    assert done.code == 0
    if command != "completions":
        assert "Examples:" in done.out
        assert f"    flowstead {command}" in done.out


def test_nothing_to_do_without_a_command_is_help(cli: CommandLine) -> None:
    assert cli().out == cli("--help").out


@pytest.mark.parametrize(
    "arguments",
    [["frobnicate"], ["run"], ["run", "a", "--nonsense"], ["runs", "--limit", "many"], ["runs", "--status", "odd"]],
)
def test_a_wrong_call_ends_with_2(arguments: list[str], cli: CommandLine) -> None:
    done = cli(*arguments)
    assert done.code == 2
    assert done.err.startswith("error[usage]: ")
    assert "hint: " in done.err
    assert "Traceback" not in done.err


def test_outside_of_a_workspace_it_ends_with_3(cli: CommandLine, tmp_path: Path) -> None:
    done = cli("list", cwd=tmp_path)
    assert done.code == 3
    assert "error[workspace-not-found]" in done.err
    assert "flowstead init" in done.err


def test_errors_are_json_where_json_was_asked_for(cli: CommandLine) -> None:
    done = cli("show", "nothing", "--json")
    assert (done.code, done.err) == (3, "")
    assert done.json["error"]["code"] == "flow-not-found"
    assert {"code", "message", "hint", "detail"} <= done.json["error"].keys()


def test_the_workspace_may_be_named_before_and_after_the_command(cli: CommandLine, tmp_path: Path) -> None:
    cli.workspace.module("small", THREE_STEPS)
    root = str(cli.workspace.root)
    for arguments in (["-w", root, "list"], ["list", "--workspace", root]):
        assert "small" in cli(*arguments, cwd=tmp_path).out
    assert "small" in cli("list", cwd=tmp_path, FLOWSTEAD_WORKSPACE=root).out


def test_a_defect_is_coded_and_its_traceback_is_kept(cli: CommandLine, home: Path) -> None:
    # A folder where the file of the settings should be is nothing that any code foresees.
    done = cli("completions", "generate", "bash", PYTHONPATH=str(_with_broken_cyclopts(home.parent)))
    assert done.code == 1
    assert "error[internal]: RuntimeError: out of order" in done.err
    assert "Traceback" not in done.err
    (kept,) = (home / "crashes").iterdir()
    assert "RuntimeError: out of order" in kept.read_text()
    assert str(kept) in done.err.replace("\n", "")


def _with_broken_cyclopts(folder: Path) -> Path:
    """A folder for PYTHONPATH that makes one function of Cyclopts fail."""
    site = folder / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import cyclopts\n"
        "def generate_completion(self, **options):\n"
        "    raise RuntimeError('out of order')\n"
        "cyclopts.App.generate_completion = generate_completion\n"
    )
    return site


def test_a_closed_pipe_ends_quietly(cli: CommandLine) -> None:
    for number in range(300):
        cli.workspace.file(f"flow_modules/broken_{number}.py", "def")
    process = cli.start("list", "--json")
    assert process.stdout is not None
    process.stdout.read(1)
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.wait(60) == 141


def test_completions_offer_what_is_there(cli: CommandLine) -> None:
    cli.workspace.module("small", THREE_STEPS)
    cli.workspace.module("_private", "")
    assert cli("__complete", "run", "").out.split()[1:] == ["small"]
    assert cli("__complete", "preview", "small", "--use", "").out.split()[1:] == ["one"]
    run_id = cli("run", "small", "--json").json["runs"][0]["id"]
    assert f"\n{run_id[-8:]}\tsmall" in cli("__complete", "logs", "").out
    assert cli("__complete", "retry", run_id, "--from", "").out.split()[1:] == ["first", "second", "third"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_completion_scripts(shell: str, cli: CommandLine) -> None:
    done = cli("completions", "generate", shell)
    assert done.code == 0
    assert "flowstead" in done.out
    assert "__complete" in done.out


def test_every_command_and_option_is_on_the_page() -> None:
    from flowstead.cli.app import make_app

    page = (Path(__file__).parents[2] / "docs" / "commands.md").read_text(encoding="utf-8")
    for name, command in make_app().resolved_commands().items():
        if name.startswith("-"):
            continue
        section = page.partition(f"\n## `flowstead {name}`\n")[2].partition("\n## ")[0]
        assert section, f"{name} is not on the page"
        below = [each for word, each in command.resolved_commands().items() if not word.startswith("-")]
        arguments = [
            argument
            for each in (command, *below)
            if each.default_command
            for argument in each.assemble_argument_collection()
        ]
        options = {argument.name for argument in arguments if argument.parse and argument.name.startswith("--")}
        assert options or name in ("init", "completions")
        for option in options:
            assert f"`{option}" in section or f" {option} " in section, f"{name} {option} is not on the page"
    for code in (0, 1, 2, 3, 4, 130):
        assert f"\n| {code} | " in page

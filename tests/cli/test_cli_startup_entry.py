"""What starts the daemon with a session: the texts for each system, and the files on this one."""

from __future__ import annotations

import configparser
import os
import plistlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from calling import CommandLine

from flowstead.cli.startup_entry import StartupEntry, launchd_agent, systemd_unit, windows_script

AWKWARD = "/home/Zoë Q/100% \"data\" $HOME\\x;'y'"
COMMAND = ["/opt/py thon/bin/python", "-P", "-m", "flowstead", "daemon", "run"]


def unit_of(text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(text)
    return parser


def test_a_systemd_unit() -> None:
    text = systemd_unit(COMMAND, {"FLOWSTEAD_HOME": "/srv/home", "PATH": "/usr/bin:/bin"})
    service = unit_of(text)["Service"]
    assert service["ExecStart"] == '"/opt/py thon/bin/python" "-P" "-m" "flowstead" "daemon" "run"'
    assert 'Environment="FLOWSTEAD_HOME=/srv/home"\n' in text
    assert (service["Type"], service["KillMode"], service["Restart"]) == ("exec", "mixed", "on-failure")
    # Another daemon serves already, or the settings are wrong: to try again would not help.
    assert service["RestartPreventExitStatus"] == "2 4"
    assert unit_of(text)["Install"]["WantedBy"] == "default.target"


def test_awkward_names_in_a_systemd_unit(tmp_path: Path) -> None:
    text = systemd_unit([sys.executable, AWKWARD], {"FLOWSTEAD_HOME": AWKWARD})
    assert 'Environment="FLOWSTEAD_HOME=/home/Zoë Q/100%% \\"data\\" $HOME\\\\x;\'y\'"' in text
    assert '"/home/Zoë Q/100%% \\"data\\" $$HOME\\\\x;\'y\'"' in text
    if shutil.which("systemd-analyze"):
        unit = tmp_path / "flowstead.service"
        unit.write_text(text, "utf-8")
        verified = subprocess.run(
            ["systemd-analyze", "verify", "--user", "--recursive-errors=one", unit],
            env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
        )
        assert (verified.returncode, unit.name in verified.stderr) == (0, False), verified.stderr


def test_a_launchd_agent() -> None:
    agent = plistlib.loads(launchd_agent("io.flowstead.daemon", COMMAND, {"FLOWSTEAD_HOME": AWKWARD}).encode())
    assert agent["ProgramArguments"] == COMMAND
    assert agent["EnvironmentVariables"] == {"FLOWSTEAD_HOME": AWKWARD}
    assert (agent["Label"], agent["RunAtLoad"]) == ("io.flowstead.daemon", True)
    assert agent["KeepAlive"] == {"SuccessfulExit": False}


def test_a_start_up_entry_of_windows() -> None:
    text = windows_script("C:\\Users\\Zoë Q\\100%\\python.exe", "C:\\Users\\Zoë Q\\100%\\home")
    lines = text.split("\r\n")
    assert lines[0] == "@echo off"
    assert lines[-1] == ""
    assert 'set "FLOWSTEAD_HOME=C:\\Users\\Zoë Q\\100%%\\home"' in lines
    assert '"C:\\Users\\Zoë Q\\100%%\\python.exe" -P -m flowstead daemon start >nul 2>nul' in lines


def test_each_home_has_an_entry_of_its_own(tmp_path: Path) -> None:
    paths = {StartupEntry.of_this_machine(tmp_path / name).path for name in ("a", "b")}
    assert len(paths) == 2


@pytest.mark.xfail(sys.platform != "linux", reason="the files are those of Linux", run=False)
def test_installed_and_removed(cli: CommandLine, tmp_path: Path) -> None:
    config = tmp_path / "config"
    told = {
        "XDG_CONFIG_HOME": str(config),
        "DBUS_SESSION_BUS_ADDRESS": "unix:path=/nowhere",
        "XDG_RUNTIME_DIR": "/nowhere",
    }
    printed = cli("daemon", "install", "--print", **told)
    assert printed.code == 0
    assert not config.exists()
    assert sys.executable in printed.out

    installed = cli("daemon", "install", **told)
    (unit,) = (config / "systemd" / "user").iterdir()
    assert installed.code == 0
    assert str(unit) in installed.out
    # There is no user manager here: what it would have been told is left to do, and said.
    assert "systemctl --user daemon-reload" in installed.out
    assert unit.read_text() == printed.out.partition("\n")[2]
    assert unit.stat().st_mode & 0o777 == 0o600
    assert cli("daemon", "install", "--json", **told).json["content"] == unit.read_text()

    removed = cli("daemon", "uninstall", "--json", **told)
    assert (removed.code, removed.json) == (0, {"removed": str(unit)})
    assert not unit.exists()
    assert cli("daemon", "uninstall", "--json", **told).json == {"removed": None}

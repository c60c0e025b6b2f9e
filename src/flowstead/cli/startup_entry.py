"""What starts the daemon with a person's session: a systemd user unit, a launchd agent, or a start-up entry of Windows.

Each text is made by a function that works on every system.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from flowstead.model.errors import FlowsteadError

SECONDS_TO_STOP = 60
SECONDS_FOR_COMMAND = 30


@dataclass(frozen=True, slots=True)
class StartupEntry:
    """A file at `path`. `enable` and `disable` are the commands that make the system know it, or forget it."""

    path: Path
    content: str
    enable: tuple[tuple[str, ...], ...] = ()
    disable: tuple[tuple[str, ...], ...] = ()

    @classmethod
    def of_this_machine(cls, home: Path) -> StartupEntry:
        """The entry for the daemon of the home folder `home`, run by this very interpreter."""
        name = _name_for(home)
        variables = {"FLOWSTEAD_HOME": str(home), "PATH": os.environ.get("PATH", os.defpath)}
        if sys.platform == "win32":
            folder = Path(os.environ["APPDATA"], "Microsoft", "Windows", "Start Menu", "Programs", "Startup")
            return cls(folder / f"{name}.cmd", windows_script(sys.executable, str(home)))
        command = [sys.executable, "-P", "-m", "flowstead", "daemon", "run"]
        if sys.platform == "darwin":
            label = f"io.{name}.daemon"
            path = Path("~/Library/LaunchAgents").expanduser() / f"{label}.plist"
            target = f"gui/{os.getuid()}"
            return cls(
                path,
                launchd_agent(label, command, variables),
                enable=(("launchctl", "bootstrap", target, str(path)),),
                disable=(("launchctl", "bootout", f"{target}/{label}"),),
            )
        config = Path(os.environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser())
        return cls(
            config / "systemd" / "user" / f"{name}.service",
            systemd_unit(command, variables),
            enable=(("systemctl", "--user", "daemon-reload"), ("systemctl", "--user", "enable", f"{name}.service")),
            disable=(("systemctl", "--user", "disable", f"{name}.service"),),
        )

    def install(self) -> list[str]:
        """Writes the file and tells the system; returns sentences about what is left to do. Raises FlowsteadError."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(self.content, "utf-8", newline="")
            self.path.chmod(0o600)  # the PATH of a person is nobody else's business
        except OSError as error:
            raise _unwritable(self.path, error) from error
        for command in self.enable:
            problem = _problem_with(command)
            if problem is not None:
                said = f"{command[0]} could not be told: {problem}"
                return [said, "Once you are logged in with a session of your own, run:"] + [
                    f"    {' '.join(each)}" for each in self.enable
                ]
        return []

    def uninstall(self) -> bool:
        """Makes the system forget the entry, and removes the file; tells whether there was one."""
        if not self.path.exists():
            return False
        for command in self.disable:
            _problem_with(command)  # it may not know the entry, or be absent: without the file, nothing is started
        try:
            self.path.unlink()
        except OSError as error:
            raise _unwritable(self.path, error) from error
        return True


def systemd_unit(command: Sequence[str], variables: dict[str, str]) -> str:
    """A systemd user unit that keeps the daemon running: started again after a crash, not when another serves."""
    environment = "".join(f"Environment={_systemd_quoted(f'{name}={value}')}\n" for name, value in variables.items())
    return (
        "# Made by: flowstead daemon install\n"
        "[Unit]\n"
        "Description=Flowstead, runs workspaces of Python flows\n"
        "StartLimitIntervalSec=300\n"
        "StartLimitBurst=10\n"
        "\n"
        "[Service]\n"
        "Type=exec\n"
        f"ExecStart={' '.join(_systemd_quoted(word, command=True) for word in command)}\n"
        f"{environment}"
        "Restart=on-failure\n"
        "RestartSec=1\n"
        "RestartPreventExitStatus=2 4\n"
        # The daemon ends its workers itself; what is left of them then is killed.
        "KillMode=mixed\n"
        f"TimeoutStopSec={SECONDS_TO_STOP}\n"
        "\n"
        "[Install]\n"
        "WantedBy=default.target\n"
    )


def launchd_agent(label: str, command: Sequence[str], variables: dict[str, str]) -> str:
    """A launchd agent that keeps the daemon running: started again after a crash."""
    import plistlib

    return plistlib.dumps(
        {
            "Label": label,
            "ProgramArguments": list(command),
            "EnvironmentVariables": variables,
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            "ThrottleInterval": 10,
            "ExitTimeOut": SECONDS_TO_STOP,
            "ProcessType": "Adaptive",
            "StandardOutPath": "/dev/null",
            "StandardErrorPath": "/dev/null",
        },
        sort_keys=False,
    ).decode()


def windows_script(python: str, home: str) -> str:
    """A script for the start-up folder; it ends at once, and the daemon goes on without a window."""
    lines = (
        "@echo off",
        "rem Made by: flowstead daemon install",
        "chcp 65001 >nul",
        f'set "FLOWSTEAD_HOME={_batch_quoted(home)}"',
        f'"{_batch_quoted(str(PureWindowsPath(python)))}" -P -m flowstead daemon start >nul 2>nul',
    )
    return "\r\n".join(lines) + "\r\n"


def _name_for(home: Path) -> str:
    """`flowstead` for the usual home; any other has an entry of its own."""
    from platformdirs import user_data_path

    if home == user_data_path("flowstead", appauthor=False):
        return "flowstead"
    return f"flowstead-{hashlib.sha256(os.fsencode(home)).hexdigest()[:8]}"


def _systemd_quoted(word: str, *, command: bool = False) -> str:
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("%", "%%")
    return f'"{escaped.replace("$", "$$") if command else escaped}"'


def _batch_quoted(text: str) -> str:
    return text.replace("%", "%%")


def _problem_with(command: Sequence[str]) -> str | None:
    """Runs a command; None when it succeeded, else what it said."""
    try:
        ended = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS_FOR_COMMAND
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"{error}"
    return None if ended.returncode == 0 else (ended.stderr or ended.stdout).strip() or f"code {ended.returncode}"


def _unwritable(path: Path, error: OSError) -> FlowsteadError:
    return FlowsteadError(
        f"Cannot write {path}: {error.strerror or error}.",
        code="startup-entry-unwritable",
        hint="Print it instead with: flowstead daemon install --print",
    )

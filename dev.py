#!/usr/bin/env python3
"""Set up this checkout in .venv, and run it: `python3 dev.py demo` or `python3 dev.py test`.

Needs nothing but a Python that Flowstead supports. Everything goes through uv: the one on PATH, the one in .venv,
or one that is installed into .venv with pip. Further arguments are passed on.

Whatever `python3` is runs this file before the file can say that it is too old, so its syntax is Python 3.6's.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

OLDEST, NEWEST = (3, 11), (3, 14)
OLDEST_UV = (0, 5)
# `uv run` first makes .venv match the project; it installs what is missing or outdated and leaves the rest.
# Most tests wait for processes of their own: three at once keep two processors busy.
COMMANDS = {"demo": ["flowstead", "demo"], "test": ["pytest", "-n", "3", "--dist", "loadfile"]}

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
VENV_UV = VENV_PYTHON.with_name("uv.exe" if os.name == "nt" else "uv")


def main(arguments):
    if not arguments or arguments[0] not in COMMANDS:
        sys.exit("usage: python3 dev.py {demo,test} [ARGUMENT ...]")
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        go_on_as([supported_python(), __file__, *arguments])
    for name in ("VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT"):
        os.environ.pop(name, None)  # each would lead uv to another environment than .venv
    if system_certificates_exist():
        os.environ.setdefault("UV_SYSTEM_CERTS", "1")  # networks with a certificate of their own, as with pip
    os.environ.setdefault("UV_COMPILE_BYTECODE", "true")  # once, and not by each of the processes that start at once
    remove_unusable_venv()
    command = [uv_on_path() or uv_in_venv(), "run", "--project", ROOT]
    if not VENV.exists():
        command += ["--python", sys.executable]
    if arguments[0] == "test":
        os.chdir(ROOT)
    go_on_as([*command, *COMMANDS[arguments[0]], *arguments[1:]])


def supported_python():
    """The newest Python on PATH that Flowstead supports."""
    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        found = shutil.which(f"python3.{minor}")
        # A version manager's shim can be on PATH without the version behind it.
        if found and succeeds([found, "-c", "pass"]):
            return found
    return sys.exit(
        f"Flowstead needs Python 3.{OLDEST[1]} to 3.{NEWEST[1]}. This is {sys.version.split()[0]}, and there is no "
        f"python3.{OLDEST[1]} to python3.{NEWEST[1]} on PATH.\nInstall one of them and start this again with it."
    )


def system_certificates_exist():
    import ssl

    if sys.platform in ("win32", "darwin"):
        return True
    paths = ssl.get_default_verify_paths()
    return bool(paths.cafile or (paths.capath and any(Path(paths.capath).iterdir())))


def remove_unusable_venv():
    """Delete a .venv whose making was cut short, or whose Python Flowstead does not support."""
    check = f"import sys; sys.exit(not {OLDEST} <= sys.version_info[:2] <= {NEWEST} or sys.prefix == sys.base_prefix)"
    if not os.path.lexists(VENV) or succeeds([VENV_PYTHON, "-c", check]):
        return
    say("replacing .venv: it is half made, or of a Python that Flowstead does not support")
    if VENV.is_symlink() or not VENV.is_dir():
        VENV.unlink()
    else:
        shutil.rmtree(VENV)


def uv_on_path():
    """A uv on PATH that works and is not too old, or None."""
    uv = shutil.which("uv")
    try:
        version = subprocess.check_output([uv, "--version"], stderr=subprocess.DEVNULL).split()[1] if uv else b"0"
        return uv if tuple(int(part) for part in version.split(b".")[:2]) >= OLDEST_UV else None
    except (OSError, subprocess.CalledProcessError, ValueError, IndexError):
        return None


def uv_in_venv():
    """The uv in .venv; makes .venv, and installs uv, where missing."""
    if succeeds([VENV_UV, "--version"]):
        return VENV_UV
    # Systems that ship Python without ensurepip have a pip of their own, which can install into an empty .venv.
    if not VENV.exists() and not any(
        succeeds([sys.executable, "-m", "venv", "--clear", *option, VENV]) for option in ([], ["--without-pip"])
    ):
        sys.exit(f"{sys.executable} cannot make a virtual environment. Install its venv module, or uv, and try again.")
    say("installing uv into .venv")
    for pip in ([VENV_PYTHON, "-m", "pip"], [sys.executable, "-m", "pip", "--python", VENV_PYTHON]):
        if succeeds([*pip, "--version"]):
            if subprocess.call([*pip, "install", "--quiet", "--disable-pip-version-check", pinned_uv()]) == 0:
                return VENV_UV
            sys.exit("pip could not install uv: see above. Install uv by other means and try again.")
    return sys.exit(f"{sys.executable} has neither pip nor ensurepip. Install one of them, or uv, and try again.")


def pinned_uv():
    """The uv that pyproject.toml pins for .venv: with any other, uv would have to replace itself while it runs."""
    import tomllib

    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return next(pin for pin in pyproject["tool"]["uv"]["constraint-dependencies"] if pin.startswith("uv=="))


def succeeds(command):
    try:
        return subprocess.call(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0
    except OSError:
        return False


def say(message):
    print(f"dev.py: {message}", file=sys.stderr, flush=True)


def go_on_as(command):
    """Become `command`; Windows cannot, so there this waits for it and ends with its exit code."""
    if os.name != "nt":
        os.execv(command[0], [os.fspath(word) for word in command])
    try:
        sys.exit(subprocess.call(command))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main(sys.argv[1:])

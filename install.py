"""Sets up .venv: chooses the TFX line for this machine, finds or downloads uv and Python, installs uv.lock's packages.

    python3 install.py            everything: pipelines, tests and tools, 3 GB
    python3 install.py --light    packages for counting, routing and dispatching, under 80 MB

Needs only the standard library of Python 3.8 or newer. A second run finds .venv complete and changes nothing.
"""

import argparse
import contextlib
import fcntl
import functools
import hashlib
import itertools
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
TOOLS = ROOT / ".tools"  # programs that set-up needs and the machine lacks
STAMP = VENV / "set-up.json"  # written last: without it .venv is not finished
STARTED = TOOLS / "started"  # exists while packages are installed; after that only if the installation was interrupted


class SetUpError(Exception):
    """The reason why .venv could not be set up, and the next step, in one line."""


class Line(NamedTuple):
    """One of the two lines of TFX in uv.lock."""

    tfx: str
    pythons: Tuple[str, ...]  # in order of preference
    compiles: bool  # builds a package from C++ sources that include Python.h
    why: str


class Python(NamedTuple):
    """An interpreter that starts and reports its version."""

    path: str
    version: str  # "3.10.13"
    headers: bool  # Python.h is installed


def choose_line(system: str, machine: str, libc: str) -> Line:
    """Chooses by `platform.system()`, `platform.machine()` and the C library as os.confstr names it: "glibc 2.36"."""
    if (system, machine) == ("Darwin", "arm64"):
        return Line("1.21", ("3.13", "3.12", "3.11"), False, "this is macOS on Apple silicon")
    if (system, machine) != ("Linux", "x86_64"):
        raise SetUpError(f"TFX has no packages for {system} on {machine}: use x86_64 Linux or macOS on Apple silicon.")
    name, _, number = libc.partition(" ")
    glibc = [int(part) for part in re.findall(r"\d+", number)] if name == "glibc" else []
    if glibc >= [2, 39]:
        return Line("1.21", ("3.13", "3.12", "3.11"), False, f"it needs glibc 2.39 and this machine has {number}")
    if glibc >= [2, 28]:
        return Line("1.16", ("3.10",), True, f"TFX 1.21 needs glibc 2.39 and this machine has {number}")
    has = libc or "another C library"
    raise SetUpError(f"TFX needs glibc 2.28 or newer and this machine has {has}: use Debian 12 or Ubuntu 22.04.")


def this_machine() -> Tuple[str, str, str]:
    """The arguments of choose_line for this machine."""
    known = "CS_GNU_LIBC_VERSION" in os.confstr_names
    return platform.system(), platform.machine(), (os.confstr("CS_GNU_LIBC_VERSION") or "") if known else ""


# Detecting a finished .venv


def identity(line: Line, light: bool) -> dict:
    """The properties that distinguish environments: hash of project file and lock, line of TFX, light or complete."""
    digest = hashlib.sha256((ROOT / "pyproject.toml").read_bytes() + (ROOT / "uv.lock").read_bytes())
    return {"lock": digest.hexdigest(), "tfx": line.tfx, "light": light}


def is_set_up(wanted: dict) -> bool:
    """True when a finished .venv has the wanted identity. A complete environment also counts as a light one."""
    try:
        found = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return False
    interpreter = VENV / "bin" / "python"  # a link, dead when its Python was removed
    return interpreter.exists() and found in (wanted, dict(wanted, light=False))


# Python


def search_path() -> List[str]:
    """Folders to search for programs: PATH, and the usual folders that it lacks."""
    folders = os.environ.get("PATH", "").split(os.pathsep) + ["/usr/local/bin", "/usr/bin", "/opt/homebrew/bin"]
    return list(dict.fromkeys(folder for folder in folders if folder))


def candidates(version: str) -> Iterator[Path]:
    """Paths where Python `version` may be. pyenv's shims on the PATH may not start, so its folders are searched too."""
    for folder, name in itertools.product(search_path(), (f"python{version}", "python3")):
        yield Path(folder, name)
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv", "versions")
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    uv_pythons = Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or data / "uv" / "python")
    for folder, pattern in ((pyenv, f"{version}.*"), (uv_pythons, f"cpython-{version}.*")):
        yield from sorted(folder.glob(f"{pattern}/bin/python{version}"), reverse=True)


@functools.lru_cache(maxsize=None)
def inspect(path: Path) -> Optional[Python]:
    """Starts an interpreter and reads its version; None if it does not start or lacks a module the project needs."""
    question = """if True:
        import ctypes, json, os, platform, sqlite3, ssl, sys, sysconfig
        own = os.path.join(sys.base_prefix, "bin", "python%d.%d" % sys.version_info[:2])  # not that of a venv
        headers = os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h"))
        print(json.dumps([own if os.path.exists(own) else sys.executable, platform.python_version(), headers]))"""
    answer = output_of(str(path), "-I", "-c", question)
    return Python(*json.loads(answer)) if answer else None


def find_python(versions: Sequence[str], headers: bool) -> Optional[Python]:
    """The first interpreter of these versions that runs, with Python.h if `headers`."""
    for version in versions:
        found = [python for python in map(inspect, candidates(version)) if python and in_line(python, version)]
        for python in found:
            if python.headers or not headers:
                return python
        if found:
            log(f"  skipping {found[0].path}: no Python.h (install it with `apt-get install python{version}-dev`)")
    return None


def in_line(python: Python, version: str) -> bool:
    return python.version.startswith(version + ".")


def fetch_python(uv: str, version: str) -> Python:
    """Downloads an interpreter with uv."""
    log(f"  Python {version} is not installed: uv downloads it (30 MB)")
    fetched = run([uv, "python", "install", version], uv_environment())
    python = find_python([version], headers=True) if fetched else None
    if python:
        return python
    raise SetUpError(
        f"Python {version} is not installed and could not be downloaded. Install it (`pyenv install {version}`, "
        f"or `apt-get install python{version}-dev` if the system provides it), then run this again."
    )


# uv


def find_uv(python: Optional[Python]) -> str:
    """Path of a uv that reads this lock: from the PATH, otherwise the locked version, installed by pip."""
    version, _ = locked_uv()
    own = TOOLS / f"uv-{version}"
    for path in [Path(folder, "uv") for folder in search_path()] + [own / "bin" / "uv"]:
        if numbers(output_of(str(path), "--version")) >= numbers(version):
            return str(path)
    log(f"  uv {version} or newer is not on the PATH: pip installs it into .tools")
    shutil.rmtree(str(own), ignore_errors=True)
    TOOLS.mkdir(exist_ok=True)
    requirement = TOOLS / "uv.txt"
    requirement.write_text(uv_requirement())
    settings = dict(os.environ, PIP_USER="0", PIP_REQUIRE_VIRTUALENV="0", PIP_ROOT_USER_ACTION="ignore")
    options = "--quiet --disable-pip-version-check --no-input --no-deps --only-binary=:all: --require-hashes".split()
    if not run(find_pip(python) + ["install"] + options + ["--target", str(own), "-r", str(requirement)], settings):
        raise SetUpError(
            "pip could not install uv: see its message above. Fix it, or put uv on the PATH, then run this again."
        )
    return str(own / "bin" / "uv")


def locked_uv() -> Tuple[str, List[str]]:
    """The version of uv in uv.lock and the hashes of its files."""
    lock = (ROOT / "uv.lock").read_text(encoding="utf-8")
    package = next(block for block in lock.split("[[package]]\n") if block.startswith('name = "uv"\n'))
    return re.findall(r'^version = "(.+)"', package, re.M)[0], re.findall(r'hash = "(sha256:\w+)"', package)


def uv_requirement() -> str:
    """The locked uv and its hashes, as pip reads them."""
    version, hashes = locked_uv()
    return " \\\n    ".join([f"uv=={version}"] + [f"--hash={value}" for value in hashes]) + "\n"


def numbers(version: Optional[str]) -> List[int]:
    """A version as comparable numbers, [0, 13, 9] for "uv 0.13.9 (x86_64)"; [] for a program that did not start."""
    return [int(part) for part in re.findall(r"\d+", version or "")[:3]]


def find_pip(python: Optional[Python]) -> List[str]:
    """The command that runs pip: an interpreter's own, otherwise the one that ensurepip unpacks."""
    interpreters = [sys.executable] + ([python.path] if python else [])
    for interpreter in interpreters:
        if output_of(interpreter, "-m", "pip", "--version"):
            return [interpreter, "-m", "pip"]
    for interpreter in interpreters:
        if output_of(interpreter, "-m", "venv", "--clear", str(TOOLS / "pip")) is not None:
            return [str(TOOLS / "pip" / "bin" / "python"), "-m", "pip"]
    sudo = "" if os.geteuid() == 0 else "sudo "
    raise SetUpError(
        f"neither uv nor pip is installed. Run `{sudo}apt-get update && {sudo}apt-get install -y python3-pip`, "
        "then this again."
    )


def uv_environment(**more: str) -> Dict[str, str]:
    """Environment of uv, without variables of another project or of an activated environment that would redirect it."""
    foreign = {"VIRTUAL_ENV", "UV_PYTHON", "UV_PROJECT", "UV_WORKING_DIR", "UV_NO_DEV", "UV_NO_DEFAULT_GROUPS"}
    kept = {name: value for name, value in os.environ.items() if name not in foreign}
    if os.path.exists("/etc/ssl/certs/ca-certificates.crt"):
        kept.setdefault("UV_SYSTEM_CERTS", "1")  # a company's proxy may use its own certificate authority
    # without bytecode the first import of TFX takes 35 s instead of 12
    return {**kept, "UV_PROJECT_ENVIRONMENT": str(VENV), "UV_COMPILE_BYTECODE": "1", **more}


# Installing


def install(uv: str, python: Python, line: Line, light: bool) -> None:
    """Installs exactly the locked packages into .venv."""
    if STARTED.exists():
        log("  the previous installation was interrupted: recreating .venv")
        shutil.rmtree(str(VENV), ignore_errors=True)  # uv does not detect a package that is only partly installed
    TOOLS.mkdir(exist_ok=True)
    STARTED.touch()
    if STAMP.exists():
        STAMP.unlink()
    sync = [uv, "sync", "--frozen", "--project", str(ROOT), "--python", python.path]
    if light:
        done = run(sync + ["--no-default-groups"], uv_environment())
    else:
        done = run(sync, uv_environment(**(compiler(sync) if line.compiles else {})))
    if not done:
        raise SetUpError("uv could not install the packages: see its message above. Fix it, then run this again.")
    STARTED.unlink()
    shutil.rmtree(str(TOOLS / "compiler"), ignore_errors=True)
    with contextlib.suppress(OSError):
        TOOLS.rmdir()  # fails, as intended, while it holds uv or pip


def compiler(sync: List[str]) -> Dict[str, str]:
    """Environment variables that select a downloaded C++ compiler; empty when the machine has one."""
    if os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++"):
        return {}
    log("  no C++ compiler is installed (g++): downloading one, 100 MB and two minutes")
    folder = TOOLS / "compiler"
    settings = uv_environment(UV_PROJECT_ENVIRONMENT=str(folder), UV_COMPILE_BYTECODE="0")
    if not run(sync + ["--only-group", "compiler"], settings):
        raise SetUpError("no C++ compiler is installed and none could be downloaded: install g++, then run this again.")
    zig = shlex.quote(str(folder / "bin" / "python")) + " -m ziglang"
    return {"CC": f"{zig} cc", "CXX": f"{zig} c++", "ZIG_GLOBAL_CACHE_DIR": str(folder / "cache")}


def set_up(light: bool) -> None:
    """Sets up .venv under a lock: a second process waits, then finds it finished."""
    line = choose_line(*this_machine())
    others = ("3.13", "3.12", "3.11", "3.10") if light else ()  # without TFX any version works
    versions = list(dict.fromkeys(line.pythons + others))
    what = "commands without TFX" if light else f"TFX {line.tfx} (Python {' or '.join(versions)}), because {line.why}"
    lock = os.open(str(ROOT), os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    wanted = identity(line, light)
    if is_set_up(wanted):
        log(f".venv is ready: {what}.")
        return
    began = time.monotonic()
    log(f"Setting up .venv: {what}.")
    python = find_python(versions, headers=line.compiles and not light)
    uv = find_uv(python)
    python = python or fetch_python(uv, versions[0])
    log(f"  Python {python.version}: {python.path}")
    log(f"  uv: {uv}")
    log(f"  installing {'a few packages' if light else 'packages, 3 GB: a minute or more'}")
    install(uv, python, line, light)
    STAMP.write_text(json.dumps(wanted))
    log(f".venv is ready after {time.monotonic() - began:.0f} s: {what}.")


def output_of(*command: str) -> Optional[str]:
    """Standard output of a program; None if it does not start, takes more than a minute or fails."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode().strip() if done.returncode == 0 else None


def run(command: List[str], environment: Dict[str, str]) -> bool:
    """Runs a program with its output on the user's terminal; True when it succeeds."""
    return subprocess.run(command, env=environment, stdin=subprocess.DEVNULL).returncode == 0


def log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Sets up .venv with the packages of uv.lock.")
    parser.add_argument("--light", action="store_true", help="without TFX: for counting, routing and dispatching only")
    light = parser.parse_args().light
    try:
        set_up(light)
    except SetUpError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("Stopped. Run it again to finish.")


if __name__ == "__main__":
    main()

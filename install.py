"""Sets up .venv: chooses the TFX line that runs here, finds or fetches uv and Python, installs what uv.lock names.

    python3 install.py            everything: pipelines, tests and tools, 3 GB
    python3 install.py --light    what counting, routing and dispatching need, under 80 MB

Needs nothing but the standard library of Python 3.8 or newer. A second run finds that all is there and does nothing.
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
TOOLS = ROOT / ".tools"  # what set-up itself needs and does not find
STAMP = VENV / "set-up.json"  # written last: without it .venv is not finished
STARTED = TOOLS / "started"  # there while packages are installed, and after that only if it was stopped half-way


class SetUpError(Exception):
    """Why there is no .venv now, and what to do about it, in one line."""


class Line(NamedTuple):
    """One of the two lines of TFX in uv.lock."""

    tfx: str
    pythons: Tuple[str, ...]  # the best first
    compiles: bool  # one of its packages is built here, from C++ that includes Python.h
    why: str


class Python(NamedTuple):
    """An interpreter that was started and answered."""

    path: str
    version: str  # "3.10.13"
    headers: bool  # Python.h is there


def choose_line(system: str, machine: str, libc: str) -> Line:
    """Chooses by `platform.system()`, `platform.machine()` and the C library as os.confstr tells it: "glibc 2.36"."""
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
    """What choose_line asks for."""
    known = "CS_GNU_LIBC_VERSION" in os.confstr_names
    return platform.system(), platform.machine(), (os.confstr("CS_GNU_LIBC_VERSION") or "") if known else ""


# What is there already


def identity(line: Line, light: bool) -> dict:
    """What tells one environment from another: the project, its lock, the line of TFX, and how much of it."""
    digest = hashlib.sha256((ROOT / "pyproject.toml").read_bytes() + (ROOT / "uv.lock").read_bytes())
    return {"lock": digest.hexdigest(), "tfx": line.tfx, "light": light}


def is_set_up(wanted: dict) -> bool:
    """Whether a finished .venv holds what is wanted. One with everything serves as a light one too."""
    try:
        found = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return False
    interpreter = VENV / "bin" / "python"  # a link, dead when its Python was removed
    return interpreter.exists() and found in (wanted, dict(wanted, light=False))


# Python


def search_path() -> List[str]:
    """Folders that programs are looked for in: PATH, and the usual ones where it leaves them out."""
    folders = os.environ.get("PATH", "").split(os.pathsep) + ["/usr/local/bin", "/usr/bin", "/opt/homebrew/bin"]
    return list(dict.fromkeys(folder for folder in folders if folder))


def candidates(version: str) -> Iterator[Path]:
    """Where Python `version` may lie. pyenv puts names on the PATH that do not start, so its folders are asked too."""
    for folder, name in itertools.product(search_path(), (f"python{version}", "python3")):
        yield Path(folder, name)
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv", "versions")
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    of_uv = Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or data / "uv" / "python")
    for folder, pattern in ((pyenv, f"{version}.*"), (of_uv, f"cpython-{version}.*")):
        yield from sorted(folder.glob(f"{pattern}/bin/python{version}"), reverse=True)


@functools.lru_cache(maxsize=None)
def inspect(path: Path) -> Optional[Python]:
    """Starts an interpreter and asks what it is; None if it does not start, or lacks a part that we need."""
    question = """if True:
        import ctypes, json, os, platform, sqlite3, ssl, sys, sysconfig
        own = os.path.join(sys.base_prefix, "bin", "python%d.%d" % sys.version_info[:2])  # not that of a venv
        headers = os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h"))
        print(json.dumps([own if os.path.exists(own) else sys.executable, platform.python_version(), headers]))"""
    told = ask(str(path), "-I", "-c", question)
    return Python(*json.loads(told)) if told else None


def find_python(versions: Sequence[str], headers: bool) -> Optional[Python]:
    """The first interpreter of these versions that really runs, with Python.h where that is needed."""
    for version in versions:
        found = [python for python in map(inspect, candidates(version)) if python and in_line(python, version)]
        for python in found:
            if python.headers or not headers:
                return python
        if found:
            say(f"  {found[0].path} is passed over: no Python.h (apt-get install python{version}-dev would bring it)")
    return None


def in_line(python: Python, version: str) -> bool:
    return python.version.startswith(version + ".")


def fetch_python(uv: str, version: str) -> Python:
    """Has uv download an interpreter."""
    say(f"  Python {version} is not on this machine: uv downloads one (30 MB)")
    fetched = run([uv, "python", "install", version], uv_environment())
    python = find_python([version], headers=True) if fetched else None
    if python:
        return python
    raise SetUpError(
        f"Python {version} is not on this machine and could not be downloaded. Install it (`pyenv install {version}`, "
        f"or `apt-get install python{version}-dev` where the system has it), then run this again."
    )


# uv


def find_uv(python: Optional[Python]) -> str:
    """A uv that reads this lock: from the PATH, else the very version that the lock names, which pip installs."""
    version, hashes = locked_uv()
    own = TOOLS / f"uv-{version}"
    for path in [Path(folder, "uv") for folder in search_path()] + [own / "bin" / "uv"]:
        if numbers(ask(str(path), "--version")) >= numbers(version):
            return str(path)
    say(f"  uv {version} or newer is not on the PATH: pip installs it into .tools")
    shutil.rmtree(str(own), ignore_errors=True)
    TOOLS.mkdir(exist_ok=True)
    requirement = TOOLS / "uv.txt"
    requirement.write_text(" ".join([f"uv=={version}"] + [f"--hash={value}" for value in hashes]))
    settings = dict(os.environ, PIP_USER="0", PIP_REQUIRE_VIRTUALENV="0", PIP_ROOT_USER_ACTION="ignore")
    options = "--quiet --disable-pip-version-check --no-input --no-deps --only-binary=:all: --require-hashes".split()
    if not run(find_pip(python) + ["install"] + options + ["--target", str(own), "-r", str(requirement)], settings):
        raise SetUpError(
            "pip could not install uv, for the reason above: mend it, or put uv on the PATH, then run this again."
        )
    return str(own / "bin" / "uv")


def locked_uv() -> Tuple[str, List[str]]:
    """The version of uv in uv.lock and the hashes of its files."""
    lock = (ROOT / "uv.lock").read_text(encoding="utf-8")
    package = next(block for block in lock.split("[[package]]\n") if block.startswith('name = "uv"\n'))
    return re.findall(r'^version = "(.+)"', package, re.M)[0], re.findall(r'hash = "(sha256:\w+)"', package)


def numbers(version: Optional[str]) -> List[int]:
    """A version as numbers that compare, [0, 13, 9] for "uv 0.13.9 (x86_64)"; [] for a program that did not answer."""
    return [int(part) for part in re.findall(r"\d+", version or "")[:3]]


def find_pip(python: Optional[Python]) -> List[str]:
    """The command that runs a pip: an interpreter's own, else the one that ensurepip unpacks."""
    interpreters = [sys.executable] + ([python.path] if python else [])
    for interpreter in interpreters:
        if ask(interpreter, "-m", "pip", "--version"):
            return [interpreter, "-m", "pip"]
    for interpreter in interpreters:
        if ask(interpreter, "-m", "venv", "--clear", str(TOOLS / "pip")) is not None:
            return [str(TOOLS / "pip" / "bin" / "python"), "-m", "pip"]
    sudo = "" if os.geteuid() == 0 else "sudo "
    raise SetUpError(
        f"neither uv nor pip is on this machine. Run `{sudo}apt-get update && {sudo}apt-get install -y python3-pip`, "
        "then this again."
    )


def uv_environment(**more: str) -> Dict[str, str]:
    """What uv runs in: the settings of another project or of an activated environment must not redirect it."""
    foreign = {"VIRTUAL_ENV", "UV_PYTHON", "UV_PROJECT", "UV_WORKING_DIR", "UV_NO_DEV", "UV_NO_DEFAULT_GROUPS"}
    kept = {name: value for name, value in os.environ.items() if name not in foreign}
    if os.path.exists("/etc/ssl/certs/ca-certificates.crt"):
        kept.setdefault("UV_SYSTEM_CERTS", "1")  # a company's proxy has a certificate of its own
    # without bytecode the first import of TFX takes 35 s instead of 12
    return {**kept, "UV_PROJECT_ENVIRONMENT": str(VENV), "UV_COMPILE_BYTECODE": "1", **more}


# Installing


def install(uv: str, python: Python, line: Line, light: bool) -> None:
    """Makes .venv hold exactly what the lock names."""
    if STARTED.exists():
        say("  the last time did not end: .venv is made anew")
        shutil.rmtree(str(VENV), ignore_errors=True)  # a package may be there in part, which uv would not notice
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
        raise SetUpError("uv could not install the packages, for the reason above: mend it, then run this again.")
    STARTED.unlink()
    shutil.rmtree(str(TOOLS / "compiler"), ignore_errors=True)
    with contextlib.suppress(OSError):
        TOOLS.rmdir()  # when nothing of it is needed


def compiler(sync: List[str]) -> Dict[str, str]:
    """The variables that name a borrowed C++ compiler; none where the machine has one of its own."""
    if os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++"):
        return {}
    say("  no C++ compiler is on this machine (g++): one is borrowed, 100 MB and two minutes")
    folder = TOOLS / "compiler"
    settings = uv_environment(UV_PROJECT_ENVIRONMENT=str(folder), UV_COMPILE_BYTECODE="0")
    if not run(sync + ["--only-group", "compiler"], settings):
        raise SetUpError(
            "no C++ compiler is on this machine and none could be fetched: install g++, then run this again."
        )
    zig = shlex.quote(str(folder / "bin" / "python")) + " -m ziglang"
    return {"CC": f"{zig} cc", "CXX": f"{zig} c++", "ZIG_GLOBAL_CACHE_DIR": str(folder / "cache")}


def set_up(light: bool) -> None:
    """Leaves a finished .venv; whoever comes second meanwhile waits, and then finds it."""
    line = choose_line(*this_machine())
    others = ("3.13", "3.12", "3.11", "3.10") if light else ()  # without TFX any will do
    versions = list(dict.fromkeys(line.pythons + others))
    what = "commands without TFX" if light else f"TFX {line.tfx} (Python {' or '.join(versions)}), because {line.why}"
    lock = os.open(str(ROOT), os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    wanted = identity(line, light)
    if is_set_up(wanted):
        say(f".venv is ready: {what}.")
        return
    began = time.monotonic()
    say(f"Setting up .venv: {what}.")
    python = find_python(versions, headers=line.compiles and not light)
    uv = find_uv(python)
    python = python or fetch_python(uv, versions[0])
    say(f"  Python {python.version}: {python.path}")
    say(f"  uv: {uv}")
    say(f"  installing {'a few packages' if light else 'packages, 3 GB: a minute or more'}")
    install(uv, python, line, light)
    STAMP.write_text(json.dumps(wanted))
    say(f".venv is ready after {time.monotonic() - began:.0f} s: {what}.")


def ask(*command: str) -> Optional[str]:
    """What a program prints, or None if it does not start, does not end or fails."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode().strip() if done.returncode == 0 else None


def run(command: List[str], environment: Dict[str, str]) -> bool:
    """Runs a program whose progress and errors are for the user to see."""
    return subprocess.run(command, env=environment, stdin=subprocess.DEVNULL).returncode == 0


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Sets up .venv with what uv.lock names.")
    parser.add_argument("--light", action="store_true", help="without TFX: enough to count, route and dispatch")
    light = parser.parse_args().light
    try:
        set_up(light)
    except SetUpError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("Stopped: run this again to finish.")


if __name__ == "__main__":
    main()

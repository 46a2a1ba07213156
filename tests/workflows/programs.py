"""Installs programs written in Go: `act` executes workflows, `actionlint` checks them.

python -m tests.workflows.programs actionlint    runs it, after installing it if necessary
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.containers import CannotRun, cache
from tests.workflows import prism

PROGRAMS = {
    "act": ("github.com/nektos/act", "v0.2.87"),
    "actionlint": ("github.com/rhysd/actionlint/cmd/actionlint", "v1.7.12"),
}


def installed(name: str) -> Path:
    """Path of a program in its pinned version; installs it if necessary. Raises CannotRun."""
    package, version = PROGRAMS[name]
    folder = cache() / "go" / f"{name}-{version}"
    if not (folder / name).exists():
        install(f"{package}@{version}", folder)
    return folder / name


def install(package: str, folder: Path) -> None:
    """Installs a Go program (PACKAGE@VERSION) into a folder. Raises CannotRun."""
    go = shutil.which("go")
    if not go:
        raise CannotRun(
            f"Go is not on the PATH, and {package} needs it: install Go 1.25 or newer, then run this again."
        )
    print(f"Installing {package} (a minute, once).", file=sys.stderr, flush=True)
    # installed elsewhere and renamed, so that another process never finds an incomplete program
    unfinished = folder.with_name(f"{folder.name}.{os.getpid()}")
    command, settings = [go, "install", package], {**os.environ, "GOBIN": str(unfinished), "CGO_ENABLED": "0"}
    try:
        done = subprocess.run(command, env=settings, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no output"])[-1]
            raise CannotRun(
                f"`go install {package}` failed: {last}. Check the network and Go (1.25 or newer), then run this again."
            )
        folder.mkdir(parents=True, exist_ok=True)
        for program in unfinished.iterdir():
            program.replace(folder / program.name)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def check() -> None:
    """Raises CannotRun when this machine cannot execute workflows."""
    installed("act")
    prism.installed()
    for program in ("bash", "git", "make", "node"):  # present on GitHub's runners
        if not shutil.which(program):
            raise CannotRun(f"{program} is not on the PATH: install it, then run this again.")


def main() -> None:
    name, *arguments = sys.argv[1:] or [""]
    try:
        if name == "check":
            check()
        elif name in PROGRAMS:
            program = installed(name)
            os.execv(program, [str(program), *arguments])
        else:
            sys.exit(f"error: the first argument must be check, {' or '.join(PROGRAMS)}.")
    except CannotRun as reason:
        sys.exit(f"error: {reason}")


if __name__ == "__main__":
    main()

"""Programs in Go that this machine may lack: `act` executes workflows, `actionlint` finds mistakes in them.

python -m tests.workflows.programs actionlint    runs it, installed first where it is not there
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
    """Returns the program, of the version that is named above; installs it once. Raises CannotRun."""
    package, version = PROGRAMS[name]
    folder = cache() / "go" / f"{name}-{version}"
    if not (folder / name).exists():
        _install(f"{package}@{version}", folder)
    return folder / name


def _install(package: str, folder: Path) -> None:
    go = shutil.which("go")
    if not go:
        raise CannotRun(
            f"Go is not on the PATH, and {package} is built by it: install Go 1.25 or newer, then run this again."
        )
    print(f"Installing {package}, which takes a minute, once.", file=sys.stderr, flush=True)
    # renamed when it is finished, so that nobody finds half a program
    unfinished = folder.with_name(f"{folder.name}.{os.getpid()}")
    command, settings = [go, "install", package], {**os.environ, "GOBIN": str(unfinished)}
    try:
        done = subprocess.run(command, env=settings, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise CannotRun(
                f"`go install {package}` failed: {last}. Check the network and Go (1.25 or newer), then run this again."
            )
        folder.mkdir(parents=True, exist_ok=True)
        for program in unfinished.iterdir():
            program.replace(folder / program.name)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def check() -> None:
    """Raises CannotRun where workflows cannot be executed."""
    installed("act")
    prism.installed()
    for program in ("bash", "git", "make", "node"):  # which the runners of GitHub have
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
            sys.exit(f"error: say check, {' or '.join(PROGRAMS)}, followed by its arguments")
    except CannotRun as reason:
        sys.exit(f"error: {reason}")


if __name__ == "__main__":
    main()

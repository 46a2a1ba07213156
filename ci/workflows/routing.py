"""Which branch a push takes, by the files that differ between two commits."""

import fnmatch
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.errors import NotAClone, UsageError

MODULES, FULL, NONE = "modules-only", "full-codebase", "none"
DOCUMENTATION = ("*.md", "docs/*", "LICENSE")  # a `*` also stands for slashes


@dataclass(frozen=True)
class Route:
    """A branch, and the reason for it."""

    branch: str
    why: str


def route(base: str, head: str, root: str = ".") -> Route:
    """Decides from what differs between two commits of the repository in `root`.

    What cannot be told takes the branch that leaves nothing out: no base, one that is not here (a first push, a forced
    one), no difference. Raises UsageError when there is no such `head`.
    """
    after = _commit(root, head)
    if after is None:
        raise UsageError(f"There is no commit {head!r} in this clone: name one that `git log` shows as --head.")
    if not base.strip("0"):
        return Route(FULL, "there is no commit to compare with")
    before = _commit(root, base)
    if before is None:
        return Route(FULL, f"the commit {base} to compare with is not in this clone")
    changed = _changed(root, before, after)
    return decide(changed) if changed else Route(FULL, f"nothing differs from {before[:12]}, so all is done again")


def decide(changed: Sequence[str]) -> Route:
    """Decides from the names of changed files, of which there is at least one."""
    code = [name for name in changed if not is_documentation(name)]
    if not code:
        return Route(NONE, f"only documentation changed: {_some(changed)}")
    outside = [name for name in changed if not name.startswith("modules/")]
    if not outside:
        return Route(MODULES, f"all that changed is below modules/: {_some(changed)}")
    return Route(FULL, f"not only modules changed: {_some(outside)}")


def is_documentation(name: str) -> bool:
    """True for files that no pipeline reads."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in DOCUMENTATION)


def _some(names: Sequence[str]) -> str:
    return f"{names[0]} and {len(names) - 1:,} more" if len(names) > 1 else names[0]


def _commit(root: str, revision: str) -> str | None:
    """Returns the full name of a commit, None when there is none of this name."""
    # --end-of-options: a revision that begins with a dash is no option
    asked = ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"]
    done = _git(root, asked)
    return done.stdout.decode().strip() if done.returncode == 0 else None


def _changed(root: str, before: str, after: str) -> list[str]:
    # a rename is two changes, of which one may be outside
    done = _git(root, ["diff", "--name-only", "--no-renames", "--no-ext-diff", "-z", before, after, "--"])
    if done.returncode:
        raise UsageError(f"git cannot compare {before} with {after}: {done.stderr.decode(errors='replace').strip()}")
    return sorted(filter(None, os.fsdecode(done.stdout).split("\0")))


def _git(root: str, arguments: Sequence[str]) -> subprocess.CompletedProcess[bytes]:
    try:
        done = subprocess.run(["git", "-C", root, *arguments], capture_output=True)
    except OSError:
        raise UsageError("git is not on this machine: install it, then run this again.") from None
    if b"not a git repository" in done.stderr:
        raise NotAClone(os.path.abspath(root))
    return done

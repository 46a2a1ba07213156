"""The workflow's clone of the repository: commits, differences between them, and temporary checkouts."""

import contextlib
import os
import subprocess
from collections.abc import Iterator, Sequence

from pipeline.errors import NotARepository, UsageError


def commit(root: str, revision: str) -> str | None:
    """Returns the full name of a commit, None when there is none of this name."""
    # --end-of-options: a revision that begins with a dash is not an option
    arguments = ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"]
    done = _git(root, arguments)
    return done.stdout.decode().strip() if done.returncode == 0 else None


def is_ancestor(root: str, name: str, branch: str) -> bool:
    """True when a commit is part of a branch of the remote `origin`. Raises UsageError when there is no such branch."""
    done = _git(root, ["merge-base", "--is-ancestor", name, f"refs/remotes/origin/{branch}"])
    if done.returncode > 1:
        output = done.stderr.decode(errors="replace").strip()
        raise UsageError(f"git cannot find the branch {branch!r} of origin: {output}. Fetch all of its history.")
    return done.returncode == 0


def default_branch(root: str) -> str:
    """Returns the default branch of the remote `origin`, as a clone remembers it; "" where it does not."""
    done = _git(root, ["symbolic-ref", "--quiet", "--short", "refs/remotes/origin/HEAD"])
    return done.stdout.decode().strip().removeprefix("origin/") if done.returncode == 0 else ""


def changed(root: str, before: str, after: str) -> list[str]:
    """Returns the names of the files that differ between two commits."""
    return _differing(root, before, after)


def changed_here(root: str, before: str) -> list[str]:
    """Returns the names of files in the working tree that differ from a commit, untracked files included."""
    new = _git(root, ["ls-files", "--others", "--exclude-standard", "-z"])
    return sorted({*_differing(root, before), *_names(new.stdout)})


@contextlib.contextmanager
def beside(root: str, name: str, folder: str) -> Iterator[None]:
    """Checks out a commit to a new folder, and removes it at the end of the context."""
    _remove(root, folder)  # may remain from a killed process
    # disables this clone's hooks
    done = _git(root, ["-c", "core.hooksPath=/dev/null", "worktree", "add", "--quiet", "--detach", folder, name])
    try:
        if done.returncode:
            raise UsageError(f"git cannot check out {name}: {done.stderr.decode(errors='replace').strip()}")
        yield
    finally:
        _remove(root, folder)


def _remove(root: str, folder: str) -> None:
    _git(root, ["worktree", "remove", "--force", folder])


def _differing(root: str, *commits: str) -> list[str]:
    # a rename counts as two changes, because one may be outside modules/
    done = _git(root, ["diff", "--name-only", "--no-renames", "--no-ext-diff", "-z", *commits, "--"])
    if done.returncode:
        output = done.stderr.decode(errors="replace").strip()
        raise UsageError(f"git cannot compare {' with '.join(commits)}: {output}")
    return _names(done.stdout)


def _names(listed: bytes) -> list[str]:
    return sorted(filter(None, os.fsdecode(listed).split("\0")))


def _git(root: str, arguments: Sequence[str]) -> subprocess.CompletedProcess[bytes]:
    try:
        done = subprocess.run(["git", "-C", root, *arguments], capture_output=True)
    except OSError:
        raise UsageError("git is not installed: install it, then run this again.") from None
    if b"not a git repository" in done.stderr:
        raise NotARepository(os.path.abspath(root))
    return done

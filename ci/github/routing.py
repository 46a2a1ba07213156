"""Which branch a push takes, by the files that differ between two commits."""

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass

from ci.github import clone
from pipeline.errors import UsageError

MODULES, FULL, NONE = "modules-only", "full-codebase", "none"
DOCUMENTATION = ("*.md", "docs/*", "*/docs/*", "LICENSE", "*/LICENSE")  # a `*` also stands for slashes


@dataclass(frozen=True)
class Route:
    """A branch, and the reason for it."""

    branch: str
    why: str


def route(base: str, head: str, root: str = ".") -> Route:
    """Decides by the differences between two commits of the repository in `root`.

    The full branch is the default in unclear cases: no base, a base that the clone lacks (a first push, a forced one),
    no difference. Raises UsageError when `head` does not exist.
    """
    after = clone.commit(root, head)
    if after is None:
        raise UsageError(f"There is no commit {head!r} in this clone: name one that `git log` shows as --head.")
    if not base.strip("0"):
        return Route(FULL, "there is no commit to compare with")
    before = clone.commit(root, base)
    if before is None:
        return Route(FULL, f"the commit {base} to compare with is not in this clone")
    changed = clone.changed(root, before, after)
    return decide(changed) if changed else Route(FULL, f"nothing differs from {before[:12]}, so all is done again")


def decide(changed: Sequence[str]) -> Route:
    """Decides from the names of changed files, of which there is at least one; documentation counts as nothing."""
    code = [name for name in changed if not is_documentation(name)]
    if not code:
        return Route(NONE, f"only documentation changed: {_some(changed)}")
    outside = [name for name in code if not name.startswith("modules/")]
    if outside:
        return Route(FULL, f"not only modules changed: {_some(outside)}")
    return Route(MODULES, f"all code that changed is below modules/: {_some(code)}")


def is_documentation(name: str) -> bool:
    """True for files that no pipeline reads."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in DOCUMENTATION)


def _some(names: Sequence[str]) -> str:
    return f"{names[0]} and {len(names) - 1:,} more" if len(names) > 1 else names[0]

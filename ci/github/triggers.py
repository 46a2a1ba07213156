"""The branch whose pushes start workflows: GitHub takes a name there and no expression, so it has to be kept right."""

import glob
import os
import re

FOLDER = ".github/workflows"
# `push:` and, below it and deeper, its `branches: [...]`
_PUSH = re.compile(r"(?m)^(?P<indent> *)push:\n(?:(?P=indent) +.*\n)*?(?P=indent) +branches: \[(?P<names>[^\]\n]*)\]")


def push_branches(root: str = ".") -> dict[str, tuple[str, ...]]:
    """Returns {workflow's file name: branches whose pushes start it}, of workflows that name some."""
    found = {}
    for path in sorted(glob.glob(os.path.join(glob.escape(root), FOLDER, "*.yml"))):
        with open(path, encoding="utf-8") as file:
            match = _PUSH.search(file.read())
        if match:
            found[os.path.basename(path)] = tuple(name.strip(" '\"") for name in match["names"].split(","))
    return found


def mismatch(default_branch: str, root: str = ".") -> str:
    """Returns "" where a push to the default branch starts every workflow, else what is wrong and how to fix it."""
    wrong = {name: branches for name, branches in push_branches(root).items() if default_branch not in branches}
    if not wrong:
        return ""
    files = ", ".join(f"{FOLDER}/{name} ({', '.join(branches)})" for name, branches in wrong.items())
    return (
        f"The default branch is {default_branch}, but a push starts these workflows only on another one: {files}."
        f" Write `branches: [{default_branch}]` there."
    )

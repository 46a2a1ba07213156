"""Which commit of this repository a run is made of."""

import subprocess


def this_commit() -> str:
    """Returns this repository's commit, with "-dirty" when files differ from it."""
    describe = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(describe, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""  # no git, or not a clone

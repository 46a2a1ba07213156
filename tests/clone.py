"""A clone of the working tree, uncommitted changes included, in which tests change files and commit."""

import os
import pathlib
import shutil
import subprocess
from collections.abc import Callable

from pipeline.packaging import image

ROOT = pathlib.Path(image.ROOT)
# Isolates tests from the user's own git settings.
SETTINGS = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
AUTHOR = ("-c", "user.name=T", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main")


class Clone:
    """A repository with one commit: the tracked files that `wanted` selects; its model trains `epochs` epochs."""

    def __init__(self, folder: pathlib.Path, wanted: Callable[[str], bool] = lambda name: True, epochs: int = 8):
        self.folder = folder
        for name in image.tracked(str(ROOT)):
            if (ROOT / name).is_file() and wanted(name):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, folder / name)
        self.change("modules/classification/settings.py", "epochs: int = 15", f"epochs: int = {epochs}")
        self.git("init", "--quiet")
        self.commit("Add all files")

    def change(self, name: str, old: str, new: str) -> None:
        """Replaces text in a file."""
        path = self.folder / name
        text = path.read_text()
        assert old in text, f"{name} has changed: {old!r} is not in it"
        path.write_text(text.replace(old, new))

    def append(self, name: str, text: str) -> None:
        """Appends a line to a file, creating it if necessary."""
        with (self.folder / name).open("a") as file:
            file.write(f"{text}\n")

    def commit(self, message: str) -> str:
        """Commits all changes; returns the commit's hash."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)
        return self.head()

    def head(self) -> str:
        return self.git("rev-parse", "HEAD").strip()

    def git(self, *arguments: str) -> str:
        """Runs git in the clone; returns its output."""
        command = ["git", "-C", str(self.folder), *AUTHOR, *arguments]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **SETTINGS})
        return done.stdout

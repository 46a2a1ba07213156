"""The pages: their sections, links and command blocks, and the project that their commands create."""

import dataclasses
import functools
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

from pipeline.config import Config
from pipeline.setup.resources import ENVIRONMENTS
from tests.clone import ROOT, SETTINGS
from tests.emulators.cloud import Cloud
from tests.gcloud import Programs, new_project


class Block(NamedTuple):
    """A fenced block of a page."""

    section: str  # anchor of the heading above it
    kind: str  # what follows the fence: sh, sh cloud, text ...
    text: str


class Page:
    """A page of documentation, by its path from the repository's root."""

    def __init__(self, name: str):
        self.name = name
        self.blocks: list[Block] = []
        self.anchors: list[str] = [""]
        prose, block, fence = [], [], None
        for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
            if fence is not None and line.strip() == "```":
                self.blocks.append(Block(self.anchors[-1], fence, "".join(block)))
                fence = None
            elif fence is not None:
                block.append(f"{line}\n")
            elif line.lstrip().startswith("```"):
                fence, block = line.strip().removeprefix("```"), []
            else:
                prose.append(line)
                if heading := re.match(r"#+ (.+)", line):
                    self.anchors.append(_anchor(heading[1]))
        assert fence is None, f"{name} ends inside of a block"
        self.prose = "\n".join(prose)

    def links(self) -> Iterator[str]:
        """Yields the target of each link and picture."""
        yield from re.findall(r"\]\(([^)\s]+)\)", self.prose)

    def table(self, section: str) -> list[list[str]]:
        """Returns the cells of a section's table, without its head; a pipe inside of a cell is written as `\\|`."""
        lines = re.split(r"^#+ ", self.prose, flags=re.M)
        (found,) = (part for part in lines if _anchor(part.partition("\n")[0]) == section)
        rows = [line for line in found.splitlines() if line.startswith("|")]
        return [[cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows[2:]]


def _anchor(heading: str) -> str:
    """Returns a heading's anchor as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@functools.cache
def page(name: str) -> Page:
    return Page(name)


def pages() -> list[Page]:
    """Returns every page that people read."""
    folders = ("", "docs", "benchmarks", "tests/workflows", ".github")
    return [page(str(path.relative_to(ROOT))) for folder in folders for path in sorted((ROOT / folder).glob("*.md"))]


def commands(place: str, kind: str = "sh") -> list[str]:
    """Returns the blocks of commands of a section, such as "docs/github.md#set-up-a-fork", or those in Python."""
    name, _, section = place.partition("#")
    found = [block.text for block in page(name).blocks if block.section == section and block.kind.startswith(kind)]
    assert found, f"{place} has no block of {kind}"
    return found


def paste(script: str, folder: pathlib.Path, programs: pathlib.Path | None = None, **variables: str) -> str:
    """Runs commands in bash, in a folder, up to the first that fails; returns what they print.

    They see the repository's programs, those in the folder `programs`, and of the environment only what is given; `ci`
    is that of this repository, whatever the folder.
    """
    path = os.pathsep.join([*([str(programs)] if programs else []), os.environ["PATH"]])
    person = {f"GIT_{role}_{what}": "t@example.com" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {"PATH": path, "HOME": str(folder), **SETTINGS, **person, **variables}
    script = re.sub(r"^alias ci=.*", f'ci() {{ PYTHONPATH={ROOT} {sys.executable} -m ci "$@"; }}', script, flags=re.M)
    script = f"set -eu -o pipefail\n{script}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


class Project(NamedTuple):
    """What the pages' commands have exported, and which variables they have set in the repository."""

    exports: dict[str, str]
    variables: dict[str, str]


def make(cloud: Cloud, folder: pathlib.Path, token: bytes = b"ghp_of-a-test") -> Project:
    """Makes a project that contains only what the pages' commands create; `token` is typed in where they ask."""
    with Programs(cloud) as programs:
        return create(programs, folder, token)


def create(programs: Programs, folder: pathlib.Path, token: bytes = b"ghp_of-a-test") -> Project:
    """Runs the pages' commands, as the owner of a project in which there is nothing yet."""
    cloud = programs.cloud
    repository, owner = cloud.github.repository, new_project(cloud)
    (folder / "token").write_bytes(token)
    given = {"GCP_PROJECT": cloud.project, "GCP_REGION": cloud.region, "BUCKET": cloud.bucket, "REPOSITORY": repository}
    examples, *resources = commands("docs/google-cloud.md#create-the-resources")
    lines = [
        *(f"export {name}={shlex.quote(value)}" for name, value in given.items()),
        re.sub(r"^export GCP_PROJECT.*", "", examples),
        *(block.replace("--release-token -", "--release-token token") for block in resources),
        # tests/ci/commands/test_doctor.py runs the last line
        *(block.replace("ci doctor", "") for block in commands("docs/google-cloud.md#set-and-check")),
        *commands("docs/github.md#set-up-a-fork"),
        "export",
    ]
    signed_in = signed_in_as(cloud, owner)
    exported = paste("\n".join(lines), folder, programs.folder, **signed_in)
    names = list(ENVIRONMENTS)
    clock, issues, *variables, ruleset = programs.gh[: -len(names)]
    assert clock == ["workflow", "enable", "collected-data.yml", "--repo", repository]
    assert issues == ["repo", "edit", repository, "--enable-issues"]
    assert ruleset[:4] == ["api", "--method", "POST", f"repos/{repository}/rulesets"]
    assert json.loads((ROOT / ruleset[-1]).read_text())["target"] == "branch"
    made = [["api", "--method", "PUT", f"repos/{repository}/environments/{name}"] for name in names]
    assert programs.gh[-len(names) :] == made
    exports = dict(re.findall(r'^declare -x ([A-Z_]+)="(.+)"$', exported, re.M))
    shell = ("PATH", "HOME", "PWD", "OLDPWD", "SHLVL")
    others = {*shell, *signed_in}
    exports = {name: value for name, value in exports.items() if name not in others and not name.startswith("GIT_")}
    return Project(exports, dict(map(_variable, variables)))


def signed_in_as(cloud: Cloud, key: pathlib.Path) -> dict[str, str]:
    """Returns the environment of a person who has an account's key, and no settings yet."""
    known = {field.metadata["variable"] for field in dataclasses.fields(Config)}
    plain = {name: value for name, value in cloud.environment.items() if name not in known}
    token = cloud.github.token(contents="read")
    return {**plain, "GOOGLE_APPLICATION_CREDENTIALS": str(key), "GITHUB_TOKEN": token}


def _variable(words: list[str]) -> tuple[str, str]:
    *command, name, chosen, _, option, value = words
    assert (command, chosen, option) == (["variable", "set"], "--repo", "--body"), words
    return name, value

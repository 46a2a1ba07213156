"""README and the pages: their links, tables and command blocks, each block executed."""

import ast
import json
import pathlib
import re
import shutil
import subprocess
import sys
from typing import Any

import pytest

from ci.__main__ import overview
from pipeline.config import Config
from tests import documentation
from tests.ci.conftest import environment
from tests.clone import ROOT, SETTINGS, Clone
from tests.conftest import photographs, put
from tests.documentation import commands, page, pages, paste
from tests.gcloud import Programs
from tests.test_repository import files

KINDS = {"python", "sh", "sh cloud", "sh emulators", "sh minutes", "text", "mermaid"}
REFERENCE = page("docs/reference.md")


def leads_somewhere(here: documentation.Page, target: str) -> bool:
    """True for an external link, an existing file with an existing anchor, or a page of GitHub about a workflow."""
    if re.match(r"https://[\w.-]+(/|$)", target):
        return True
    if workflow := re.fullmatch(r"\.\./\.\./actions/workflows/([\w-]+\.yml)(/badge\.svg)?", target):
        return (ROOT / ".github" / "workflows" / workflow[1]).is_file()
    name, _, anchor = target.partition("#")
    path = (ROOT / here.name).parent.joinpath(name).resolve() if name else ROOT / here.name
    there = path.is_file() or path.is_dir()
    return there and (not anchor or anchor in page(str(path.relative_to(ROOT))).anchors)


def test_every_link_leads_somewhere():
    links = [(of, target) for of in pages() for target in of.links()]
    assert len(links) > 50
    assert not [f"{of.name}: {target}" for of, target in links if not leads_somewhere(of, target)]


def test_every_page_that_code_and_workflows_name_exists():
    named = set()
    for path in files():
        if path.suffix in (".py", ".yml", ".yaml", "") and path.name != "LICENSE":
            text = path.read_text(encoding="utf-8")
            named |= set(
                re.findall(r"(?<![\w/])(?:docs/[\w-]+|README|SECURITY|CONTRIBUTING|CHANGELOG)\.md(?:#[\w-]+)?", text)
            )
    assert {"docs/google-cloud.md", "docs/github.md"} <= named
    assert not [name for name in named if not leads_somewhere(page("README.md"), name)]


def test_the_readme_is_one_page_with_a_small_picture():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
    pictures = [target for target in page("README.md").links() if target.endswith(".png")]
    assert pictures and all((ROOT / picture).stat().st_size < 150_000 for picture in pictures)


def test_every_block_of_commands_is_executed_by_a_test():
    blocks = [(of.name, block) for of in pages() for block in of.blocks]
    assert not [(name, block.kind) for name, block in blocks if block.kind not in KINDS]
    tests = "".join(
        path.read_text() for path in files() if path.is_relative_to(ROOT / "tests") and path.suffix == ".py"
    )
    places = {f"{name}#{block.section}" for name, block in blocks if block.kind.startswith(("sh", "python"))}
    assert len(places) > 10
    assert not [place for place in places if f'"{place}"' not in tests]


def test_the_settings_are_those_of_config():
    expected = [
        [f"`{setting.variable}`", f"`{setting.value}`" if setting.value else "", setting.meaning]
        for setting in Config().settings({})
    ]
    assert REFERENCE.table("settings") == expected


def shown_by_help() -> list[tuple[str, str, str]]:
    """The name, the summary and the group of each command, in the order of `ci --help`."""
    found, group = [], ""
    for line in overview().splitlines():
        if line.endswith(":") and not line.startswith(" "):
            group = line[:-1]
        elif command := re.fullmatch(r"  ([\w-]+) {2,}(.+)", line):
            found.append((command[1], command[2], group))
    return found


def test_the_commands_are_those_of_help():
    shown = shown_by_help()
    assert len(shown) > 20
    assert REFERENCE.table("commands") == [[f"`{name}`", about, group] for name, about, group in shown]
    assert [row[0] for row in REFERENCE.table("json")] == [f"`{name}`" for name, _, _ in shown]


def ci(workspace: pathlib.Path, *arguments: object) -> dict[str, Any]:
    """Runs a command with a workspace of its own; returns its JSON."""
    command = [sys.executable, "-m", "ci", *map(str, arguments), "--json"]
    variables = environment(WORKSPACE=str(workspace))
    done = subprocess.run(command, cwd=ROOT, env=variables, check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def keys_of(command: str) -> set[str]:
    """The keys of a command's JSON as the page lists them: what is in code style outside of parentheses and braces."""
    (cell,) = (row[1] for row in REFERENCE.table("json") if row[0] == f"`{command}`")
    return set(re.findall(r"`(\w+)`", re.sub(r"\([^()]*\)|:[^;]*", "", cell)))


@pytest.mark.parametrize(
    "command, options",
    [
        ("config", []),
        ("copy-modules", []),
        ("count-collected", ["--threshold", "1"]),
        ("import-images", ["--demo", "--limit", "20"]),
        ("prepare-span", []),
        ("status", []),
    ],
)
def test_the_keys_of_json_are_those_of_the_page(tmp_path, command, options):
    assert set(ci(tmp_path, command, *options)) == keys_of(command)


def test_develop_names_every_target_of_make_and_every_folder():
    targets = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.M)[1].split()
    described = {row[0].strip("`").removeprefix("make ") for row in page("docs/develop.md").table("commands")}
    assert described == set(targets) - {"help"}

    (layout,) = (block.text for block in page("docs/develop.md").blocks if block.section == "layout")
    shown = [line.split("  ")[0].split() for line in layout.replace("  ", "\t", 1).splitlines()]
    folders = {path.name for path in (ROOT / "pipeline").iterdir() if path.is_dir() and path.name[0] not in "._"}
    assert shown and folders <= set(re.findall(r"([\w]+)/", layout))
    above = [ROOT]  # the folder that lines of each indentation are in
    for line in layout.splitlines():
        indentation, names = re.match(r"(\s*)((?:[\w.]+/?(?: |$))+)", line).groups()
        del above[len(indentation) // 2 + 1 :]
        assert all((above[-1] / name).exists() for name in names.split()), line
        above.append(above[-1] / names.split()[0])


def test_every_message_in_the_table_of_errors_is_one_that_the_code_prints():
    texts = []
    for path in files():
        if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in ("ci", "pipeline"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    texts.append(
                        "".join(
                            getattr(part, "value", "…") if isinstance(part, ast.Constant) else "…"
                            for part in node.values
                        )
                    )
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    texts.append(node.value)
    rows = page("docs/operations.md").table("errors")
    assert len(rows) > 10
    messages = [message for row in rows for message in re.findall(r"`([^`]+)`", row[0])]
    assert not [message for message in messages if not any(message in text for text in texts)]


# The commands


@pytest.fixture
def clone(tmp_path) -> Clone:
    """A clone of this repository that uses the same .venv."""
    made = Clone(tmp_path / "clone", epochs=15)
    (made.folder / ".venv").symlink_to(ROOT / ".venv")
    return made


def test_the_demo_starts_in_a_fresh_clone(clone, tmp_path):
    """Its commands are executed by `.ci/run`, which takes minutes; here make only prints what it would run."""
    (script,) = commands("README.md#see-it-run")
    source = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_VALUE_0": "https://github.com/OWNER/spanloop"}

    printed = paste(script, tmp_path, MAKEFLAGS="n", GIT_CONFIG_KEY_0=f"url.{clone.folder}.insteadOf", **source)

    assert printed.splitlines()[-1] == ".venv/bin/python -m ci demo"
    assert (tmp_path / "spanloop" / "Makefile").read_bytes() == (ROOT / "Makefile").read_bytes()
    assert "step make demo" in (ROOT / ".ci" / "run").read_text()


def test_a_copied_task_is_a_task_of_its_own(clone):
    (script,) = commands("docs/own-model.md#another-task")

    printed = paste(script, clone.folder)

    (wheel,) = (clone.folder / "workspace" / "modules").glob("*/*.whl")
    assert wheel.parent.name in printed and "modules.pets" in printed


def test_a_deleted_span_is_restored_from_a_backup(clone):
    local, _ = commands("docs/operations.md#back-up-and-restore")
    put(clone.folder / "photographs", photographs(range(20)))
    assert ci(clone.folder / "workspace", "import-images", clone.folder / "photographs")["span"] == 1

    assert "span 1: 20 images" in paste(local, clone.folder)


def test_spans_in_a_bucket_are_restored_from_its_backup(cloud, tmp_path):
    _, script = commands("docs/operations.md#back-up-and-restore")
    spans = {f"spanloop/spans/span-0001/{name}": name.encode() for name in ("train/0.tfrecord", "span.json")}
    for name, data in spans.items():
        cloud.gcs.put(f"gs://{cloud.bucket}/{name}", data)
    create, back_up, restore = script.strip().splitlines()

    with Programs(cloud) as programs:
        variables = {"BUCKET": cloud.bucket, "GCP_REGION": cloud.region}
        paste(f"{create}\n{back_up}", tmp_path, programs.folder, **variables)
        for name in spans:
            cloud.gcs.delete(f"gs://{cloud.bucket}/{name}")
        paste(restore, tmp_path, programs.folder, **variables)

    assert {name: cloud.gcs.read(f"gs://{cloud.bucket}/{name}") for name in spans} == spans


# A newer version, in repositories as git makes them

NEWER = "docs/operations.md#take-a-newer-version"


class Origin:
    """The repository of the template: version v0.1.0, a model that it has released itself, then v0.2.0."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        self.git("init", "--quiet", "--initial-branch=trunk")
        self.write("pipeline/plan.py", "first\n\n\nlast\n")
        self.write("modules/model.py", "a model\n")
        self.commit("v0.1.0")
        self.git("tag", "model-1")
        self.start = self.git("rev-parse", "HEAD")
        self.write("pipeline/plan.py", "first, improved\n\n\nlast\n")
        self.commit("v0.2.0")

    def git(self, *arguments: str) -> str:
        person = ("-c", "user.name=T", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false")
        command = ["git", "-C", str(self.folder), *person, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, env=SETTINGS).stdout.strip()

    def write(self, name: str, text: str) -> None:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(text)

    def commit(self, tag: str) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", tag)
        self.git("tag", tag)


@pytest.fixture
def origin(tmp_path) -> Origin:
    return Origin(tmp_path / "origin")


def changed_by_its_owner(folder) -> None:
    """Commits what a team changes in its own repository: the model, and a line of the pipeline."""
    (folder / "modules" / "model.py").write_text("our model\n")
    (folder / "pipeline" / "plan.py").write_text("first\n\n\nlast, ours\n")
    paste('git commit --quiet --all --message "Our model"', folder)


def check_merged(folder) -> None:
    assert (folder / "pipeline" / "plan.py").read_text() == "first, improved\n\n\nlast, ours\n"
    assert (folder / "modules" / "model.py").read_text() == "our model\n"
    assert paste("git status --porcelain", folder) == "" and "model-1" not in paste("git tag", folder)


def test_a_fork_takes_a_newer_version(origin, tmp_path):
    _, remote, take = commands(NEWER)
    paste(
        f"git clone --quiet --no-tags {origin.folder} fork && cd fork && git reset --quiet --hard {origin.start}",
        tmp_path,
    )
    changed_by_its_owner(tmp_path / "fork")

    paste(f"{remote}\n{take}", tmp_path / "fork", UPSTREAM=str(origin.folder))

    check_merged(tmp_path / "fork")


def test_a_copy_without_common_history_takes_a_newer_version_and_the_next(origin, tmp_path):
    record, _, take = commands(NEWER)
    copy = tmp_path / "copy"
    paste(f"git clone --quiet {origin.folder} copy && cd copy && git checkout --quiet {origin.start}", tmp_path)
    shutil.rmtree(copy / ".git")
    paste(
        'git init --quiet --initial-branch=main && git add --all && git commit --quiet --message "Initial commit"', copy
    )
    changed_by_its_owner(copy)

    paste(f"{record}\n{take}", copy, UPSTREAM=str(origin.folder))

    check_merged(copy)
    assert "Record the origin of this copy" in paste("git log --format=%s", copy)
    origin.write("new.py", "new\n")
    origin.commit("v0.3.0")
    paste(take.replace("v0.2.0", "v0.3.0"), copy)
    assert (copy / "new.py").read_text() == "new\n"
    check_merged(copy)

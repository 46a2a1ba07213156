"""The list of commands is read from their files, at the price of a bare interpreter."""

import importlib
import re
import subprocess
import sys

import pytest

from ci.__main__ import GROUPS, commands
from tests.ci.conftest import ROOT, environment


def test_help_lists_every_command_with_the_first_line_of_its_own_help(ci):
    listed = ci("--help").out

    for name, (group, about) in commands().items():
        module = name.replace("-", "_")
        made = getattr(importlib.import_module(f"ci.commands.{module}"), module)
        assert made.name == name
        assert made.help.partition("\n")[0] == about
        assert made.help and group == sys.modules[f"ci.commands.{module}"].GROUP
        section = listed.partition(f"\n{GROUPS[group]}:\n")[2].partition("\n\n")[0]
        assert re.search(rf"(?m)^  {name} +{re.escape(about)}$", section)


def test_help_imports_neither_click_nor_anything_of_the_pipeline():
    process = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "ci", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    imported = {line.rpartition("|")[2].strip() for line in process.stderr.splitlines()}

    assert "ci.streams" in imported
    assert not {name for name in imported if name.split(".")[0] in ("click", "pipeline", "tensorflow", "numpy", "rich")}


def test_a_command_is_added_by_adding_its_file(ci, house):
    house.add("count_sheep", "Counts sheep.", 'return Outcome("3 sheep.", sheep=3)')

    assert re.search(r"^  count-sheep +Counts sheep\.$", ci("--help", cwd=house.root).out, re.MULTILINE)
    assert ci("count-sheep", cwd=house.root).out == "3 sheep.\n"
    assert ci("count-sheep", "--json", cwd=house.root).json == {"sheep": 3}


@pytest.mark.parametrize("typed", ["confg", "Config", "configs"])
def test_an_unknown_command_gets_the_nearest_as_a_hint(ci, typed):
    done = ci(typed)

    assert (done.code, done.out) == (2, "")
    assert f"{typed!r}" in done.err and "`config`" in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("typed", ["../ci/config", "outcome", "--json", "ci.commands.config", "a\nb", ""])
def test_what_is_no_command_is_refused_in_one_line(ci, typed):
    done = ci(typed)

    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ") and done.err.count("\n") == 1


def test_without_a_command_all_are_listed(ci):
    done = ci()

    assert (done.code, done.out) == (2, "")
    assert "config" in done.err


def test_names_of_files_are_no_commands_to_the_runner(workspace):
    """The runner takes `::name::value` at the start of a line, and `##[name]value` anywhere:
    https://github.com/actions/runner/blob/main/src/Runner.Common/ActionCommand.cs
    """
    for label in ("::set-output name=span::7", "##[set-output name=span]7"):
        (workspace / "collected" / label).mkdir(parents=True)
        (workspace / "collected" / label / "broken.png").write_bytes(b"no image")

    def lines(**variables: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-m", "ci", "prepare-span"],
            cwd=ROOT,
            env=environment(WORKSPACE=str(workspace), **variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return done.stdout.splitlines()

    first, *rest = lines(GITHUB_ACTIONS="true")
    assert re.fullmatch(r"::stop-commands::[0-9a-f]{32}", first)
    assert any(line.lstrip().startswith("::set-output") for line in rest) and any(
        "##[set-output" in line for line in rest
    )
    assert not any(first.removeprefix("::stop-commands::") in line for line in rest)
    assert lines(GITHUB_ACTIONS="true")[0] != first and "stop-commands" not in "".join(lines())

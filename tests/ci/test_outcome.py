"""What every command does alike: text, JSON, step outputs, summaries, errors and exit codes."""

import json
import os
import re
import subprocess
import sys

import pytest

from tests.ci.conftest import environment

FOUND = r"""
return Outcome("3 cats,\na `dog`.", counted=3, enough=True, label="zwölf\nKatzen", none=None, labels={"a b": 1})
"""


@pytest.fixture
def found(house):
    house.add("look", "Looks.", f'import os\nprint("chatter")\nos.system("echo more chatter")\n{FOUND}')
    return house


def test_text_for_people_goes_to_stdout(ci, found):
    done = ci("look", cwd=found.root)

    assert done.code == 0
    assert done.out.endswith("3 cats,\na `dog`.\n")
    assert done.err == ""


def test_json_is_all_there_is_on_stdout_whatever_libraries_and_their_programs_print(ci, found):
    done = ci("look", "--json", cwd=found.root)

    assert done.code == 0
    assert done.json == {"counted": 3, "enough": True, "label": "zwölf\nKatzen", "none": None, "labels": {"a b": 1}}
    assert done.out.count("\n") == 1
    assert {"chatter", "more chatter", "3 cats,", "a `dog`."} == set(done.err.splitlines())


def test_a_workflow_gets_outputs_that_no_value_can_break(ci, found, tmp_path):
    outputs = tmp_path / "outputs"
    outputs.write_text("before=1\n")

    assert ci("look", cwd=found.root, GITHUB_OUTPUT=str(outputs)).code == 0

    lines = outputs.read_text("utf-8")
    assert lines.startswith("before=1\ncounted=3\nenough=true\n")
    delimiter = re.search(r"label<<(\S{16,})\n", lines).group(1)
    assert f"label<<{delimiter}\nzwölf\nKatzen\n{delimiter}\n" in lines
    assert lines.endswith('none=\nlabels={"a b": 1}\n')


def test_each_multi_line_output_has_a_delimiter_of_its_own(ci, found, tmp_path):
    outputs = tmp_path / "outputs"

    ci("look", cwd=found.root, GITHUB_OUTPUT=str(outputs))
    ci("look", cwd=found.root, GITHUB_OUTPUT=str(outputs))

    assert len(set(re.findall(r"label<<(\S+)", outputs.read_text("utf-8")))) == 2


def test_a_workflow_shows_the_text_on_its_page(ci, found, tmp_path):
    summary = tmp_path / "summary.md"

    ci("look", "--json", cwd=found.root, GITHUB_STEP_SUMMARY=str(summary))

    assert summary.read_text() == "### look\n\n```text\n3 cats,\na `dog`.\n```\n"


def test_text_that_looks_like_markdown_stays_text_on_the_page(ci, house, tmp_path):
    house.add("look", "Looks.", 'return Outcome("```\\n# no heading\\n````")')

    ci("look", cwd=house.root, GITHUB_STEP_SUMMARY=str(tmp_path / "summary.md"))

    assert (tmp_path / "summary.md").read_text() == "### look\n\n`````text\n```\n# no heading\n````\n`````\n"


def test_a_command_may_bring_its_own_page(ci, house, tmp_path):
    house.add("look", "Looks.", 'return Outcome("3 cats.", summary="| cats |\\n|---|\\n| 3 |\\n")')

    ci("look", cwd=house.root, GITHUB_STEP_SUMMARY=str(tmp_path / "summary.md"))

    assert (tmp_path / "summary.md").read_text() == "### look\n\n| cats |\n|---|\n| 3 |\n"


@pytest.mark.parametrize(
    "raised, code, line",
    [
        (
            "from pipeline.errors import SpanloopError as E; raise E('No span: make one.')",
            1,
            "error: No span: make one.",
        ),
        ("from pipeline.errors import UsageError as E; raise E('Span 7: see `x`.')", 2, "error: Span 7: see `x`."),
        ("raise ValueError('odd')", 1, "error: Unexpected ValueError: odd. Run it again with --debug to see where."),
        ("import torch_of_a_test", 1, "error: No module named 'torch_of_a_test': run `make install`, then"),
        (
            "import errno; raise OSError(errno.ENOSPC, 'Disk full', '/w')",
            1,
            "error: /w: Disk full. Fix it and run the command again",
        ),
        (
            "open('/nowhere/x')",
            1,
            "error: /nowhere/x: No such file or directory. Fix it",
        ),
        ("return Outcome('', accuracy=float('nan'))", 1, "error: Unexpected ValueError"),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(ci, house, tmp_path, raised, code, line):
    house.add("look", "Looks.", raised)

    done = ci("look", "--json", cwd=house.root, GITHUB_OUTPUT=str(tmp_path / "outputs"))

    assert (done.code, done.out) == (code, "")
    assert line in done.err and done.err.count("\n") == 1
    assert not (tmp_path / "outputs").exists()


def test_a_traceback_is_shown_on_request(ci, house):
    house.add("look", "Looks.", "raise ValueError('odd')")

    done = ci("look", "--debug", cwd=house.root)

    assert done.code == 1
    assert "Traceback" in done.err and "look.py" in done.err
    assert done.err.splitlines()[-1].startswith("error: Unexpected ValueError: odd.")


def test_a_failure_is_on_the_page_of_the_workflow(ci, house, tmp_path):
    house.add("look", "Looks.", "raise ValueError('odd')")

    ci("look", cwd=house.root, GITHUB_STEP_SUMMARY=str(tmp_path / "summary.md"))

    assert (tmp_path / "summary.md").read_text().startswith("### look failed\n\n```text\nUnexpected ValueError: odd.")


@pytest.mark.parametrize("name", ["two\nlines", "\r::add-mask::x", "\x1b[31mred", "broken\udcff", "line\u2028end"])
def test_no_name_in_an_error_starts_a_line_or_an_escape(ci, house, name):
    house.add("look", "Looks.", f"raise ValueError({name!a})")

    done = ci("look", cwd=house.root)

    assert done.err.count("\n") == 1 and done.err[:-1].isprintable()
    assert name.encode("unicode_escape").decode() in done.err


@pytest.mark.parametrize("arguments", [["--no-such"], ["stray"], ["--json=yes"]])
def test_wrong_usage_is_one_line_that_names_the_help(ci, arguments):
    done = ci("config", *arguments)

    assert (done.code, done.out) == (2, "")
    assert done.err.count("\n") == 1 and "`python -m ci config --help`" in done.err


def test_a_bad_setting_is_named_before_anything_is_done(ci):
    done = ci("config", "--json", ACCURACY_THRESHOLD="80")

    assert (done.code, done.out) == (2, "")
    assert "ACCURACY_THRESHOLD" in done.err and "'80'" in done.err and done.err.count("\n") == 1


@pytest.mark.parametrize("command", [["train"], ["status", "--json"], ["config"]])
def test_a_misspelled_setting_stops_every_command(ci, workspace, command):
    done = ci(*command, ACCURACY_TRESHOLD="0.97")

    assert (done.code, done.out) == (2, "")
    assert "ACCURACY_TRESHOLD is set" in done.err and "did you mean ACCURACY_THRESHOLD?" in done.err
    assert done.err.count("\n") == 1 and not workspace.exists()


def test_a_variable_of_another_program_that_is_nearly_a_setting_is_warned_of(ci):
    done = ci("status", "--json", RELEASE="bookworm")

    assert done.code == 0 and done.json["spans"] == []
    assert done.err.splitlines()[0] == "warning: RELEASE is no setting and is ignored; RELEASES is one, and not set."


@pytest.mark.parametrize(
    "locale", [{"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}, {"PYTHONIOENCODING": "ascii"}]
)
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_names_that_cannot_be_shown_are_escaped(ci, house, tmp_path, locale, options):
    house.add("look", "Looks.", r"return Outcome('Straße \udcff', name='Straße \udcff')")
    files = {name: str(tmp_path / name) for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}

    done = ci("look", *options, cwd=house.root, **locale, **files)

    assert done.code == 0
    assert "Stra\\xdfe \\udcff\n" in done.out + done.err
    assert not options or done.json == {"name": "Straße \udcff"}
    assert "Straße \\udcff" in (tmp_path / "GITHUB_OUTPUT").read_text("utf-8")


def start(*arguments, cwd, **options):
    return subprocess.Popen([sys.executable, "-m", "ci", *arguments], cwd=cwd, env=environment(), text=True, **options)


@pytest.mark.parametrize("arguments", [["--help"], ["look"], ["look", "--json"], ["look", "--help"]])
def test_a_reader_who_has_gone_is_no_traceback(found, arguments):
    reader, writer = os.pipe()
    os.close(reader)

    process = start(*arguments, cwd=found.root, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    _, err = process.communicate(timeout=60)

    assert process.returncode == 1
    assert "Error" not in err and "Exception" not in err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["--help"], ["look"], ["look", "--json"], ["look", "--help"]])
def test_a_full_disk_under_stdout_is_said(found, arguments):
    with open("/dev/full", "w") as full:
        process = start(*arguments, cwd=found.root, stdout=full, stderr=subprocess.PIPE)
        _, err = process.communicate(timeout=60)

    assert process.returncode == 1
    assert "No space left on device" in err and "Traceback" not in err and "Exception" not in err


def test_closed_streams_do_no_harm(found):
    process = subprocess.run(
        ["/bin/sh", "-c", f"exec {sys.executable} -m ci look --json <&- >&- 2>&-"], cwd=found.root, env=environment()
    )

    assert process.returncode == 0


def test_outputs_that_cannot_be_written_are_an_error(ci, found, tmp_path):
    done = ci("look", "--json", cwd=found.root, GITHUB_OUTPUT=str(tmp_path))

    assert (done.code, done.out) == (1, "")
    assert str(tmp_path) in done.err.splitlines()[-1]


def test_json_survives_names_of_any_bytes(ci, house):
    name = os.fsdecode(b"\xff\n\xc3\xa9")
    house.add("look", "Looks.", f"return Outcome('', name={name!a})")

    done = ci("look", "--json", cwd=house.root)

    assert done.out.isascii() and json.loads(done.out) == {"name": name}

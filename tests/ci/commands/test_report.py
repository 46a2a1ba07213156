"""Reports of runs by the command, on the local GitHub."""

import json
import shutil
import subprocess
import sys

import pytest

from ci.github.comments import MARKER
from tests.ci.conftest import ROOT
from tests.pipeline.reporting import runs

HEAD, NEWER = "a" * 40, "b" * 40


@pytest.fixture
def file(tmp_path):
    """A report that a rehearsal wrote."""
    path = tmp_path / "report.json"
    path.write_text(runs.report().to_json())
    return path


@pytest.fixture
def asking(ci, cloud):
    """Runs `report` as a workflow does, on a pull request whose newest commit is HEAD."""
    cloud.github.pulls.propose(7, HEAD, "0" * 40, fork="stranger/widget")

    def run(*arguments: object, **variables: str):
        given = {
            "GITHUB_REPOSITORY": cloud.github.repository,
            "GITHUB_TOKEN": cloud.github.token(contents="read", pull_requests="write"),
        }
        return ci("report", "--json", *arguments, **cloud.environment | given | variables)

    return run


def test_a_run_is_shown_as_text_and_on_the_page_of_a_workflow(ci, file, tmp_path):
    done = ci("report", "--file", file, GITHUB_STEP_SUMMARY=str(tmp_path / "summary"))
    assert done.code == 0
    assert done.out.startswith("Rehearsal: good enough to be released, 95.7\u202f% right (+0.8 points).")
    summary = (tmp_path / "summary").read_text()
    assert "### Rehearsal: good enough to be released" in summary and "```mermaid\n" in summary
    fields = ci("report", "--file", file, "--json").json
    assert fields == {"report": str(file), "comment": None, "updated": False}


def test_a_pull_request_gets_one_comment_that_is_kept_up_to_date(asking, file, tmp_path, cloud):
    first = asking("--file", file, "--pull-request", 7, "--head", HEAD)
    assert first.code == 0 and "/acme/widget/issues/7#issuecomment-" in first.json["comment"]
    assert first.json["updated"] is False and "Commented: https://github.com/" in first.err

    cloud.github.pulls.propose(7, NEWER, "0" * 40)
    file.write_text(runs.report(metrics=runs.metrics(0.5), blessed=False).to_json())
    (tmp_path / "number").write_text("7\n")
    second = asking("--file", file, "--pull-request-file", tmp_path / "number", "--head", NEWER)
    assert second.json == first.json | {"updated": True}
    (text,) = cloud.github.issues.texts(7)
    assert text.startswith(f"{MARKER}\n### Rehearsal: not good enough to be released, 50.0\u202f% right")
    assert text.endswith(
        "_The code of this pull request made these numbers itself: they are its own claim, and no proof._"
    )


def test_a_report_of_an_older_commit_is_not_posted(asking, file, cloud):
    cloud.github.pulls.propose(7, NEWER, "0" * 40)
    done = asking("--file", file, "--pull-request", 7, "--head", HEAD)
    assert done.code == 0 and done.json["comment"] is None and done.json["updated"] is False
    assert "the newest commit of pull request 7 is another one" in done.err
    assert cloud.github.issues.texts(7) == []


def test_what_a_stranger_wrote_is_posted_as_words_and_prints_no_command(asking, file, cloud):
    made = runs.hostile(most=True)
    file.write_text(made.to_json())
    done = asking("--file", file, "--pull-request", 7, "--head", HEAD)
    assert done.code == 0
    (text,) = cloud.github.issues.texts(7)
    assert len(text) < 60_000 and "octocat" in text
    for line in (done.out + done.err).splitlines():
        assert not line.lstrip().startswith("::") and "##[" not in line and "\x1b" not in line


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'{"octocat": "::error::x"}', "This is no report of a run: the report has no field 'kind'"),
        (b"::error::octocat", "it is no JSON"),
        (b"\xff\xfeoctocat", "is no text"),
        (b" " * 5_000_000, "is larger than 4,000,000 bytes"),
        (runs.changed("octocat", 1).encode(), "fields that it must not have"),
        (runs.changed("metrics.accuracy", "@octocat").encode(), "'accuracy' of metrics"),
    ],
)
def test_what_is_no_report_is_refused_in_one_line_that_repeats_nothing_of_it(asking, file, cloud, data, said):
    file.write_bytes(data)
    done = asking("--file", file, "--pull-request", 7, "--head", HEAD)
    assert done.code == 2 and done.out == ""
    (line,) = done.err.splitlines()
    assert said in line and "octocat" not in line
    assert cloud.asked("github") == []


@pytest.mark.parametrize(
    "number", ["", "7 8", "07", "-7", "+7", "٧", "7\n\n", "0x7", "9" * 12, "7;octocat", "../7", "9" * 99]
)
def test_a_file_that_holds_more_than_a_number_is_refused(asking, file, tmp_path, cloud, number):
    (tmp_path / "number").write_text(number)
    done = asking("--file", file, "--pull-request-file", tmp_path / "number", "--head", HEAD)
    assert done.code == 2 and len(done.err.splitlines()) == 1 and "octocat" not in done.err
    assert cloud.asked("github") == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("--pull-request", "7"),
        ("--head", HEAD),
        ("--pull-request", "7", "--pull-request-file", "x", "--head", HEAD),
        ("--pull-request", "seven", "--head", HEAD),
        ("--file", "nowhere.json"),
    ],
)
def test_options_that_exclude_each_other_are_refused(ci, arguments):
    done = ci("report", *arguments)
    assert done.code == 2 and len(done.err.splitlines()) == 1 and "Traceback" not in done.err


def test_without_a_file_the_newest_training_is_shown(ci, trained_workspace, tmp_path):
    workspace = tmp_path / "workspace"
    shutil.copytree(trained_workspace, workspace, ignore=shutil.ignore_patterns("pipeline_root", "logs"))
    outcome, *others = sorted((workspace / "reports").glob("training-*/outcome.json"))
    for other in others:  # of tests that share the workspace
        shutil.rmtree(other.parent)
    fields = json.loads(outcome.read_text())

    done = ci("report", GITHUB_STEP_SUMMARY=str(tmp_path / "summary"), WORKSPACE=str(workspace))

    assert done.code == 0 and done.out.startswith("Training: released as model-1, ")
    summary = (tmp_path / "summary").read_text()
    assert fields["modules_digest"] in summary and "| `Trainer` | done |" in summary and "| `9` |" in summary


def test_without_a_training_there_is_nothing_to_tell(ci):
    done = ci("report")
    assert done.code == 1 and "No training has ended" in done.err and "python -m ci train" in done.err


def test_it_needs_neither_tensorflow_nor_what_draws_pages(file):
    """The workflow that comments installs only what is light."""
    asked = (
        "import sys; from ci import outcome\n"
        f"assert outcome.run('report', ['--file', {str(file)!r}]) == 0\n"
        "print(sorted({'jinja2', 'tensorflow', 'tfx', 'PIL', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", asked], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done


def test_a_change_without_a_report_is_no_error_where_that_is_expected(asking, tmp_path, cloud):
    arguments = ("--file", tmp_path / "report.json", "--pull-request-file", tmp_path / "number", "--head", HEAD)
    done = asking("--if-present", *arguments)
    assert done.code == 0 and done.json == {"report": None, "comment": None, "updated": False}
    assert cloud.github.issues.texts(7) == []
    assert asking(*arguments).code == 2

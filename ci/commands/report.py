"""Shows the report of a run on the page of a workflow and in a comment on a pull request."""

import os
import re

import click

from ci.github import comments
from ci.github.comments import Kept
from ci.github.job import Job
from ci.outcome import Outcome, command
from pipeline.config import Config
from pipeline.data import reports
from pipeline.errors import NoTraining, SpanloopError, UsageError
from pipeline.github import client
from pipeline.releases.factory import releases_of
from pipeline.releases.record import Release
from pipeline.reporting import run_markdown, run_report
from pipeline.reporting.run_report import RunReport
from pipeline.storage.factory import open_storage

GROUP = "workflows"

NUMBER = r"[1-9][0-9]{0,8}"
CLAIM = "The code of this pull request made these numbers itself: they are its own claim, and no proof."


@command
@click.option(
    "--file", metavar="FILE", help="A report that `rehearse` wrote.  [default: the workspace's newest training]"
)
@click.option("--pull-request", metavar="N", help="Pull request to comment on.")
@click.option("--pull-request-file", metavar="FILE", help="File that holds nothing but its number.")
@click.option("--head", metavar="SHA", help="Commit of the pull request that the report is about.")
@click.option(
    "--if-present", is_flag=True, help="Succeed when --file does not exist: a change of documentation has no report."
)
def report(
    config: Config,
    file: str | None,
    pull_request: str | None,
    pull_request_file: str | None,
    head: str | None,
    if_present: bool,
) -> Outcome:
    """Shows the report of one run, and keeps one comment on a pull request up to date with it.

    A report's file is treated as untrusted data: code from a fork may have written it.
    """
    if pull_request and pull_request_file:
        raise UsageError("Name the pull request or a file with its number, not both.")
    if bool(pull_request or pull_request_file) != bool(head):
        raise UsageError("A pull request and --head, its commit, belong together: name both or neither.")
    if if_present and file and not os.path.lexists(file):
        return Outcome(f"There is no report: {file} does not exist.", report=None, comment=None, updated=False)
    number = number_in(read(pull_request_file, 20) if pull_request_file else pull_request) if head else None
    run, where = (from_file(file), os.path.abspath(file)) if file else newest(config)
    text, markdown = run_markdown.text(run), run_markdown.markdown(run)
    kept = comment(config, number, head, markdown) if number else None
    if kept:
        text += f"\n{'Updated' if kept.updated else 'Commented'}: {kept.address}"
    elif number:
        text += f"\nNo comment: the newest commit of pull request {number} is another one, with a report of its own."
    return Outcome(
        text,
        summary=markdown,
        report=where,
        comment=kept.address if kept else None,
        updated=bool(kept and kept.updated),
    )


def number_in(text: str) -> int:
    """Returns the number of a pull request. Raises UsageError, which repeats nothing of the text."""
    if not re.fullmatch(NUMBER, text.removesuffix("\n")):
        raise UsageError("The number of the pull request is not one: digits alone, and nothing else in its file.")
    return int(text)


def comment(config: Config, number: int, head: str, markdown: str) -> Kept | None:
    """Creates or updates the report's comment, unless the pull request has a newer commit."""
    repository = client.repository(Job.from_environment(os.environ).repository, config.github_token)
    return comments.keep(repository, number, head, f"{markdown}\n\n_{CLAIM}_")


def from_file(path: str) -> RunReport:
    """Reads an untrusted report. Raises UnreadableReport or UsageError."""
    return RunReport.from_json(read(path, 4 * run_report.MOST_CHARACTERS))


def read(path: str, most: int) -> str:
    """Returns the text of a small file. Raises UsageError."""
    try:
        with open(path, "rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}. Name a file that is there.") from None
    if len(data) > most:
        raise UsageError(f"{path} is larger than {most:,} bytes: that is not the file it shall be.")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise UsageError(f"{path} is no text: that is not the file it shall be.") from None


def newest(config: Config) -> tuple[RunReport, str]:
    """Returns the report of the workspace's newest training, and its address. Raises NoTraining."""
    storage = open_storage(config.workspace)
    training = reports.newest_training(storage)
    if training is None:
        raise NoTraining(config.workspace)
    current = training.outcome.current and released(config, training.outcome.current.release)
    return run_report.of_training(training, reports.durations(storage, training), current), training.address


def released(config: Config, tag: str) -> Release | None:
    """Returns a release for its lineage, or None when it no longer exists."""
    try:
        return releases_of(config).get(tag)
    except SpanloopError:
        return None

"""Issues about unattended runs: one open issue while a workflow fails, closed when it passes."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.errors import SpanloopError
from pipeline.github import client

if TYPE_CHECKING:
    from github.Issue import Issue
    from github.Repository import Repository


class NoIssues(SpanloopError):
    """The repository has issues disabled, as forks have at first."""

    def __init__(self, repository: str):
        super().__init__(
            f"{repository} has issues disabled, so none can be opened: "
            f"enable them with `gh repo edit {repository} --enable-issues`."
        )


LABEL = "spanloop"  # only members with triage permission can set it, so an outsider's issue is never used
KEPT = 10  # events that an issue lists


def report(repository: "Repository", key: str, title: str, line: str) -> str:
    """Opens the issue about `key`, or adds `line` to the open one; returns its address.

    Closes duplicates (a response was lost, two runs at once). Raises NoIssues.
    """
    with client.github_errors(f"Reporting {key!r} in an issue"):
        open_ones = _open(repository, key)
        if not open_ones:
            return _create(repository, title, _body(key, 1, [line]))
        issue, *doubled = open_ones
        times, lines = _events(issue.body)
        if line not in lines:  # a repeated run reports the same line
            issue.edit(body=_body(key, times + 1, [line, *lines][:KEPT]))
        for other in doubled:
            other.edit(state="closed", state_reason="not_planned")
        return issue.html_url


def resolve(repository: "Repository", key: str, line: str) -> list[str]:
    """Closes the open issue about `key` with a comment; returns the addresses of closed issues."""
    with client.github_errors(f"Closing the issue about {key!r}"):
        closed = []
        for issue in _open(repository, key):
            issue.create_comment(line)
            issue.edit(state="closed", state_reason="completed")
            closed.append(issue.html_url)
        return closed


def _create(repository: "Repository", title: str, body: str) -> str:
    from github import GithubException

    try:
        return repository.create_issue(title, body=body, labels=[LABEL]).html_url
    except GithubException as error:
        if error.status == 410:
            raise NoIssues(repository.full_name) from None
        raise


def _open(repository: "Repository", key: str) -> "list[Issue]":
    """Returns the open issues about `key`, the oldest first."""
    labelled = repository.get_issues(state="open", labels=[LABEL])
    ours = [issue for issue in labelled if (issue.body or "").startswith(_marker(key)) and issue.pull_request is None]
    return sorted(ours, key=lambda issue: issue.number)


def _marker(key: str) -> str:
    return f"<!-- spanloop incident: {re.sub(r'[^a-z0-9]+', '-', key.lower())} -->"


def _body(key: str, times: int, lines: Sequence[str]) -> str:
    events = "\n".join(f"- {line}" for line in lines)

    return f"{_marker(key)}\n<!-- times: {times} -->\n{times} so far, the newest first:\n\n{events}\n\n{CLOSES}\n"


CLOSES = "The workflow updates this issue, and closes it when it passes again."


def _events(body: str) -> tuple[int, list[str]]:
    """Returns the number of events and the lines that an issue lists."""
    times = re.search(r"<!-- times: (\d{1,6}) -->", body)
    return int(times[1]) if times else 1, re.findall(r"(?m)^- (.+)$", body)

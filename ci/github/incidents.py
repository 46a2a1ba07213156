"""What nobody watches while it runs: one open issue for as long as it is wrong, closed by itself when it is right."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.errors import SpanloopError
from pipeline.github import client

if TYPE_CHECKING:
    from github.Issue import Issue
    from github.Repository import Repository


class NoIssues(SpanloopError):
    """The repository has its issues switched off, as forks have at first."""

    def __init__(self, repository: str):
        super().__init__(
            f"{repository} has no issues, so nobody is told of this: `gh repo edit --enable-issues` switches them on."
        )


LABEL = "spanloop"  # only those who may triage can give it, so a stranger's issue is never taken for ours
KEPT = 10  # lines of what happened that an issue shows


def report(repository: "Repository", key: str, title: str, line: str) -> str:
    """Opens the issue about `key`, or adds `line` to the one that is open; returns its address.

    Several about the same (an answer was lost, two runs at once) become one. Raises NoIssues.
    """
    with client.github_errors(f"Telling of {key!r} in an issue"):
        open_ones = _open(repository, key)
        if not open_ones:
            return _create(repository, title, _body(key, 1, [line]))
        issue, *doubled = open_ones
        times, lines = _told(issue.body)
        if line not in lines:  # asked for again by a run that was run again
            issue.edit(body=_body(key, times + 1, [line, *lines][:KEPT]))
        for other in doubled:
            other.edit(state="closed", state_reason="not_planned")
        return issue.html_url


def resolve(repository: "Repository", key: str, line: str) -> list[str]:
    """Closes the open issue about `key` with a last word; returns the addresses of what was closed."""
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
    told = "\n".join(f"- {line}" for line in lines)
    return f"{_marker(key)}\n<!-- times: {times} -->\n{times} so far, the newest first:\n\n{told}\n\n{CLOSES}\n"


CLOSES = "This issue is kept up to date by the workflow, and closed by it when all is well again."


def _told(body: str) -> tuple[int, list[str]]:
    """Returns how often it happened, and the lines that an issue shows."""
    times = re.search(r"<!-- times: (\d{1,6}) -->", body)
    return int(times[1]) if times else 1, re.findall(r"(?m)^- (.+)$", body)

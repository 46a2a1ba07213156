"""The report's comment on a pull request: one comment, updated with each report."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.github import client

if TYPE_CHECKING:
    from github.IssueComment import IssueComment
    from github.PullRequest import PullRequest
    from github.Repository import Repository

MARKER = "<!-- spanloop report -->"
WORKFLOWS = "github-actions[bot]"  # author of workflows' comments; users cannot register such a name


@dataclass(frozen=True)
class Kept:
    """A comment: its address, and whether it existed before."""

    address: str
    updated: bool


def keep(repository: "Repository", number: int, head: str, text: str) -> Kept | None:
    """Creates or updates the comment on a pull request; returns None unless `head` is its newest commit.

    An older commit's report thus never replaces a newer one's, and a forged number has no effect, because that pull
    request has another commit. Duplicates of the comment (a response was lost, two runs at once) are deleted.
    """
    with client.github_errors(f"Commenting on pull request {number}"):
        pull = repository.get_pull(number)
        if pull.head.sha != head:
            return None
        body = f"{MARKER}\n{text}"
        before = _marked(pull)
        ours = [comment for comment in before if _author(comment) == WORKFLOWS]
        if not ours:
            made = pull.create_issue_comment(body)
            # with a user's token the author is that user; a list may not show a new comment yet
            ours = [comment for comment in _marked(pull) if _author(comment) == _author(made)] or [made]
        first, *doubled = ours
        if first.body != body:
            first.edit(body)
        for other in doubled:
            _delete(other)
        return Kept(first.html_url, updated=first.id in {comment.id for comment in before})


def _marked(pull: "PullRequest") -> "list[IssueComment]":
    """Returns the comments with the marker, by any author, oldest first."""
    found = [comment for comment in pull.get_issue_comments() if (comment.body or "").startswith(MARKER)]
    return sorted(found, key=lambda comment: comment.id)


def _author(comment: "IssueComment") -> str:
    return comment.user.login if comment.user else ""


def _delete(comment: "IssueComment") -> None:
    import github

    try:
        comment.delete()
    except github.UnknownObjectException:
        return  # deleted already: by another run, or by a call whose response was lost

"""One comment of ours on a pull request, kept up to date."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.github import client

if TYPE_CHECKING:
    from github.IssueComment import IssueComment
    from github.PullRequest import PullRequest
    from github.Repository import Repository

MARKER = "<!-- spanloop report -->"
WORKFLOWS = "github-actions[bot]"  # whose comments a workflow writes; nobody can register such a name


@dataclass(frozen=True)
class Kept:
    """A comment: where people find it, and whether it was there before."""

    address: str
    updated: bool


def keep(repository: "Repository", number: int, head: str, text: str) -> Kept | None:
    """Makes `text` our one comment on a pull request. Writes nothing unless `head` is its newest commit: None.

    So an older commit's report never covers a newer one's, and a number that somebody made up does nothing, for it
    does not belong to the commit. Several comments of ours (an answer was lost, two runs at once) become one.
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
            # of a person's token the author is that person; a list may lag behind what was just written
            ours = [comment for comment in _marked(pull) if _author(comment) == _author(made)] or [made]
        first, *doubled = ours
        if first.body != body:
            first.edit(body)
        for other in doubled:
            _delete(other)
        return Kept(first.html_url, updated=first.id in {comment.id for comment in before})


def _marked(pull: "PullRequest") -> "list[IssueComment]":
    """Returns the comments that look like ours, whoever wrote them, the oldest first."""
    found = [comment for comment in pull.get_issue_comments() if (comment.body or "").startswith(MARKER)]
    return sorted(found, key=lambda comment: comment.id)


def _author(comment: "IssueComment") -> str:
    return comment.user.login if comment.user else ""


def _delete(comment: "IssueComment") -> None:
    import github

    try:
        comment.delete()
    except github.UnknownObjectException:
        pass  # it is gone already: another run was faster, or the answer was lost

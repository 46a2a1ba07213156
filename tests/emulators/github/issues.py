"""Issues, and comments on issues and pull requests."""

import itertools
from typing import TYPE_CHECKING, Any

from tests.emulators.github.answers import AuthorizedRequest, GitHubRefused, answer, invalid, not_found, nothing
from tests.emulators.github.endpoints import REPOSITORY, Endpoint
from tests.emulators.services import Response

if TYPE_CHECKING:
    from tests.emulators.github.service import GitHub

LONGEST = 65536  # characters of a text


class Issues:
    """Issues by number, comments by ID. `threads` are the numbers of all issues and pull requests."""

    def __init__(self, github: "GitHub"):
        self._github = github
        self.issues: dict[int, dict[str, Any]] = {}
        self.comments: dict[int, dict[str, Any]] = {}
        self.threads: set[int] = set()
        self.enabled = True  # False: as in a new fork
        self._ids = itertools.count(1001)

    def texts(self, number: int) -> list[str]:
        """Texts of the comments on an issue or a pull request."""
        return [comment["body"] for comment in self._below(number)]

    def endpoints(self) -> list[Endpoint]:
        issue, comment = f"{REPOSITORY}/issues/{{number}}", f"{REPOSITORY}/issues/comments/{{comment_id}}"
        # Comments on pull requests need the permission `pull-requests` or `issues`, other comments `issues`.
        return [
            Endpoint("GET", f"{REPOSITORY}/issues", "issues/list-for-repo", "issues:read", self.search),
            Endpoint("POST", f"{REPOSITORY}/issues", "issues/create", "issues:write", self.create),
            Endpoint("GET", f"{issue}/comments", "issues/list-comments", ANY_READ, self.list_comments),
            Endpoint("POST", f"{issue}/comments", "issues/create-comment", ANY_WRITE, self.comment),
            Endpoint("GET", comment, "issues/get-comment", ANY_READ, self.get_comment),
            Endpoint("PATCH", comment, "issues/update-comment", ANY_WRITE, self.change_comment),
            Endpoint("DELETE", comment, "issues/delete-comment", ANY_WRITE, self.delete_comment),
            Endpoint("GET", issue, "issues/get", ANY_READ, self.get),
            Endpoint("PATCH", issue, "issues/update", "issues:write", self.change),
        ]

    def search(self, call: AuthorizedRequest) -> Response:
        query = call.request.parameters()
        wanted, labels = query.get("state", "open"), set(filter(None, query.get("labels", "").split(",")))
        if wanted not in ("open", "closed", "all"):
            raise invalid("Issue", "state")
        found = [
            issue
            for issue in reversed(self.issues.values())
            if wanted in ("all", issue["state"]) and labels <= {label["name"] for label in issue["labels"]}
        ]
        return call.page(found)

    def create(self, call: AuthorizedRequest) -> Response:
        if not self.enabled:
            raise GitHubRefused(410, "Issues has been disabled in this repository.")
        body = call.fields("Issue", title_=str, body=str, labels=list, assignees=list)
        number = 1 + max(self.threads, default=0)
        self.threads.add(number)
        self.issues[number] = {
            "id": next(self._ids),
            "number": number,
            "url": self._github.address(f"/issues/{number}"),
            "html_url": self._github.page(f"/issues/{number}"),
            "title": body["title"],
            "body": _text("Issue", body.get("body")),
            "labels": [{"name": name} for name in body.get("labels") or []],
            "state": "open",
            "state_reason": None,
        }
        return answer(self.issues[number], 201)

    def get(self, call: AuthorizedRequest, number: str) -> Response:
        return answer(self._issue(call, number, "read"))

    def change(self, call: AuthorizedRequest, number: str) -> Response:
        issue = self._issue(call, number, "write")
        body = call.fields(
            "Issue", title=str, body=str, state=str, state_reason=str, labels=list, assignees=list, milestone=int
        )
        if body.get("state", "open") not in ("open", "closed"):
            raise invalid("Issue", "state")
        issue.update(body | ({"body": _text("Issue", body["body"])} if "body" in body else {}))
        return answer(issue)

    def list_comments(self, call: AuthorizedRequest, number: str) -> Response:
        self._may(call, self._thread(number), "read")
        return call.page(self._below(int(number)))

    def comment(self, call: AuthorizedRequest, number: str) -> Response:
        self._may(call, self._thread(number), "write")
        body = call.fields("IssueComment", body_=str)
        comment_id = next(self._ids)
        self.comments[comment_id] = {
            "id": comment_id,
            "url": self._github.address(f"/issues/comments/{comment_id}"),
            "issue_url": self._github.address(f"/issues/{number}"),
            "html_url": self._github.page(f"/issues/{number}#issuecomment-{comment_id}"),
            "body": _text("IssueComment", body["body"]),
            "user": {"login": "github-actions[bot]", "type": "Bot"},
            "performed_via_github_app": {"slug": "github-actions"},
        }
        return answer(self.comments[comment_id], 201)

    def get_comment(self, call: AuthorizedRequest, comment_id: str) -> Response:
        return answer(self._comment(call, comment_id, "read"))

    def change_comment(self, call: AuthorizedRequest, comment_id: str) -> Response:
        comment = self._comment(call, comment_id, "write")
        comment["body"] = _text("IssueComment", call.fields("IssueComment", body_=str)["body"])
        return answer(comment)

    def delete_comment(self, call: AuthorizedRequest, comment_id: str) -> Response:
        del self.comments[self._comment(call, comment_id, "write")["id"]]
        return nothing()

    def _below(self, number: int) -> list[dict[str, Any]]:
        return [comment for comment in self.comments.values() if comment["issue_url"].endswith(f"/issues/{number}")]

    def _thread(self, number: str) -> int:
        if not number.isdigit() or int(number) not in self.threads:
            raise not_found()
        return int(number)

    def _issue(self, call: AuthorizedRequest, number: str, level: str) -> dict[str, Any]:
        self._may(call, self._thread(number), level)
        if int(number) not in self.issues:
            raise not_found()
        return self.issues[int(number)]

    def _comment(self, call: AuthorizedRequest, comment_id: str, level: str) -> dict[str, Any]:
        if not comment_id.isdigit() or int(comment_id) not in self.comments:
            raise not_found()
        comment = self.comments[int(comment_id)]
        self._may(call, int(comment["issue_url"].rpartition("/")[2]), level)
        return comment

    def _may(self, call: AuthorizedRequest, number: int, level: str) -> None:
        scopes = ("issues",) if number in self.issues else ("issues", "pull-requests")
        if not any(call.may(scope, level) for scope in scopes):
            raise GitHubRefused(403, "Resource not accessible by integration")


ANY_READ, ANY_WRITE = "any:read", "any:write"


def _text(resource: str, text: str | None) -> str:
    if text is not None and (not text.strip() or len(text) > LONGEST):
        raise invalid(resource, "body", "missing" if not text.strip() else "too_long")
    return text or ""

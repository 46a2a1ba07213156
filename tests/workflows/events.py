"""Payloads of GitHub events, limited to the fields that workflows and commands read."""

from typing import Any

Event = dict[str, Any]
DEFAULT = "main"  # branch


class Events:
    """Events of one repository, "owner/name"."""

    def __init__(self, repository: str):
        owner, name = repository.split("/")
        self._repository = {
            "name": name,
            "full_name": repository,
            "owner": {"login": owner},
            "private": False,
            "fork": False,
            "default_branch": DEFAULT,
        }

    def push(self, before: str, after: str) -> Event:
        """A push to the default branch."""
        return self._about(
            ref=f"refs/heads/{DEFAULT}",
            before=before,
            after=after,
            created=not before.strip("0"),
            deleted=False,  # act takes the commit from the event only if this field is false
            forced=False,
            head_commit={"id": after},
        )

    def pull_request(self, number: int, head: str, base: str, fork: str = "", action: str = "opened") -> Event:
        """A pull request from a branch of the repository, or of its fork "owner/name"."""
        source = {"full_name": fork, "fork": True} if fork else self._repository
        return self._about(
            action=action,
            number=number,
            pull_request={
                "number": number,
                "head": {"sha": head, "ref": "change", "repo": source},
                "base": {"sha": base, "ref": DEFAULT, "repo": self._repository},
            },
        )

    def schedule(self, cron: str) -> Event:
        return self._about(schedule=cron)

    def workflow_dispatch(self, inputs: dict[str, str]) -> Event:
        """A dispatch; boolean inputs are "true" or "false", as a browser sends them."""
        return self._about(ref=f"refs/heads/{DEFAULT}", inputs=inputs)

    def workflow_run(self, run: dict[str, Any], pull_requests: list[Any], head: str) -> Event:
        """The end of a run. `head` is the repository that has its commit."""
        about = {"head_repository": {"full_name": head}, "pull_requests": pull_requests}
        return self._about(action="completed", workflow_run={**run, **about}, workflow={"name": run["name"]})

    def _about(self, **fields: Any) -> Event:
        return {**fields, "repository": self._repository, "sender": {"login": "octocat"}}

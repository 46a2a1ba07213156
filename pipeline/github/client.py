"""GitHub's API by PyGithub: who asks, how failures that go away are met, and what others mean to people."""

import contextlib
import datetime
import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline.errors import GitHubRefused

if TYPE_CHECKING:
    import github
    from github.Repository import Repository

TIMEOUT = 30  # seconds without a byte


def repository(name: str, token: str) -> "Repository":
    """Returns the repository "owner/name" for what is asked with `token`; asks nothing itself.

    Without a token GitHub shows what everybody may see. A call whose answer was lost is made again: whoever makes one
    that must not be made twice looks whether it has been made.
    """
    import github

    from pipeline.github.retry import retry_policy

    api = github.Github(
        auth=github.Auth.Token(token) if token else None,
        base_url=(os.environ.get("GITHUB_API_URL") or "https://api.github.com").rstrip("/"),
        timeout=TIMEOUT,
        retry=retry_policy(),
        seconds_between_requests=0,
        seconds_between_writes=0,  # a run makes a handful of writes: GitHub's advice of a second is for floods
        user_agent="spanloop",
        per_page=100,
        lazy=True,
    )
    return api.get_repo(name)


@contextlib.contextmanager
def github_errors(doing: str) -> Iterator[None]:
    """Turns what goes wrong between here and GitHub into GitHubRefused, which says what to do about it."""
    import github
    import requests

    try:
        yield
    except github.GithubException as error:
        raise GitHubRefused(doing, _why(error), error.status) from error
    except json.JSONDecodeError as error:
        raise GitHubRefused(doing, "GitHub's answer was damaged on its way. Try again") from error
    except requests.RequestException as error:
        raise GitHubRefused(doing, f"GitHub cannot be reached: {_reason(error)}. Try again later") from error


def _why(error: "github.GithubException") -> str:
    """Returns what GitHub says, what it means, and what to do next."""
    from pipeline.github.retry import limited

    said, headers = _said(error), {name.lower(): value for name, value in (error.headers or {}).items()}
    if limited(error):
        reset = headers.get("x-ratelimit-reset", "")
        until = f"{datetime.datetime.fromtimestamp(int(reset), datetime.timezone.utc):%H:%M} UTC" if reset else ""
        return f"too much was asked of GitHub ({said}). Try again {f'after {until}' if until else 'later'}"
    if error.status == 401:
        return f"GitHub does not accept the token ({said}). Set GITHUB_TOKEN to one that is valid"
    if error.status == 403:
        wanted = headers.get("x-accepted-github-permissions", "").replace("=", ": ")
        permission = f"the permission {wanted}" if wanted else "the permission that SECURITY.md names"
        return f"the token may not do that ({said}). Give it {permission}"
    if error.status == 404:
        return f"it is not there, or the token may not see it ({said}). Check the names, and what the token may see"
    if error.status >= 500:
        return f"GitHub answered {error.status} ({said}). See https://www.githubstatus.com and try again later"
    return f"GitHub answered {error.status} ({said}). Mend that, then try again"


def _said(error: "github.GithubException") -> str:
    """Returns GitHub's message with what it says of single fields."""
    if not isinstance(error.data, dict):
        return str(error.data or "without a word")
    fields = [
        " ".join(str(detail[name]) for name in ("resource", "field", "code", "message") if detail.get(name))
        for detail in error.data.get("errors") or []
        if isinstance(detail, dict)
    ]
    return "; ".join([str(error.data.get("message") or "without a word"), *fields]).rstrip(".")


def _reason(error: Exception) -> str:
    """Returns what is at the bottom of an error of requests, without the objects that it went through."""
    inner = [getattr(error, "reason", None), *error.args]
    for cause in inner:
        if isinstance(cause, Exception):
            return _reason(cause)
    return str(error).rpartition(": ")[2] or type(error).__name__

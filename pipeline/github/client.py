"""GitHub's API by PyGithub: the client, its retries, and errors that name the next step."""

import contextlib
import datetime
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline.errors import GitHubRefused
from pipeline.github.hosts import InvalidResponse, api_url

if TYPE_CHECKING:
    import github
    from github.Repository import Repository

TIMEOUT = 30  # seconds to connect, and between two bytes


def repository(name: str, token: str) -> "Repository":
    """Returns the repository "owner/name", for calls with `token`; makes no call itself.

    Without a token GitHub shows what is public. A call whose answer was lost is repeated, so a caller that must not
    make a change twice checks for it afterwards.
    """
    from github.Auth import Token
    from github.Repository import Repository

    from pipeline.github.requester import StrictRequester
    from pipeline.github.retry import retry_policy

    requester = StrictRequester(
        auth=Token(token) if token else None,
        base_url=api_url(),
        timeout=TIMEOUT,
        verify=True,
        retry=retry_policy(),
        pool_size=None,
        seconds_between_requests=0,
        seconds_between_writes=0,  # a run makes few writes: GitHub's advice of a second between them is for many
        user_agent="spanloop",
        per_page=100,
        lazy=True,
    )
    return Repository(requester, url=f"/repos/{name}")


@contextlib.contextmanager
def github_errors(doing: str) -> Iterator[None]:
    """Converts errors of GitHub's API and of its transport to GitHubRefused."""
    import github
    import requests

    try:
        yield
    except github.GithubException as error:
        raise GitHubRefused(doing, _why(error), error.status) from error
    except json.JSONDecodeError as error:
        raise GitHubRefused(doing, "GitHub's response is not valid JSON: it was damaged in transit. Retry") from error
    except InvalidResponse as error:
        raise GitHubRefused(doing, f"{error}. Check GITHUB_API_URL and the proxy, then retry") from error
    except github.BadAttributeException as error:
        raise GitHubRefused(doing, f"GitHub's response has a field of the wrong type ({error}). Retry") from error
    except requests.RequestException as error:
        raise GitHubRefused(doing, f"GitHub cannot be reached: {_innermost(error)}. Retry later") from error


def _why(error: "github.GithubException") -> str:
    """Returns GitHub's message, its meaning, and the next step."""
    from pipeline.github.retry import limited

    message, headers = _message(error), {name.lower(): value for name, value in (error.headers or {}).items()}
    if limited(error):
        reset = headers.get("x-ratelimit-reset", "")
        until = f"{datetime.datetime.fromtimestamp(int(reset), datetime.timezone.utc):%H:%M} UTC" if reset else ""
        return f"a rate limit of GitHub was exceeded ({message}). Retry {f'after {until}' if until else 'later'}"
    if error.status == 401:
        return f"GitHub does not accept the token ({message}). Set GITHUB_TOKEN to one that is valid"
    if error.status == 403:
        wanted = headers.get("x-accepted-github-permissions", "").replace("=", ": ")
        permission = f"the permission {wanted}" if wanted else "the permission that SECURITY.md names"
        return f"the token may not do that ({message}). Give it {permission}"
    if error.status == 404:
        return (
            f"it does not exist, or the token may not see it ({message}). Check the names and the token's permissions"
        )
    if error.status >= 500:
        return f"GitHub answered {error.status} ({message}). See https://www.githubstatus.com and retry later"
    return f"GitHub answered {error.status} ({message}). Fix it, then retry"


def _message(error: "github.GithubException") -> str:
    """Returns GitHub's message with its details on single fields."""
    if not isinstance(error.data, dict):
        return str(error.data or "no message")
    fields = [
        " ".join(str(detail[name]) for name in ("resource", "field", "code", "message") if detail.get(name))
        for detail in error.data.get("errors") or []
        if isinstance(detail, dict)
    ]
    return "; ".join([str(error.data.get("message") or "no message"), *fields]).rstrip(".")


def _innermost(error: Exception) -> str:
    """Returns the message of the innermost cause of an error of requests, without Python objects in it."""
    inner = [getattr(error, "reason", None), *error.args]
    for cause in inner:
        if isinstance(cause, Exception):
            return _innermost(cause)
    return str(error).rpartition(": ")[2] or type(error).__name__

"""PyGithub's requester, made strict: the token goes to GitHub alone, and no damaged response is an empty list.

https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api#follow-redirects
https://docs.github.com/en/rest/using-the-rest-api/using-pagination-in-the-rest-api
"""

import json
import re
import urllib.parse
from typing import Any

from github.Requester import HTTPRequestsConnectionClass, HTTPSRequestsConnectionClass, Requester, RequestsResponse

from pipeline.github.hosts import InvalidResponse, check_address, is_of_api

REDIRECTS = (301, 302, 307, 308)
MOST_REDIRECTS = 5  # of a repository that was renamed that often
MOST_PAGES = 200  # of a list, with 100 entries each
_LINK = r'<[^<>]*>(; ?\w+="[^"]*")+'


class StrictRequester(Requester):
    """Raises InvalidResponse for an address that is not GitHub's, and for a successful response of the wrong type."""

    def __init__(self, **options: Any):
        super().__init__(**options)
        self._pages: dict[str, int] = {}  # {address of a list's next page: number of that page}

    def requestJsonAndCheck(
        self,
        verb: str,
        url: str,
        parameters: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        input: Any = None,
        follow_302_redirect: bool = False,
    ) -> tuple[dict[str, Any], Any]:
        if not url.startswith("/"):
            check_address(url)
        page = self._pages.pop(url, 1)
        if page > MOST_PAGES:
            raise InvalidResponse(f"a list of GitHub has no end after {MOST_PAGES} pages")
        answered, found = super().requestJsonAndCheck(verb, url, parameters, headers, input, follow_302_redirect)
        if following := _next_page(answered.get("link", "")):
            self._pages[following] = page + 1
        return answered, found

    def requestJson(
        self, verb: str, url: str, parameters: dict[str, Any] | None = None, *more: Any, **others: Any
    ) -> tuple[int, dict[str, Any], str]:
        status, headers, body = super().requestJson(verb, url, parameters, *more, **others)
        if 300 <= status < 400:
            raise InvalidResponse(f"GitHub answered {status}, which it never does")
        if status < 300 and (status != 204 or verb == "GET"):
            query = urllib.parse.parse_qs(urllib.parse.urlsplit(url).query)
            _check(body, paged=verb == "GET" and "per_page" in {**query, **(parameters or {})})
        return status, headers, body


def _next_page(link: str) -> str:
    """Returns the address of the next page by the header `Link`, "" for none."""
    if link and not re.fullmatch(f"{_LINK}(, {_LINK})*", link):
        raise InvalidResponse("the header Link of GitHub's response was damaged in transit")
    found = re.search(r'<([^<>]*)>; ?rel="next"', link)
    return found[1] if found else ""


def _check(body: str, paged: bool) -> None:
    """Raises InvalidResponse unless the body is a JSON object, or with `paged` a list of them, which may be wrapped."""
    try:
        found = json.loads(body)
    except ValueError:
        raise InvalidResponse(f"GitHub's response is not valid JSON: {body[:40]!r}") from None
    if not paged:
        if not isinstance(found, dict):
            raise InvalidResponse(f"GitHub's response is no JSON object: {body[:40]!r}")
        return
    if isinstance(found, dict) and isinstance(found.get("total_count"), int):
        found = next((value for value in found.values() if isinstance(value, list)), None)
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise InvalidResponse(f"GitHub's response is no list: {body[:40]!r}")


class _Redirected:
    """Follows the redirects of a renamed repository with method and body, to the same host only."""

    def getresponse(self) -> RequestsResponse:
        for _ in range(MOST_REDIRECTS + 1):
            answered = super().getresponse()
            if answered.status not in REDIRECTS:
                return answered
            location = dict((name.lower(), value) for name, value in answered.getheaders()).get("location", "")
            target = urllib.parse.urlsplit(urllib.parse.urljoin(f"{self.protocol}://{self.host}:{self.port}", location))
            if not location or not is_of_api(target.geturl()):
                raise InvalidResponse(
                    f"GitHub redirects from {self.host} to {target.hostname if location else 'nowhere'}"
                )
            self.url = f"{target.path}?{target.query}" if target.query else target.path
        raise InvalidResponse(f"GitHub redirects more than {MOST_REDIRECTS} times")


class _Http(_Redirected, HTTPRequestsConnectionClass):
    """A connection to a server on this machine or in a company's network."""


class _Https(_Redirected, HTTPSRequestsConnectionClass):
    """A connection to GitHub."""


StrictRequester.injectConnectionClasses(_Http, _Https)
StrictRequester._Requester__persist = True  # connections are reused; PyGithub stops that for other classes than its own

"""Pages of sorted names; the cost of a page depends on its own length, not on the number of objects."""

import base64
import bisect
import functools
import re
from typing import NamedTuple

from tests.emulators.gcs.errors import bad_request

LARGEST_PAGE = 1000
_LAST = "\U0010ffff"  # sorts after every other character


class Wanted(NamedTuple):
    """Parameters of a list request."""

    prefix: str = ""
    delimiter: str = ""
    start: str = ""  # first name, inclusive
    end: str = ""  # last name, exclusive
    after: str = ""  # XML's start-after
    glob: str = ""
    trailing: bool = False  # objects that end with the delimiter are items too
    limit: int = LARGEST_PAGE
    token: str = ""


class Page(NamedTuple):
    """A page of results; `visited` counts the names that were examined."""

    names: list[str]
    prefixes: list[str]
    token: str  # "" on the last page
    visited: int


def page(names: list[str], wanted: Wanted) -> Page:
    """Returns the next page of sorted `names`."""
    at = bisect.bisect_left(names, max(wanted.prefix, wanted.start))
    if wanted.after:
        at = max(at, bisect.bisect_right(names, wanted.after))
    if wanted.token:
        at = max(at, bisect.bisect_left(names, _read_token(wanted.token)))
    behind = bisect.bisect_left(names, wanted.prefix + _LAST, at) if wanted.prefix else len(names)
    if wanted.end:
        behind = min(behind, bisect.bisect_left(names, wanted.end))
    if wanted.delimiter or wanted.glob:
        return _grouped(names, wanted, at, behind)
    chosen = names[at : min(at + wanted.limit, behind)]
    more = at + len(chosen) < behind
    return Page(chosen, [], _token(names[at + len(chosen)]) if more else "", len(chosen))


def _grouped(names: list[str], wanted: Wanted, at: int, behind: int) -> Page:
    chosen: list[str] = []
    prefixes: list[str] = []
    matches = glob_pattern(wanted.glob).fullmatch if wanted.glob else None
    visited = 0
    while at < behind and len(chosen) + len(prefixes) < wanted.limit:
        name = names[at]
        visited += 1
        cut = name.find(wanted.delimiter, len(wanted.prefix)) if wanted.delimiter else -1
        if cut >= 0:
            prefixes.append(name[: cut + len(wanted.delimiter)])
            if wanted.trailing and name == prefixes[-1]:
                chosen.append(name)
            # Skips all names with this prefix.
            at = bisect.bisect_left(names, prefixes[-1] + _LAST, at)
            continue
        if matches is None or matches(name):
            chosen.append(name)
        at += 1
    return Page(chosen, prefixes, _token(names[at]) if at < behind else "", visited)


def _token(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode("utf-8", "surrogatepass")).decode()


def _read_token(token: str) -> str:
    try:
        return base64.b64decode(token.encode(), b"-_", validate=True).decode("utf-8", "surrogatepass")
    except ValueError:
        raise bad_request(f"Invalid pageToken {token!r}.") from None


@functools.lru_cache(64)
def glob_pattern(glob: str) -> re.Pattern[str]:
    """Compiles a `matchGlob`: https://cloud.google.com/storage/docs/json_api/v1/objects/list#list-objects-and-prefixes-using-glob"""
    text, depth = "", 0
    for part in re.findall(r"\*\*/|\*\*|\[!?[^\]]+\]|\\.|.", glob, re.DOTALL):
        if part == "**/":  # `**/x` also matches `x`: https://github.com/googleapis/python-storage, tests/system
            text += "(?:.*/)?"
        elif part == "**":
            text += ".*"
        elif part == "*":
            text += "[^/]*"
        elif part == "?":
            text += "[^/]"
        elif part[0] == "[" and len(part) > 1:
            text += "[^" + part[2:] if part[1] == "!" else part
        elif part == "{":
            text, depth = text + "(?:", depth + 1
        elif part == "}" and depth:
            text, depth = text + ")", depth - 1
        elif part == "," and depth:
            text += "|"
        else:
            text += re.escape(part.removeprefix("\\") or part)
    if depth:
        raise bad_request(f"Invalid glob {glob!r}.")
    return re.compile(text, re.DOTALL)

"""Which releases were made of which images."""

from collections.abc import Sequence

from pipeline.data.span import Span
from pipeline.errors import BrokenRelease
from pipeline.releases.base import Release, Releases


def saw_withdrawn(spans: Sequence[Span], releases: Releases) -> dict[str, int]:
    """Returns {tag: images that were withdrawn after the release was trained or evaluated with them}, newest first."""
    withdrawals = [
        (span.number, image.withdrawn_by)
        for span in spans
        for image in span.corrections.images.values()
        if image.withdrawn
    ]
    if not withdrawals:
        return {}
    found = {}
    for tag in releases.tags():
        try:
            release = releases.get(tag)
        except BrokenRelease:
            continue  # what is broken is not used, and is named where it would be
        if count := sum(_saw(release, span, correction) for span, correction in withdrawals):
            found[tag] = count
    return found


def _saw(release: Release, span: int, correction: int) -> bool:
    state = release.data.get(str(span))
    return span in release.spans and correction > (state.corrections if state else 0)

"""What is found out while a span is made, over several attempts."""

from collections.abc import Sequence

from pipeline.data.span_writer import Draft
from pipeline.outcomes import Alike, Conflict, PreparedSpan, Rejected

RELABELLED = "relabelled"  # stands for an image whose label was corrected


class Findings:
    """Becomes a PreparedSpan. What an attempt that was repeated has set aside is named once."""

    def __init__(self):
        self._named: dict[Rejected | Conflict, None] = {}  # in order
        self._duplicates = self._near_duplicates = self._relabelled = 0
        self._alike: Sequence[Alike] = ()
        self._dark: dict[Rejected, None] = {}

    def add(self, found: Rejected | Conflict | str | None) -> None:
        """Adds an image that did not become part of the span: None for a duplicate, or RELABELLED."""
        if found is None:
            self._duplicates += 1
        elif found == RELABELLED:
            self._relabelled += 1
        else:
            self._named[found] = None

    def warn(self, image: Rejected) -> None:
        """Adds an image that is taken, although it looks nearly black."""
        self._dark[image] = None

    def compare(self, near_duplicates: int, alike: Sequence[Alike]) -> None:
        """Sets the number of images that look like others, and the first of these."""
        self._near_duplicates, self._alike = near_duplicates, alike

    def outcome(self, draft: Draft | None = None) -> PreparedSpan:
        """Returns the outcome; `draft` is what was published, if anything was."""
        return PreparedSpan(
            span=draft.number if draft else None,
            images=draft.images if draft else 0,
            labels=dict(draft.labels) if draft else {},
            rejected=tuple(found for found in self._named if isinstance(found, Rejected)),
            duplicates=self._duplicates,
            conflicts=tuple(found for found in self._named if isinstance(found, Conflict)),
            relabelled=self._relabelled,
            near_duplicates=self._near_duplicates,
            alike=tuple(self._alike),
            dark=tuple(self._dark),
        )

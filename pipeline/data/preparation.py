"""Makes a span of images: what each becomes, and, once all are known, which side of the split it is on."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from pipeline.data import corrections, looks, split
from pipeline.data.findings import RELABELLED, Findings
from pipeline.data.images import BadImage, nearly_black
from pipeline.data.images.conversion import original_of
from pipeline.data.incoming import collected
from pipeline.data.incoming.fates import Fate
from pipeline.data.incoming.listing import LabelledFile
from pipeline.data.known import Holder, Known
from pipeline.data.likeness import Looks
from pipeline.data.manifest import Listed
from pipeline.data.span import Span
from pipeline.data.span_writer import Draft
from pipeline.data.split import Arrangement
from pipeline.outcomes import Alike, Conflict, Rejected
from pipeline.storage.base import Source, Storage

MOST_NAMED = 50  # near duplicates that are named; the others are only counted


class Preparation:
    """One attempt to make a span; adds its outcome to `found`."""

    def __init__(
        self,
        storage: Storage,
        draft: Draft,
        published: Sequence[Span],
        fate: Fate,
        found: Findings,
        correct: bool,
        convert: bool,
    ):
        self._storage, self._draft, self._published = storage, draft, published
        self._fate, self._found = fate, found
        self._known = Known(storage, published)
        self._looks = Looks()
        self._relabel, self._convert = correct, convert
        self._listed: dict[int, dict[str, Listed]] = {}  # by span and sha256, where labels are corrected
        self._relabelled: dict[tuple[int, str], list[Listed]] = {}  # by span and label
        self._moved: dict[int, list[Listed]] = {}  # by span: published images that move to training
        self._contested: dict[int, str] = {}  # image of the draft: another label that it came under

    def read(self, sources: Iterable[Source], group_of: Callable[[str], str], progress: Callable[[int], None]) -> None:
        """Adds what can be used to the draft, and sets the others aside."""
        outcomes: list[tuple[Callable[[], bool], Rejected | Conflict | str | None]] = []
        for done, source in enumerate(sources, 1):
            if not done % collected.PROGRESS_EVERY:
                progress(done)
            try:
                label = collected.examine(source, self._convert)
            except BadImage as bad:
                rejected = Rejected(source.name, str(bad))
                outcomes.append((self._storage.submit(self._fate.reject, source, str(bad)), rejected))
                continue
            digest, original = hashlib.sha256(source.data).digest(), original_of(source.data)
            if holder := self._known.holder(digest, original):
                outcomes.append(self._repeated(source, label, holder, original or digest.hex()))
            elif self._fate.use(source):
                group = source.group if isinstance(source, LabelledFile) else ""
                self._add(source, label, digest, group or group_of(source.name), original)
        for outcome, what in outcomes:
            if outcome():
                self._found.add(what)

    def arrange(self) -> bool:
        """Keeps together what belongs together, and takes out what came under two labels.

        False when the number of the span has become another process's.
        """
        if not self._draft.images:
            return True
        new = self._looks.records()
        published = looks.published(self._storage, self._published)
        arrangement = split.arrange(published.records, new, self._known.labels, self._has_training)
        contested = self._contested_images()
        self._report(published, arrangement)
        for at in arrangement.published:
            number, source = published.source(at)
            self._moved.setdefault(number, []).append(source)
        dropped = {}
        if contested:
            keep = self._fate.drop({conflict: sha256 for conflict, sha256 in contested.values()})
            dropped = {at: partial(keep, conflict) for at, (conflict, _) in contested.items()}
            for conflict, _ in contested.values():
                self._found.add(conflict)
        for at, side in arrangement.moved.items():
            new["split"][at] = split.number_of(side)
        self._records = new[[at for at in range(len(new)) if at not in dropped]] if dropped else new
        return not (arrangement.moved or dropped) or self._draft.rearrange(arrangement.moved, dropped)

    def finish(self) -> None:
        """Writes what the draft still lacks, and moves published images; at least one image has to be in the draft."""
        self.correct()
        # Before the span is published: at no moment like images are on both sides.
        for number, images in self._moved.items():
            corrections.write(self._storage, number, corrections.MOVE, images, to=split.TRAIN)
        self._draft.attach(looks.NAME, self._records.tobytes())
        self._draft.finish()

    def _add(self, source: Source, label: str, digest: bytes, group: str, original: str) -> None:
        sha256 = digest.hex()
        side = split.split_of(sha256)
        self._known.add(digest, label, original)
        if why := nearly_black(source.data):
            self._found.warn(Rejected(source.name, why))
        self._draft.add(source, label, sha256, side, group, original)
        self._looks.add(source.data, digest, split.number_of(side), group)

    def correct(self) -> None:
        """Writes the corrections that the sources are."""
        for (number, label), images in self._relabelled.items():
            corrections.write(self._storage, number, corrections.RELABEL, images, to=label)
        self._relabelled = {}

    def _note_correction(self, number: int, sha256: str, label: str) -> None:
        if number not in self._listed:
            span = next(span for span in self._published if span.number == number)
            self._listed[number] = {sha256: source for source in span.listed for sha256 in source.digests}
        self._relabelled.setdefault((number, label), []).append(self._listed[number][sha256])

    def _repeated(
        self, source: Source, label: str, holder: Holder, sha256: str
    ) -> tuple[Callable[[], bool], Rejected | Conflict | str | None]:
        submit = self._storage.submit
        if holder.withdrawn:
            fate = self._fate.erase if holder.erased else self._fate.reject
            return submit(fate, source, holder.reason), Rejected(source.name, holder.reason)
        if holder.span is not None:
            if label == holder.label:
                return submit(self._fate.repeat, source, holder), None
            if self._relabel:
                self._note_correction(holder.span, sha256, label)
                return submit(lambda: True), RELABELLED
            conflict = Conflict(source.name, label, holder.span, holder.label)
            return submit(self._fate.conflict, source, conflict), conflict
        if label == holder.label and holder.position not in self._contested:
            return submit(self._fate.repeat, source, holder), None
        other = self._contested.setdefault(holder.position, label)
        conflict = Conflict(source.name, label, None, holder.label if label != holder.label else other)
        return submit(self._fate.contest, source, conflict), conflict

    def _contested_images(self) -> dict[int, tuple[Conflict, str]]:
        """Returns the images of the draft that came under another label, too, with their sha256."""
        listed = self._draft.listed(self._contested)
        return {
            at: (Conflict(listed[at].name, listed[at].label, None, other), listed[at].sha256)
            for at, other in self._contested.items()
        }

    def _has_training(self, label: str) -> bool:
        sources = (source for span in self._published if label in span.labels for source in span.sources)
        return any(source.label == label and source.split == split.TRAIN for source in sources)

    def _report(self, published: looks.Published, arrangement: Arrangement) -> None:
        """Names the near duplicates."""
        begin = len(published.records)
        named = sorted(arrangement.alike.items())[:MOST_NAMED]
        listed = self._draft.listed({at for at, _ in named} | {other - begin for _, other in named if other >= begin})
        alike = [
            (
                Alike(listed[at].name, None, listed[other - begin].name)
                if other >= begin
                else Alike(listed[at].name, *published.name(other))
            )
            for at, other in named
        ]
        self._found.compare(len(arrangement.alike), alike)

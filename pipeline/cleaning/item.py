"""Something that nothing needs any more, and what every search for such things is given."""

import contextlib
import dataclasses
import functools
import sys
import time
from collections.abc import Callable, Iterable

from pipeline.config import Config
from pipeline.data import reports
from pipeline.data.reports import TrainingReport
from pipeline.errors import ForeignReleases, SpanloopError
from pipeline.packaging import modules
from pipeline.progress import Log, no_log
from pipeline.releases.factory import releases_of
from pipeline.releases.record import Release
from pipeline.storage.base import DatedEntry, Storage
from pipeline.storage.factory import open_storage

DAY = 24 * 3600.0  # seconds


@dataclasses.dataclass(frozen=True)
class Item:
    """Something to delete."""

    kind: str  # such as "run" or "image"
    name: str  # its address
    days: float  # since it was last changed or used
    bytes: int  # 0 for what takes no place of its own
    why: str  # nothing needs it
    remove: Callable[[], None] = dataclasses.field(repr=False, compare=False)  # may be repeated after a kill


@dataclasses.dataclass(frozen=True)
class Search:
    """The settings, the age from which on things are deleted, and what names the things that are needed."""

    config: Config
    days: float
    log: Log = no_log
    now: float = dataclasses.field(default_factory=time.time)  # seconds since the epoch

    @functools.cached_property
    def storage(self) -> Storage:
        """The workspace."""
        return open_storage(self.config.workspace)

    @functools.cached_property
    def releases(self) -> list[Release]:
        """All releases, newest first. Raises ForeignReleases where RELEASES is not where the workspace's models are.

        Then nothing would be known to be needed: RELEASES may be unset in a shell, and set in the workflows.
        """
        catalog = releases_of(self.config)
        found = [catalog.get(tag) for tag in catalog.tags()]
        released = {report.outcome.release: report.identity for report in self.trainings if report.outcome.release}
        if released and not any(released.get(release.tag) in (release.identity, "") for release in found):
            raise ForeignReleases(self.config.releases, self.config.workspace, list(released))
        return found

    @functools.cached_property
    def trainings(self) -> list[TrainingReport]:
        """The reports of all trainings, oldest first."""
        return reports.trainings(self.storage)

    @functools.cached_property
    def own_modules(self) -> str:
        """The digest of this clone's modules, "" without any."""
        with contextlib.suppress(SpanloopError):
            return modules.digest(modules.contents(self.config.modules, sys.path))
        return ""

    def age(self, moment: float) -> float:
        """Returns the days since a moment, in seconds since the epoch."""
        return max(0.0, self.now - moment) / DAY

    def is_old(self, moment: float) -> bool:
        """True when a moment is longer ago than things are kept."""
        return self.age(moment) >= self.days


def grouped(entries: Iterable[DatedEntry], parts: int) -> dict[str, DatedEntry]:
    """Returns {the first parts of the names: total bytes and newest change}; shorter names are left out."""
    found: dict[str, DatedEntry] = {}
    for entry in entries:
        split = entry.name.split("/")
        if len(split) > parts:
            name = "/".join(split[:parts])
            before = found.get(name, DatedEntry(name, 0, 0.0))
            found[name] = DatedEntry(name, before.size + entry.size, max(before.modified, entry.modified))
    return found

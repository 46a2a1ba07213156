"""The traffic of `serve`: which releases it gives which share, by the canary policy. Kept in the workspace.

The file has what was promoted and rolled back; the canary follows from the newest release. So a server and `promote`
need not run at the same time, and several servers of one workspace serve the same.
"""

import json

from pipeline.config import Config
from pipeline.errors import BrokenTraffic, NoRelease, ObjectNotFound
from pipeline.outcomes import ServingOutcome
from pipeline.releases.factory import releases_of
from pipeline.serving import canary
from pipeline.serving.canary import Goal, State, is_release
from pipeline.storage.factory import open_storage

FILE = "serving/traffic.json"


class LocalTraffic:
    """WORKSPACE/serving/traffic.json: `traffic`, {tag: percent}, and `labels`, those of an endpoint."""

    def __init__(self, config: Config):
        self._config, self._storage, self._releases = config, open_storage(config.workspace), releases_of(config)

    def exists(self) -> bool:
        """True once a server of this workspace has been started."""
        return self._storage.exists(FILE)

    def state(self) -> State:
        """Returns what a server gives each release now; of a newer one CANARY_TRAFFIC percent. Raises NoRelease."""
        newest = next(iter(self._releases.tags()), None)
        if newest is None:
            raise NoRelease(self._releases.address)
        return canary.canary(newest, self._config.canary_traffic)(self._read())

    def start(self) -> None:
        """Promotes the newest release if none was promoted yet, so that the next one is a canary."""
        if not self.exists():
            self._storage.write(FILE, _encoded(self.state()), create_only=True)

    def promote(self, tag: str | None = None) -> ServingOutcome:
        """Gives a release all of the traffic, by default the canary or the newest.

        Raises ReleaseNotFound or NoRelease.
        """
        return self._reach(canary.promotion(canary.candidate(self.state(), self._releases, tag).tag))

    def roll_back(self) -> ServingOutcome:
        """Removes the canary, or without one returns to the release before. Raises NothingToRollBack."""
        return self._reach(canary.roll_back)

    def _reach(self, goal: Goal) -> ServingOutcome:
        with self._storage.exclusive("changing the traffic"):
            before = self.state()
            wanted = goal(before)
            self._storage.write(FILE, _encoded(wanted))
        changed = (wanted.traffic, wanted.labels) != (before.traffic, before.labels)
        return ServingOutcome(wanted.promoted, None, dict(wanted.traffic), wanted.promoted, changed)

    def _read(self) -> State:
        place = self._storage.address(FILE)
        try:
            found = json.loads(self._storage.read(FILE))
            traffic = {str(tag): int(share) for tag, share in found["traffic"].items()}
            labels = {str(name): str(tag) for name, tag in found["labels"].items()}
        except ObjectNotFound:
            return State({}, {}, place)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BrokenTraffic(place, repr(error)) from None
        if not all(map(is_release, traffic)) or sum(traffic.values()) != 100 or min(traffic.values()) < 0:
            raise BrokenTraffic(place, f"{traffic} is no traffic")
        return State(traffic, labels, place)


def _encoded(state: State) -> bytes:
    return json.dumps({"traffic": dict(state.traffic), "labels": dict(state.labels)}, indent=1).encode()

"""Injected failures: from the n-th matching call on, for a number of calls."""

import dataclasses
import fnmatch
import threading
from collections.abc import Callable

KINDS = (
    "429",  # refused: too many requests (gRPC: RESOURCE_EXHAUSTED)
    "500",  # refused: INTERNAL
    "503",  # refused: UNAVAILABLE
    "cut",  # the call is not performed, and the connection closes without a response (gRPC: UNAVAILABLE)
    "lose",  # the call is performed, and the connection closes without a response
    "expire",  # the call's token has expired (gRPC: UNAUTHENTICATED)
)


@dataclasses.dataclass
class Fault:
    """One injected failure; `seen` counts the calls that matched, `done` those that failed.

    `happens` is called before each of these is answered.
    """

    service: str
    method: str
    nth: int
    kind: str
    times: int
    target: str
    happens: Callable[[], object]
    seen: int = 0
    done: int = 0


class Faults:
    """The injected failures."""

    def __init__(self):
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def add(
        self,
        service: str = "*",
        method: str = "*",
        nth: int = 1,
        kind: str = "503",
        times: int = 1,
        target: str = "*",
        happens: Callable[[], object] = lambda: None,
    ) -> Fault:
        """Fails the matching calls number `nth` to `nth + times - 1`.

        `*` in names matches anything: without a service, requests for tokens count too. `happens` may end the process
        that calls.
        """
        if kind not in KINDS or nth < 1 or times < 1:
            raise ValueError(
                f"a fault needs a kind of {', '.join(KINDS)}, nth >= 1 and times >= 1: {kind!r}, {nth}, {times}"
            )
        fault = Fault(service, method, nth, kind, times, target, happens)
        with self._lock:
            self._faults.append(fault)
        return fault

    def take(self, service: str, method: str, target: str) -> str:
        """The kind of failure to inject into this call; "" for none."""
        if not self._faults:
            return ""
        kind = ""
        with self._lock:
            for fault in self._faults:
                names = ((service, fault.service), (method, fault.method), (target, fault.target))
                if not all(wanted == "*" or fnmatch.fnmatchcase(name, wanted) for name, wanted in names):
                    continue
                fault.seen += 1
                if not kind and fault.nth <= fault.seen < fault.nth + fault.times:
                    fault.done += 1
                    fault.happens()
                    kind = fault.kind
        return kind

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

"""Failures that a test asks for: at the n-th matching call, and for as many calls as it says."""

import dataclasses
import fnmatch
import threading

KINDS = (
    "429",  # refused: too many requests (gRPC: RESOURCE_EXHAUSTED)
    "500",  # refused: INTERNAL
    "503",  # refused: UNAVAILABLE
    "cut",  # nothing is done, and the connection ends without an answer (gRPC: UNAVAILABLE)
    "lose",  # the work is done, and the connection ends without an answer
    "expire",  # the token that came with it is not valid any more (gRPC: UNAUTHENTICATED)
)


@dataclasses.dataclass
class Fault:
    """One failure that is to happen; `seen` counts the calls that matched, `done` those that failed."""

    service: str
    method: str
    nth: int
    kind: str
    times: int
    target: str
    seen: int = 0
    done: int = 0


class Faults:
    """The failures that are to happen."""

    def __init__(self):
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def add(
        self, service: str = "*", method: str = "*", nth: int = 1, kind: str = "503", times: int = 1, target: str = "*"
    ) -> Fault:
        """Lets the calls number `nth` to `nth + times - 1` fail, of those that match.

        `*` in names matches anything: without a service also asking for a token is a call that counts.
        """
        if kind not in KINDS or nth < 1 or times < 1:
            raise ValueError(
                f"a fault is one of {', '.join(KINDS)}, at a call counted from 1: {kind!r}, {nth}, {times}"
            )
        fault = Fault(service, method, nth, kind, times, target)
        with self._lock:
            self._faults.append(fault)
        return fault

    def take(self, service: str, method: str, target: str) -> str:
        """The kind of failure that this call meets; "" for none."""
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
                    kind = fault.kind
        return kind

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

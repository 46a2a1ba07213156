"""Jobs that run in threads of their own, and that tests can keep from starting."""

import threading
from collections.abc import Callable


class HeldJobs:
    """Jobs by name, each with a thread. Those created after `hold` stay pending until `release`."""

    def __init__(self, lock: threading.RLock):
        self._lock = lock
        self._held = False
        self._threads: dict[str, threading.Thread] = {}

    def hold(self) -> None:
        self._held = True

    def release(self) -> None:
        with self._lock:
            self._held = False
            for thread in self._threads.values():
                if not thread.ident:
                    thread.start()

    def wait(self, name: str) -> None:
        """Waits until a job has ended; `name` is its full resource name."""
        self._threads[name].join()

    def _start(self, name: str, work: Callable[..., None], *arguments: object) -> None:
        """Adds the thread of a new job, which starts unless jobs are held. The caller has the lock."""
        thread = self._threads[name] = threading.Thread(target=work, args=arguments, daemon=True)
        if not self._held:
            thread.start()

    def _forget_threads(self) -> None:
        """Waits for the threads that run; the others never start. The jobs' work has been asked to stop."""
        for thread in self._threads.values():
            if thread.ident:
                thread.join()
        self._threads, self._held = {}, False

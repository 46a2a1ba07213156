"""A lock in a bucket: an object that names its holder, and is renewed as long as that process lives."""

import contextlib
import json
import logging
import os
import socket
import threading
import time

from pipeline import retry
from pipeline.errors import StorageError
from pipeline.storage.bucket_client import Client

log = logging.getLogger(__name__)

# A lease that is not renewed expires after this time, which others wait after a kill. Renewed three times within it, it
# survives a short outage of the service.
SECONDS = 60


class Lease:
    """A context manager. It saves work, not data: what is published is safe without it, see bucket_stage.py."""

    def __init__(self, client: Client, name: str, doing: str, place: str):
        self._client, self._name, self._doing, self._place = client, name, doing, place
        self._ended = threading.Event()
        self._generation = ""
        self._mark = os.urandom(12).hex()  # recognizes a renewal whose answer was lost

    def __enter__(self) -> "Lease":
        if not self._acquire():
            log.warning("Another process is %s in %s: waiting until it is done.", self._doing, self._place)
            for wait in retry.LOCK.waits():
                time.sleep(min(wait, SECONDS / 4))
                if self._acquire():
                    break
        self._thread = threading.Thread(target=self._renew, name=f"lease of {self._doing}", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        # Where deleting fails, the lease expires.
        with contextlib.suppress(StorageError):
            self._client.delete(self._name, self._generation)

    def _acquire(self) -> bool:
        written = self._write("0")
        if not written and (there := self._client.about(self._name)):
            # Both times are the service's, because clocks of machines differ.
            if (there["now"] - there["updated"]).total_seconds() > SECONDS:
                written = self._write(there["generation"])
        return written

    def _renew(self) -> None:
        while not self._ended.wait(SECONDS / 3):
            try:
                if not self._write(self._generation):
                    log.warning(
                        "Another process is also %s in %s: only one of both will publish.", self._doing, self._place
                    )
                    return
            except StorageError as error:
                log.warning("The lease of %s was not renewed: %s", self._doing, error)

    def _write(self, generation: str) -> bool:
        holder = json.dumps({"doing": self._doing, "host": socket.gethostname(), "process": os.getpid()})
        written = self._client.write(self._name, holder.encode(), generation, self._mark)
        if written:
            self._generation = written.generation
        return written is not None

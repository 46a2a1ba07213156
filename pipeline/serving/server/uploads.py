"""The route by which clients upload pictures that they found hard, where SERVING_UPLOADS allows any.

PUT /unlabelled/<sha256>.jpg or .png, then <sha256>.json about it. Clients choose neither a name nor a label: the name
has to be that of the content, and nothing is ever overwritten.
"""

import asyncio
import math
import re
import time
from collections.abc import Awaitable, Callable

from pipeline.config import Config
from pipeline.data.images import BadImage
from pipeline.data.incoming import unlabelled
from pipeline.data.incoming.unlabelled import ENDINGS, BadNote, Kept
from pipeline.serving.server.protocol import Refusal, invalid
from pipeline.storage.factory import open_storage

PATH = "/unlabelled/"
RATE, BURST = 10.0, 500  # files a second that are taken for long, and at once: a page keeps 200 pictures, with notes
WAITING = 8  # files at a time that are in memory
COUNTED_SECONDS = 60.0  # after which the files are counted again: people label and delete them meanwhile
_NAME = re.compile(r"([0-9a-f]{64})(\.jpg|\.png|\.json)")


class Uploads:
    """Takes pictures and notes, one at a time, up to the limits of the settings."""

    def __init__(self, config: Config):
        self._storage = open_storage(config.workspace)
        self._most = Kept(config.serving_uploads, int(config.serving_upload_megabytes * 1e6))
        self._kept, self._counted = Kept(), -math.inf
        self._free, self._since = float(BURST), time.monotonic()
        self._waiting = 0
        self._turn = asyncio.Lock()

    async def take(self, name: str, body: Callable[[], Awaitable[bytes]]) -> bool:
        """Keeps the file that a client has named; False where it is there already. Raises Refusal."""
        match = _NAME.fullmatch(name)
        if not match:
            raise Refusal(404, f"Upload a picture as {PATH}<sha256>.jpg or .png, then its note as <sha256>.json.")
        self._check_rate()
        self._waiting += 1
        try:
            data = await body()
            async with self._turn:
                return await asyncio.to_thread(self._keep, match[1], match[2], data)
        finally:
            self._waiting -= 1

    def _check_rate(self) -> None:
        now = time.monotonic()
        self._free = min(BURST, self._free + RATE * (now - self._since))
        self._since = now
        if self._free < 1 or self._waiting >= WAITING:
            raise Refusal(429, "Too many files are uploaded at a time.", 1)
        self._free -= 1

    def _keep(self, digest: str, ending: str, data: bytes) -> bool:
        is_picture = ending in ENDINGS
        try:
            new = self._keep_picture(digest + ending, data) if is_picture else self._keep_note(digest, data)
        except (BadImage, BadNote) as bad:
            raise invalid(f"The {'picture' if is_picture else 'note'} is refused: {bad}.") from None
        if new:
            self._kept = Kept(self._kept.pictures + is_picture, self._kept.bytes + len(data))
        return new

    def _keep_picture(self, name: str, data: bytes) -> bool:
        if unlabelled.name_of(data) != name:
            raise invalid("The name has to be the sha256 of the picture, with .png for a PNG and .jpg for a JPEG.")
        if unlabelled.is_kept(self._storage, name):
            return False
        if time.monotonic() - self._counted >= COUNTED_SECONDS:
            self._kept, self._counted = unlabelled.kept(self._storage), time.monotonic()
        if self._kept.pictures >= self._most.pictures or self._kept.bytes + len(data) > self._most.bytes:
            raise Refusal(507, "The server has no room for more pictures without a label.")
        return unlabelled.add(self._storage, data)

    def _keep_note(self, digest: str, data: bytes) -> bool:
        if not any(unlabelled.is_kept(self._storage, digest + ending) for ending in ENDINGS):
            raise Refusal(409, "Upload the picture before its note.")
        return unlabelled.add_note(self._storage, digest, data)

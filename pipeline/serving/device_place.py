"""Where models for devices are published: a folder, a bucket, or GitHub."""

import abc
from contextlib import AbstractContextManager

from pipeline.errors import ObjectNotFound
from pipeline.storage.base import Storage

# A minute, because of many devices that ask for the pointers again and again:
# https://cloud.google.com/storage/docs/caching#performance_considerations
HEADERS_OF_POINTERS = {"Content-Type": "application/json", "Cache-Control": "public, max-age=60"}
FOR_EVER = "public, max-age=31536000, immutable"
TYPES = {"json": "application/json", "tflite": "application/octet-stream"}


class DevicePlace(abc.ABC):
    """Files by name, such as devices/classification/model-3/manifest.json."""

    address: str

    @abc.abstractmethod
    def read(self, name: str) -> bytes | None:
        """Returns a file's content, None without the file."""

    @abc.abstractmethod
    def create(self, name: str, path: str) -> bool:
        """Publishes a local file, for ever; False without publishing when there is one of this name."""

    @abc.abstractmethod
    def replace(self, name: str, content: bytes) -> None:
        """Writes a pointer. A reader gets the old one or the new one, whole."""

    @abc.abstractmethod
    def exclusive(self) -> AbstractContextManager[None]:
        """Lets one process at a time change the pointers."""


class StoragePlace(DevicePlace):
    """A folder or a bucket."""

    def __init__(self, storage: Storage):
        self._storage = storage
        self.address = storage.address()

    def read(self, name: str) -> bytes | None:
        try:
            return self._storage.read(name)
        except ObjectNotFound:
            return None

    def create(self, name: str, path: str) -> bool:
        headers = {"Content-Type": TYPES[name.rpartition(".")[2]], "Cache-Control": FOR_EVER}
        with open(path, "rb") as file:
            return self._storage.write(name, file, create_only=True, headers=headers)

    def replace(self, name: str, content: bytes) -> None:
        self._storage.write(name, content, headers=HEADERS_OF_POINTERS)

    def exclusive(self) -> AbstractContextManager[None]:
        return self._storage.exclusive("publishing to devices")

"""Local copies of folders in a bucket, for libraries that read and write local folders only."""

import contextlib
import os
import tempfile
from collections.abc import Iterator

import tensorflow as tf


def is_remote(address: str) -> bool:
    """True for an address that the operating system cannot open, such as gs://bucket/folder."""
    return "://" in address


@contextlib.contextmanager
def to_read(address: str) -> Iterator[str]:
    """Yields a local folder with the contents of the folder `address`; a copy is deleted afterwards."""
    if not is_remote(address):
        yield address
        return
    with tempfile.TemporaryDirectory(prefix="spanloop-") as folder:
        copy(address, folder)
        yield folder


@contextlib.contextmanager
def to_write(address: str) -> Iterator[str]:
    """Yields the path of a local folder to be created; its contents are in the folder `address` afterwards."""
    if not is_remote(address):
        os.makedirs(os.path.dirname(address), exist_ok=True)
        yield address
        return
    with tempfile.TemporaryDirectory(prefix="spanloop-") as place:
        folder = os.path.join(place, "folder")
        yield folder
        copy(folder, address)


def copy(source: str, destination: str) -> None:
    """Copies the contents of a folder; both may be local or in a bucket."""
    for folder, _, names in tf.io.gfile.walk(source):
        below = folder[len(source) :].strip("/")
        made = os.path.join(destination, below) if below else destination
        tf.io.gfile.makedirs(made)
        for name in names:
            if name:  # TensorFlow lists a folder's own marker object with an empty name
                tf.io.gfile.copy(os.path.join(folder, name), os.path.join(made, name), overwrite=True)

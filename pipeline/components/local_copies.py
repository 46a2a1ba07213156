"""Folders that may lie in a bucket, for libraries that know only those of this machine."""

import contextlib
import os
import tempfile
from collections.abc import Iterator

import tensorflow as tf


def is_remote(address: str) -> bool:
    """True when the operating system cannot open it."""
    return "://" in address


@contextlib.contextmanager
def to_read(address: str) -> Iterator[str]:
    """Gives a folder of this machine with what the folder `address` holds; it is gone afterwards if it is a copy."""
    if not is_remote(address):
        yield address
        return
    with tempfile.TemporaryDirectory(prefix="spanloop-") as folder:
        copy(address, folder)
        yield folder


@contextlib.contextmanager
def to_write(address: str) -> Iterator[str]:
    """Gives a folder of this machine, not there yet; what is in it at the end is then in the folder `address`."""
    if not is_remote(address):
        os.makedirs(os.path.dirname(address), exist_ok=True)
        yield address
        return
    with tempfile.TemporaryDirectory(prefix="spanloop-") as place:
        folder = os.path.join(place, "folder")
        yield folder
        copy(folder, address)


def copy(source: str, destination: str) -> None:
    """Copies what a folder holds, wherever both lie."""
    for folder, _, names in tf.io.gfile.walk(source):
        below = folder[len(source) :].strip("/")
        made = os.path.join(destination, below) if below else destination
        tf.io.gfile.makedirs(made)
        for name in names:
            if name:  # a bucket lists a folder's own marker without one
                tf.io.gfile.copy(os.path.join(folder, name), os.path.join(made, name), overwrite=True)

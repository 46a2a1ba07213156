"""Models published for devices that no channel and no release names any more."""

from collections.abc import Iterator

from pipeline.cleaning.item import Item, Search, grouped
from pipeline.releases.record import DEVICE_MODEL
from pipeline.serving import canary
from pipeline.serving.device_channel import FOLDER, DeviceChannel
from pipeline.storage.base import Storage
from pipeline.storage.factory import open_storage


def versions(search: Search) -> Iterator[Item]:
    """Yields models in the folder or bucket DEVICE_CHANNEL whose manifest our key has signed. Raises BrokenChannel."""
    channel, storage = DeviceChannel(search.config), open_storage(search.config.device_channel)
    needed = {release.tag for release in search.releases}
    for pointer in channel.pointers().values():
        needed |= {pointer.tag, pointer.previous, pointer.rolled_back}
    for name, found in grouped(storage.list_dated(f"{FOLDER}/{channel.task}"), 3).items():
        tag = name.rpartition("/")[2]
        if not canary.is_release(tag) or tag in needed or not search.is_old(found.modified):
            continue
        if channel.published(tag):
            yield Item(
                "model for devices",
                storage.address(name),
                search.age(found.modified),
                found.size,
                "no channel and no release names it",
                lambda name=name: _remove(storage, name),
            )


def _remove(storage: Storage, folder: str) -> None:
    storage.delete(f"{folder}/{DEVICE_MODEL}")
    storage.delete_folder(folder)  # the manifest last: it proves, after a kill, that the folder is ours

"""A model as one archive: packed reproducibly, unpacked only when every member stays within the folder."""

import gzip
import os
import posixpath
import shutil
import tarfile

from pipeline.storage import files

ARCHIVE = "model.tar.gz"
MOST_FILES = 10_000
MOST_BYTES = 32 << 30  # of an unpacked model
LARGEST_HEADER = (
    1 << 20
)  # bytes; tarfile reads names and attributes of a member into memory, before it shows the member
LONGEST_NAME = 1000  # characters, with folders; a file system takes names of 255 bytes
LARGEST_GAIN = 100  # unpacked bytes per packed byte; a SavedModel's weights hardly shrink, its graph to a tenth


class Unsafe(Exception):
    """An archive has a member that must not be unpacked."""


def pack(folder: str, archive: str) -> None:
    """Packs a folder; the same files give the same bytes, on any machine at any time."""

    def anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = member.mtime = 0
        member.uname = member.gname = ""
        member.mode = 0o755 if member.isdir() else 0o644
        return member

    with files.create(archive) as file, gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for name in sorted(os.listdir(folder)):
                tar.add(os.path.join(folder, name), name, filter=anonymous)  # `add` sorts the names in folders


def unpack(archive: str, folder: str) -> None:
    """Unpacks into a folder. Raises Unsafe before anything is written; errors of tarfile, gzip and int() for damage."""
    with _Packed(archive, "rb") as packed, tarfile.open(fileobj=packed, mode="r:") as tar:
        members = _checked(tar, min(MOST_BYTES, LARGEST_GAIN * max(os.path.getsize(archive), 1 << 20)))
        for member in members:
            path = os.path.join(folder, member.name)
            os.makedirs(path if member.isdir() else os.path.dirname(path), exist_ok=True)
            if member.isfile():
                with open(path, "xb") as file:
                    shutil.copyfileobj(tar.extractfile(member), file)


class _Packed(gzip.GzipFile):
    """A gzipped file that is read in small parts."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= LARGEST_HEADER:
            raise Unsafe(f"a header of more than {LARGEST_HEADER:,} bytes")
        return super().read(size)


def _checked(tar: tarfile.TarFile, most: int) -> list[tarfile.TarInfo]:
    """Returns the members, which hold at most `most` bytes. Raises Unsafe."""
    members, names, folders, size = [], set(), set(), 0
    for member in tar:  # reads no further than this member's header
        name, parts = member.name, member.name.split("/")
        if name.startswith("/") or ".." in parts or not (member.isreg() or member.isdir()) or member.issparse():
            raise Unsafe(f"{name!r} would leave the folder")
        if not name.isprintable() or len(name) > LONGEST_NAME or max(map(len, parts)) > LONGEST_NAME // 4:
            raise Unsafe(f"{name[:50]!r} is no name of a file in a model")
        size += member.size
        if member.size < 0 or size > most or len(members) == MOST_FILES:
            raise Unsafe(f"it would take more than {most / 1e9:.1f} GB or {MOST_FILES:,} files")
        if name in names or posixpath.normpath(name) != name:
            raise Unsafe(f"{name!r} is another name of an earlier member")
        members.append(member)
        names.add(name)
        folders.update("/".join(parts[:depth]) for depth in range(1, len(parts)))
    if clash := folders.intersection(member.name for member in members if member.isreg()):
        raise Unsafe(f"{min(clash)!r} is a file and a folder")
    return members


def sha256(path: str) -> str:
    """Returns the sha256 of a file, hexadecimal."""
    with open(path, "rb") as file:
        return files.file_sha256(file)

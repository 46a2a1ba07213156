"""Each test runs in a folder and in a bucket."""

from tests.places import kind, storage, workspace

__all__ = ["kind", "storage", "workspace"]

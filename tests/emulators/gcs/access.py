"""Who may do what: everybody everything, but for what a test denies."""

import fnmatch

from tests.emulators.gcs.errors import StorageError
from tests.emulators.services import Caller

# What a token has to be good for: https://cloud.google.com/storage/docs/oauth-scopes
READING = frozenset(("https://www.googleapis.com/auth/devstorage.read_only",))
WRITING = (
    "https://www.googleapis.com/auth/devstorage.read_write",
    "https://www.googleapis.com/auth/devstorage.full_control",
)


class Access:
    """Permissions that are denied, such as storage.objects.delete."""

    def __init__(self):
        self._denied: list[tuple[str, str, str]] = []

    @property
    def limited(self) -> bool:
        """Whether anything is denied to anybody."""
        return bool(self._denied)

    def deny(self, permission: str, principal: str = "*", bucket: str = "*") -> None:
        """From now on `principal` may not do what needs `permission`; `*` matches anything."""
        self._denied.append((permission, principal, bucket))

    def clear(self) -> None:
        self._denied.clear()

    def allows(self, principal: str, permission: str, bucket: str) -> bool:
        asked = (permission, principal, bucket)
        return not any(all(map(fnmatch.fnmatchcase, asked, denied)) for denied in self._denied)

    def check(self, caller: Caller, permission: str, bucket: str) -> None:
        """Raises a refusal in Google's words when the caller may not."""
        if caller.scopes <= READING and not permission.endswith((".get", ".list")):
            raise StorageError(403, "Provided scope(s) are not authorized")
        if self._denied and not self.allows(caller.principal, permission, bucket):
            raise StorageError(
                403,
                f"{caller.principal} does not have {permission} access to the Google Cloud Storage bucket. Permission "
                f"'{permission}' denied on resource '//storage.googleapis.com/projects/_/buckets/{bucket}' (or it may "
                "not exist).",
            )

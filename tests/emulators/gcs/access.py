"""Access control: every principal has every permission, except those that a test denies."""

import fnmatch

from tests.emulators.gcs.errors import StorageError
from tests.emulators.services import Caller

# Scopes that a token needs: https://cloud.google.com/storage/docs/oauth-scopes
READING = frozenset(("https://www.googleapis.com/auth/devstorage.read_only",))
WRITING = (
    "https://www.googleapis.com/auth/devstorage.read_write",
    "https://www.googleapis.com/auth/devstorage.full_control",
)


class Access:
    """Denied permissions, such as storage.objects.delete."""

    def __init__(self):
        self._denied: list[tuple[str, str, str]] = []

    @property
    def limited(self) -> bool:
        """True when any permission is denied."""
        return bool(self._denied)

    def deny(self, permission: str, principal: str = "*", bucket: str = "*") -> None:
        """Denies `permission` to `principal` from now on; `*` matches anything."""
        self._denied.append((permission, principal, bucket))

    def clear(self) -> None:
        self._denied.clear()

    def allows(self, principal: str, permission: str, bucket: str) -> bool:
        access = (permission, principal, bucket)
        return not any(all(map(fnmatch.fnmatchcase, access, denied)) for denied in self._denied)

    def check(self, caller: Caller, permission: str, bucket: str) -> None:
        """Raises StorageError with Google's message when the caller lacks the permission."""
        if caller.scopes <= READING and not permission.endswith((".get", ".list")):
            raise StorageError(403, "Provided scope(s) are not authorized")
        if self._denied and not self.allows(caller.principal, permission, bucket):
            raise StorageError(
                403,
                f"{caller.principal} does not have {permission} access to the Google Cloud Storage bucket. Permission "
                f"'{permission}' denied on resource '//storage.googleapis.com/projects/_/buckets/{bucket}' (or it may "
                "not exist).",
            )

"""Buckets and objects; every change is atomic and checks its preconditions."""

import bisect
import re
import threading
import time
from typing import Any

from tests.emulators.gcs.conditions import NONE, Conditions
from tests.emulators.gcs.errors import StorageError, bad_request, kept, no_bucket, no_object
from tests.emulators.gcs.listing import Page, Wanted, page
from tests.emulators.gcs.objects import WRITABLE, Content, Object, check_object_name, timestamp

MOST_COMPONENTS = 32


class Bucket:
    """Objects by name, and sorted names; with object versioning also `noncurrent` ones, by name, oldest first."""

    def __init__(self, name: str, project: str, properties: dict[str, Any]):
        self.name = name
        self.project = project
        self.properties = properties
        self.metageneration = 1
        self.created = self.updated = time.time()
        self.objects: dict[str, Object] = {}
        self.names: list[str] = []
        self.noncurrent: dict[str, list[Object]] = {}

    @property
    def has_versions(self) -> bool:
        return bool(self.properties.get("versioning", {}).get("enabled"))

    def put(self, made: Object) -> None:
        """Adds an object in place of another of its name; raises StorageError where that one has to be kept."""
        if made.name in self.objects:
            self._replaced(self.objects[made.name])
        else:
            bisect.insort(self.names, made.name)
        self.objects[made.name] = made

    def remove(self, name: str, forever: bool = False) -> Object:
        """Removes the live object of a name; `forever` leaves no noncurrent version of it."""
        if forever:
            self.check_kept(self.objects[name])
        else:
            self._replaced(self.objects[name])
        del self.names[bisect.bisect_left(self.names, name)]
        return self.objects.pop(name)

    def remove_noncurrent(self, found: Object) -> None:
        self.check_kept(found)
        self.noncurrent[found.name].remove(found)

    def versions(self, name: str) -> list[Object]:
        """All objects of a name, oldest first."""
        return [*self.noncurrent.get(name, []), *([self.objects[name]] if name in self.objects else [])]

    def _replaced(self, found: Object) -> None:
        if self.has_versions:  # https://cloud.google.com/storage/docs/object-versioning
            self.noncurrent.setdefault(found.name, []).append(found)
        else:
            self.check_kept(found)

    def check_kept(self, found: Object) -> None:
        """Raises StorageError for an object that has a hold, or that the bucket's retention policy keeps.

        https://cloud.google.com/storage/docs/object-holds, https://cloud.google.com/storage/docs/bucket-lock
        """
        for hold, word in (("temporaryHold", "Temporary"), ("eventBasedHold", "Event-Based")):
            if found.properties.get(hold):
                message = f"Object '{self.name}/{found.name}' is under active {word} hold and cannot be deleted,"
                raise kept(f"{message} overwritten or archived until hold is removed.", "objectUnderActiveHold")
        seconds = int(self.properties.get("retentionPolicy", {}).get("retentionPeriod", 0))
        if time.time() < found.created + seconds:
            until = timestamp(found.created + seconds)
            message = f"Object '{self.name}/{found.name}' is subject to bucket's retention policy or object retention"
            raise kept(f"{message} and cannot be deleted or overwritten until {until}", "retentionPolicyNotMet")


class Store:
    """All buckets. `visited` counts the names that listings examined."""

    def __init__(self):
        self._lock = threading.RLock()
        self._last_generation = 0
        self.buckets: dict[str, Bucket] = {}
        self.visited = 0

    def clear(self) -> None:
        with self._lock:
            self.buckets.clear()
            self.visited = 0

    def create_bucket(self, name: str, project: str, properties: dict[str, Any] | None = None) -> Bucket:
        check_bucket_name(name)
        with self._lock:
            if name in self.buckets:
                message = "Your previous request to create the named bucket succeeded and you already own it."
                raise StorageError(409, message)
            made = self.buckets[name] = Bucket(name, project, properties or {})
            return made

    def delete_bucket(self, name: str) -> None:
        with self._lock:
            place = self.bucket(name)
            if place.objects or any(place.noncurrent.values()):
                raise StorageError(409, "The bucket you tried to delete is not empty.", xml_code="BucketNotEmpty")
            del self.buckets[name]

    def bucket(self, name: str) -> Bucket:
        try:
            return self.buckets[name]
        except KeyError:
            raise no_bucket() from None

    def find(self, bucket: str, name: str) -> Object | None:
        return self.bucket(bucket).objects.get(name)

    def get(
        self,
        bucket: str,
        name: str,
        generation: int | None = None,
        conditions: Conditions = NONE,
        reading: bool = True,
    ) -> Object:
        """Returns an object; with `reading` a generation that matches a "not" condition is "not modified"."""
        found = self.find(bucket, name)
        if found is None or generation not in (None, found.generation):
            old = [each for each in self.bucket(bucket).noncurrent.get(name, []) if each.generation == generation]
            if not old:
                raise no_object(bucket, name)
            found = old[0]
        conditions.check(found, reading)
        return found

    def check_put(self, bucket: str, name: str, conditions: Conditions) -> None:
        """Raises the error that `put` would raise."""
        check_object_name(name)
        conditions.check(self.find(bucket, name))

    def put(self, bucket: str, name: str, content: Content, conditions: Conditions = NONE) -> Object:
        check_object_name(name)
        with self._lock:
            place = self.bucket(bucket)
            conditions.check(place.objects.get(name))
            made = self._make(name, content)
            place.put(made)
            return made

    def _make(self, name: str, content: Content) -> Object:
        now = time.time()
        # Unique, in microseconds like Google's.
        self._last_generation = generation = max(int(now * 1e6), self._last_generation + 1)
        return Object(
            name,
            content.data,
            generation,
            1,
            content.content_type,
            content.crc32c,
            content.md5,
            now,
            now,
            content.properties,
            content.components,
        )

    def delete(self, bucket: str, name: str, generation: int | None = None, conditions: Conditions = NONE) -> None:
        with self._lock:
            found, place = self.get(bucket, name, generation, conditions, reading=False), self.bucket(bucket)
            if place.objects.get(name) is found:
                place.remove(name, forever=generation is not None)
            else:
                place.remove_noncurrent(found)

    def patch(
        self,
        bucket: str,
        name: str,
        properties: dict[str, Any],
        generation: int | None = None,
        conditions: Conditions = NONE,
    ) -> Object:
        """Changes an object's properties: None removes one, `metadata` is merged key by key."""
        with self._lock:
            found = self.get(bucket, name, generation, conditions, reading=False)
            found.content_type = properties.get("contentType", found.content_type) or ""
            found.properties = merged(
                found.properties, {key: value for key, value in properties.items() if key in WRITABLE}
            )
            found.metageneration += 1
            found.updated = time.time()
            return found

    def copy(
        self,
        source: tuple[str, str],
        destination: tuple[str, str],
        properties: dict[str, Any] | None = None,
        generation: int | None = None,
        source_conditions: Conditions = NONE,
        conditions: Conditions = NONE,
    ) -> Object:
        """Copies an object; `properties` replaces all of its properties."""
        with self._lock:
            found = self.get(*source, generation, source_conditions, reading=False)
            return self.put(*destination, _same(found, properties), conditions)

    def move(
        self, bucket: str, name: str, to: str, source_conditions: Conditions = NONE, conditions: Conditions = NONE
    ) -> Object:
        """Renames an object within its bucket atomically."""
        with self._lock:
            found = self.get(bucket, name, None, source_conditions, reading=False)
            if name == to:
                raise bad_request("Source and destination object names must be different.")
            place = self.bucket(bucket)
            if not place.has_versions:
                place.check_kept(found)
            made = self.put(bucket, to, _same(found, None), conditions)
            place.remove(name)
            return made

    def compose(
        self,
        bucket: str,
        parts: list[tuple[str, int | None, Conditions]],
        name: str,
        properties: dict[str, Any],
        conditions: Conditions = NONE,
    ) -> Object:
        """Concatenates objects of a bucket, given as (name, generation, conditions)."""
        if not 1 <= len(parts) <= MOST_COMPONENTS:
            raise bad_request(
                f"The number of source components provided ({len(parts)}) exceeds the maximum ({MOST_COMPONENTS}), "
                "or is none."
            )
        with self._lock:
            found = [self.get(bucket, part, number, wanted, reading=False) for part, number, wanted in parts]
            content = Content.of(
                b"".join(part.data for part in found),
                properties.get("contentType") or found[0].content_type,
                {key: value for key, value in properties.items() if key in WRITABLE},
                components=sum(part.components or 1 for part in found),
            )
            return self.put(bucket, name, content, conditions)

    def list(self, bucket: str, wanted: Wanted, versions: bool = False) -> tuple[Page, list[Object]]:
        """Returns a page of a bucket, with `versions` also of its noncurrent objects."""
        with self._lock:
            place = self.bucket(bucket)
            names = sorted({*place.names, *place.noncurrent}) if versions else place.names
            found = page(names, wanted)
            self.visited += found.visited
            if versions:
                return found, [each for name in found.names for each in place.versions(name)]
            return found, [place.objects[name] for name in found.names]


def _same(found: Object, properties: dict[str, Any] | None) -> Content:
    """Content of an object for a copy; `properties`, if given, replaces the object's own."""
    kind = found.content_type
    if properties is not None:
        kind, properties = properties.get("contentType", kind), {
            key: value for key, value in properties.items() if key in WRITABLE
        }
    return Content(
        found.data,
        kind,
        dict(found.properties) if properties is None else properties,
        found.crc32c,
        found.md5,
        found.components,
    )


def merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Merges as in RFC 7396: None removes a key, nested objects are merged."""
    both = dict(old)
    for key, value in new.items():
        if value is None:
            both.pop(key, None)
        elif isinstance(value, dict):
            both[key] = merged(both.get(key) or {}, value)
        else:
            both[key] = value
    return both


def check_bucket_name(name: str) -> None:
    """Raises StorageError for an invalid bucket name: https://cloud.google.com/storage/docs/buckets#naming"""
    parts = name.split(".")
    valid = (
        re.fullmatch(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]", name)
        and all(1 <= len(part) <= 63 for part in parts)
        and not re.fullmatch(r"\d+\.\d+\.\d+\.\d+", name)
        and not name.startswith("goog")
        and not re.search("google|g00gle", name)
    )
    if not valid:
        raise bad_request(f"Invalid bucket name: '{name}'")

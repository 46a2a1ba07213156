"""Cloud Storage: JSON API, XML API and batches on one store in memory.

The system tests of python-storage and the tests of gcsfs were run against it. What fails are features that no code of
this repository uses: signed URLs and signed policies, access control lists (`acl`, `predefinedAcl`, `defaultObjectAcl`,
owners), encryption keys of customers (`kmsKeyName`, CSEK), HMAC keys, notifications, retention of single objects, soft
delete and restoring, folders and hierarchical namespaces, bucket locks and labels, requester pays, and Autoclass.
Lifecycle rules are kept and do nothing: their actions take a day on Cloud Storage, too.
"""

import pathlib
import pickle
from typing import TYPE_CHECKING

from tests.emulators.gcs import batch
from tests.emulators.gcs.access import READING, WRITING, Access
from tests.emulators.gcs.json_api import JsonApi
from tests.emulators.gcs.objects import Content, Object
from tests.emulators.gcs.store import Store
from tests.emulators.gcs.uploads import Uploads
from tests.emulators.gcs.xml_api import XmlApi
from tests.emulators.services import Call, Caller, Request, Response, Service

if TYPE_CHECKING:
    from tests.emulators.cloud import Cloud


_JSON_PATHS = ("/storage/v1/", "/upload/", "/resumable/upload/", "/download/")


class Gcs(Service):
    """`cloud.gcs`: `read`, `names`, `put` and `delete` access objects without calls; `deny` removes a permission."""

    name = "storage"
    # TensorFlow uses the second host.
    hosts = ("storage.googleapis.com", "www.googleapis.com")

    scopes = (*Service.scopes, *WRITING, *READING)

    def __init__(self, cloud: "Cloud"):
        self._cloud = cloud
        self.store = Store()
        self.access = Access()
        self._uploads = Uploads(self.store)
        self._json = JsonApi(self.store, self._uploads, self.access, cloud.project_number)
        self._xml = XmlApi(self.store, self.access)

    def reset(self) -> None:
        self.store.clear()
        self.access.clear()
        self._uploads.clear()
        self._xml.clear()
        self.store.create_bucket(self._cloud.bucket, self._cloud.project)

    def route(self, request: Request) -> Call | None:
        if request.path.startswith(batch.PATH):
            return Call("batch", "", lambda caller: self._batch(request, caller)) if request.verb == "POST" else None
        if call := self._json.route(request):
            return call
        if request.host != self.hosts[0] or request.path.startswith(_JSON_PATHS):
            return None
        call = self._xml.route(request)
        if call is None or request.verb not in ("GET", "HEAD") or "/" not in call.target:
            return call
        bucket = call.target.partition("/")[0]
        viewers = self._cloud.policies.allowed("allUsers", f"buckets/{bucket}", ["storage.objects.get"])
        is_anonymous = bool(viewers) and "authorization" not in request.headers
        return call._replace(
            work=lambda caller: self._cors(bucket, request, call.work(caller)), authenticated=not is_anonymous
        )

    def _cors(self, bucket: str, request: Request, response: Response) -> Response:
        """Adds the headers by which a page of another origin may read the response.

        https://cloud.google.com/storage/docs/cross-origin
        """
        origin = request.headers.get("origin", "")
        rules = self.store.buckets[bucket].properties.get("cors", []) if bucket in self.store.buckets else []
        for rule in rules:
            if {origin, "*"} & set(rule.get("origin", [])) and request.verb in rule.get("method", []) and origin:
                exposed = {"Access-Control-Expose-Headers": ", ".join(rule.get("responseHeader", []))}
                return response._replace(
                    headers={**response.headers, "Access-Control-Allow-Origin": origin, "Vary": "Origin", **exposed}
                )
        return response

    def _batch(self, request: Request, caller: Caller) -> Response:
        def perform(call: Request) -> Response:
            found = self._json.route(call)
            if found is None or found.method in ("objects.insert", "objects.upload", "objects.download"):
                return self.gateway.unknown(self.name, call)
            return self.gateway.perform(self.name, found, call.headers, call.body, call.host)

        return batch.answer(request, perform)

    def deny(self, permission: str, principal: str = "*", bucket: str = "*") -> None:
        """Denies `permission`, such as storage.objects.delete, to `principal` from now on."""
        self.access.deny(permission, principal, bucket)

    def save(self, path: pathlib.Path) -> None:
        """Saves all buckets to a file for `load`."""
        path.write_bytes(pickle.dumps(self.store.buckets))

    def load(self, path: pathlib.Path) -> None:
        self.store.buckets.update(pickle.loads(path.read_bytes()))

    def read(self, address: str) -> bytes:
        """The bytes of gs://bucket/name."""
        return self.find(address).data

    def find(self, address: str) -> Object:
        """The object gs://bucket/name; raises StorageError when it does not exist."""
        return self.store.get(*_parts(address))

    def put(self, address: str, data: bytes) -> Object:
        return self.store.put(*_parts(address), Content.of(data, "application/octet-stream"))

    def delete(self, address: str) -> None:
        self.store.delete(*_parts(address))

    def names(self, address: str) -> list[str]:
        """All names that start with gs://bucket/prefix, sorted, without the bucket."""
        bucket, prefix = _parts(address)
        return [name for name in self.store.bucket(bucket).names if name.startswith(prefix)]


def _parts(address: str) -> tuple[str, str]:
    bucket, _, name = address.removeprefix("gs://").partition("/")
    return bucket, name

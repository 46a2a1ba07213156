"""Firebase ML: models that apps download by name.

https://firebase.google.com/docs/reference/ml/rest/v1beta2/projects.models
"""

import datetime
import hashlib
import re
import urllib.parse
from typing import TYPE_CHECKING, Any

from grpc import StatusCode

from tests.emulators.services import Caller, Refused, Request, Route, Service

if TYPE_CHECKING:
    from tests.emulators.cloud import Cloud

_MODELS = "/v1beta2/projects/{project}/models"
_FIELDS = {"name", "displayName", "tags", "tfliteModel", "state"}
_OUTPUT_ONLY = {"createTime", "updateTime", "etag", "modelHash", "activeOperations"}  # accepted, and not changed
_METADATA = "type.googleapis.com/google.firebase.ml.v1beta2.ModelOperationMetadata"


class FirebaseMl(Service):
    """Models by ID. `slow`: a change is done when its operation is asked for, else at once."""

    name = "firebaseml"
    hosts = ("firebaseml.googleapis.com",)
    scopes = (*Service.scopes, "https://www.googleapis.com/auth/firebase")

    def __init__(self, cloud: "Cloud"):
        self._cloud = cloud
        self.reset()

    def reset(self) -> None:
        self.models: dict[str, dict[str, Any]] = {}
        self._operations: dict[str, dict[str, Any]] = {}  # {name: what the model becomes}
        self.slow = False

    def routes(self):
        return [
            Route("POST", _MODELS, "CreateModel", self.create),
            Route("GET", _MODELS, "ListModels", self.list),
            Route("GET", f"{_MODELS}/{{model}}", "GetModel", self.get),
            Route("PATCH", f"{_MODELS}/{{model}}", "UpdateModel", self.update),
            Route("GET", "/v1beta2/{name=**}", "GetOperation", self.operation),
        ]

    def create(self, request: Request, caller: Caller, project: str) -> dict[str, Any]:
        self._demand(caller, project, "firebaseml.models.create")
        given = _checked(request.json())
        if any(there["displayName"] == given.get("displayName") for there in self.models.values()):
            raise Refused(StatusCode.ALREADY_EXISTS, f"A model named {given['displayName']} already exists.")
        name = f"projects/{project}/models/{10_000 + len(self.models)}"
        now = _now()
        self.models[name] = {"name": name, "displayName": given.get("displayName"), "createTime": now, "etag": "0"}
        try:
            return self._change(name, given)
        except Refused:
            del self.models[name]
            raise

    def list(self, request: Request, caller: Caller, project: str) -> dict[str, Any]:
        self._demand(caller, project, "firebaseml.models.list")
        wanted = request.parameters().get("filter", "")
        match = re.fullmatch(r"display_name *= *'([A-Za-z0-9_]+)'", wanted)
        if wanted and not match:
            raise Refused(StatusCode.INVALID_ARGUMENT, f"Invalid filter: {wanted}")
        models = [model for model in self.models.values() if not match or model["displayName"] == match[1]]
        return {"models": models} if models else {}

    def get(self, request: Request, caller: Caller, project: str, model: str) -> dict[str, Any]:
        self._demand(caller, project, "firebaseml.models.get")
        return self._found(project, model)

    def update(self, request: Request, caller: Caller, project: str, model: str) -> dict[str, Any]:
        self._demand(caller, project, "firebaseml.models.update")
        there, given = self._found(project, model), request.json()
        if there.get("activeOperations"):
            raise Refused(StatusCode.FAILED_PRECONDITION, "The model is locked by an active operation.")
        if given.get("etag", there["etag"]) != there["etag"]:
            raise Refused(StatusCode.ABORTED, "The model was changed since: its etag differs.")
        if request.parameters().get("updateMask") == "state.published":
            if "tfliteModel" not in there or "validationError" in there.get("state", {}):
                raise Refused(StatusCode.FAILED_PRECONDITION, "A model without a valid file cannot be published.")
            return self._operate(there, {"state": {"published": bool(given["state"]["published"])}})
        return self._change(there["name"], _checked(given))

    def operation(self, request: Request, caller: Caller, name: str) -> dict[str, Any]:
        if name not in self._operations:
            raise Refused(StatusCode.NOT_FOUND, f"Operation {name} not found.")
        done = self._operations.pop(name)
        self.models[done["name"]] = done
        return {"name": name, "done": True, "response": done}

    def _change(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        there = self.models[name]
        changed = {"displayName": given["displayName"], "tags": given.get("tags", [])}
        if uri := given.get("tfliteModel", {}).get("gcsTfliteUri"):
            data = self._downloaded(uri)
            state = dict(there.get("state", {}))
            state.pop("validationError", None)
            if data[4:8] != b"TFL3":
                state = {"validationError": {"code": 3, "message": "The file is not a valid TFLite model."}}
            changed |= {"state": state, "modelHash": hashlib.sha256(data).hexdigest()}
            source = f"gs:/{urllib.parse.unquote(urllib.parse.urlsplit(uri).path)}"
            changed["tfliteModel"] = {"sizeBytes": str(len(data)), "gcsTfliteUri": source}
        return self._operate(there, changed)

    def _operate(self, there: dict[str, Any], changed: dict[str, Any]) -> dict[str, Any]:
        done = there | changed | {"updateTime": _now(), "etag": str(int(there["etag"]) + 1)}
        done.pop("activeOperations", None)
        if not self.slow:
            self.models[done["name"]] = done
            return {"done": True, "response": done}
        operation = f"{done['name'].partition('/models/')[0]}/operations/{len(self._cloud.requests)}"
        self._operations[operation] = done
        started = {"name": operation, "metadata": {"@type": _METADATA, "name": done["name"]}}
        there["activeOperations"] = [started]
        return started

    def _downloaded(self, uri: str) -> bytes:
        """What Firebase ML downloads by a signed URL; it has no access of its own."""
        url, query = urllib.parse.urlsplit(uri), dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(uri).query))
        signer = query.get("X-Goog-Credential", "").partition("/")[0]
        if url.netloc != "storage.googleapis.com" or not self._cloud.oauth.signed(signer, url, query):
            raise Refused(StatusCode.INVALID_ARGUMENT, "The gcs_tflite_uri is not a valid signed URL.")
        bucket, _, name = urllib.parse.unquote(url.path[1:]).partition("/")
        self._cloud.policies.demand(signer, f"buckets/{bucket}", "storage.objects.get")
        return self._cloud.gcs.read(f"gs://{bucket}/{name}")

    def _found(self, project: str, model: str) -> dict[str, Any]:
        name = f"projects/{project}/models/{model}"
        if name not in self.models:
            raise Refused(StatusCode.NOT_FOUND, f"Model {name} not found.")
        return self.models[name]

    def _demand(self, caller: Caller, project: str, permission: str) -> None:
        own = project == self._cloud.project
        self._cloud.policies.demand(caller.principal, f"projects/{project}" if own else "another project", permission)


def _checked(given: dict[str, Any]) -> dict[str, Any]:
    """Returns a model to be written; refuses what the service refuses."""
    if unknown := set(given) - _FIELDS - _OUTPUT_ONLY:
        raise Refused(StatusCode.INVALID_ARGUMENT, f'Invalid JSON payload received. Unknown name "{min(unknown)}"')
    # "up to 32 characters ... ASCII Latin letters A-Z and a-z, underscores(_) and ASCII digits 0-9. It must start with
    # a letter": the client also lets hyphens through
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,31}", given.get("displayName", "")):
        raise Refused(StatusCode.INVALID_ARGUMENT, f"Invalid display name {given.get('displayName')!r}.")
    if not all(re.fullmatch(r"[A-Za-z0-9_-]{1,32}", tag) for tag in given.get("tags", [])):
        raise Refused(StatusCode.INVALID_ARGUMENT, "Invalid tag.")
    return given


def _now() -> str:
    return f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%dT%H:%M:%S.%fZ}"

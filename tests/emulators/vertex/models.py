"""The Model Registry: models, versions and aliases."""

import itertools
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from google.cloud import aiplatform_v1 as types
from google.longrunning import operations_pb2
from google.protobuf import empty_pb2
from grpc import StatusCode

from tests.emulators.services import Caller, Refused, Rpc
from tests.emulators.vertex import names
from tests.emulators.vertex.automl import AutoML
from tests.emulators.vertex.names import Names, invalid, missing
from tests.emulators.vertex.operations import Operations

if TYPE_CHECKING:
    from tests.emulators.cloud import Cloud

SERVICE = "google.cloud.aiplatform.v1.ModelService"
DEFAULT = "default"
TFLITE = "tflite"
ALIAS = r"[a-z][a-zA-Z0-9-]{0,126}[a-z0-9]"
GOOGLES = re.compile(r"(us|europe|asia)-docker\.pkg\.dev/(vertex-ai|vertex-ai-restricted)/prediction/tf")
Versions = dict[int, types.Model]


class Models:
    """Models by name; each model is a dict of versions by number."""

    def __init__(self, cloud: "Cloud", given: Names, operations: Operations, automl: AutoML):
        self._cloud, self._names, self._operations, self._automl = cloud, given, operations, automl
        self._lock = operations.lock
        self._ids, self._changes = itertools.count(1000), itertools.count(1)
        # The deployments of a version; set by Endpoints.
        self.deployed: Callable[[str, str], Iterator[types.DeployedModelRef]]
        self.reset()

    def reset(self) -> None:
        self.models: dict[str, Versions] = {}

    def rpcs(self) -> dict[str, Rpc]:
        operation = operations_pb2.Operation
        return {
            f"/{SERVICE}/UploadModel": Rpc(types.UploadModelRequest, operation, self.upload),
            f"/{SERVICE}/GetModel": Rpc(types.GetModelRequest, types.Model, self.get),
            f"/{SERVICE}/ListModels": Rpc(types.ListModelsRequest, types.ListModelsResponse, self.list),
            f"/{SERVICE}/ListModelVersions": Rpc(
                types.ListModelVersionsRequest, types.ListModelVersionsResponse, self.list_versions
            ),
            f"/{SERVICE}/ExportModel": Rpc(types.ExportModelRequest, operation, self.export),
            f"/{SERVICE}/UpdateModel": Rpc(types.UpdateModelRequest, types.Model, self.update),
            f"/{SERVICE}/MergeVersionAliases": Rpc(types.MergeVersionAliasesRequest, types.Model, self.merge_aliases),
            f"/{SERVICE}/DeleteModelVersion": Rpc(types.DeleteModelVersionRequest, operation, self.delete_version),
            f"/{SERVICE}/DeleteModel": Rpc(types.DeleteModelRequest, operation, self.delete),
        }

    def find(self, name: str, caller: Caller) -> types.Model:
        """The version named by MODEL, MODEL@NUMBER or MODEL@ALIAS; raises Refused."""
        plain, _, wanted = name.partition("@")
        whole = self._names.resource(plain, "models", caller)
        for number, model in self.models.get(whole, {}).items():
            if str(number) == wanted or (wanted or DEFAULT) in model.version_aliases:
                return model
        raise missing(name)

    def upload(self, request: types.UploadModelRequest, caller: Caller) -> operations_pb2.Operation:
        self._names.demand(caller, "models.upload")
        parent = self._names.parent(request.parent, caller)
        model = types.Model(request.model)
        self._check(model, parent)
        if request.service_account:
            self._names.account(request.service_account)
        with self._lock:
            name = self.new_name(parent, request.parent_model, request.model_id, caller)
            return self._operations.start(name, types.UploadModelOperationMetadata(), lambda: self._upload(name, model))

    def new_name(self, parent: str, parent_model: str, model_id: str, caller: Caller) -> str:
        """The name of a model to add: a new one, or `parent_model` for a new version of it; raises Refused."""
        if parent_model:
            if model_id:
                raise invalid("model_id and parent_model cannot be given both.")
            name = self._names.resource(parent_model, "models", caller)
            if name not in self.models:
                raise missing(name)
            return name
        if model_id:
            names.check_id(model_id, r"[a-z_][a-z0-9_-]{0,62}", "model_id")
        name = f"{parent}/models/{model_id or next(self._ids)}"
        if name in self.models:
            raise Refused(StatusCode.ALREADY_EXISTS, f"Model {name} exists: give parent_model for a version.")
        return name

    def _check(self, model: types.Model, parent: str) -> None:
        names.check_display_name(model.display_name)
        names.check_labels(model.labels)
        names.check_key(model, parent)
        for alias in model.version_aliases:
            _check_alias(alias)
        image = model.container_spec.image_uri if names.is_set(model, "container_spec") else ""
        if not image:
            raise invalid("List of found errors: 1. Field: model.container_spec.image_uri; Message: Required.")
        names.check_image(image)
        self._names.bucket(model.artifact_uri, "artifact_uri")

    def _upload(self, name: str, model: types.Model) -> types.UploadModelResponse:
        if GOOGLES.match(model.container_spec.image_uri):
            self._check_files(model.artifact_uri.rstrip("/"))
        model.supported_deployment_resources_types = [types.Model.DeploymentResourcesType.DEDICATED_RESOURCES]
        self.add(name, model)
        return types.UploadModelResponse(model=name, model_version_id=model.version_id)

    def add(self, name: str, model: types.Model) -> None:
        """Adds a version of the model `name`."""
        with self._lock:
            versions = self.models.setdefault(name, {})
            number = max(versions, default=0) + 1
            aliases = list(dict.fromkeys([*model.version_aliases, *([] if versions else [DEFAULT])]))
            model.name, model.version_id = name, str(number)
            model.create_time = model.update_time = model.version_create_time = model.version_update_time = names.now()
            self._changed(model)
            self._remove_aliases(versions, aliases)
            model.version_aliases = aliases
            versions[number] = model

    def _check_files(self, folder: str) -> None:
        prefix = folder.removeprefix("gs://").partition("/")[2]
        if f"{prefix}/saved_model.pb" not in self._cloud.gcs.names(f"{folder}/"):
            raise Refused(
                StatusCode.FAILED_PRECONDITION,
                f"Model directory {folder} is expected to contain exactly one of: [saved_model.pb, saved_model.pbtxt].",
            )

    def _remove_aliases(self, versions: Versions, aliases: list[str]) -> None:
        """Removes aliases from all versions, because each names only one."""
        for other in versions.values():
            other.version_aliases = [alias for alias in other.version_aliases if alias not in aliases]

    def get(self, request: types.GetModelRequest, caller: Caller) -> types.Model:
        with self._lock:
            return self._shown(self.find(request.name, caller))

    def _shown(self, model: types.Model, with_version: bool = False) -> types.Model:
        shown = types.Model(model)
        shown.deployed_models = list(self.deployed(model.name, model.version_id))
        if with_version:
            shown.name = f"{model.name}@{model.version_id}"
        return shown

    def list(self, request: types.ListModelsRequest, caller: Caller) -> types.ListModelsResponse:
        parent = self._names.parent(request.parent, caller)
        with self._lock:
            found = [
                self._shown(version)
                for name, versions in self.models.items()
                for version in versions.values()
                if name.startswith(f"{parent}/") and DEFAULT in version.version_aliases
            ]
        return names.selected(found, request, "models", types.ListModelsResponse)

    def list_versions(self, request: types.ListModelVersionsRequest, caller: Caller) -> types.ListModelVersionsResponse:
        name = self._names.resource(request.name.partition("@")[0], "models", caller)
        if name not in self.models:
            raise missing(name)
        with self._lock:
            found = [self._shown(version, with_version=True) for version in self.models[name].values()]
        return names.selected(found, request, "models", types.ListModelVersionsResponse)

    def update(self, request: types.UpdateModelRequest, caller: Caller) -> types.Model:
        with self._lock:
            model = self.find(request.model.name, caller)
            if request.model.etag and request.model.etag != model.etag:
                raise Refused(StatusCode.ABORTED, f"Etag mismatch: {request.model.name} was changed meanwhile.")
            names.check_labels(request.model.labels)
            paths = list(request.update_mask.paths)
            names.masked(model, request.model, paths, ("display_name", "description", "version_description", "labels"))
            model.update_time = names.now()
            self._changed(model)
            return self._shown(model)

    def merge_aliases(self, request: types.MergeVersionAliasesRequest, caller: Caller) -> types.Model:
        if "@" not in request.name or not request.version_aliases:
            raise invalid("A version and aliases are required: MODEL@VERSION.")
        with self._lock:
            model = self.find(request.name, caller)
            for alias in request.version_aliases:
                _check_alias(alias.removeprefix("-"))
            added = [alias for alias in request.version_aliases if alias[0] != "-"]
            removed = {alias[1:] for alias in request.version_aliases if alias[0] == "-"}
            if DEFAULT in removed:
                raise invalid("The alias default cannot be removed: give it to another version.")
            self._remove_aliases(self.models[model.name], added)
            kept = [alias for alias in model.version_aliases if alias not in removed]
            model.version_aliases = kept + added
            model.version_update_time = names.now()
            self._changed(model)
            return self._shown(model)

    def _changed(self, model: types.Model) -> None:
        model.etag = f"AMEw9y{next(self._changes)}"

    def export(self, request: types.ExportModelRequest, caller: Caller) -> operations_pb2.Operation:
        """Exports an edge model of AutoML; the folder is named as Vertex AI names it, not as its reference says."""
        self._names.demand(caller, "models.export")
        wanted = request.output_config
        with self._lock:
            model = self.find(request.name, caller)
            supported = [format_.id for format_ in model.supported_export_formats]
            if not supported:
                raise Refused(StatusCode.FAILED_PRECONDITION, f"Model {request.name} is not exportable.")
            chosen = wanted.export_format_id or supported[0]
            if chosen not in supported:
                raise invalid(f"export_format_id {chosen!r} is not one of {', '.join(supported)}.")
            if chosen != TFLITE:
                raise Refused(StatusCode.UNIMPLEMENTED, f"export_format_id {chosen}: the local server has {TFLITE}.")
            if not names.is_set(wanted, "artifact_destination") or names.is_set(wanted, "image_destination"):
                raise invalid(f"output_config: {chosen} is exported to artifact_destination alone.")
            prefix = self._names.bucket(wanted.artifact_destination.output_uri_prefix, "artifact_destination")
            folder = f"{prefix}/model-{model.name.rpartition('/')[2]}/{chosen}/{names.now():%Y-%m-%dT%H:%M:%S.%fZ}"
            files = self._automl.trained(model).exported()
            metadata = types.ExportModelOperationMetadata()

            def work() -> types.ExportModelResponse:
                for name, data in files.items():
                    self._cloud.gcs.put(f"{folder}/{name}", data)
                metadata.output_info.artifact_output_uri = folder
                return types.ExportModelResponse()

            return self._operations.start(model.name, metadata, work)

    def delete_version(self, request: types.DeleteModelVersionRequest, caller: Caller) -> operations_pb2.Operation:
        with self._lock:
            model = self.find(request.name, caller)
            if "@" not in request.name or DEFAULT in model.version_aliases:
                raise Refused(StatusCode.FAILED_PRECONDITION, f"The default version of {model.name} cannot be deleted.")
            self._check_unused(model)
            return self._deleting(model.name, lambda: self.models[model.name].pop(int(model.version_id), None))

    def delete(self, request: types.DeleteModelRequest, caller: Caller) -> operations_pb2.Operation:
        with self._lock:
            model = self.find(request.name, caller)
            for version in self.models[model.name].values():
                self._check_unused(version)
            return self._deleting(model.name, lambda: self.models.pop(model.name, None))

    def _check_unused(self, model: types.Model) -> None:
        if any(self.deployed(model.name, model.version_id)):
            what = f"{model.name}@{model.version_id}"
            raise Refused(StatusCode.FAILED_PRECONDITION, f"The Model {what} is deployed or being deployed.")

    def _deleting(self, name: str, delete: Callable[[], object]) -> operations_pb2.Operation:
        def work() -> empty_pb2.Empty:
            delete()
            return empty_pb2.Empty()

        return self._operations.start(name, types.DeleteOperationMetadata(), work)


def _check_alias(alias: str) -> None:
    names.check_id(alias, ALIAS, "version alias")

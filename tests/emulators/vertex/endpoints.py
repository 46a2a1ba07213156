"""Endpoints: deployed models and their traffic split."""

import collections
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from google.cloud import aiplatform_v1 as types
from google.cloud import aiplatform_v1beta1 as beta
from google.longrunning import operations_pb2
from google.protobuf import empty_pb2, json_format
from grpc import StatusCode

from tests.emulators.services import Caller, Refused, Rpc
from tests.emulators.vertex import names
from tests.emulators.vertex.machines import Machines
from tests.emulators.vertex.models import Models
from tests.emulators.vertex.names import Names, invalid
from tests.emulators.vertex.operations import Operations

SERVICE = "google.cloud.aiplatform.v1.EndpointService"
BETA = "google.cloud.aiplatform.v1beta1.EndpointService"
LOGGING = "predict_request_response_logging_config"
MOST_REPLICAS = 1000


class Endpoints:
    """Endpoints by name."""

    def __init__(self, given: Names, operations: Operations, models: Models, machines: Machines):
        self._names, self._operations, self._models, self._machines = given, operations, models, machines
        self._lock = operations.lock
        self._ids = itertools.count(1000)
        models.deployed = self._deployments
        self.reset()

    def reset(self) -> None:
        self.endpoints: dict[str, types.Endpoint] = {}
        self._credit: collections.Counter[tuple[str, str]] = collections.Counter()
        self._changes = 0

    def rpcs(self) -> dict[str, Rpc]:
        operation = operations_pb2.Operation
        return {
            f"/{SERVICE}/CreateEndpoint": Rpc(types.CreateEndpointRequest, operation, self.create),
            f"/{SERVICE}/GetEndpoint": Rpc(types.GetEndpointRequest, types.Endpoint, self.get),
            f"/{SERVICE}/ListEndpoints": Rpc(types.ListEndpointsRequest, types.ListEndpointsResponse, self.list),
            f"/{SERVICE}/UpdateEndpoint": Rpc(types.UpdateEndpointRequest, types.Endpoint, self.update),
            f"/{SERVICE}/DeleteEndpoint": Rpc(types.DeleteEndpointRequest, operation, self.delete),
            f"/{SERVICE}/DeployModel": Rpc(types.DeployModelRequest, operation, self.deploy),
            f"/{SERVICE}/UndeployModel": Rpc(types.UndeployModelRequest, operation, self.undeploy),
            f"/{BETA}/DeployModel": Rpc(beta.DeployModelRequest, operation, self.deploy_beta),
        }

    def find(self, name: str, caller: Caller) -> types.Endpoint:
        return self._names.find(self.endpoints, name, "endpoints", caller)

    def choose(self, name: str, caller: Caller) -> types.DeployedModel:
        """The deployed model for the next prediction: in 100 predictions each model serves its percentage."""
        with self._lock:
            endpoint = self.find(name, caller)
            shares = {id_: share for id_, share in endpoint.traffic_split.items() if share}
            if not shares:
                raise Refused(StatusCode.FAILED_PRECONDITION, f"Endpoint {name} has no deployed model with traffic.")
            for id_, share in shares.items():
                self._credit[endpoint.name, id_] += share
            chosen = max(shares, key=lambda id_: self._credit[endpoint.name, id_])
            self._credit[endpoint.name, chosen] -= 100
            return next(model for model in endpoint.deployed_models if model.id == chosen)

    def _deployments(self, model: str, version: str) -> Iterator[types.DeployedModelRef]:
        for endpoint in self.endpoints.values():
            for deployed in endpoint.deployed_models:
                if (deployed.model, deployed.model_version_id) == (model, version):
                    yield types.DeployedModelRef(endpoint=endpoint.name, deployed_model_id=deployed.id)

    def create(self, request: types.CreateEndpointRequest, caller: Caller) -> operations_pb2.Operation:
        self._names.demand(caller, "endpoints.create")
        parent = self._names.parent(request.parent, caller)
        endpoint = types.Endpoint(request.endpoint)
        names.check_display_name(endpoint.display_name)
        names.check_labels(endpoint.labels)
        names.check_key(endpoint, parent)
        names.check_network(endpoint.network)
        if endpoint.deployed_models or endpoint.traffic_split:
            raise invalid("Models are deployed by DeployModel.")
        if request.endpoint_id:
            names.check_id(request.endpoint_id, r"[a-z][a-z0-9-]{0,61}[a-z0-9]|[1-9]\d{0,9}", "endpoint_id")
        with self._lock:
            endpoint.name = f"{parent}/endpoints/{request.endpoint_id or next(self._ids)}"
            if endpoint.name in self.endpoints:
                raise Refused(StatusCode.ALREADY_EXISTS, f"Endpoint {endpoint.name} already exists.")

            def work() -> types.Endpoint:
                endpoint.create_time = names.now()
                self.endpoints[endpoint.name] = endpoint
                return self._changed(endpoint)

            return self._operations.start(endpoint.name, types.CreateEndpointOperationMetadata(), work)

    def _changed(self, endpoint: types.Endpoint) -> types.Endpoint:
        self._changes += 1
        endpoint.update_time, endpoint.etag = names.now(), f"AMEw9y{self._changes}"
        return types.Endpoint(endpoint)

    def get(self, request: types.GetEndpointRequest, caller: Caller) -> types.Endpoint:
        with self._lock:
            return types.Endpoint(self.find(request.name, caller))

    def list(self, request: types.ListEndpointsRequest, caller: Caller) -> types.ListEndpointsResponse:
        parent = self._names.parent(request.parent, caller)
        with self._lock:
            found = [types.Endpoint(each) for name, each in self.endpoints.items() if name.startswith(f"{parent}/")]
        return names.selected(found, request, "endpoints", types.ListEndpointsResponse)

    def update(self, request: types.UpdateEndpointRequest, caller: Caller) -> types.Endpoint:
        given, paths = request.endpoint, list(request.update_mask.paths)
        with self._lock:
            endpoint = self.find(given.name, caller)
            if given.etag and given.etag != endpoint.etag:
                raise Refused(StatusCode.ABORTED, f"Etag mismatch: {given.name} was changed meanwhile.")
            names.check_labels(given.labels)
            if "traffic_split" in paths:
                _check_traffic(given.traffic_split, {model.id for model in endpoint.deployed_models})
            if LOGGING in paths:
                _check_logging(getattr(given, LOGGING))
            names.masked(endpoint, given, paths, ("display_name", "description", "labels", "traffic_split", LOGGING))
            return self._changed(endpoint)

    def delete(self, request: types.DeleteEndpointRequest, caller: Caller) -> operations_pb2.Operation:
        with self._lock:
            endpoint = self.find(request.name, caller)
            if endpoint.deployed_models:
                raise Refused(StatusCode.FAILED_PRECONDITION, f"Endpoint {endpoint.name} has deployed models.")

            def work() -> empty_pb2.Empty:
                self.endpoints.pop(endpoint.name, None)
                return empty_pb2.Empty()

            return self._operations.start(endpoint.name, types.DeleteOperationMetadata(), work)

    def deploy_beta(self, request: beta.DeployModelRequest, caller: Caller) -> operations_pb2.Operation:
        """v1beta1, which alone takes no replica as the least.

        https://cloud.google.com/vertex-ai/docs/predictions/autoscaling
        """
        plain = types.DeployModelRequest.pb(types.DeployModelRequest())
        json_format.ParseDict(json_format.MessageToDict(type(request).pb(request)), plain, ignore_unknown_fields=True)
        return self.deploy(types.DeployModelRequest.wrap(plain), caller, least=0)

    def deploy(self, request: types.DeployModelRequest, caller: Caller, least: int = 1) -> operations_pb2.Operation:
        self._names.demand(caller, "endpoints.deploy")
        with self._lock:
            endpoint = self.find(request.endpoint, caller)
            deployed = types.DeployedModel(request.deployed_model)
            model = self._models.find(deployed.model, caller)
            self._check_resources(deployed, model, least)
            ids = {other.id for other in endpoint.deployed_models}
            if deployed.id:
                names.check_id(deployed.id, r"\d{1,10}", "deployed_model.id")
                if deployed.id in ids:
                    raise Refused(StatusCode.ALREADY_EXISTS, f"DeployedModel {deployed.id} already exists.")
            deployed.id = deployed.id or str(next(self._ids))
            _check_traffic(request.traffic_split, ids | {"0"})
            split = {deployed.id if id_ == "0" else id_: share for id_, share in request.traffic_split.items()}
            deployed.model, deployed.model_version_id = model.name, model.version_id
            deployed.display_name = deployed.display_name or model.display_name

            def work() -> types.DeployModelResponse:
                deployed.create_time = names.now()
                endpoint.deployed_models.append(deployed)
                if split:
                    endpoint.traffic_split = split
                self._changed(endpoint)
                return types.DeployModelResponse(deployed_model=deployed)

            return self._operations.start(endpoint.name, types.DeployModelOperationMetadata(), work)

    def _check_resources(self, deployed: types.DeployedModel, model: types.Model, least: int) -> None:
        """Raises Refused unless the resources are of the kind that the model supports: each supports one or none."""
        kinds = [types.Model.DeploymentResourcesType(kind).name for kind in model.supported_deployment_resources_types]
        if not kinds:
            raise Refused(StatusCode.FAILED_PRECONDITION, f"Model {model.name} does not support deployment.")
        kind = kinds[0].lower()
        if types.DeployedModel.pb(deployed).WhichOneof("prediction_resources") != kind:
            raise invalid(f"prediction_resources is required: this Model supports {kinds[0]}.")
        resources = getattr(deployed, kind)
        most = resources.max_replica_count or resources.min_replica_count
        if not (least <= resources.min_replica_count <= most <= MOST_REPLICAS and most):
            text = f"at least {least}, and at most max_replica_count, which may be {MOST_REPLICAS}"
            raise invalid(f"{kind}.min_replica_count must be {text}.")
        if names.is_set(deployed, "dedicated_resources"):
            self._machines.check(resources.machine_spec, "custom_model_serving")

    def undeploy(self, request: types.UndeployModelRequest, caller: Caller) -> operations_pb2.Operation:
        with self._lock:
            endpoint = self.find(request.endpoint, caller)
            id_ = request.deployed_model_id
            left = {model.id for model in endpoint.deployed_models} - {id_}
            if len(left) == len(endpoint.deployed_models):
                raise Refused(StatusCode.NOT_FOUND, f"DeployedModel {id_!r} is not on {endpoint.name}.")
            split = dict(request.traffic_split)
            _check_traffic(split, left)
            if left and not split and endpoint.traffic_split.get(id_):
                message = f"DeployedModel {id_} has traffic assigned to it: give traffic_split without it."
                raise Refused(StatusCode.FAILED_PRECONDITION, message)

            def work() -> types.UndeployModelResponse:
                endpoint.deployed_models = [model for model in endpoint.deployed_models if model.id != id_]
                new = split or {other: share for other, share in endpoint.traffic_split.items() if other != id_}
                endpoint.traffic_split = new if left else {}
                self._changed(endpoint)
                return types.UndeployModelResponse()

            return self._operations.start(endpoint.name, types.UndeployModelOperationMetadata(), work)


def _check_logging(given: Any) -> None:
    """https://cloud.google.com/vertex-ai/docs/predictions/online-prediction-logging"""
    if given.enabled and not (
        0 < given.sampling_rate <= 1 and given.bigquery_destination.output_uri.startswith("bq://")
    ):
        raise invalid(f"{LOGGING}: a sampling rate above 0 up to 1, and bq://PROJECT[.DATASET[.TABLE]], are required.")


def _check_traffic(split: Mapping[str, Any], ids: set[str]) -> None:
    """Raises Refused unless the percentages add up to 100 and name deployed models. Empty: no traffic."""
    unknown = set(split) - ids
    if unknown:
        raise invalid(f"Traffic split contains deployed model ids that are not deployed: {sorted(unknown)}.")
    if any(not 0 <= share <= 100 for share in split.values()) or sum(split.values()) not in ((100,) if split else (0,)):
        raise invalid(f"Traffic split percentages must add up to 100: {dict(split)}.")

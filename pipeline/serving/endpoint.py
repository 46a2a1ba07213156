"""The endpoint that serves released models: deploys a new one with a share of the traffic, promotes, rolls back.

All state is in the endpoint: its deployed models, their traffic, and its labels. So every call may be repeated, by
any process, also after one that was killed.
"""

import hashlib
import re
from typing import Any

from pipeline.cloud.calls import cloud_errors, converge, read_retry, wait_for_operation, wait_for_pending
from pipeline.cloud.vertex import client, encryption, location, machine_spec
from pipeline.config import Config
from pipeline.errors import BrokenRelease, NothingToRollBack, ReleaseNotFound, UsageError, WrongModelServed
from pipeline.outcomes import ServingOutcome
from pipeline.progress import Log, no_log
from pipeline.releases.factory import releases_of
from pipeline.releases.record import Release
from pipeline.serving import canary
from pipeline.serving.canary import Goal, State
from pipeline.serving.model_registry import Registry, Version

LOGGING = "predict_request_response_logging_config"  # field of an endpoint


def deploy(config: Config, release: Release, log: Log = no_log) -> ServingOutcome:
    """Gives a release CANARY_TRAFFIC percent of the endpoint's traffic; all of it where no other model serves."""
    endpoint = Endpoint(config, log)
    endpoint.upload(release)
    goal = canary.canary(release.tag, config.canary_traffic)
    return endpoint.reach(goal, f"Deploying {release.tag}", release.tag)


def promote(config: Config, tag: str | None = None, log: Log = no_log) -> ServingOutcome:
    """Gives a release all of the traffic: `tag`, by default the canary, or without one the newest.

    Raises ReleaseNotFound or NoRelease.
    """
    endpoint = Endpoint(config, log)
    release = canary.candidate(endpoint.state(), releases_of(config), tag)
    endpoint.upload(release)
    return endpoint.reach(canary.promotion(release.tag), f"Promoting {release.tag}", release.tag)


def roll_back(config: Config, log: Log = no_log) -> ServingOutcome:
    """Removes the canary, or without one returns to the release that was promoted before.

    A repeated call changes nothing. The outcome names the release that serves now.
    """
    endpoint = Endpoint(config, log)
    if not endpoint.find():
        raise NothingToRollBack(config.endpoint, "")
    return endpoint.reach(canary.roll_back, "Rolling back")


def traffic(config: Config) -> dict[str, int]:
    """Returns what serves, {tag: percent of the traffic}; empty without an endpoint. Changes nothing."""
    endpoint = Endpoint(config)
    return _served(endpoint.state())


def unused(config: Config) -> dict[str, str]:
    """Returns the deployed models that have no traffic and are no releases of RELEASES: {ID: display name}.

    Each keeps a machine running. They are left when RELEASES gets another name, as after a rename of the repository.
    """
    endpoint = Endpoint(config)
    return endpoint.unused(endpoint.find())


class Endpoint:
    """The endpoint VERTEX_ENDPOINT: finds it, reads its state, and changes it step by step to the wanted state."""

    def __init__(self, config: Config, log: Log = no_log):
        config.require("workspace", "project", "region", "endpoint")
        self._config, self._log = config, log
        self._endpoints = client(config, "EndpointService")
        self._registry = Registry(config, log)
        self._versions: dict[str, Version] = {}  # by tag, uploaded or looked up by this process
        self._taken = 0  # number of IDs of deployed models that were in use

    def find(self) -> Any:
        """Returns the endpoint, or None. Raises UsageError when several have its name."""
        return find(self._config)

    def state(self) -> State:
        """Returns the endpoint's state; no traffic where there is no endpoint."""
        return self._read(self.find())

    def unused(self, found: Any) -> dict[str, str]:
        """Returns what the function `unused` does, of an endpoint as it was read; nothing for None."""
        foreign = [each for each in found.deployed_models if self._model(each) == f"id:{each.id}"] if found else []
        return {each.id: each.display_name for each in foreign if not found.traffic_split.get(each.id, 0)}

    def upload(self, release: Release) -> None:
        """Uploads a release unless the registry has it, and remembers its version."""
        self._versions[release.tag] = self._registry.upload(release)

    def reach(self, goal: Goal, doing: str, tag: str | None = None) -> ServingOutcome:
        """Makes one change after another until the endpoint has the state of `goal`; returns what it serves then.

        `tag` is the release that the outcome names, by default the one that is promoted at the end.
        """
        changes = 0

        def step() -> ServingOutcome | None:
            nonlocal changes
            name = (self.find() or self._create()).name
            wait_for_pending(self._endpoints, name, doing, self._log)
            found = self._endpoints.get_endpoint(name=name, retry=read_retry())
            state = self._read(found)
            wanted = goal(state)
            if self._change(found, state, wanted):
                changes += 1
                return None
            if wanted.promoted:
                self._registry.make_default(self._version(wanted.promoted))
            promoted = state.promoted or None
            return ServingOutcome(tag or promoted, found.name, dict(state.traffic), promoted, changes > 0)

        return converge(doing, step)

    def _change(self, found: Any, state: State, wanted: State) -> bool:
        """Makes the first change on the way from `state` to `wanted`; False where there is none."""
        for model in wanted.traffic:
            if model not in state.traffic:
                self._deploy(found, self._version(model))
                return True
        # One update, on condition of the etag, changes all: the promoted model always has its traffic.
        if _served(wanted) != _served(state) or wanted.labels != state.labels or not self._logs_as_set(found):
            self._update(found, wanted)
            return True
        for model in state.traffic:
            if model not in wanted.traffic:
                self._undeploy(found, model)
                return True
        return False

    def _read(self, found: Any) -> State:
        if found is None:
            return State({}, {}, self._config.endpoint)
        shares = {self._model(deployed): found.traffic_split.get(deployed.id, 0) for deployed in found.deployed_models}
        return State(shares, dict(found.labels), found.display_name)

    def _model(self, deployed: Any) -> str:
        """Returns the tag of a deployed release, of any other model `id:` and its ID."""
        tag, model = deployed.display_name, deployed.model.rpartition("/")[2].partition("@")[0]
        if not canary.is_release(tag) or model != self._registry.model_id and not self._is_automl(tag, model):
            return f"id:{deployed.id}"
        version = self._versions.get(tag)
        if version and version.number != deployed.model_version_id:
            raise WrongModelServed(tag, self._config.endpoint, deployed.model_version_id, version.number)
        return tag

    def _is_automl(self, tag: str, model: str) -> bool:
        """True when AutoML made this model, by its ID, for the release `tag`."""
        if tag not in self._versions:
            try:
                release = releases_of(self._config).get(tag)
            except (ReleaseNotFound, BrokenRelease):
                return False
            if not release.cloud_model:
                return False
            self._versions[tag] = self._registry.upload(release)
        return self._versions[tag].of_automl and self._versions[tag].model.endswith(f"/models/{model}")

    def _version(self, tag: str) -> Version:
        if tag not in self._versions:
            there = self._registry.find(tag)
            release = None if there else releases_of(self._config).get(tag)
            self._versions[tag] = there or self._registry.upload(release)
        return self._versions[tag]

    def _create(self) -> Any:
        doing = f"Creating the endpoint {self._config.endpoint}"
        self._log(f"{doing} ...")
        endpoint = {"display_name": self._config.endpoint, "encryption_spec": encryption(self._config)}
        request = {
            "parent": location(self._config),
            "endpoint": endpoint,
            "endpoint_id": endpoint_id(self._config.endpoint),
        }
        wait_for_operation(self._endpoints, self._endpoints.create_endpoint(request).operation.name, doing, self._log)
        return self.find()

    def _deploy(self, found: Any, version: Version) -> None:
        """Deploys a model without traffic; `_update` gives it its share, unless the endpoint has changed since."""
        from google.api_core.exceptions import AlreadyExists

        doing = f"Deploying {version.tag} to {found.display_name}"
        self._log(f"{doing} ...")
        replicas = self._config.replicas
        count = {"min_replica_count": replicas.least, "max_replica_count": replicas.most}
        deployed = {"id": deployed_id(version, self._taken), "display_name": version.tag, "model": version.name}
        if version.of_automl:
            # Vertex AI chooses the machines, of which one runs at least:
            # https://cloud.google.com/vertex-ai/docs/reference/rest/v1/AutomaticResources
            deployed["automatic_resources"] = count | {"min_replica_count": max(1, replicas.least)}
        else:
            deployed["dedicated_resources"] = {"machine_spec": machine_spec(self._config.server), **count}
        endpoints = self._endpoints
        if not replicas.least and not version.of_automl:
            # v1 refuses 0: https://cloud.google.com/vertex-ai/docs/predictions/autoscaling. v1beta1 keeps no log of a
            # container by default: https://cloud.google.com/vertex-ai/docs/predictions/online-prediction-logging
            endpoints = client(self._config, "EndpointService", "v1beta1")
            deployed |= {"enable_container_logging": True}
        try:
            started = endpoints.deploy_model(endpoint=found.name, deployed_model=deployed)
        except AlreadyExists:
            self._taken += 1  # where it is not deployed by now, the ID belongs to another model
            raise
        wait_for_operation(self._endpoints, started.operation.name, doing, self._log)

    def _update(self, found: Any, wanted: State) -> None:
        shares = _served(wanted)
        self._log(f"Traffic of {found.display_name}: {', '.join(f'{m} {share} %' for m, share in shares.items())}")
        ids = {self._model(deployed): deployed.id for deployed in found.deployed_models}
        endpoint = {
            "name": found.name,
            "etag": found.etag,
            "labels": wanted.labels,
            "traffic_split": {ids[model]: share for model, share in shares.items()},
        }
        paths = ["labels", "traffic_split"]
        if not self._logs_as_set(found):
            endpoint[LOGGING] = self._logging()
            paths.append(LOGGING)
        self._endpoints.update_endpoint(endpoint=endpoint, update_mask={"paths": paths})

    def _logs_as_set(self, found: Any) -> bool:
        """True when the endpoint logs the share of requests that SERVING_LOG names, or that names none."""
        if self._config.serving_log is None:
            return True
        logging = getattr(found, LOGGING)
        return (logging.sampling_rate if logging.enabled else 0.0) == self._config.serving_log

    def _logging(self) -> dict[str, Any]:
        """Returns how requests are logged: Vertex AI creates the data set and the table in the project's BigQuery."""
        if not self._config.serving_log:
            return {"enabled": False}
        destination = {"output_uri": f"bq://{self._config.project}"}
        return {"enabled": True, "sampling_rate": self._config.serving_log, "bigquery_destination": destination}

    def _undeploy(self, found: Any, model: str) -> None:
        """Undeploys a model, unless another process was faster."""
        from google.api_core.exceptions import InvalidArgument, NotFound

        doing = f"Undeploying {model} from {found.display_name}"
        self._log(f"{doing} ...")
        (deployed,) = (deployed.id for deployed in found.deployed_models if self._model(deployed) == model)
        try:
            started = self._endpoints.undeploy_model(endpoint=found.name, deployed_model_id=deployed)
        except (NotFound, InvalidArgument):  # which one stands for a model that is gone is not documented
            left = self._endpoints.get_endpoint(name=found.name, retry=read_retry()).deployed_models
            if deployed in (each.id for each in left):
                raise
            return
        wait_for_operation(self._endpoints, started.operation.name, doing, self._log)


def find(config: Config) -> Any:
    """Returns the endpoint VERTEX_ENDPOINT, or None. Raises UsageError when several have its name."""
    from google.api_core.exceptions import NotFound

    endpoints = client(config, "EndpointService")
    with cloud_errors(f"Looking for the endpoint {config.endpoint}"):
        try:
            name = f"{location(config)}/endpoints/{endpoint_id(config.endpoint)}"
            return endpoints.get_endpoint(name=name, retry=read_retry())
        except NotFound:
            pass  # it may have been created by hand, under another ID
        request = {"parent": location(config), "filter": f'display_name="{config.endpoint}"'}
        found = list(endpoints.list_endpoints(request, retry=read_retry()))
    if len(found) > 1:
        names = ", ".join(endpoint.name for endpoint in found)
        raise UsageError(f"VERTEX_ENDPOINT is the name of several: {names}. Rename one, or set another name.")
    return found[0] if found else None


def endpoint_id(name: str) -> str:
    """Returns the ID of a new endpoint: the same in every process, so that it is created once."""
    readable = re.sub(r"[^a-z0-9]+", "-", name.lower())[:40]
    return f"spanloop-{readable}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def deployed_id(version: Version, taken: int) -> str:
    """Returns ten digits, the same for a version in every process, so that it is deployed once."""
    digest = hashlib.sha256(f"{version.name} {taken}".encode()).hexdigest()
    return str(10**9 + int(digest, 16) % (9 * 10**9))


def _served(state: State) -> dict[str, int]:
    return {model: share for model, share in state.traffic.items() if share}

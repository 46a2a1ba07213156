"""One run of a pipeline: starts each task in its container when it is ready, and records task details."""

import concurrent.futures
import copy
import dataclasses
import hashlib
import itertools
import json
import pathlib
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from google.cloud import aiplatform_v1 as types
from google.protobuf import json_format
from google.rpc import status_pb2

from tests.emulators.services import Refused
from tests.emulators.vertex import components, names
from tests.emulators.vertex.placeholders import command_line, filled, is_true
from tests.emulators.vertex.spec import dependencies
from tests.emulators.vertex.store import Outputs, Store
from tests.emulators.vertex.workers import Failed, Stop, Workers

if TYPE_CHECKING:
    from tests.emulators.cloud import Cloud

State = types.PipelineTaskDetail.State
COMPLETED = (State.SUCCEEDED, State.SKIPPED)
AT_ONCE = 2  # containers
# Buckets as folders. Only root may use them here: Vertex AI documents neither owner nor mode, and a mount of
# gcsfuse is closed to other users by default:
# https://github.com/GoogleCloudPlatform/gcsfuse/blob/master/docs/mounting.md
MOUNT = "/gcs/"


@dataclasses.dataclass
class Ended:
    """Final state and outputs of a task."""

    state: Any
    artifacts: Outputs = dataclasses.field(default_factory=dict)
    parameters: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Scope:
    """Data available to the tasks of one DAG: the DAG's inputs, and tasks that have ended."""

    component: dict[str, Any]
    parameters: Mapping[str, Any]
    artifacts: Outputs
    ended: dict[str, Ended] = dataclasses.field(default_factory=dict)


class Faulty:
    """Injected failures by task: number of failures, each before or after the task's work."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left: dict[str, list[bool]] = {}

    def add(self, task: str, times: int, after: bool) -> None:
        self._left.setdefault(task, []).extend([after] * times)

    def take(self, task: str) -> bool | None:
        """None when the task does not fail now; otherwise True to fail after its work, False before it."""
        with self._lock:
            left = self._left.get(task)
            return left.pop() if left else None


class Run:
    """Runs a job in the thread that calls `run`. `lock` guards the job, which holds the state."""

    def __init__(
        self,
        cloud: "Cloud",
        workers: Workers,
        store: Store,
        slots: threading.Semaphore,
        faulty: Faulty,
        job: types.PipelineJob,
        lock: Any,
    ):
        self._cloud, self._workers, self._store, self._slots, self._faulty = cloud, workers, store, slots, faulty
        self._job, self._lock = job, lock
        plain = types.PipelineJob.pb(job)
        self._spec = json_format.MessageToDict(plain.pipeline_spec)
        self._executors = self._spec.get("deploymentSpec", {}).get("executors", {})
        self._config = job.runtime_config
        self._given = parameter_values(job)
        self._id = job.name.rpartition("/")[2]
        self._parent = job.name.rpartition("/pipelineJobs/")[0]
        self._root = f"{self._config.gcs_output_directory.rstrip('/')}/{cloud.project_number}/{self._id}"
        self._account = job.service_account
        self._numbers = itertools.count(1000)
        self._failed: list[str] = []
        self.stop = Stop()

    def run(self) -> None:
        """Runs all tasks and sets the states of the job."""
        root = self._spec["root"]
        defined = root.get("inputDefinitions", {}).get("parameters", {})
        parameters = {name: self._given.get(name, each.get("defaultValue")) for name, each in defined.items()}
        with self._lock:
            self._job.state, self._job.start_time = types.PipelineState.PIPELINE_STATE_RUNNING, names.now()
        whole = self._detail(self._spec["pipelineInfo"]["name"])
        self._set_state(whole, State.RUNNING)
        ended = self._dag(root, Scope(root, parameters, {}), whole.task_id)
        states = types.PipelineState
        with self._lock:
            if self.stop.asked:
                self._set_state(whole, State.CANCELLED)
                self._job.state = states.PIPELINE_STATE_CANCELLED
            elif ended.state == State.FAILED:
                message = (
                    f"The DAG failed because some tasks failed. The failed tasks are: [{', '.join(self._failed)}]."
                )
                self._set_state(whole, State.FAILED, message)
                self._job.error = status_pb2.Status(code=9, message=message)
                self._job.state = states.PIPELINE_STATE_FAILED
            else:
                self._set_state(whole, State.SUCCEEDED)
                self._job.state = states.PIPELINE_STATE_SUCCEEDED
            self._job.end_time = self._job.update_time = names.now()

    # Task details

    def _detail(self, name: str, parent: int = 0) -> Any:
        detail = types.PipelineTaskDetail(
            task_id=next(self._numbers), task_name=name, create_time=names.now(), state=State.PENDING
        )
        if parent:
            detail.parent_task_id = parent
        with self._lock:
            self._job.job_detail.task_details.append(detail)
            return self._job.job_detail.task_details[-1]

    def _set_state(self, detail: Any, state: Any, error: str = "") -> None:
        with self._lock:
            detail.state = state
            if state == State.RUNNING:
                detail.start_time = names.now()
            elif state not in (State.PENDING, State.CANCELLING):
                detail.start_time = detail.start_time or detail.create_time
                detail.end_time = names.now()
            if error:
                detail.error = status_pb2.Status(code=9, message=error)
            self._job.update_time = names.now()

    # DAG: which task may start

    def _dag(self, component: dict[str, Any], scope: Scope, parent: int) -> Ended:
        tasks = component["dag"]["tasks"]
        waiting = {name: dependencies(task) for name, task in tasks.items()}
        failed = False
        fail_fast = self._config.failure_policy == types.PipelineFailurePolicy.PIPELINE_FAILURE_POLICY_FAIL_FAST
        running: dict[concurrent.futures.Future[Ended], str] = {}
        with concurrent.futures.ThreadPoolExecutor(max(1, len(tasks))) as threads:
            while waiting or running:
                for name in [name for name, needed in waiting.items() if needed <= set(scope.ended)]:
                    needed = waiting.pop(name)
                    policy = tasks[name].get("triggerPolicy", {}).get("strategy")
                    is_last = policy == "ALL_UPSTREAM_TASKS_COMPLETED"
                    completed = all(scope.ended[before].state in COMPLETED for before in needed)
                    if self.stop.asked or not (is_last or (completed and not (failed and fail_fast))):
                        scope.ended[name] = Ended(State.NOT_TRIGGERED)
                        if not self.stop.asked and not failed:
                            self._set_state(self._detail(name, parent), State.NOT_TRIGGERED)
                    else:
                        running[threads.submit(self._task, name, tasks[name], scope, parent)] = name
                done, _ = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
                for future in done:
                    name = running.pop(future)
                    scope.ended[name] = future.result()
                    if scope.ended[name].state == State.FAILED:
                        failed = True
                        if "dag" not in self._component(tasks[name]):
                            self._failed.append(name)
        if self.stop.asked:
            return Ended(State.CANCELLED)
        return Ended(State.FAILED) if failed else self._outputs_of_dag(component, scope)

    def _outputs_of_dag(self, component: dict[str, Any], scope: Scope) -> Ended:
        outputs = component["dag"].get("outputs", {})
        ended = Ended(State.SUCCEEDED)
        for key, selectors in outputs.get("artifacts", {}).items():
            for one in selectors.get("artifactSelectors", []):
                made = scope.ended[one["producerSubtask"]].artifacts
                ended.artifacts[key] = ended.artifacts.get(key, []) + made.get(one["outputArtifactKey"], [])
        for key, selector in outputs.get("parameters", {}).items():
            one = selector.get("valueFromParameter", {})
            if one:
                ended.parameters[key] = scope.ended[one["producerSubtask"]].parameters[one["outputParameterKey"]]
        return ended

    def _component(self, task: dict[str, Any]) -> dict[str, Any]:
        return self._spec["components"][task["componentRef"]["name"]]

    # A task

    def _task(self, name: str, task: dict[str, Any], scope: Scope, parent: int) -> Ended:
        detail = self._detail(name, parent)
        try:
            return self._perform(name, task, scope, detail)
        except (Failed, Refused) as error:
            cancelled = self.stop.asked
            self._set_state(detail, State.CANCELLED if cancelled else State.FAILED, "" if cancelled else str(error))
            return Ended(State.CANCELLED if cancelled else State.FAILED)
        except Exception as error:  # a bug in the emulator must fail the run, not leave it running
            self._set_state(detail, State.FAILED, f"internal: {error!r}")
            raise

    def _perform(self, name: str, task: dict[str, Any], scope: Scope, detail: Any) -> Ended:
        component = self._component(task)
        inputs = self._inputs(name, task, component, scope)
        condition = task.get("triggerPolicy", {}).get("condition")
        if condition and not is_true(condition, {"inputs": inputs}):
            self._set_state(detail, State.NOT_TRIGGERED)
            return Ended(State.NOT_TRIGGERED)
        if "dag" in component:
            self._set_state(detail, State.RUNNING)
            artifacts = {key: each["artifacts"] for key, each in inputs["artifacts"].items()}
            ended = self._dag(component, Scope(component, inputs["parameterValues"], artifacts), detail.task_id)
            self._set_state(detail, ended.state)
            return ended
        with self._lock:
            execution = f"{self._parent}/metadataStores/default/executions/{self._id}-{detail.task_id}"
            detail.execution = types.Execution(name=execution)
        executor = self._executors[component["executorLabel"]]
        if "container" in executor:
            ended = self._container(name, task, component, executor["container"], inputs, detail)
        else:
            self._set_state(detail, State.RUNNING)
            artifacts = (
                self._resolved(executor["resolver"], inputs)
                if "resolver" in executor
                else self._imported(executor["importer"], component, inputs)
            )
            ended = Ended(State.SUCCEEDED, artifacts)
        with self._lock:
            detail.inputs = _artifact_lists({key: each["artifacts"] for key, each in inputs["artifacts"].items()})
            detail.outputs = _artifact_lists(ended.artifacts)
        self._set_state(detail, ended.state)
        return ended

    def _inputs(self, name: str, task: dict[str, Any], component: dict[str, Any], scope: Scope) -> dict[str, Any]:
        """`inputs` of ExecutorInput, with parameters also in the format of schema 2.0, which older images read."""
        inputs: dict[str, Any] = {"parameters": {}, "parameterValues": {}, "artifacts": {}}
        for key, definition in component.get("inputDefinitions", {}).get("parameters", {}).items():
            if "defaultValue" in definition:
                inputs["parameterValues"][key] = definition["defaultValue"]
        for key, source in task.get("inputs", {}).get("parameters", {}).items():
            value = self._parameter(source, scope)
            # an optional input of a pipeline that the pipeline was not given is not given either
            if value is not None:
                inputs["parameterValues"][key] = value
        for key, value in inputs["parameterValues"].items():
            if isinstance(value, float) and value.is_integer():  # JSON has no integers
                inputs["parameterValues"][key] = int(value)
        inputs["parameters"] = {key: _wrapped(value) for key, value in inputs["parameterValues"].items()}
        for key, source in task.get("inputs", {}).get("artifacts", {}).items():
            if "componentInputArtifact" in source:
                found = scope.artifacts[source["componentInputArtifact"]]
            else:
                output = source["taskOutputArtifact"]
                found = scope.ended[output["producerTask"]].artifacts.get(output["outputArtifactKey"])
                if found is None:
                    raise Failed(f"{output['producerTask']} has no output {output['outputArtifactKey']} for {name}.")
            inputs["artifacts"][key] = {"artifacts": copy.deepcopy(found)}
        return inputs

    def _parameter(self, source: dict[str, Any], scope: Scope) -> Any:
        if "componentInputParameter" in source:
            return scope.parameters[source["componentInputParameter"]]
        if "taskOutputParameter" in source:
            output = source["taskOutputParameter"]
            return scope.ended[output["producerTask"]].parameters[output["outputParameterKey"]]
        if "taskFinalStatus" in source:
            ended = scope.ended[source["taskFinalStatus"]["producerTask"]]
            return json.dumps({"state": ended.state.name, "pipelineJobResourceName": self._job.name})
        value = source["runtimeValue"]
        if "runtimeParameter" in value:
            return scope.parameters[value["runtimeParameter"]]
        return value["constant"] if "constant" in value else _unwrapped(value["constantValue"])

    def _resolved(self, resolver: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        found: Outputs = {}
        for key, query in resolver["outputArtifactQueries"].items():
            try:
                text = filled(query["filter"], {"inputs": inputs}, self._cloud.gcs.read)
            except (IndexError, KeyError):  # an input of the query is empty
                found[key] = []
                continue
            found[key] = self._store.query(text)
        return found

    def _imported(self, importer: dict[str, Any], component: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        address, type_ = importer["artifactUri"], importer["typeSchema"]
        if "runtimeParameter" in address:
            uri = inputs["parameterValues"][address["runtimeParameter"]]
        else:
            uri = address.get("constant", _unwrapped(address.get("constantValue", {})))
        made: Outputs = {}
        for key in component["outputDefinitions"]["artifacts"]:
            artifact = None if importer.get("reimport") else self._store.imported(uri, type_)
            if artifact is None:
                artifact = {"name": self._store.name(self._parent), "uri": uri, "type": type_}
                artifact["metadata"] = importer.get("metadata", {})
                self._store.put(artifact)
            made[key] = [artifact]
        return made

    # A container

    def _container(
        self,
        name: str,
        task: dict[str, Any],
        component: dict[str, Any],
        container: dict[str, Any],
        inputs: dict[str, Any],
        detail: Any,
    ) -> Ended:
        with self._lock:
            detail.executor_detail.container_detail.main_job = f"{self._parent}/customJobs/{detail.task_id}"
        defined = component.get("outputDefinitions", {})
        folder = f"{self._root}/{name}_{detail.task_id}"
        executor_input = {"inputs": inputs, "outputs": self._outputs(folder, defined)}
        if hook := container.get("lifecycle", {}).get("preCacheCheck"):
            self._set_state(detail, State.RUNNING)
            self._run(f"{name}-driver", container, hook, executor_input)
            self._take_over(executor_input)
        pipeline = self._spec["pipelineInfo"]["name"]
        what = json.dumps([pipeline, component, container, inputs], sort_keys=True)
        fingerprint = hashlib.sha256(what.encode()).hexdigest()
        is_cached = task.get("cachingOptions", {}).get("enableCache")
        execution = detail.execution.name
        if is_cached and (found := self._store.cached(fingerprint)):
            self._store.keep(fingerprint, *found, execution)
            return Ended(State.SKIPPED, *found)
        retries = int(task.get("retryPolicy", {}).get("maxRetryCount", 0))
        for attempt in itertools.count():
            try:
                with self._slots:
                    if self.stop.asked:
                        raise Failed("cancelled")
                    self._set_state(detail, State.RUNNING)
                    self._attempt(name, container, executor_input)
                break
            except Failed:
                if attempt >= retries or self.stop.asked:
                    raise
        ended = self._made(name, defined, executor_input)
        self._store.keep(fingerprint, ended.artifacts, ended.parameters, execution)
        return ended

    def _outputs(self, folder: str, defined: dict[str, Any]) -> dict[str, Any]:
        artifacts = {
            key: {
                "artifacts": [
                    {
                        "name": self._store.name(self._parent),
                        "uri": f"{folder}/{key}",
                        "type": definition["artifactType"],
                        "metadata": definition.get("metadata", {}),
                    }
                ]
            }
            for key, definition in defined.get("artifacts", {}).items()
        }
        # paths of the mount /gcs: https://cloud.google.com/vertex-ai/docs/training/cloud-storage-file-system
        mounted = f"{MOUNT}{folder.removeprefix('gs://')}"
        parameters = {key: {"outputFile": f"{mounted}/{key}"} for key in defined.get("parameters", {})}
        return {"outputFile": f"{mounted}/executor_output.json", "artifacts": artifacts, "parameters": parameters}

    def _attempt(self, name: str, container: dict[str, Any], executor_input: dict[str, Any]) -> None:
        fails = self._faulty.take(name)
        if fails is not False:
            self._run(name, container, container, executor_input)
        if fails is not None:
            raise Failed(f"The machine of {name} was lost.")

    def _run(self, name: str, container: dict[str, Any], what: dict[str, Any], executor_input: dict[str, Any]) -> None:
        own = {variable["name"]: variable["value"] for variable in container.get("env", [])}
        more = {"CLOUD_ML_PROJECT_ID": self._cloud.project_number, "CLOUD_ML_JOB_ID": self._id, **own}
        parts = [*what.get("command", []), *what.get("args", [])]
        if container["image"] == components.IMAGE:
            self._run_component(name, parts, executor_input, more)
            return
        command = command_line(parts, executor_input, self._cloud.gcs.read)
        self._workers.run(name, container["image"], command, self._account, self.stop, more)
        path = executor_input["outputs"]["outputFile"]
        if pathlib.Path(path).exists():  # tests may run as root
            raise Failed(f"{name} wrote {path}: the mount belongs to root, and containers need not run as root.")

    def _run_component(
        self, name: str, parts: list[str], executor_input: dict[str, Any], more: Mapping[str, str]
    ) -> None:
        """Runs a component of Google's, which writes to /gcs as root, and labels what it makes as the run's."""
        mount = components.Mount(self._cloud, self._workers.folder())
        command = command_line(parts, mount.mounted(executor_input), self._cloud.gcs.read)
        labels = {"VERTEX_AI_PIPELINES_RUN_LABELS": json.dumps(dict(self._job.labels))}
        try:
            self._workers.run(name, components.IMAGE, command, self._account, self.stop, {**more, **labels})
        finally:
            mount.save()

    def _written(self, executor_input: dict[str, Any]) -> dict[str, Any]:
        """The ExecutorOutput that a container has written, {} if none."""
        address = _address(executor_input["outputs"]["outputFile"])
        if not self._cloud.gcs.names(address):
            return {}
        return json.loads(self._cloud.gcs.read(address))

    def _take_over(self, executor_input: dict[str, Any]) -> None:
        """Adds the outputs of a driver to the inputs of its task."""
        written, inputs = self._written(executor_input), executor_input["inputs"]
        for key, value in written.get("parameterValues", {}).items():
            inputs["parameterValues"][key], inputs["parameters"][key] = value, _wrapped(value)
        for key, value in written.get("artifacts", {}).items():
            artifact = executor_input["outputs"]["artifacts"][key]["artifacts"][0]
            artifact["metadata"] = {**artifact["metadata"], **value["artifacts"][0].get("metadata", {})}

    def _made(self, name: str, defined: dict[str, Any], executor_input: dict[str, Any]) -> Ended:
        written, ended = self._written(executor_input), Ended(State.SUCCEEDED)
        for key, value in executor_input["outputs"]["artifacts"].items():
            artifact = value["artifacts"][0]
            new = (written.get("artifacts", {}).get(key, {}).get("artifacts") or [{}])[0]
            artifact["uri"] = new.get("uri", artifact["uri"])
            artifact["metadata"] = {**artifact["metadata"], **new.get("metadata", {})}
            self._store.put(artifact)
            ended.artifacts[key] = [artifact]
        values = written.get("parameterValues", {})
        for key, value in executor_input["outputs"]["parameters"].items():
            if key in values:
                ended.parameters[key] = values[key]
            elif self._cloud.gcs.names(address := _address(value["outputFile"])):
                text = self._cloud.gcs.read(address).decode()
                is_text = defined["parameters"][key].get("parameterType", "STRING") == "STRING"
                ended.parameters[key] = text if is_text else json.loads(text)
            else:
                raise Failed(f"{name} did not write its output parameter {key}.")
        return ended


def _address(mounted: str) -> str:
    """The gs:// address of a file below /gcs."""
    return f"gs://{mounted.removeprefix(MOUNT)}"


def parameter_values(job: types.PipelineJob) -> dict[str, Any]:
    """The parameters of a job as JSON values."""
    plain = types.PipelineJob.pb(job).runtime_config
    new = {name: json_format.MessageToDict(value) for name, value in plain.parameter_values.items()}
    old = {name: _unwrapped(json_format.MessageToDict(value)) for name, value in plain.parameters.items()}
    return {**old, **new}


def _artifact_lists(found: Outputs) -> dict[str, types.PipelineTaskDetail.ArtifactList]:
    return {
        key: types.PipelineTaskDetail.ArtifactList(
            artifacts=[types.Artifact(name=one["name"], uri=one["uri"]) for one in artifacts]
        )
        for key, artifacts in found.items()
    }


def _unwrapped(value: dict[str, Any]) -> Any:
    """Reads a value in the format of schema 2.0."""
    for kind, read in (("intValue", int), ("doubleValue", float), ("stringValue", str)):
        if kind in value:
            return read(value[kind])
    return None


def _wrapped(value: Any) -> dict[str, Any]:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return {"stringValue": json.dumps(value)}
    if isinstance(value, str):
        return {"stringValue": value}
    return {"intValue": str(int(value))} if float(value).is_integer() else {"doubleValue": value}

"""Batch prediction jobs: predicts JSON lines from a bucket with the model, writes results to a bucket."""

import collections
import itertools
import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from google.cloud import aiplatform_v1 as types
from google.longrunning import operations_pb2
from google.protobuf import empty_pb2, json_format
from google.rpc import status_pb2
from grpc import StatusCode

from tests.emulators.gcs.errors import StorageError
from tests.emulators.gcs.listing import glob_pattern
from tests.emulators.services import Caller, Refused, Rpc
from tests.emulators.vertex import names
from tests.emulators.vertex.automl import AutoML
from tests.emulators.vertex.held import HeldJobs
from tests.emulators.vertex.machines import Machines
from tests.emulators.vertex.models import Models
from tests.emulators.vertex.names import Names, invalid
from tests.emulators.vertex.operations import CODES, Operations
from tests.emulators.vertex.serving import Serving

if TYPE_CHECKING:
    from tests.emulators.cloud import Cloud

SERVICE = "google.cloud.aiplatform.v1.JobService"
State = types.JobState
ENDED = (State.JOB_STATE_SUCCEEDED, State.JOB_STATE_FAILED, State.JOB_STATE_CANCELLED)
INPUTS = ("jsonl", "csv", "tf-record", "tf-record-gzip", "bigquery", "file-list")
OUTPUTS = ("jsonl", "csv", "bigquery")
AT_ONCE = 64  # default number of instances per batch


class BatchPredictions(HeldJobs):
    """Jobs by name. Jobs created after `hold` stay pending until `release`."""

    def __init__(
        self,
        cloud: "Cloud",
        given: Names,
        operations: Operations,
        models: Models,
        machines: Machines,
        automl: AutoML,
        serving: Serving,
    ):
        self._cloud, self._names, self._operations = cloud, given, operations
        self._models, self._machines, self._automl, self._serving = models, machines, automl, serving
        super().__init__(operations.lock)
        self._ids = itertools.count(1000)
        self.reset()

    def reset(self) -> None:
        with self._lock:
            self.jobs: dict[str, types.BatchPredictionJob] = {}  # one that runs notices before its next batch
        self._forget_threads()

    def close(self) -> None:
        self.reset()

    def rpcs(self) -> dict[str, Rpc]:
        job = types.BatchPredictionJob
        lists = Rpc(types.ListBatchPredictionJobsRequest, types.ListBatchPredictionJobsResponse, self.list_jobs)
        delete = Rpc(types.DeleteBatchPredictionJobRequest, operations_pb2.Operation, self.delete)
        return {
            f"/{SERVICE}/CreateBatchPredictionJob": Rpc(types.CreateBatchPredictionJobRequest, job, self.create),
            f"/{SERVICE}/GetBatchPredictionJob": Rpc(types.GetBatchPredictionJobRequest, job, self.get),
            f"/{SERVICE}/ListBatchPredictionJobs": lists,
            f"/{SERVICE}/CancelBatchPredictionJob": Rpc(
                types.CancelBatchPredictionJobRequest, empty_pb2.Empty, self.cancel
            ),
            f"/{SERVICE}/DeleteBatchPredictionJob": delete,
        }

    # Methods

    def create(self, request: types.CreateBatchPredictionJobRequest, caller: Caller) -> types.BatchPredictionJob:
        self._names.demand(caller, "batchPredictionJobs.create")
        parent = self._names.parent(request.parent, caller)
        job = types.BatchPredictionJob(request.batch_prediction_job)
        self._check(job, parent)
        model = self._models.find(job.model, caller)
        self._check_resources(job, model)
        with self._lock:
            job.name = f"{parent}/batchPredictionJobs/{next(self._ids)}"
            job.model, job.model_version_id = model.name, model.version_id
            job.state = State.JOB_STATE_PENDING
            job.create_time = job.update_time = names.now()
            self.jobs[job.name] = job
            created = types.BatchPredictionJob(job)
            self._start(job.name, self._run, job, types.Model(model))
        return created

    def _check(self, job: types.BatchPredictionJob, parent: str) -> None:
        names.check_display_name(job.display_name)
        names.check_labels(job.labels)
        names.check_key(job, parent)
        if not job.model:
            raise invalid("List of found errors: 1. Field: batch_prediction_job.model; Message: Required.")
        if job.service_account:
            self._names.account(job.service_account)
        _check_formats(job)
        _check_instances(job.instance_config)
        if not job.input_config.gcs_source.uris:
            raise invalid("Field: batch_prediction_job.input_config.gcs_source.uris; Message: Required.")
        for uri in job.input_config.gcs_source.uris:
            self._names.bucket(uri, "input_config.gcs_source.uris")
        self._names.bucket(job.output_config.gcs_destination.output_uri_prefix, "output_config.gcs_destination")

    def _check_resources(self, job: types.BatchPredictionJob, model: types.Model) -> None:
        kinds = types.Model.DeploymentResourcesType
        if not model.supported_deployment_resources_types:
            raise Refused(StatusCode.FAILED_PRECONDITION, f"Model {job.model} does not support batch prediction.")
        if kinds.DEDICATED_RESOURCES not in model.supported_deployment_resources_types:
            if names.is_set(job, "dedicated_resources"):
                raise invalid("batch_prediction_job.dedicated_resources: the model supports AUTOMATIC_RESOURCES only.")
            return
        if not names.is_set(job, "dedicated_resources"):
            raise invalid("batch_prediction_job.dedicated_resources is required: the model supports no others.")
        resources = job.dedicated_resources
        first = resources.starting_replica_count or 1
        if not 1 <= first <= (resources.max_replica_count or 10):
            raise invalid("dedicated_resources: starting_replica_count is more than max_replica_count.")
        self._machines.check(resources.machine_spec, "custom_model_batch_prediction", first)

    def get(self, request: types.GetBatchPredictionJobRequest, caller: Caller) -> types.BatchPredictionJob:
        with self._lock:
            return types.BatchPredictionJob(self._find(request.name, caller))

    def list_jobs(
        self, request: types.ListBatchPredictionJobsRequest, caller: Caller
    ) -> types.ListBatchPredictionJobsResponse:
        parent = self._names.parent(request.parent, caller)
        with self._lock:
            found = [types.BatchPredictionJob(job) for name, job in self.jobs.items() if name.startswith(f"{parent}/")]
        return names.selected(found, request, "batch_prediction_jobs", types.ListBatchPredictionJobsResponse)

    def cancel(self, request: types.CancelBatchPredictionJobRequest, caller: Caller) -> empty_pb2.Empty:
        """Cancels a pending job at once, a running one before its next batch."""
        with self._lock:
            job = self._find(request.name, caller)
            if job.state == State.JOB_STATE_PENDING:
                self._end(job, State.JOB_STATE_CANCELLED)
            elif job.state == State.JOB_STATE_RUNNING:
                job.state = State.JOB_STATE_CANCELLING
        return empty_pb2.Empty()

    def delete(self, request: types.DeleteBatchPredictionJobRequest, caller: Caller) -> operations_pb2.Operation:
        with self._lock:
            job = self._find(request.name, caller)
            if job.state not in ENDED:
                raise Refused(
                    StatusCode.FAILED_PRECONDITION, f"{job.name} is {State(job.state).name}: cancel it first."
                )

            def work() -> empty_pb2.Empty:
                self.jobs.pop(job.name, None)
                return empty_pb2.Empty()

            return self._operations.start(job.name, types.DeleteOperationMetadata(), work)

    def _find(self, name: str, caller: Caller) -> types.BatchPredictionJob:
        return self._names.find(self.jobs, name, "batchPredictionJobs", caller)

    # Execution

    def _run(self, job: types.BatchPredictionJob, model: types.Model) -> None:
        if not self._continues(job, State.JOB_STATE_RUNNING):
            return
        try:
            self._predict(job, model)
        except Refused as refused:
            problem = status_pb2.Status(code=CODES[refused.code], message=refused.message)
        except Exception as error:  # a bug in the emulator must fail the job, not leave it running
            problem = status_pb2.Status(code=CODES[StatusCode.INTERNAL], message=f"{type(error).__name__}: {error}")
        else:
            return
        with self._lock:
            job.error = problem
            self._end(job, State.JOB_STATE_FAILED)

    def _continues(self, job: types.BatchPredictionJob, state: State | None = None) -> bool:
        """Sets the state if given; False when the job was cancelled or deleted."""
        with self._lock:
            if self.jobs.get(job.name) is not job or job.state in ENDED:
                return False
            if job.state == State.JOB_STATE_CANCELLING:
                self._end(job, State.JOB_STATE_CANCELLED)
                return False
            if state is not None:
                job.state = state
                job.start_time = job.update_time = names.now()
            return True

    def _end(self, job: types.BatchPredictionJob, state: State) -> None:
        job.state = state
        job.end_time = job.update_time = names.now()

    def _predict(self, job: types.BatchPredictionJob, model: types.Model) -> None:
        lines = list(self._lines(job))
        instances = [_instance(line, job.instance_config) for line in lines]
        size = job.manual_batch_tuning_parameters.batch_size or AT_ONCE
        results: list[tuple[Any, Any]] = []
        failures: list[tuple[Any, str]] = []
        for start in range(0, len(lines), size):
            if not self._continues(job):
                return
            answers = self._answers(job, model, instances[start : start + size])
            for line, answer in zip(lines[start : start + size], answers, strict=True):
                if "prediction" in answer:
                    results.append((line, answer["prediction"]))
                else:
                    failures.append((line, answer["error"]))
        with self._lock:
            if self._continues(job):
                self._write(job, model, results, failures)
                job.completion_stats = types.CompletionStats(successful_count=len(results), failed_count=len(failures))
                self._end(job, State.JOB_STATE_SUCCEEDED)

    def _answers(self, job: types.BatchPredictionJob, model: types.Model, instances: list[Any]) -> list[dict[str, Any]]:
        if not self._automl.is_trained(model):
            return self._serving.predict(model, instances)
        plain = types.BatchPredictionJob.pb(job)
        parameters = json_format.MessageToDict(plain.model_parameters) if plain.HasField("model_parameters") else {}
        return self._automl.predict(model, instances, parameters, self._read)

    def _read(self, uri: str) -> bytes:
        try:
            return self._cloud.gcs.read(uri)
        except StorageError:
            raise Refused(StatusCode.NOT_FOUND, f"File not found: {uri}") from None

    def _lines(self, job: types.BatchPredictionJob) -> Iterator[Any]:
        for uri in job.input_config.gcs_source.uris:
            bucket, _, pattern = uri.removeprefix("gs://").partition("/")
            if "*" in pattern:
                within = self._cloud.gcs.names(f"gs://{bucket}/{pattern.partition('*')[0]}")
                found = [name for name in within if glob_pattern(pattern).fullmatch(name)]
            else:
                found = [name for name in self._cloud.gcs.names(f"gs://{bucket}/{pattern}") if name == pattern]
            if not found:
                raise Refused(StatusCode.NOT_FOUND, f"No files were found at {uri}.")
            for name in found:
                for number, line in enumerate(self._cloud.gcs.read(f"gs://{bucket}/{name}").splitlines(), 1):
                    yield _parsed(line, f"gs://{bucket}/{name}, line {number}")

    def _write(
        self,
        job: types.BatchPredictionJob,
        model: types.Model,
        results: list[tuple[Any, Any]],
        failures: list[tuple[Any, str]],
    ) -> None:
        # As the real service names it, which differs from the documentation: prediction-NAME-2021_09_30T01_19_02_574Z.
        time = job.create_time.strftime("%Y_%m_%dT%H_%M_%S_") + f"{job.create_time.microsecond // 1000:03d}Z"
        prefix = job.output_config.gcs_destination.output_uri_prefix.rstrip("/")
        folder = f"{prefix}/prediction-{re.sub(r'[^a-zA-Z0-9_-]', '_', model.display_name)}-{time}"
        if self._automl.is_trained(model):
            files = _files_of_automl(results, failures)
        else:
            named = [(_named(line, job.instance_config), prediction) for line, prediction in results]
            files = _files_of_container(named, failures, job.dedicated_resources.starting_replica_count or 1)
        for name, lines in files.items():
            self._cloud.gcs.put(f"{folder}/{name}", "".join(f"{line}\n" for line in lines).encode())
        job.output_info = types.BatchPredictionJob.OutputInfo(gcs_output_directory=folder)


Files = dict[str, list[str]]  # lines of each file
POST = "Post request fails. Cannot get predictions. Error: Exceeded retries: Non-OK result 400"


def _files_of_container(results: list[tuple[Any, Any]], failures: list[tuple[Any, str]], shards: int) -> Files:
    """One file of results per machine, unordered, and counts of error messages."""
    lines = [json.dumps(named | {"prediction": prediction}) for named, prediction in results]
    files: Files = {
        f"prediction.results-{shard:05d}-of-{shards:05d}": lines[shard::shards][::-1] for shard in range(shards)
    }
    counts = collections.Counter(error for _, error in failures)
    statistics = [f"{(f'{POST} ({error}) from server, retry=3.', count)}" for error, count in counts.items()]
    return files | {"prediction.errors_stats-00000-of-00001": statistics}


def _files_of_automl(results: list[tuple[Any, Any]], failures: list[tuple[Any, str]]) -> Files:
    """Files of predictions and, if there are any, of errors: documented at BatchPredictionJob.OutputConfig."""
    files: Files = {
        "predictions_00001.jsonl": [
            json.dumps({"instance": line, "prediction": prediction}) for line, prediction in results
        ]
    }
    if failures:
        invalid_argument = CODES[StatusCode.INVALID_ARGUMENT]
        files["errors_00001.jsonl"] = [
            json.dumps({"instance": line, "error": {"code": invalid_argument, "message": error}})
            for line, error in failures
        ]
    return files


def _check_formats(job: types.BatchPredictionJob) -> None:
    given, wanted = job.input_config.instances_format, job.output_config.predictions_format
    for field, value, known in (
        ("input_config.instances_format", given, INPUTS),
        ("output_config.predictions_format", wanted, OUTPUTS),
    ):
        if value not in known:
            raise invalid(f"Field: batch_prediction_job.{field}; {value!r} is not one of {', '.join(known)}.")
        if value != "jsonl":
            raise Refused(StatusCode.UNIMPLEMENTED, f"{field} {value}: the local server supports only jsonl.")


def _check_instances(config: types.BatchPredictionJob.InstanceConfig) -> None:
    if config.instance_type not in ("", "object", "array"):
        raise invalid(f"Field: instance_config.instance_type; {config.instance_type!r} is not object or array.")
    if config.included_fields and config.excluded_fields:
        raise invalid("instance_config: included_fields and excluded_fields cannot be given both.")
    if config.key_field and config.key_field in config.included_fields:
        raise invalid("instance_config: key_field cannot be among included_fields.")


def _parsed(line: bytes, where: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        raise invalid(f"The input is not JSON: {where}.") from None


def _instance(line: Any, config: types.BatchPredictionJob.InstanceConfig) -> Any:
    """The instance that the model receives for a line of input."""
    chosen = config.key_field or config.included_fields or config.excluded_fields
    if not isinstance(line, dict):
        if config.instance_type == "object" or chosen:
            raise invalid("instance_config: each line of the input must be an object.")
        return line
    if config.key_field and config.key_field not in line:
        raise invalid(f"instance_config: the key field {config.key_field!r} is missing in an instance.")
    left_out = {config.key_field, *config.excluded_fields}
    kept = list(config.included_fields) or [name for name in line if name not in left_out]
    if config.instance_type == "array":
        return [line[name] for name in kept if name in line]
    return {name: line[name] for name in kept if name in line} if chosen else line


def _named(line: Any, config: types.BatchPredictionJob.InstanceConfig) -> dict[str, Any]:
    """The field of a result that identifies its instance."""
    return {"key": line[config.key_field]} if config.key_field else {"instance": line}

"""PipelineService: validates submitted jobs and runs them."""

import threading
from typing import TYPE_CHECKING

from google.cloud import aiplatform_v1 as types
from google.longrunning import operations_pb2
from google.protobuf import empty_pb2, json_format
from grpc import StatusCode

from tests.emulators.services import Caller, Refused, Rpc
from tests.emulators.vertex import names, spec
from tests.emulators.vertex.held import HeldJobs
from tests.emulators.vertex.names import Names, invalid, missing
from tests.emulators.vertex.operations import Operations
from tests.emulators.vertex.run import AT_ONCE, Faulty, Run, parameter_values
from tests.emulators.vertex.store import Store
from tests.emulators.vertex.workers import Workers

if TYPE_CHECKING:
    from tests.emulators.cloud import Cloud

SERVICE = "google.cloud.aiplatform.v1.PipelineService"
METADATA = "google.cloud.aiplatform.v1.MetadataService"
State = types.PipelineState
ACTIVE = (
    State.PIPELINE_STATE_QUEUED,
    State.PIPELINE_STATE_PENDING,
    State.PIPELINE_STATE_RUNNING,
    State.PIPELINE_STATE_CANCELLING,
)


class Pipelines(HeldJobs):
    """`jobs` by name. After `hold` new jobs stay pending until `release`; `fail` makes tasks fail."""

    def __init__(self, cloud: "Cloud", given: Names, operations: Operations, workers: Workers):
        self._cloud, self._names, self._operations, self._workers = cloud, given, operations, workers
        super().__init__(threading.RLock())
        self._slots = threading.Semaphore(AT_ONCE)
        self.store = Store()
        self._runs: dict[str, Run] = {}
        self.reset()

    def reset(self) -> None:
        for run in self._runs.values():
            run.stop.set()
        self._forget_threads()
        self.store.reset()
        self.jobs: dict[str, types.PipelineJob] = {}
        self._runs = {}
        self._faulty = Faulty()

    def fail(self, task: str, times: int = 1, after: bool = False) -> None:
        """Makes a task lose its machine a number of times, before or after its work."""
        self._faulty.add(task, times, after)

    def rpcs(self) -> dict[str, Rpc]:
        job = types.PipelineJob
        lists = Rpc(types.ListPipelineJobsRequest, types.ListPipelineJobsResponse, self.list)
        return {
            f"/{SERVICE}/CreatePipelineJob": Rpc(types.CreatePipelineJobRequest, job, self.create),
            f"/{SERVICE}/GetPipelineJob": Rpc(types.GetPipelineJobRequest, job, self.get),
            f"/{SERVICE}/ListPipelineJobs": lists,
            f"/{SERVICE}/CancelPipelineJob": Rpc(types.CancelPipelineJobRequest, empty_pb2.Empty, self.cancel),
            f"/{SERVICE}/DeletePipelineJob": Rpc(types.DeletePipelineJobRequest, operations_pb2.Operation, self.delete),
            f"/{METADATA}/DeleteExecution": Rpc(
                types.DeleteExecutionRequest, operations_pb2.Operation, self.delete_execution
            ),
        }

    def create(self, request: types.CreatePipelineJobRequest, caller: Caller) -> types.PipelineJob:
        self._names.demand(caller, "pipelineJobs.create")
        parent = self._names.parent(request.parent, caller)
        job = types.PipelineJob(request.pipeline_job)
        self._check(job, parent, caller)
        with self._lock:
            plain = json_format.MessageToDict(types.PipelineJob.pb(job).pipeline_spec)
            id_ = request.pipeline_job_id or f"{plain['pipelineInfo']['name']}-{names.now():%Y%m%d%H%M%S%f}"
            names.check_id(id_, r"[a-z][-a-z0-9]{0,127}", "pipeline_job_id")
            job.name = f"{parent}/pipelineJobs/{id_}"
            if job.name in self.jobs:
                raise Refused(StatusCode.ALREADY_EXISTS, f"The PipelineJob {job.name} already exists.")
            job.state, job.create_time, job.update_time = State.PIPELINE_STATE_PENDING, names.now(), names.now()
            job.labels["vertex-ai-pipelines-run-billing-id"] = str(len(self.jobs) + 1)
            self.jobs[job.name] = job
            run = Run(self._cloud, self._workers, self.store, self._slots, self._faulty, job, self._lock)
            self._runs[job.name] = run
            created = types.PipelineJob(job)
            self._start(job.name, run.run)
        return created

    def _check(self, job: types.PipelineJob, parent: str, caller: Caller) -> None:
        if len(job.display_name) > 128:
            raise invalid("List of found errors: 1. Field: display_name; Message: At most 128 characters.")
        names.check_labels(job.labels)
        names.check_key(job, parent)
        names.check_network(job.network)
        self._names.may_act_as(job.service_account, caller)
        plain = types.PipelineJob.pb(job)
        if not plain.pipeline_spec.fields:
            raise invalid("List of found errors: 1. Field: pipeline_job.pipeline_spec; Message: Required.")
        self._names.bucket(job.runtime_config.gcs_output_directory, "runtime_config.gcs_output_directory")
        given = json_format.MessageToDict(plain.pipeline_spec)
        spec.check(given, parameter_values(job), old_parameters=bool(plain.runtime_config.parameters))

    def _find(self, name: str, caller: Caller) -> types.PipelineJob:
        return self._names.find(self.jobs, name, "pipelineJobs", caller)

    def get(self, request: types.GetPipelineJobRequest, caller: Caller) -> types.PipelineJob:
        self._names.demand(caller, "pipelineJobs.get")
        with self._lock:
            return types.PipelineJob(self._find(request.name, caller))

    def list(self, request: types.ListPipelineJobsRequest, caller: Caller) -> types.ListPipelineJobsResponse:
        """Without `job_detail`, which lists do not have.

        https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.pipelineJobs
        """
        self._names.demand(caller, "pipelineJobs.list")
        parent = self._names.parent(request.parent, caller)
        with self._lock:
            found = [types.PipelineJob(job) for name, job in self.jobs.items() if name.startswith(f"{parent}/")]
        page = names.selected(found, request, "pipeline_jobs", types.ListPipelineJobsResponse)
        for job in page.pipeline_jobs:
            job.job_detail = None
            if request.read_mask.paths:
                whole = types.PipelineJob.pb(types.PipelineJob(job))
                types.PipelineJob.pb(job).Clear()
                request.read_mask.MergeMessage(whole, types.PipelineJob.pb(job))
        return page

    def cancel(self, request: types.CancelPipelineJobRequest, caller: Caller) -> empty_pb2.Empty:
        with self._lock:
            job = self._find(request.name, caller)
            if job.state not in ACTIVE:
                raise Refused(StatusCode.FAILED_PRECONDITION, f"The PipelineJob has ended: {job.state.name}.")
            job.state = State.PIPELINE_STATE_CANCELLING
            run, thread = self._runs[job.name], self._threads[job.name]
        run.stop.set()
        if not thread.ident:
            thread.start()
        return empty_pb2.Empty()

    def delete(self, request: types.DeletePipelineJobRequest, caller: Caller) -> operations_pb2.Operation:
        with self._lock:
            job = self._find(request.name, caller)
            if job.state in ACTIVE:
                raise Refused(StatusCode.FAILED_PRECONDITION, f"The PipelineJob has not ended: {job.state.name}.")
            del self.jobs[job.name]
        return self._operations.start(job.name, types.DeleteOperationMetadata(), empty_pb2.Empty)

    def delete_execution(self, request: types.DeleteExecutionRequest, caller: Caller) -> operations_pb2.Operation:
        """Ends the use of cached results: the task runs again."""
        if not self.store.delete_execution(request.name):
            raise missing(request.name)
        return self._operations.start(request.name, types.DeleteOperationMetadata(), empty_pb2.Empty)

    def wait(self, name: str) -> types.PipelineJob:
        """Waits until a job has ended, and returns it; `name` is its full resource name."""
        super().wait(name)
        return self.jobs[name]

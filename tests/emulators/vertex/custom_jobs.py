"""Custom jobs: runs their containers as local processes."""

import concurrent.futures
import itertools
import json
from collections.abc import Iterator
from typing import Any

from google.cloud import aiplatform_v1 as types
from google.longrunning import operations_pb2
from google.protobuf import empty_pb2
from google.rpc import status_pb2
from grpc import StatusCode

from tests.emulators.services import Caller, Refused, Rpc
from tests.emulators.vertex import names
from tests.emulators.vertex.held import HeldJobs
from tests.emulators.vertex.machines import Machines
from tests.emulators.vertex.names import Names, invalid
from tests.emulators.vertex.operations import Operations
from tests.emulators.vertex.workers import Failed, Stop, Workers
from tests.ports import free_port

SERVICE = "google.cloud.aiplatform.v1.JobService"
State = types.JobState
ENDED = (State.JOB_STATE_SUCCEEDED, State.JOB_STATE_FAILED, State.JOB_STATE_CANCELLED)


class CustomJobs(HeldJobs):
    """Jobs by name. Jobs created after `hold` stay pending until `release`.

    `stockout` names machine types and accelerators without capacity: jobs that need them fail.
    """

    def __init__(self, given: Names, operations: Operations, machines: Machines, workers: Workers):
        self._names, self._operations, self._machines, self._workers = given, operations, machines, workers
        super().__init__(operations.lock)
        self._ids = itertools.count(4000)
        self._stops: dict[str, Stop] = {}
        self.jobs: dict[str, types.CustomJob] = {}
        self.reset()

    def reset(self) -> None:
        for stop in self._stops.values():
            stop.set()
        self._forget_threads()
        self._stops, self.jobs = {}, {}
        self.stockout: set[str] = set()

    def close(self) -> None:
        self.reset()

    def rpcs(self) -> dict[str, Rpc]:
        job = types.CustomJob
        return {
            f"/{SERVICE}/CreateCustomJob": Rpc(types.CreateCustomJobRequest, job, self.create),
            f"/{SERVICE}/GetCustomJob": Rpc(types.GetCustomJobRequest, job, self.get),
            f"/{SERVICE}/ListCustomJobs": Rpc(types.ListCustomJobsRequest, types.ListCustomJobsResponse, self.list),
            f"/{SERVICE}/CancelCustomJob": Rpc(types.CancelCustomJobRequest, empty_pb2.Empty, self.cancel),
            f"/{SERVICE}/DeleteCustomJob": Rpc(types.DeleteCustomJobRequest, operations_pb2.Operation, self.delete),
        }

    # Methods

    def create(self, request: types.CreateCustomJobRequest, caller: Caller) -> types.CustomJob:
        self._names.demand(caller, "customJobs.create")
        parent = self._names.parent(request.parent, caller)
        job = types.CustomJob(request.custom_job)
        self._check(job, parent, caller)
        with self._lock:
            job.name = f"{parent}/customJobs/{next(self._ids)}"
            job.state = State.JOB_STATE_PENDING
            job.create_time = job.update_time = names.now()
            self.jobs[job.name] = job
            stop = self._stops[job.name] = Stop()
            created = types.CustomJob(job)
            self._start(job.name, self._run, job, stop)
        return created

    def _check(self, job: types.CustomJob, parent: str, caller: Caller) -> None:
        names.check_display_name(job.display_name)
        names.check_labels(job.labels)
        names.check_key(job, parent)
        spec = job.job_spec
        names.check_network(spec.network)
        self._names.may_act_as(spec.service_account, caller)
        if not spec.worker_pool_specs:
            raise invalid("job_spec.worker_pool_specs is required.")
        for number, pool in enumerate(spec.worker_pool_specs):
            where = f"worker_pool_specs[{number}]"
            if pool.replica_count < 1 or (number == 0 and pool.replica_count != 1):
                raise invalid(f"{where}.replica_count is invalid: the first pool must have one replica.")
            if "container_spec" not in pool or not pool.container_spec.image_uri:
                raise invalid(f"{where}.container_spec.image_uri is required.")
            names.check_image(pool.container_spec.image_uri)
            self._machines.check(pool.machine_spec, "custom_model_training", pool.replica_count)

    def _find(self, name: str, caller: Caller) -> types.CustomJob:
        return self._names.find(self.jobs, name, "customJobs", caller)

    def get(self, request: types.GetCustomJobRequest, caller: Caller) -> types.CustomJob:
        with self._lock:
            return types.CustomJob(self._find(request.name, caller))

    def list(self, request: types.ListCustomJobsRequest, caller: Caller) -> types.ListCustomJobsResponse:
        parent = self._names.parent(request.parent, caller)
        with self._lock:
            found = [types.CustomJob(job) for name, job in self.jobs.items() if name.startswith(f"{parent}/")]
        return names.selected(found, request, "custom_jobs", types.ListCustomJobsResponse)

    def cancel(self, request: types.CancelCustomJobRequest, caller: Caller) -> empty_pb2.Empty:
        with self._lock:
            job = self._find(request.name, caller)
            if job.state == State.JOB_STATE_PENDING:
                self._end(job, State.JOB_STATE_CANCELLED)
            elif job.state == State.JOB_STATE_RUNNING:
                job.state = State.JOB_STATE_CANCELLING
            self._stops[job.name].set()
        return empty_pb2.Empty()

    def delete(self, request: types.DeleteCustomJobRequest, caller: Caller) -> operations_pb2.Operation:
        with self._lock:
            job = self._find(request.name, caller)
            if job.state not in ENDED:
                raise Refused(StatusCode.FAILED_PRECONDITION, f"{job.name} has not ended: cancel it first.")

            def work() -> empty_pb2.Empty:
                self.jobs.pop(job.name, None)
                return empty_pb2.Empty()

            return self._operations.start(job.name, types.DeleteOperationMetadata(), work)

    # Execution

    def _run(self, job: types.CustomJob, stop: Stop) -> None:
        with self._lock:
            if job.state != State.JOB_STATE_PENDING or stop.asked:
                return
            job.state, job.start_time = State.JOB_STATE_RUNNING, names.now()
        code, message = 0, ""
        try:
            self._train(job, stop)
        except Failed as failed:
            code, message = 3, str(failed)
        except Refused as refused:
            code, message = refused.code.value[0], refused.message
        except Exception as error:  # a bug in the emulator must fail the job, not leave it running
            code, message = 13, f"{type(error).__name__}: {error}"
        with self._lock:
            if stop.asked:
                self._end(job, State.JOB_STATE_CANCELLED)
            elif code:
                job.error = status_pb2.Status(code=code, message=message)
                self._end(job, State.JOB_STATE_FAILED)
            else:
                self._end(job, State.JOB_STATE_SUCCEEDED)

    def _end(self, job: types.CustomJob, state: State) -> None:
        job.state = state
        job.end_time = job.update_time = names.now()

    def _train(self, job: types.CustomJob, stop: Stop) -> None:
        """Runs all replicas in parallel; ends the others when one fails."""
        for pool in job.job_spec.worker_pool_specs:
            spec = pool.machine_spec
            if short := self.stockout & {spec.machine_type, types.AcceleratorType(spec.accelerator_type).name}:
                message = f"Resources are insufficient in region: {short.pop()}. Please try a different region."
                raise Refused(StatusCode.RESOURCE_EXHAUSTED, message)
        replicas = list(_replicas(job))
        others = Stop()
        stop.add(others.set)
        with concurrent.futures.ThreadPoolExecutor(len(replicas)) as threads:
            running = [threads.submit(self._replica, job, others, *replica) for replica in replicas]
            for done in concurrent.futures.as_completed(running):
                if error := done.exception():
                    others.set()
                    raise error

    def _replica(self, job: types.CustomJob, stop: Stop, container: Any, cluster: str) -> None:
        own = {variable.name: variable.value for variable in container.env}
        more = {"CLUSTER_SPEC": cluster, "CLOUD_ML_JOB_ID": job.name.rpartition("/")[2], **own}
        command = [*container.command, *container.args]
        self._workers.run(job.display_name, container.image_uri, command, job.job_spec.service_account, stop, more)


def _replicas(job: types.CustomJob) -> Iterator[tuple[Any, str]]:
    """Yields each replica's container and its CLUSTER_SPEC.

    https://cloud.google.com/vertex-ai/docs/training/distributed-training#cluster-variables
    """
    pools = job.job_spec.worker_pool_specs
    cluster = {
        f"workerpool{n}": [f"127.0.0.1:{free_port()}" for _ in range(pool.replica_count)]
        for n, pool in enumerate(pools)
    }
    for number, pool in enumerate(pools):
        for index in range(pool.replica_count):
            task = {"type": f"workerpool{number}", "index": index}
            yield pool.container_spec, json.dumps({"cluster": cluster, "environment": "cloud", "task": task})

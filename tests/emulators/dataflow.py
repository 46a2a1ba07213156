"""Dataflow: accepts and validates jobs that Beam submits, and ends them in the state a test sets, without running them.

Beam up to 2.74 calls REST with its own message types, later versions call gRPC with google-cloud-dataflow-client's.
"""

import importlib.util
import itertools
import json
import re
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from google.protobuf import json_format
from grpc import StatusCode

from tests.emulators.services import Caller, Refused, Request, Route, Rpc, Service

if TYPE_CHECKING:
    from tests.emulators.cloud import Cloud

DONE = "JOB_STATE_DONE"
FAILED = "JOB_STATE_FAILED"
COMPUTE = "compute.googleapis.com"
OVER_GRPC = importlib.util.find_spec("google.cloud.dataflow_v1beta3") is not None
NAME = re.compile(r"[a-z]([-a-z0-9]{0,1022}[a-z0-9])?")


class Dataflow(Service):
    """`jobs` by ID, as submitted; the next request for a job finds it in the state `ends`."""

    name = "dataflow"
    hosts = ("dataflow.googleapis.com",)

    def __init__(self, cloud: "Cloud"):
        self._cloud = cloud
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self.reset()

    def reset(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.ends = DONE
        self.failure = "the test set this state."

    def routes(self) -> list[Route]:
        jobs = "/v1b3/projects/{project}/locations/{region}/jobs"
        return [
            Route("POST", jobs, "CreateJob", self.create),
            Route("GET", jobs, "ListJobs", self.list),
            Route("GET", f"{jobs}/{{job}}", "GetJob", self.get),
            Route("PUT", f"{jobs}/{{job}}", "UpdateJob", self.update),
            Route("GET", f"{jobs}/{{job}}/messages", "ListJobMessages", self.messages),
            Route("GET", f"{jobs}/{{job}}/metrics", "GetJobMetrics", self.metrics),
        ]

    def rpcs(self) -> dict[str, Rpc]:
        if not OVER_GRPC:
            return {}
        from google.cloud import dataflow_v1beta3 as types

        def rpc(request_type: type, answer: type, handler: Callable[..., dict[str, Any]]) -> Rpc:
            """Adapts a REST handler to gRPC messages; `handler` receives the request as JSON."""

            def perform(request: Any, caller: Caller) -> Any:
                body = json_format.MessageToDict(type(request).pb(request))
                found = handler(body, caller, request.project_id, request.location)
                return answer.wrap(json_format.ParseDict(found, answer.pb(answer())))

            return Rpc(request_type, answer, perform)

        def of_job(handler: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
            return lambda body, *context: handler(body, *context, body["jobId"])

        package = "google.dataflow.v1beta3"
        return {
            f"/{package}.JobsV1Beta3/CreateJob": rpc(
                types.CreateJobRequest, types.Job, lambda body, *context: self._create(body["job"], *context)
            ),
            f"/{package}.JobsV1Beta3/GetJob": rpc(types.GetJobRequest, types.Job, of_job(self.get)),
            f"/{package}.MessagesV1Beta3/ListJobMessages": rpc(
                types.ListJobMessagesRequest, types.ListJobMessagesResponse, of_job(self.messages)
            ),
            f"/{package}.MetricsV1Beta3/GetJobMetrics": rpc(
                types.GetJobMetricsRequest, types.JobMetrics, of_job(self.metrics)
            ),
        }

    def create(self, request: Request, caller: Caller, project: str, region: str) -> dict[str, Any]:
        job = request.json()
        _parse(job)
        return self._create(job, caller, project, region)

    def _create(self, job: dict[str, Any], caller: Caller, project: str, region: str) -> dict[str, Any]:
        self._check_location(project, region)
        self._cloud.policies.demand(caller.principal, f"projects/{project}", "dataflow.jobs.create")
        if (
            COMPUTE in self._cloud.apis.disabled
        ):  # https://cloud.google.com/dataflow/docs/quickstarts/create-pipeline-python
            message = f"Compute Engine API has not been used in project {project} before or it is disabled."
            raise Refused(StatusCode.FAILED_PRECONDITION, message)
        self._check(job, caller)
        with self._lock:
            if any(other["name"] == job["name"] and not _is_over(other) for other in self.jobs.values()):
                raise Refused(StatusCode.ALREADY_EXISTS, f"There is already an active job named {job['name']}.")
            job |= {
                "id": f"2026-01-01_00_00_00-{next(self._numbers)}",
                "projectId": project,
                "location": region,
                "currentState": "JOB_STATE_PENDING",
                "createTime": "2026-01-01T00:00:00Z",
            }
            self.jobs[job["id"]] = job
            if image := self._denied_image(job):
                self.ends = FAILED
                self.failure = f"Workers cannot pull the image {image}: permission denied."
        return {
            name: job[name] for name in ("id", "projectId", "location", "name", "type", "currentState", "createTime")
        }

    def _check(self, job: dict[str, Any], caller: Caller) -> None:
        """Raises Refused for an invalid job."""
        if not NAME.fullmatch(job.get("name", "")):
            raise _invalid(f"The workflow name {job.get('name')!r} is not {NAME.pattern}.")
        environment = job.get("environment", {})
        for pool in environment.get("workerPools", []):
            for package in pool.get("packages", []):
                self._check_staged(package["location"])
            limits = pool.get("autoscalingSettings", {})
            if limits.get("maxNumWorkers", 1) < pool.get("numWorkers", 0):
                raise _invalid("The number of workers is more than maxNumWorkers.")
        options = environment.get("sdkPipelineOptions", {}).get("options", {})
        if pipeline := options.get("pipelineUrl"):
            self._check_staged(pipeline)
        if account := environment.get("serviceAccountEmail"):
            self._cloud.policies.demand(caller.principal, f"serviceAccounts/{account}", "iam.serviceAccounts.actAs")
        if not environment.get("tempStoragePrefix", "").startswith("storage.googleapis.com/"):
            raise _invalid("Temp location must be set to a GCS path.")

    def _denied_image(self, job: dict[str, Any]) -> str:
        """Returns an image of Artifact Registry that the workers' account may not pull, "" for none.

        https://cloud.google.com/dataflow/docs/guides/run-custom-container
        """
        account = job["environment"].get("serviceAccountEmail", "")
        for pool in job["environment"].get("workerPools", []):
            for harness in pool.get("sdkHarnessContainerImages", []):
                image = harness["containerImage"]
                if match := re.match(r"([\w-]+)-docker\.pkg\.dev/([^/]+)/([^/]+)/", image):
                    repository = f"projects/{match[2]}/locations/{match[1]}/repositories/{match[3]}"
                    if not self._cloud.policies.allowed(account, repository, ["artifactregistry.dockerimages.get"]):
                        return image
        return ""

    def _check_staged(self, location: str) -> None:
        """Raises Refused unless a file for the workers is in the bucket."""
        address = f"gs://{location.removeprefix('gs://').removeprefix('storage.googleapis.com/')}"
        name = address.split("/", 3)[3]
        if name not in self._cloud.gcs.names(address):
            raise _invalid(f"The staged file {address} does not exist.")

    def _check_location(self, project: str, region: str) -> None:
        if project not in (self._cloud.project, self._cloud.project_number):
            raise Refused(StatusCode.PERMISSION_DENIED, f"Could not create workflow; user has no access to {project}.")
        if not re.fullmatch(r"[a-z]+-[a-z]+\d+", region):
            raise _invalid(f"The location {region!r} is not a region.")

    def _find(self, project: str, region: str, job: str) -> dict[str, Any]:
        self._check_location(project, region)
        if job not in self.jobs or self.jobs[job]["location"] != region:
            raise Refused(StatusCode.NOT_FOUND, f"Information about job {job} could not be found in our system.")
        return self.jobs[job]

    def get(self, request: Request, caller: Caller, project: str, region: str, job: str) -> dict[str, Any]:
        found = self._find(project, region, job)
        found["currentState"] = self.ends
        return {name: value for name, value in found.items() if name not in ("environment", "steps")}

    def update(self, request: Request, caller: Caller, project: str, region: str, job: str) -> dict[str, Any]:
        found, wanted = self._find(project, region, job), request.json().get("requestedState")
        if wanted not in ("JOB_STATE_CANCELLED", "JOB_STATE_DRAINED"):
            raise _invalid(f"requestedState cannot be {wanted!r}.")
        self.ends = found["currentState"] = wanted
        return self.get(request, caller, project, region, job)

    def list(self, request: Request, caller: Caller, project: str, region: str) -> dict[str, Any]:
        self._check_location(project, region)
        return {"jobs": [self.get(request, caller, project, region, job) for job in self.jobs]}

    def messages(self, request: Request, caller: Caller, project: str, region: str, job: str) -> dict[str, Any]:
        self._find(project, region, job)
        time = "2026-01-01T00:00:01Z"
        if self.ends != FAILED:
            return {}
        text = f"Workflow failed. Causes: {self.failure}"
        return {
            "jobMessages": [{"id": "1", "time": time, "messageText": text, "messageImportance": "JOB_MESSAGE_ERROR"}]
        }

    def metrics(self, request: Request, caller: Caller, project: str, region: str, job: str) -> dict[str, Any]:
        self._find(project, region, job)
        return {"metricTime": "2026-01-01T00:00:01Z", "metrics": []}


def _parse(job: Any) -> None:
    """Raises Refused for fields that Dataflow's type of a job does not have."""
    if OVER_GRPC:
        from google.cloud.dataflow_v1beta3 import Job

        try:
            json_format.ParseDict(job, Job.pb(Job()))
        except json_format.ParseError as error:
            raise _invalid(f"Invalid JSON payload received. {' '.join(str(error).split())}") from None
        return
    # Imported here: Beam takes three seconds to import.
    from apache_beam.runners.dataflow.internal.clients.dataflow import dataflow_v1b3_messages
    from apitools.base.protorpclite.messages import ValidationError
    from apitools.base.py import encoding

    try:
        message = encoding.JsonToMessage(dataflow_v1b3_messages.Job, json.dumps(job))
    except ValidationError as error:
        raise _invalid(f"Invalid value: {error}") from None
    for path, names in encoding.UnrecognizedFieldIter(message):
        where = ".".join(edge.field for edge in path)
        raise _invalid(f"Invalid JSON payload received. Unknown name {names} at {where!r}: Cannot find field.")


def _is_over(job: dict[str, Any]) -> bool:
    return job["currentState"] in (DONE, FAILED, "JOB_STATE_CANCELLED", "JOB_STATE_DRAINED")


def _invalid(message: str) -> Refused:
    return Refused(StatusCode.INVALID_ARGUMENT, message)

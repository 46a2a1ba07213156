"""Custom jobs of Vertex AI: runs a node's executor on the first machine type with capacity."""

import hashlib
import json
import re
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.cloud.calls import cloud_errors, converge, poll_intervals, read_retry
from pipeline.cloud.vertex import client, console_url, encryption, location, machine_spec
from pipeline.config import Config, Machine
from pipeline.errors import JobFailed, NoMachine
from pipeline.progress import Log

if TYPE_CHECKING:
    from google.cloud.aiplatform_v1 import CustomJob, JobServiceClient

KEY = "custom_job"  # of a node's custom_config: the settings of its job
NEEDED = ("project", "region", "image", "service_account", "network", "encryption_key", "training_machines")


def settings(config: Config) -> dict[str, str]:
    """Returns only the settings that a job needs, because a changed setting makes it another job."""
    return {name: getattr(config, name) for name in NEEDED}


def run(node: str, executor: str, invocation: Mapping[str, str], replicas: int, log: Log) -> None:
    """Runs the TFX executor with the class path `executor` as a custom job; returns once it has succeeded.

    `invocation` has the JSON texts `inputs`, `outputs` and `exec-properties`. Where a machine type has no capacity the
    next one is tried. An existing job of the same node and outputs is awaited, so that a node that starts again does
    not train twice. Raises JobFailed, NoMachine or CloudRefused.
    """
    custom_config = json.loads(json.loads(invocation["exec-properties"])["custom_config"])
    config = Config(**custom_config[KEY])
    arguments = [text for name, value in invocation.items() for text in (f"--{name}", value)]
    # TFX's own way to run an executor in another container
    command = ["python", "-m", "tfx.scripts.run_executor", "--executor_class_path", executor, *arguments]
    refusals = []
    for machine in config.machines:
        try:
            _Job(config, node, command, machine, replicas, log).run()
            return
        except _Unavailable as refused:
            refusals.append(f"{machine.type}: {refused}")
            log(f"{node}: Vertex AI has no capacity for {_format_machine(machine)}: {refused}")
    raise NoMachine(node, refusals)


class _Unavailable(Exception):
    """The quota or the region has no capacity for a machine type."""


class _Job:
    """A custom job on one machine type."""

    def __init__(
        self, config: Config, node: str, command: Sequence[str], machine: Machine, replicas: int, log: Log
    ) -> None:
        self._config, self._node, self._machine, self._log = config, node, machine, log
        self._jobs: JobServiceClient = client(config, "JobService")
        # Outputs are named in the command and belong to one run of one node.
        self._name = f"{node.lower()}-{hashlib.sha256(json.dumps(command).encode()).hexdigest()[:24]}"
        self._job = self._job_spec(command, replicas)

    def run(self) -> None:
        """Starts the job unless it exists, and returns once it has succeeded."""
        name = converge(f"Starting {self._node} on Vertex Training", self._find_or_create)
        link = console_url(self._config, f"locations/{self._config.region}/training/{name.rpartition('/')[2]}")
        self._log(f"{self._node}: {_format_machine(self._machine)}, {link}")
        logged = None
        for pause in poll_intervals():
            with cloud_errors(f"Reading the state of {self._node}"):
                job = self._jobs.get_custom_job(name=name, retry=read_retry())
            state = job.state.name.removeprefix("JOB_STATE_").lower()
            if state != logged:
                logged = state
                self._log(f"{self._node}: {state}")
            if state == "succeeded":
                return
            if state in ("failed", "cancelled", "expired"):
                if _lacks_capacity(job.error.code, job.error.message):
                    raise _Unavailable(job.error.message)
                raise JobFailed(self._node, state, job.error.message, link)
            time.sleep(pause)

    def _find_or_create(self) -> str:
        from google.api_core.exceptions import ResourceExhausted

        parent = location(self._config)
        request = {"parent": parent, "filter": f'display_name="{self._name}"'}
        alive = [job for job in self._jobs.list_custom_jobs(request, retry=read_retry()) if not _has_failed(job)]
        if alive:
            return alive[0].name
        try:
            return self._jobs.create_custom_job(parent=parent, custom_job=self._job, timeout=60).name
        except ResourceExhausted as refused:
            if _lacks_capacity(8, refused.message):
                raise _Unavailable(refused.message) from None
            raise  # too many requests: converge retries

    def _job_spec(self, command: Sequence[str], replicas: int) -> dict[str, Any]:
        container = {"image_uri": self._config.image, "command": list(command)}
        pool = {"machine_spec": machine_spec(self._machine), "container_spec": container}
        # Vertex AI wants one machine in the first pool, all others in the second
        pools = [pool | {"replica_count": count} for count in (1, replicas - 1) if count]
        spec = {"worker_pool_specs": pools, "service_account": self._config.service_account}
        if self._config.network:
            spec["network"] = self._config.network
        job = {"display_name": self._name, "job_spec": spec, "labels": {"node": self._node.lower()}}
        return job | ({"encryption_spec": key} if (key := encryption(self._config)) else {})


def _has_failed(job: "CustomJob") -> bool:
    return job.state.name in ("JOB_STATE_FAILED", "JOB_STATE_CANCELLED", "JOB_STATE_CANCELLING", "JOB_STATE_EXPIRED")


def _lacks_capacity(code: int, message: str) -> bool:
    """True for a lack of machines; False for too many requests, which pass within seconds."""
    # https://cloud.google.com/vertex-ai/docs/quotas: custom_model_training_nvidia_t4_gpus, custom_model_training_cpus
    about = r"custom_model_training|_gpus\b|_cpus\b|accelerator|machine|insufficient|stockout|resources? (is|are) not"
    return code == 8 and re.search(about, message, re.IGNORECASE) is not None


def _format_machine(machine: Machine) -> str:
    accelerators = f" with {machine.accelerators} {machine.accelerator}" if machine.accelerators else ""
    return f"{machine.type}{accelerators}"

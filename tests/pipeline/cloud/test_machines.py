"""Machine types and their accelerators."""

import dataclasses

import pytest
from google.api_core.exceptions import InvalidArgument

from pipeline.cloud import machines
from pipeline.cloud.vertex import client, location, machine_spec
from pipeline.config import Config, Machine
from pipeline.doctor import serving
from pipeline.doctor.check import Context
from pipeline.doctor.examine import run_check
from pipeline.errors import ConfigError
from tests.conftest import IMAGE

WRONG = {
    "n1-bogus-99": "n1-bogus-99 does not exist; of N1 there are n1-highcpu-2, .* n1-standard-96",
    "e2-standard-4:NVIDIA_TESLA_T4:1": "e2-standard-4 takes no accelerator",
    "n1-standard-4:NVIDIA_L4:1": "n1-standard-4 takes no NVIDIA_L4, but NVIDIA_TESLA_P4",
    "n1-standard-4:NVIDIA_TESLA_T4:3": "takes 1, 2, 4 of NVIDIA_TESLA_T4, not 3",
    "g2-standard-8": "write g2-standard-8:NVIDIA_L4:1",
    "a2-highgpu-1g:NVIDIA_TESLA_A100:2": "has 1 NVIDIA_TESLA_A100",
}
RIGHT = (
    "n1-standard-4",
    "n1-standard-8:NVIDIA_TESLA_T4:1",
    "g2-standard-8:NVIDIA_L4:1",
    "a3-highgpu-8g:NVIDIA_H100_80GB:4",
)


@pytest.mark.parametrize("text, said", WRONG.items(), ids=WRONG)
def test_a_machine_that_vertex_ai_does_not_have_is_refused_before_anything_runs(text, said):
    for variable in ("TRAINING_MACHINES", "DEVICE_TRAINING_MACHINES"):
        config = Config.from_environment({variable: f"n1-standard-4,{text}"})
        with pytest.raises(ConfigError, match=rf"{variable} is '{text}'.*{said}"):
            machines.check(config)


def test_machines_of_the_list_and_of_a_series_that_is_newer_than_it_are_taken():
    machines.check(Config(training_machines=",".join([*RIGHT, "z9-standard-4"]), serving_machine="e2-standard-2"))


def test_the_doctor_names_the_mistake_and_what_it_does_not_know():
    def check(**settings: str):
        return run_check("machines", lambda: serving.machines(Context(Config(**settings), None, "")))

    assert check().found == "n1-standard-4, n1-standard-2"
    wrong = check(training_machines="n1-bogus-99", serving_machine="e2-standard-3")
    assert wrong.ok is False and "TRAINING_MACHINES: n1-bogus-99" in wrong.problem
    assert "SERVING_MACHINE: e2-standard-3 does not exist" in wrong.problem
    assert wrong.fix.splitlines() == ["export TRAINING_MACHINES=n1-standard-4", "export SERVING_MACHINE=n1-standard-4"]
    unknown = check(training_machines="nl-standard-4")
    assert unknown.ok is None and "nl-standard-4" in unknown.problem


def test_vertex_ai_refuses_what_it_does_not_have(cloud_config):
    jobs = client(cloud_config, "JobService")

    def create(machine: Machine):
        pool = {"machine_spec": machine_spec(machine), "replica_count": 1, "container_spec": {"image_uri": IMAGE}}
        job = {"display_name": "x", "job_spec": {"worker_pool_specs": [pool]}}
        return jobs.create_custom_job(parent=location(cloud_config), custom_job=job)

    for text in [*WRONG, "nl-standard-4"]:
        (machine,) = dataclasses.replace(cloud_config, training_machines=text).machines
        with pytest.raises(InvalidArgument, match="is not supported"):
            create(machine)
    assert create(Machine("n1-standard-4", "NVIDIA_TESLA_T4", 1)).name

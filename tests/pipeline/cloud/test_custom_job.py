"""Work that Vertex Training does, on the local server: which machine, how often, and what is said of it."""

import json
import pathlib

import pytest

from pipeline.cloud import custom_job
from pipeline.errors import JobFailed, NoMachine
from tests.conftest import IMAGE

EXECUTOR = '''
"""An executor of a test."""

import json
import pathlib

from tfx.dsl.components.base.base_executor import BaseExecutor


class Executor(BaseExecutor):
    def Do(self, input_dict, output_dict, exec_properties):
        with pathlib.Path(exec_properties["told"]).open("a") as file:
            file.write("ran\\n")
        if exec_properties["fails"]:
            raise RuntimeError("the data ran out")
'''


@pytest.fixture
def work(cloud_config, cloud, tmp_path):
    """Runs an executor as a job; returns what is said of it. `ran` is how often it ran."""
    image = tmp_path / "image" / "small"
    image.mkdir(parents=True)
    (image / "executor.py").write_text(EXECUTOR)
    (image / "__init__.py").touch()
    cloud.vertex.workers.images.add(IMAGE, image.parent)

    def run(machines: str = "n1-standard-4", fails: bool = False, replicas: int = 1) -> list[str]:
        settings = custom_job.settings(cloud_config) | {"training_machines": machines}
        properties = {
            "custom_config": json.dumps({custom_job.KEY: settings}),
            "told": str(tmp_path / "told"),
            "fails": fails,
        }
        invocation = {"inputs": "{}", "outputs": "{}", "exec-properties": json.dumps(properties)}
        said = []
        custom_job.run("Trainer", "small.executor.Executor", invocation, replicas, said.append)
        return said

    run.told = tmp_path / "told"
    return run


def ran(told: pathlib.Path) -> int:
    return len(told.read_text().splitlines()) if told.exists() else 0


def jobs(cloud) -> list:
    return cloud.asked("*", "CreateCustomJob")


def test_a_job_runs_on_the_first_machine_and_its_states_are_told(work, cloud):
    said = work("n1-standard-8:NVIDIA_TESLA_T4:1,n1-standard-4")

    assert ran(work.told) == 1
    assert said[0].startswith("Trainer: n1-standard-8 with 1 NVIDIA_TESLA_T4, https://console.cloud.google.com/")
    assert said[-1] == "Trainer: succeeded"


def test_the_next_machine_is_taken_where_the_quota_refuses_one(work, cloud):
    cloud.vertex.quota["NVIDIA_TESLA_T4"] = 0

    said = work("n1-standard-8:NVIDIA_TESLA_T4:1,n1-standard-4")

    assert ran(work.told) == 1
    assert said[0].startswith("Trainer: Vertex AI has no n1-standard-8 with 1 NVIDIA_TESLA_T4 for us: ")
    assert "custom_model_training_nvidia_t4_gpus" in said[0]
    assert said[1].startswith("Trainer: n1-standard-4, ") and said[-1] == "Trainer: succeeded"


def test_without_any_machine_all_refusals_are_told(work, cloud):
    cloud.vertex.quota.update({"NVIDIA_TESLA_T4": 0, "n1-standard-4": 0})

    with pytest.raises(
        NoMachine, match=r"No machine for Trainer: n1-standard-8: .*; n1-standard-4: .*quota.*TRAINING_M"
    ):
        work("n1-standard-8:NVIDIA_TESLA_T4:1,n1-standard-4")
    assert ran(work.told) == 0


def test_the_next_machine_is_taken_where_a_region_has_run_out_of_one(work, cloud):
    cloud.vertex.custom_jobs.stockout.add("NVIDIA_TESLA_T4")

    said = work("n1-standard-8:NVIDIA_TESLA_T4:1,n1-standard-4")

    assert ran(work.told) == 1 and len(jobs(cloud)) == 2
    assert "Trainer: failed" in said and any("Resources are insufficient" in line for line in said)


def test_several_machines_know_of_each_other(work, cloud):
    work(replicas=3)

    assert ran(work.told) == 3
    (job,) = cloud.vertex.custom_jobs.jobs.values()
    assert [pool.replica_count for pool in job.job_spec.worker_pool_specs] == [1, 2]


def test_too_many_requests_are_no_refusal_of_a_machine(work, cloud):
    cloud.faults.add(service="aiplatform", method="CreateCustomJob", kind="429", times=2)

    said = work("n1-standard-8,n1-standard-4")

    assert said[0].startswith("Trainer: n1-standard-8, ") and ran(work.told) == 1


def test_a_job_that_fails_says_why_and_where_to_look(work):
    with pytest.raises(JobFailed, match=r"Trainer failed on Vertex AI: .*the data ran out.*/training/\d+\?project="):
        work("n1-standard-8,n1-standard-4", fails=True)
    assert ran(work.told) == 1  # another machine would not help


def test_a_node_that_starts_again_does_not_train_twice(work, cloud):
    work()
    work()

    assert ran(work.told) == 1 and len(jobs(cloud)) == 1


def test_a_lost_answer_does_not_start_a_second_job(work, cloud):
    cloud.faults.add(service="aiplatform", method="CreateCustomJob", kind="lose")

    work()

    assert ran(work.told) == 1

"""Custom jobs on the local Vertex AI: which machine type, how often, and what is logged."""

import json
import pathlib

import pytest

from pipeline.cloud import custom_job
from pipeline.errors import JobFailed, NoMachine
from tests.conftest import IMAGE

EXECUTOR = '''
"""An executor for tests."""

import json
import pathlib

from tfx.dsl.components.base.base_executor import BaseExecutor


class Executor(BaseExecutor):
    def Do(self, input_dict, output_dict, exec_properties):
        with pathlib.Path(exec_properties["runs"]).open("a") as file:
            file.write("ran\\n")
        if exec_properties["fails"]:
            raise RuntimeError("the data ran out")
'''


@pytest.fixture
def work(cloud_config, cloud, tmp_path):
    """Runs an executor as a job; returns the lines of the log. `ran` counts its runs."""
    image = tmp_path / "image" / "small"
    image.mkdir(parents=True)
    (image / "executor.py").write_text(EXECUTOR)
    (image / "__init__.py").touch()
    cloud.vertex.workers.images.add(IMAGE, image.parent)

    def run(machines: str = "n1-standard-4", fails: bool = False, replicas: int = 1) -> list[str]:
        settings = custom_job.settings(cloud_config) | {"training_machines": machines}
        properties = {
            "custom_config": json.dumps({custom_job.KEY: settings}),
            "runs": str(tmp_path / "runs"),
            "fails": fails,
        }
        invocation = {"inputs": "{}", "outputs": "{}", "exec-properties": json.dumps(properties)}
        logged = []
        custom_job.run("Trainer", "small.executor.Executor", invocation, replicas, logged.append)
        return logged

    run.runs = tmp_path / "runs"
    return run


def ran(runs: pathlib.Path) -> int:
    return len(runs.read_text().splitlines()) if runs.exists() else 0


def jobs(cloud) -> list:
    return cloud.asked("*", "CreateCustomJob")


def test_a_job_runs_on_the_first_machine_type_and_logs_its_states(work, cloud):
    logged = work("n1-standard-8:NVIDIA_TESLA_T4:1,n1-standard-4")

    assert ran(work.runs) == 1
    assert logged[0].startswith("Trainer: n1-standard-8 with 1 NVIDIA_TESLA_T4, https://console.cloud.google.com/")
    assert logged[-1] == "Trainer: succeeded"


def test_the_next_machine_type_is_tried_where_the_quota_is_exhausted(work, cloud):
    cloud.vertex.quota["NVIDIA_TESLA_T4"] = 0

    logged = work("n1-standard-8:NVIDIA_TESLA_T4:1,n1-standard-4")

    assert ran(work.runs) == 1
    assert logged[0].startswith("Trainer: Vertex AI has no capacity for n1-standard-8 with 1 NVIDIA_TESLA_T4: ")
    assert "custom_model_training_nvidia_t4_gpus" in logged[0]
    assert logged[1].startswith("Trainer: n1-standard-4, ") and logged[-1] == "Trainer: succeeded"


def test_without_any_capacity_all_refusals_are_named(work, cloud):
    cloud.vertex.quota.update({"NVIDIA_TESLA_T4": 0, "n1-standard-4": 0})

    with pytest.raises(NoMachine, match="TRAINING_MACHINES") as refused:
        work("n1-standard-8:NVIDIA_TESLA_T4:1,n1-standard-4")
    assert [reason.partition(": ")[0] for reason in refused.value.refusals] == ["n1-standard-8", "n1-standard-4"]
    assert all("quota" in reason for reason in refused.value.refusals) and refused.value.node == "Trainer"
    assert ran(work.runs) == 0


def test_the_next_machine_type_is_tried_where_the_region_has_none(work, cloud):
    cloud.vertex.custom_jobs.stockout.add("NVIDIA_TESLA_T4")

    logged = work("n1-standard-8:NVIDIA_TESLA_T4:1,n1-standard-4")

    assert ran(work.runs) == 1 and len(jobs(cloud)) == 2
    assert "Trainer: failed" in logged and any("Resources are insufficient" in line for line in logged)


def test_replicas_know_of_each_other(work, cloud):
    work(replicas=3)

    assert ran(work.runs) == 3
    (job,) = cloud.vertex.custom_jobs.jobs.values()
    assert [pool.replica_count for pool in job.job_spec.worker_pool_specs] == [1, 2]


def test_too_many_requests_are_retried_on_the_same_machine_type(work, cloud):
    cloud.faults.add(service="aiplatform", method="CreateCustomJob", kind="429", times=2)

    logged = work("n1-standard-8,n1-standard-4")

    assert logged[0].startswith("Trainer: n1-standard-8, ") and ran(work.runs) == 1


def test_a_failed_job_names_the_reason_and_its_page(work):
    with pytest.raises(JobFailed, match=r"Trainer failed on Vertex AI: .*the data ran out.*/training/\d+\?project="):
        work("n1-standard-8,n1-standard-4", fails=True)
    assert ran(work.runs) == 1  # another machine would not help


def test_a_node_that_starts_again_does_not_train_twice(work, cloud):
    work()
    work()

    assert ran(work.runs) == 1 and len(jobs(cloud)) == 1


def test_a_lost_answer_does_not_start_a_second_job(work, cloud):
    cloud.faults.add(service="aiplatform", method="CreateCustomJob", kind="lose")

    work()

    assert ran(work.runs) == 1

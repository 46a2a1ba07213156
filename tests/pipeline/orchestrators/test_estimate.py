import pytest

from pipeline.config import Config
from pipeline.orchestrators.estimate import estimate, machines

T4 = "n1-standard-8:NVIDIA_TESLA_T4:1"


def test_nodes_cost_their_own_machine_and_that_of_the_job_that_they_start():
    found = estimate(Config(), ["SchemaGen", "Trainer"], {"SchemaGen": 900, "Trainer": 3600})

    assert found.hours == {"e2-standard-4": 1.25, "n1-standard-4": 1.0}
    assert found.dollars == pytest.approx(1.25 * 0.1541 + 0.2185 + 0.03, abs=1e-3)
    assert not found.unpriced and not found.assumed


def test_a_search_runs_on_a_machine_for_each_trial_and_the_first_choice_counts():
    config = Config(tune=True, parallel_trials=3, training_machines=f"{T4},n1-standard-4")

    found = estimate(config, ["Tuner"], {"Tuner": 3600})

    assert found.hours == {"e2-standard-4": 1.0, T4: 3.0}


def test_what_is_not_known_is_named():
    config = Config(device_model=True, device_training_machines="c2-standard-4")

    found = estimate(config, ["DeviceTrainer", "SchemaGen"], {}, runs=2)

    assert found.unpriced == ("c2-standard-4",)
    assert found.assumed == {"DeviceTrainer": 30, "SchemaGen": 4}
    assert found.dollars == pytest.approx(34 / 60 * 0.1541 + 0.06, abs=1e-3)


def test_nothing_that_runs_costs_the_run_alone():
    assert estimate(Config(), [], {}).dollars == 0.03


def test_jobs_run_on_the_machines_of_the_settings():
    config = Config(tune=True, device_model=True, training_machines="n1-standard-8", device_training_machines=T4)
    first = {node: tried[0].type for node, tried in machines(config).items()}
    assert first == {"Trainer": "n1-standard-8", "Tuner": "n1-standard-8", "DeviceTrainer": "n1-standard-8"}
    assert machines(config)["DeviceTrainer"][0].accelerator and list(machines(Config())) == ["Trainer"]

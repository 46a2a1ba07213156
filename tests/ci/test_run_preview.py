"""The words of a dry run; tests/ci/commands/test_submit.py shows a whole one."""

import dataclasses

from ci import run_preview
from pipeline.config import Config
from pipeline.orchestrators.estimate import Estimate
from pipeline.orchestrators.preview import Trained


def test_settings_that_differ_are_shown_without_places_and_secrets(monkeypatch):
    for name, value in {"SEED": "7", "GITHUB_TOKEN": "ghp_x", "GCP_PROJECT": "my-project", "TUNE": "false"}.items():
        monkeypatch.setenv(name, value)
    assert run_preview.changed_settings(Config(seed=7, github_token="ghp_x", project="my-project")) == ["SEED=7"]


def test_what_the_cost_leaves_out_is_said():
    cost = Estimate({"c2-standard-4": 2.0}, 0.03, ("c2-standard-4",), {})
    config = Config(dataflow_workers=4, endpoint="digits", serving_replicas="2:3")

    text = run_preview.cost_text(config, cost)

    assert text.startswith("about $0.03: 2.0 h of c2-standard-4")
    assert "without c2-standard-4, whose price is not known here" in text
    assert "with the durations of the last runs" in text and "Dataflow's workers, which are not counted" in text
    assert "about $0.22 an hour for 2 machines of the endpoint" in text
    assert "an hour" not in run_preview.cost_text(dataclasses.replace(config, endpoint=""), cost)
    by_automl = run_preview.cost_text(config, cost, automl_dollars=45.72)
    assert "at most $45.72" in by_automl and "about $2.75 an hour for 2 machines of the endpoint" in by_automl


def test_a_new_span_is_of_what_is_collected():
    assert run_preview.data_text(Trained((), 1, 12, "", ())) == "span 1, of up to 12 collected images"


def test_what_a_release_needs():
    text = run_preview.released_text(Config(accuracy_threshold=0.95, label_floor=0, device_model=True))
    assert "from 95" in text and "2 points worse" in text and "each label" not in text and "a device model of" in text
    assert "a device model of" in run_preview.released_text(Config(), by_automl=True)

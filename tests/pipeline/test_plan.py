import dataclasses

import pytest

from pipeline import plan
from pipeline.config import Config
from pipeline.data import spans
from pipeline.errors import NoSpans, SpanNotFound, TooFewImages
from pipeline.outcomes import Metrics
from pipeline.releases.factory import open_releases
from pipeline.storage.factory import open_storage
from tests.conftest import EMPTY_MODEL, photographs, put


@pytest.fixture
def config(workspace) -> Config:
    return Config(workspace=str(workspace.root))


def add_span(workspace, numbers):
    workspace.collect(photographs(numbers))
    spans.prepare(open_storage(str(workspace.root)))


def release(config, planned, tmp_path):
    put(tmp_path / "model", {"saved_model.pb": EMPTY_MODEL})
    return open_releases(config.releases).publish(
        str(tmp_path / "model"),
        identity=planned.identity,
        commit="",
        modules_digest=planned.modules.digest,
        spans=planned.spans,
        labels=planned.labels,
        metrics=Metrics(),
        previous=planned.current or None,
    )


def test_a_plan_names_spans_labels_and_no_current_model_at_first(workspace, config):
    add_span(workspace, range(40))

    planned = plan.training(config, "all")

    assert planned.spans == (1,) and planned.labels == ("cat", "dog") and planned.current == ""


def test_the_same_plan_again_is_the_same_run(workspace, config, tmp_path):
    add_span(workspace, range(40))
    first = plan.training(config, "all")
    release(config, first, tmp_path)

    again = plan.training(config, "all")

    assert again == first and again.identity == first.identity


def test_another_plan_has_to_stand_up_to_the_newest_release(workspace, config, tmp_path):
    add_span(workspace, range(40))
    first = plan.training(config, "all")
    release(config, first, tmp_path)

    for other in (dataclasses.replace(config, seed=1), dataclasses.replace(config, tune=True)):
        planned = plan.training(other, "all")
        assert planned.current == "model-1" and planned.identity != first.identity

    add_span(workspace, range(100, 140))
    assert plan.training(config, "all").current == "model-1"
    release(config, plan.training(config, "all"), tmp_path)
    back = plan.training(config, "1")  # as the first, but now it would replace model-2
    assert back.current == "model-2" and back.identity != first.identity


def test_the_commit_is_recorded_but_does_not_count(workspace, config):
    add_span(workspace, range(40))
    planned = plan.training(config, "all")

    assert dataclasses.replace(planned, commit="another").identity == planned.identity


def test_what_cannot_be_trained_on_is_refused_at_once(workspace, config):
    with pytest.raises(NoSpans) as empty:
        plan.training(config, "all")
    assert empty.value.workspace == config.workspace
    with pytest.raises(SpanNotFound) as missing:
        plan.training(config, "7,9")
    assert (missing.value.wanted, missing.value.present) == ((7, 9), ())

    workspace.collect({f"cat/{name}": data for name, data in enumerate(photographs(range(40)).values())})
    spans.prepare(open_storage(str(workspace.root)))
    with pytest.raises(TooFewImages, match="'cat'") as one_label:
        plan.training(config, "all")
    assert one_label.value.spans == (1,)


def test_an_image_in_each_split_is_the_least(workspace, config):
    add_span(workspace, [0, 1])
    there = {source.split for source in spans.published(open_storage(config.workspace))[0].sources}

    assert len(there) == 1  # two images that share a split, whichever it is
    with pytest.raises(TooFewImages, match="about one in five"):
        plan.training(config, "all")


def test_a_device_model_makes_it_another_training(workspace, config):
    add_span(workspace, range(40))
    device = dataclasses.replace(config, device_model=True)
    settings = [config, device, dataclasses.replace(device, device_quantization="int8")]

    planned = [plan.training(setting, "all") for setting in settings]

    assert len({made.identity for made in planned}) == 3
    assert len({made.weights for made in planned}) == 1  # nothing that was trained is trained again
    assert [made.shape.device for made in planned] == [False, True, True]
    unused = dataclasses.replace(config, device_quantization="int8")
    assert plan.training(unused, "all").identity == planned[0].identity


def test_a_release_without_a_device_model_is_no_baseline_of_one(workspace, config, tmp_path):
    add_span(workspace, range(40))
    release(config, plan.training(config, "all"), tmp_path)

    planned = plan.training(dataclasses.replace(config, device_model=True), "all")

    assert planned.current == "model-1"
    assert planned.shape.baseline and not planned.shape.device_baseline

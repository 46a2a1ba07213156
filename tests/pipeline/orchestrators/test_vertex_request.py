"""Requests for runs on Vertex AI. The workspace is a bucket; no other service is called."""

import dataclasses
import json
import sys
from importlib import metadata

import pytest

from pipeline.config import Config
from pipeline.data import spans
from pipeline.errors import ConfigError, IncompatibleImage, MissingSettings, NoSpans, TooExpensive, UnsetParameters
from pipeline.orchestrators import vertex_request
from pipeline.orchestrators.compiled import Compiled
from pipeline.orchestrators.vertex_request import prepare
from pipeline.packaging import image
from pipeline.packaging.commit import this_commit
from pipeline.storage.factory import open_storage
from tests.conftest import IMAGE, collect, photographs, record_image, report_training


def test_a_training_is_asked_for_with_all_that_makes_it(cloud_config, span_in_bucket):
    request = prepare(cloud_config, "training", "all")
    job = vertex_request.described(cloud_config, request)

    assert request.about == "training on span 1" == job["displayName"]
    assert set(job["runtimeConfig"]["parameterValues"]) == set(request.pipeline.parameters)
    assert json.loads(request.values["spans"]) == [1]
    assert request.values["run_fn"].startswith(f"modules.classification.model@{cloud_config.workspace}/modules/")
    assert job["runtimeConfig"]["gcsOutputDirectory"] == f"{cloud_config.workspace}/pipeline_root/training"
    assert job["runtimeConfig"]["failurePolicy"] == "PIPELINE_FAILURE_POLICY_FAIL_FAST"
    assert job["serviceAccount"] == cloud_config.service_account
    assert "network" not in job and "encryptionSpec" not in job
    labels = request.labels
    assert labels["pipeline"] == "training" and labels["spans"] == "1" and labels["commit"] == this_commit()[:63]
    assert request.values["modules_digest"].startswith(labels["modules"]) and len(labels["modules"]) == 63


def test_a_key_and_a_network_are_passed_on(cloud_config, span_in_bucket):
    key = "projects/p/locations/europe-west1/keyRings/r/cryptoKeys/k"
    config = dataclasses.replace(cloud_config, network="projects/12/global/networks/inside", encryption_key=key)

    job = vertex_request.described(config, prepare(config, "training", "all"))

    assert job["network"] == config.network and job["encryptionSpec"] == {"kmsKeyName": key}


def test_a_machine_that_does_not_exist_is_refused_before_anything_is_copied_or_compiled(cloud_config, cloud):
    before = len(cloud.asked_of_services())
    with pytest.raises(ConfigError, match="TRAINING_MACHINES is 'n1-bogus-99'"):
        prepare(dataclasses.replace(cloud_config, training_machines="n1-standard-4,n1-bogus-99"), "training", "all")
    assert len(cloud.asked_of_services()) == before


def test_the_same_run_has_the_same_name_and_another_one_another(cloud_config, span_in_bucket):
    request = prepare(cloud_config, "training", "all")

    assert prepare(cloud_config, "training", "1").name == request.name
    assert prepare(dataclasses.replace(cloud_config, seed=1), "training", "all").name != request.name
    committed = dataclasses.replace(request, values={**request.values, "commit": "another"})
    assert committed.name == request.name
    other = dataclasses.replace(request, pipeline=Compiled("training", request.pipeline.text.replace("1a1a", "2b2b")))
    assert other.name != request.name


def test_a_retraining_belongs_to_the_span_that_it_makes(cloud_config, span_in_bucket):
    storage = open_storage(cloud_config.workspace)
    untrained = prepare(cloud_config, "retraining", "all")
    assert untrained.about == "retraining for span 1"

    report_training(storage, [1])
    assert prepare(cloud_config, "retraining", "all") is None

    collect(storage, photographs(range(100, 103)))
    second = prepare(cloud_config, "retraining", "all")
    assert second.about == "retraining for span 2" and second.name != untrained.name
    assert second.values["workspace"] == cloud_config.workspace
    assert Config.from_json(second.values["settings"]) == cloud_config

    spans.prepare(storage)
    assert prepare(cloud_config, "retraining", "all").name == second.name  # still the one to be trained on


def test_what_is_missing_is_said_before_anything_is_done(cloud_config):
    with pytest.raises(MissingSettings, match="GCP_PROJECT.*GCP_REGION.*PIPELINE_SERVICE_ACCOUNT.*IMAGE_REPOSITORY"):
        prepare(Config(workspace=cloud_config.workspace), "training", "all")
    with pytest.raises(MissingSettings, match="WORKSPACE"):
        prepare(dataclasses.replace(cloud_config, workspace="workspace"), "training", "all")
    with pytest.raises(ConfigError, match="RELEASES is 'releases'"):
        prepare(dataclasses.replace(cloud_config, releases="releases"), "training", "all")
    with pytest.raises(NoSpans):
        prepare(cloud_config, "training", "all")


def test_a_pipeline_that_releases_on_github_needs_to_know_where_its_token_is(
    cloud_config, span_in_bucket, cloud, monkeypatch
):
    monkeypatch.delenv("GITHUB_TOKEN", raising=False)
    config = dataclasses.replace(cloud_config, releases=f"github:{cloud.github.repository}")
    for name in ("training", "retraining"):
        with pytest.raises(MissingSettings, match="RELEASE_TOKEN_SECRET"):
            prepare(config, name, "all")

    secret, token = f"projects/{cloud.project}/secrets/github-token", cloud.github.token(contents="read")
    cloud.secrets.add(secret, token.encode())
    config = dataclasses.replace(config, release_token_secret=f"{secret}/versions/latest")
    request = prepare(config, "training", "all")

    named = {name: request.values[name] for name in ("releases", "token_secret", "image", "current")}
    assert named == {
        "releases": "github:acme/widget",
        "token_secret": config.release_token_secret,
        "image": IMAGE,
        "current": "",
    }
    assert cloud.asked("github", "repos/list-releases")
    assert token not in json.dumps(vertex_request.described(config, request))


def test_unless_one_is_named_the_image_is_the_one_that_was_built_of_this_code(cloud_config, span_in_bucket, cloud):
    unset = dataclasses.replace(cloud_config, image="", image_repository=cloud.image_repository)
    with pytest.raises(IncompatibleImage, match="not set.*has a record of none.*build-image"):
        prepare(unset, "training", "all")

    content = image.make_recipe(unset, False, image.ROOT).content
    storage = open_storage(unset.workspace)
    storage.write(f"images/content-{content}.json", storage.read(f"images/{IMAGE.rpartition(':')[2]}.json"))
    assert prepare(unset, "training", "all").labels["image"] == IMAGE.rpartition(":")[2][:63]
    assert json.loads(prepare(unset, "retraining", "all").values["settings"])["image"] == IMAGE


def test_an_image_that_does_not_run_what_is_compiled_here_is_refused(cloud_config, span_in_bucket):
    storage = open_storage(cloud_config.workspace)
    unknown = dataclasses.replace(cloud_config, image=IMAGE.replace("1a", "2b"))
    with pytest.raises(IncompatibleImage, match="its contents are not known.*build-image") as refused:
        prepare(unknown, "training", "all")
    assert refused.value.image == unknown.image

    record_image(storage, unknown.image, tfx="1.9.0")
    with pytest.raises(IncompatibleImage, match=rf"has TFX 1.9.0 on .* compiled by TFX {metadata.version('tfx')}"):
        prepare(unknown, "training", "all")

    other = dataclasses.replace(cloud_config, image=IMAGE.replace("1a", "3c"))
    record_image(storage, other.image, python="3.9")
    with pytest.raises(IncompatibleImage, match=f"on Python 3.9, .* on Python 3.{sys.version_info[1]}"):
        prepare(other, "training", "all")


def test_a_parameter_without_a_value_is_refused(spec):
    spec["root"]["inputDefinitions"]["parameters"]["forgotten"] = {"parameterType": "STRING"}
    pipeline = Compiled("training", json.dumps({"pipelineSpec": spec}))
    known = [name for name in pipeline.parameters if name != "forgotten"]
    parameters = dataclasses.make_dataclass("Parameters", known)(*known)

    with pytest.raises(UnsetParameters, match="pipeline/training.py") as unset:
        vertex_request._values(pipeline, parameters)
    assert (unset.value.pipeline, unset.value.names) == ("training", ("forgotten",))


def test_a_run_of_automl_is_asked_for_with_its_cost_and_is_the_same_at_another_commit(cloud_config, span_in_bucket):
    request = prepare(cloud_config, "automl", "all")
    job = vertex_request.described(cloud_config, request)

    assert request.about == "AutoML training on span 1 for at most $45.72" == job["displayName"]
    assert job["runtimeConfig"]["parameterValues"]["cloud_budget"] == 8_000
    assert set(job["runtimeConfig"]["parameterValues"]) == set(request.pipeline.parameters)
    assert "modules" not in request.labels and request.labels["pipeline"] == "automl"
    assert dataclasses.replace(request, values={**request.values, "commit": "another"}).name == request.name
    more = dataclasses.replace(cloud_config, automl_edge_budget=1_100)
    assert prepare(more, "automl", "all").name != request.name


@pytest.mark.parametrize("name", ["automl", "retraining"])
def test_automl_that_may_cost_too_much_is_accepted_or_not_started(name, cloud_config, span_in_bucket, cloud):
    config = dataclasses.replace(cloud_config, pipeline="automl", automl_cloud_budget=12_000)
    before = len(cloud.asked_of_services())

    with pytest.raises(TooExpensive, match=r"up to \$59\.58, more than AUTOML_MOST_DOLLARS \(\$50\.00\).*--yes"):
        prepare(config, name, "all")

    assert len(cloud.asked_of_services()) == before
    assert prepare(config, name, "all", accepted=True).pipeline.name == name
    assert prepare(dataclasses.replace(config, automl_most_dollars=60.0), name, "all").pipeline.name == name

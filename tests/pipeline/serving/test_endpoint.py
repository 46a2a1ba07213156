"""Deploying, promoting and rolling back releases on an endpoint, also by several processes at once."""

import base64
import concurrent.futures
import dataclasses
import shutil
import time

import pytest

from pipeline.cloud.rest import default_rest
from pipeline.cloud.vertex import client, location
from pipeline.config import Config
from pipeline.data import digits
from pipeline.doctor import serving as doctor
from pipeline.doctor.check import Context, Missing
from pipeline.errors import MissingSettings, NoRelease, NothingToRollBack, ReleaseNotFound, UsageError, WrongModelServed
from pipeline.serving import endpoint, rollout
from pipeline.serving.model_registry import Registry
from tests import documentation
from tests.documentation import commands, paste
from tests.gcloud import Programs
from tests.serving import Serving


class Killed(BaseException):
    """Stands for a kill."""


@pytest.fixture
def tried(serving):
    """model-1 is promoted, model-2 has ten percent."""
    for number in (1, 2):
        endpoint.deploy(serving.config, serving.release(number))
    return serving


def test_the_first_model_gets_all_traffic_on_a_new_endpoint(serving):
    logged = []

    done = endpoint.deploy(serving.config, serving.release(), logged.append)

    assert serving.traffic == {"model-1": 100} == done.traffic
    assert serving.labels["promoted"] == done.promoted == "model-1"
    assert done.changed and done.endpoint == serving.endpoint.name
    assert serving.endpoint.display_name == "digits"
    (deployed,) = serving.endpoint.deployed_models
    assert deployed.model_version_id == "1"
    assert deployed.dedicated_resources.machine_spec.machine_type == "n1-standard-2"
    assert any("Deploying model-1" in line for line in logged)


@pytest.mark.parametrize("replicas, least, most", [("2", 2, 2), ("1:3", 1, 3), ("0:3", 0, 3)])
def test_as_many_machines_serve_as_are_set(serving, replicas, least, most):
    endpoint.deploy(serving.settings(serving_replicas=replicas), serving.release())

    (deployed,) = serving.endpoint.deployed_models
    resources = deployed.dedicated_resources
    assert (resources.min_replica_count, resources.max_replica_count) == (least, most)
    assert serving.traffic == {"model-1": 100}


def test_requests_are_logged_when_a_share_is_set_and_no_longer_when_it_is_0(serving):
    def logging():
        return serving.endpoint.predict_request_response_logging_config

    endpoint.deploy(serving.config, serving.release())
    assert not logging().enabled
    logged = serving.settings(serving_log=0.1)
    assert endpoint.promote(logged, "model-1").changed
    assert (logging().enabled, logging().sampling_rate) == (True, 0.1)
    assert logging().bigquery_destination.output_uri == f"bq://{serving.cloud.project}"
    assert not endpoint.promote(logged, "model-1").changed
    assert not endpoint.promote(serving.config, "model-1").changed and logging().enabled  # it may be set by hand
    assert endpoint.promote(serving.settings(serving_log=0.0), "model-1").changed and not logging().enabled


def test_a_new_model_gets_its_share(tried):
    assert tried.traffic == {"model-1": 90, "model-2": 10}
    assert tried.default == ["model-1"]


def test_what_serves_is_read_without_changing_anything(serving):
    assert endpoint.traffic(serving.config) == {}
    endpoint.deploy(serving.config, serving.release())
    assert endpoint.traffic(serving.config) == {"model-1": 100} == serving.traffic


def test_a_newer_release_replaces_the_canary(tried):
    endpoint.deploy(tried.settings(canary_traffic=25), tried.release(3))
    assert tried.traffic == {"model-1": 75, "model-3": 25}


def test_promoting_gives_all_traffic_and_undeploys_the_previous_release(tried):
    done = endpoint.promote(tried.config)

    assert tried.traffic == {"model-2": 100} == done.traffic and done.release == "model-2"
    assert tried.default == ["model-2"] and tried.labels["previous"] == "model-1"


def test_a_release_that_was_never_deployed_can_be_promoted(serving):
    serving.release()
    assert endpoint.promote(serving.config, "model-1").traffic == serving.traffic == {"model-1": 100}


def test_rolling_back_deploys_the_previous_release_again(tried):
    endpoint.promote(tried.config, "model-2")

    done = endpoint.roll_back(tried.config)

    assert tried.traffic == {"model-1": 100} == done.traffic and done.release == "model-1"
    assert tried.default == ["model-1"] and tried.labels["rolled-back"] == "model-2"
    assert endpoint.deploy(tried.config, tried.release(2)).traffic == {"model-1": 100}, "it had its turn"
    assert endpoint.promote(tried.config).traffic == {"model-1": 100}
    assert endpoint.promote(tried.config, "model-2").traffic == {"model-2": 100}


def test_rolling_back_removes_the_canary(tried):
    assert endpoint.roll_back(tried.config).traffic == tried.traffic == {"model-1": 100}


@pytest.mark.parametrize("what", ["deploy", "promote", "roll back"])
def test_a_repeated_call_changes_nothing(tried, what):
    ask = {
        "deploy": lambda: endpoint.deploy(tried.config, tried.release(2)),
        "promote": lambda: endpoint.promote(tried.config),
        "roll back": lambda: endpoint.roll_back(tried.config),
    }[what]
    first = ask()
    tried.cloud.requests.clear()

    again = ask()

    assert again == dataclasses.replace(first, changed=False)
    changes = ("DeployModel", "UndeployModel", "UpdateEndpoint", "UploadModel", "CreateEndpoint", "MergeVersionAliases")
    assert not [asked for asked in tried.cloud.requests if asked.method in changes]


def test_a_call_after_a_kill_at_any_step_completes_it(serving):
    """Killed at the first, second, third ... line of the log; then called again."""
    for number in (1, 2):
        serving.release(number)
    ways = [
        lambda log: endpoint.deploy(serving.config, serving.release(1), log),
        lambda log: endpoint.deploy(serving.config, serving.release(2), log),
        lambda log: endpoint.promote(serving.config, "model-2", log),
        lambda log: endpoint.roll_back(serving.config, log),
    ]
    wanted = [{"model-1": 100}, {"model-1": 90, "model-2": 10}, {"model-2": 100}, {"model-1": 100}]
    for way, traffic in zip(ways, wanted, strict=True):
        for step in range(10):
            left = step

            def log(line):
                nonlocal left
                left -= 1
                if left < 0:
                    raise Killed

            try:
                way(log)
            except Killed:
                continue
            break
        assert serving.traffic == traffic
    assert len(serving.versions()) == 2 and len(serving.endpoints()) == 1


@pytest.mark.parametrize("kind", ["503", "lose"])
def test_each_call_may_fail_once(serving, kind):
    releases = [serving.release(number) for number in (1, 2)]
    methods = ("CreateEndpoint", "DeployModel", "UndeployModel", "UpdateEndpoint", "MergeVersionAliases", "GetEndpoint")
    for method in (*methods, "ListEndpoints", "GetOperation", "ListOperations"):
        serving.cloud.faults.add("aiplatform", method, kind=kind)

    for release in releases:
        endpoint.deploy(serving.config, release)
    endpoint.promote(serving.config, "model-2")
    assert serving.traffic == {"model-2": 100}
    endpoint.roll_back(serving.config)

    assert serving.traffic == {"model-1": 100} and serving.labels["promoted"] == "model-1"
    assert len(serving.versions()) == 2 and serving.default == ["model-1"]


def test_concurrent_calls_make_one_deployment(serving):
    release = serving.release()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: endpoint.deploy(serving.config, release), range(4)))

    assert serving.traffic == {"model-1": 100}
    assert {tuple(found.traffic.items()) for found in done} == {(("model-1", 100),)}
    assert len(serving.versions()) == 1


def test_a_second_caller_waits_for_a_deployment_under_way(tried):
    Registry(tried.config).upload(tried.release(3))
    tried.cloud.requests.clear()
    tried.cloud.vertex.operations.hold()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        done = [pool.submit(endpoint.deploy, tried.config, tried.release(3)) for _ in range(2)]
        while not all(any(asked.status == 200 for asked in tried.cloud.asked(method=m)) for m in LOOKING):
            assert not done[0].done() and not done[1].done()
            time.sleep(0.01)
        tried.cloud.vertex.operations.release()

    assert done[0].result().traffic == done[1].result().traffic == {"model-1": 90, "model-3": 10}
    assert [asked.status for asked in tried.cloud.asked(method="DeployModel")].count(200) == 1


LOOKING = ("DeployModel", "GetOperation")


def test_a_model_that_another_process_undeploys_first_is_left_to_it(tried):
    """The previous model is undeployed by another process just before `promote` does it."""
    endpoints, undeployed = client(tried.config, "EndpointService"), []

    def log(line):
        if line.startswith("Undeploying model-1") and not undeployed:
            (model,) = (each for each in tried.endpoint.deployed_models if each.display_name == "model-1")
            endpoints.undeploy_model(endpoint=tried.endpoint.name, deployed_model_id=model.id).result()
            undeployed.append(model)

    done = endpoint.promote(tried.config, log=log)

    assert undeployed and done.traffic == tried.traffic == {"model-2": 100}
    assert 404 in [asked.status for asked in tried.cloud.asked(method="UndeployModel")]


def test_a_concurrent_change_is_not_overwritten(tried):
    """Labels are changed by hand just before `promote` updates the endpoint: it reads them and keeps them."""
    endpoints, changed = client(tried.config, "EndpointService"), []

    def log(line):
        if line.startswith("Traffic of") and not changed:
            found = tried.endpoint
            found.labels["team"] = "cats"
            endpoints.update_endpoint(endpoint=found, update_mask={"paths": ["labels"]})
            changed.append(line)

    endpoint.promote(tried.config, log=log)

    assert changed and tried.labels["team"] == "cats" and tried.traffic == {"model-2": 100}


def test_an_endpoint_created_by_hand_is_used(serving):
    endpoints = client(serving.config, "EndpointService")
    made = endpoints.create_endpoint(parent=location(serving.config), endpoint={"display_name": "digits"}).result()

    endpoint.deploy(serving.config, serving.release())

    assert serving.endpoint.name == made.name and serving.traffic == {"model-1": 100}
    endpoints.create_endpoint(parent=location(serving.config), endpoint={"display_name": "digits"}).result()
    with pytest.raises(UsageError, match="VERTEX_ENDPOINT is the name of several"):
        endpoint.roll_back(serving.config)


def test_the_endpoint_answers_with_the_models_in_their_shares(tried):
    """The deployed SavedModel, from the copy for serving, predicts as for an application."""
    predictions = client(tried.config, "PredictionService")
    label, image = next((name.partition("/")[0], image) for name, image in digits.images(digits.FIRST, limit=1))
    instance = {"image": {"b64": base64.b64encode(image).decode()}}

    answers = [predictions.predict(endpoint=tried.endpoint.name, instances=[instance]) for _ in range(20)]

    assert sorted(answer.model_version_id for answer in answers) == ["1"] * 18 + ["2"] * 2
    (prediction,) = answers[0].predictions
    assert prediction["label"] == label and sorted(prediction["all_classes"]) == list("0123456789")
    assert sum(prediction["probabilities"]) == pytest.approx(1, abs=1e-4)


def test_another_model_under_the_same_tag_is_refused(serving, saved_model, tmp_path):
    """Releases that were deleted, at the same address, count from model-1 again."""
    endpoint.deploy(serving.config, serving.release())
    for name in serving.cloud.gcs.names(serving.config.releases):
        serving.cloud.gcs.delete(f"gs://{serving.cloud.bucket}/{name}")
    other = shutil.copytree(saved_model, tmp_path / "other")
    (other / "assets" / "note.txt").write_text("This is another one.")
    assert Serving(serving.cloud, serving.config.workspace, str(other)).release().tag == "model-1"

    with pytest.raises(WrongModelServed) as error:
        endpoint.promote(serving.config, "model-1")
    wrong = error.value
    assert (wrong.tag, wrong.endpoint, wrong.served, wrong.released) == ("model-1", "digits", "1", "2")


def test_refusals_name_the_next_step(serving):
    with pytest.raises(MissingSettings, match="VERTEX_ENDPOINT"):
        endpoint.promote(serving.settings(endpoint=""))
    with pytest.raises(MissingSettings, match="WORKSPACE.*GCP_PROJECT.*GCP_REGION"):
        endpoint.roll_back(Config(endpoint="digits"))
    with pytest.raises(NoRelease):
        endpoint.promote(serving.config)
    with pytest.raises(ReleaseNotFound) as unknown:
        endpoint.promote(serving.config, "model-7")
    assert (unknown.value.tag, unknown.value.releases) == ("model-7", serving.config.releases)
    with pytest.raises(NothingToRollBack, match="no model was promoted yet") as nothing:
        endpoint.roll_back(serving.config)
    assert (nothing.value.endpoint, nothing.value.promoted) == ("digits", "")
    endpoint.deploy(serving.config, serving.release())
    with pytest.raises(NothingToRollBack, match="model-1 is the first") as nothing:
        endpoint.roll_back(serving.config)
    assert nothing.value.promoted == "model-1"


def test_models_of_a_former_name_of_the_repository_are_named_and_ended_by_the_command_of_the_doctor(serving, tmp_path):
    endpoint.deploy(serving.config, serving.release())
    renamed = serving.settings(releases=f"{serving.config.workspace}/renamed")
    serving.config = renamed
    releases = [serving.release(number) for number in (1, 2)]
    endpoint.deploy(renamed, releases[1])
    assert endpoint.unused(renamed) == {}  # the old one still has most of the traffic
    endpoint.promote(renamed, "model-2")
    (left,) = endpoint.unused(renamed).items()
    assert left[1] == "model-1" and serving.traffic == {"model-1": 0, "model-2": 100}
    (problem,) = rollout.served(renamed).problems
    assert left[0] in problem and "keeps a machine running" in problem

    with pytest.raises(Missing) as missing:
        doctor.endpoint(Context(renamed, default_rest(), ""))
    with Programs(serving.cloud) as programs:
        paste(missing.value.fix, tmp_path, programs.folder)

    assert endpoint.unused(renamed) == {} and serving.traffic == {"model-2": 100}
    assert doctor.endpoint(Context(renamed, default_rest(), "")).startswith("digits serves")


def test_the_commands_of_the_pages_empty_the_endpoint(tried, tmp_path):
    (script,) = commands("docs/operations.md#empty-the-endpoint")
    variables = {"GCP_REGION": tried.cloud.region, "VERTEX_ENDPOINT": "digits"}

    with Programs(tried.cloud) as programs:
        paste(script, tmp_path, programs.folder, **variables)

    assert not tried.endpoint.deployed_models and len(tried.versions()) == 2
    endpoint.deploy(tried.config, tried.release(3))
    assert tried.traffic == {"model-3": 100}


def test_the_commands_of_the_pages_remove_all_that_they_created_and_what_runs_left(serving, tmp_path):
    (empty,) = commands("docs/operations.md#empty-the-endpoint")
    (remove,) = commands("docs/operations.md#remove-everything-again")
    cloud = serving.cloud
    accounts = {name.upper(): f"{name}@{cloud.project}.iam.gserviceaccount.com" for name in ("pipelines", "builds")}
    with Programs(cloud) as programs:
        project = documentation.create(programs, tmp_path)
        config = serving.settings(endpoint=project.exports["VERTEX_ENDPOINT"])
        for number in (1, 2):
            endpoint.deploy(config, serving.release(number))
        assert cloud.gcs.names(f"gs://{cloud.bucket}/") and cloud.pools.found and cloud.registry.repositories

        github = f"github@{cloud.project}.iam.gserviceaccount.com"
        paste(f"{empty}\n{remove}", tmp_path, programs.folder, **project.exports, **accounts, GITHUB=github)

        assert {pool["state"] for name, pool in cloud.pools.found.items() if "/providers/" not in name} == {"DELETED"}
    assert not serving.endpoints() and not cloud.vertex.models.models and not cloud.gcs.store.buckets
    assert not cloud.accounts.accounts and not cloud.registry.repositories and not cloud.secrets.names()

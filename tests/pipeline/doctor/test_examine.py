"""The doctor on projects that lack something, which it names with the command that fixes it."""

import dataclasses
import datetime
import json
import pathlib
import re
import shlex

import pytest

from pipeline.cloud.vertex import client, location
from pipeline.config import Config
from pipeline.doctor import repository
from pipeline.doctor.examine import CHECKS, Check, examine
from pipeline.serving import canary, device_channel
from pipeline.setup import apply, resources
from pipeline.storage.factory import open_storage
from tests.conftest import BucketWorkspace
from tests.devices import Devices
from tests.emulators.cloud import Cloud
from tests.pipeline.setup import conftest as setup_project
from tests.pipeline.setup.conftest import Project

ROOT = pathlib.Path(__file__).parents[3]
DIGEST = "sha256:" + "5" * 64
SECRET = "projects/spanloop-local/secrets/github-token"


@pytest.fixture
def config(cloud_environment, gs_workspace) -> Config:
    """A configuration for which every resource exists."""
    cloud = cloud_environment
    cloud.registry.add("spanloop", f"pipelines@{DIGEST}")
    cloud.secrets.add(SECRET, b"ghp_secret-of-a-test")
    repository = f"{cloud.region}-docker.pkg.dev/{cloud.project}/spanloop/pipelines"
    record = {"image": f"{repository}@{DIGEST}", "tfx": "1.16.0", "python": "3.10", "commit": "", "content": ""}
    open_storage(gs_workspace).write(f"images/{DIGEST.removeprefix('sha256:')}.json", json.dumps(record).encode())
    return Config(
        workspace=gs_workspace,
        project=cloud.project,
        region=cloud.region,
        image_repository=repository,
        image=f"{repository}@{DIGEST}",
        service_account=cloud.account,
        build_service_account=cloud.builder,
        endpoint="digits",
        release_token_secret=f"{SECRET}/versions/latest",
    )


def examined(config: Config) -> dict[str, Check]:
    """Each check by name; every check is well-formed."""
    checks = examine(config)
    assert [check.name for check in checks] == ["settings", "credentials", *CHECKS]
    for check in checks:
        assert bool(check.found) == (check.ok is True) and bool(check.problem) == (check.ok is not True), check
        assert not config.project or "MY-PROJECT" not in check.fix
        for command in check.fix.splitlines():
            assert shlex.split(command, comments=True)[0] in ("gcloud", "gh", "export", "openssl", "python"), command
    return {check.name: check for check in checks}


def wrong(config: Config) -> dict[str, Check]:
    return {name: check for name, check in examined(config).items() if not check.ok}


def test_a_complete_project_passes_every_check(config):
    assert wrong(config) == {}


def test_automl_is_asked_for_by_a_training_that_is_refused(config, cloud):
    assert examined(config)["AutoML"].found == "not used: PIPELINE is training"

    check = examined(dataclasses.replace(config, pipeline="automl"))["AutoML"]

    assert check.found == f"offered in {config.region}; a run costs at most $45.72 for training"
    pipelines = client(config, "PipelineService")
    assert not list(pipelines.list_training_pipelines(parent=location(config)))


def test_nothing_is_left_behind_and_no_secret_is_shown(config, cloud):
    checks = examine(config)
    assert [name.partition("/")[2].split("/")[0] for name in cloud.gcs.names(f"gs://{cloud.bucket}")] == ["images"]
    assert "ghp_secret-of-a-test" not in repr(checks)


def test_missing_settings_are_named_with_the_commands_that_set_them(cloud_environment):
    found = examined(Config())
    assert found["settings"].ok is False and "export GCP_PROJECT=" in found["settings"].fix
    assert found["project"].ok is None and found["project"].problem == "GCP_PROJECT: not set"
    assert found["bucket"].ok is None and "WORKSPACE" in found["bucket"].problem


def test_a_caller_without_roles_gets_the_commands_that_grant_them(config, cloud):
    cloud.policies.clear()
    found = wrong(config)
    member = f"--member=serviceAccount:{cloud.account}"
    assert found["project"].ok is False and f"{member} --role=roles/browser" in found["project"].fix
    assert found["your permissions"].fix.splitlines() == [
        f"gcloud projects add-iam-policy-binding {cloud.project} {member} --role={role}"
        for role in ("roles/aiplatform.user", "roles/cloudbuild.builds.editor")
    ]
    assert found["APIs"].ok is None and found["pipelines' roles"].ok is None
    assert found["secret"].ok is False


def test_a_project_that_cannot_be_seen(config):
    found = wrong(dataclasses.replace(config, project="foreign"))
    assert found["project"].ok is False and "may not see it" in found["project"].problem
    assert "projects add-iam-policy-binding foreign" in found["project"].fix


def test_apis_that_are_not_enabled(config, cloud):
    cloud.apis.disabled |= {"aiplatform.googleapis.com", "cloudbuild.googleapis.com"}
    found = wrong(config)
    enable = "gcloud services enable aiplatform.googleapis.com cloudbuild.googleapis.com --project=spanloop-local"
    assert (found["APIs"].ok, found["APIs"].fix) == (False, enable)
    for name in ("Vertex AI", "endpoint"):  # the same cause, no other command
        assert (found[name].ok, found[name].problem) == (
            None,
            "aiplatform.googleapis.com: the project has not enabled this API",
        )
    assert set(found) == {"APIs", "Vertex AI", "endpoint"}


def test_dataflow_is_asked_for_where_it_is_used(config, cloud):
    cloud.apis.disabled.add("dataflow.googleapis.com")
    assert wrong(config) == {}
    assert "dataflow" in wrong(dataclasses.replace(config, dataflow_workers=4))["APIs"].fix


def test_a_missing_bucket(config):
    found = wrong(dataclasses.replace(config, workspace="gs://missing-bucket/x"))
    assert found["bucket"].ok is False
    assert found["bucket"].fix.startswith("gcloud storage buckets create gs://missing-bucket --project=spanloop-local")
    assert found["objects"].ok is None


def test_a_bucket_elsewhere(config):
    found = wrong(dataclasses.replace(config, region="us-central1"))
    assert "lies in europe-west1, not in us-central1" in found["bucket"].problem


def test_a_bucket_whose_rules_keep_objects(config, cloud):
    rules = cloud.gcs.store.bucket(cloud.bucket).properties
    rules |= {"retentionPolicy": {"retentionPeriod": "60"}, "defaultEventBasedHold": True}
    check = wrong(config)["bucket"]
    assert "keeps objects (retentionPolicy, defaultEventBasedHold)" in check.problem
    update = "gcloud storage buckets update gs://spanloop-local"
    assert check.fix.splitlines() == [f"{update} --clear-retention-period", f"{update} --no-default-event-based-hold"]
    rules.clear()
    rules["versioning"] = {"enabled": True}
    (found,) = (each.found for each in examine(config) if each.name == "bucket")
    assert "earlier version" in found


@pytest.mark.parametrize("verb", ["create", "delete", "list", "get"])
def test_a_permission_on_objects(config, cloud, verb):
    cloud.gcs.access.deny(f"storage.objects.{verb}")
    check = wrong(config)["objects"]
    assert check.ok is False and f"storage.objects.{verb}" in check.problem
    grant = "gcloud storage buckets add-iam-policy-binding gs://spanloop-local --member=serviceAccount:pipelines@"
    assert check.fix.startswith(grant) and check.fix.endswith("--role=roles/storage.objectUser")


def test_a_repository_and_an_image(config, cloud):
    cloud.registry.add("spanloop", format="MAVEN")
    assert "is for MAVEN" in wrong(config)["image repository"].problem
    cloud.registry.add("spanloop")
    (check,) = wrong(config).values()
    assert (check.name, check.ok, check.fix) == ("image", False, "python -m ci build-image")
    cloud.registry.reset()
    assert "artifacts repositories create spanloop --location=europe-west1" in wrong(config)["image repository"].fix
    cloud.registry.add("spanloop")
    unset = examined(dataclasses.replace(config, image=""))["image"]
    assert unset.ok and unset.found.startswith("none of this code yet")


def test_accounts_that_are_missing_or_may_not_be_used(config, cloud):
    del cloud.accounts.accounts[cloud.builder]
    assert "service-accounts create builds --project=spanloop-local" in wrong(config)["build account"].fix
    cloud.accounts.accounts[cloud.builder] = True
    assert f"service-accounts enable {cloud.builder}" in wrong(config)["build account"].fix
    cloud.policies.revoke(f"projects/{cloud.project}", "roles/iam.serviceAccountUser", cloud.account)
    assert wrong(config)["pipelines' account"].ok is None


def test_roles_that_an_account_lacks(config, cloud):
    cloud.policies.revoke(f"projects/{cloud.project}", "roles/aiplatform.user", cloud.account)
    cloud.policies.revoke(f"projects/{cloud.project}", "roles/artifactregistry.writer", cloud.builder)
    found = wrong(config)
    assert re.search(
        r"--member=serviceAccount:pipelines@.* --role=roles/aiplatform.user", found["pipelines' roles"].fix
    )
    assert "artifacts repositories add-iam-policy-binding spanloop --location" in found["build roles"].fix
    assert "aiplatform.pipelineJobs.create" in found["your permissions"].problem


def test_roles_on_the_resource_itself_are_enough(config, cloud):
    for role in ("roles/storage.objectUser", "roles/storage.legacyBucketReader"):
        cloud.policies.revoke(f"projects/{cloud.project}", role, cloud.account)
    assert wrong(config)["pipelines' roles"].ok is False
    for role in ("roles/storage.objectUser", "roles/storage.legacyBucketReader"):
        cloud.policies.grant(f"buckets/{cloud.bucket}", role, cloud.account)
    assert wrong(config) == {}


def test_policies_that_may_not_be_read_are_unknown_with_a_command(config, cloud):
    for role in ("roles/browser", "roles/iam.securityReviewer"):
        cloud.policies.revoke(f"projects/{cloud.project}", role, cloud.account)
    check = wrong(config)["pipelines' roles"]
    assert check.ok is None and "roles/storage.objectUser on gs://spanloop-local" in check.problem
    assert len(check.fix.splitlines()) == 5


def test_a_secret_that_is_missing_empty_or_not_allowed(config, cloud):
    absent = wrong(dataclasses.replace(config, release_token_secret="projects/spanloop-local/secrets/x/versions/1"))
    assert "gcloud secrets create x --project=spanloop-local" in absent["secret"].fix
    cloud.secrets.add(SECRET, b"\n")
    assert "secrets versions add github-token" in wrong(config)["secret"].fix
    cloud.policies.revoke(f"projects/{cloud.project}", "roles/secretmanager.secretAccessor", cloud.account)
    assert "--role=roles/secretmanager.secretAccessor" in wrong(config)["secret"].fix


def test_optional_settings_may_be_unset(config):
    unset = dataclasses.replace(config, endpoint="", release_token_secret="")
    assert wrong(unset) == {}


def test_a_transient_failure_of_a_service_is_retried(config, cloud):
    for service in ("cloudresourcemanager", "serviceusage", "iam", "artifactregistry", "secretmanager"):
        cloud.faults.add(service, kind="503")
    assert wrong(config) == {}


def test_a_service_that_does_not_answer_hides_no_other_check(config, cloud):
    cloud.faults.add("cloudresourcemanager", kind="503", times=1000)
    found = wrong(config)
    assert found["project"].ok is False and "later" in found["project"].problem
    assert set(found) == {"project", "your permissions", "pipelines' roles", "build roles"}


@pytest.fixture
def on_github(config, cloud) -> Config:
    """The configuration that releases on GitHub, with a token of which GitHub says that it ends in 15 days."""
    token = cloud.github.token(contents="write")
    cloud.secrets.add(SECRET, token.encode())
    cloud.github.about.rules = list(repository.NEEDED)
    end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=15)
    cloud.github.about.token_headers = {"GitHub-Authentication-Token-Expiration": f"{end:%Y-%m-%d %H:%M:%S} UTC"}
    return dataclasses.replace(config, releases=f"github:{cloud.github.repository}", github_token=token)


def test_a_release_token_that_could_push_to_the_default_branch_is_named(on_github, cloud):
    cloud.github.about.rules = []
    check = wrong(on_github)["branch rules"]
    assert check.ok is False and "may push to main of acme/widget" in check.problem
    command = shlex.split(check.fix)
    assert command[:5] == ["gh", "api", "--method", "POST", "repos/acme/widget/rulesets"]
    rules = [rule["type"] for rule in json.loads((ROOT / command[-1]).read_text())["rules"]]

    cloud.github.about.rules = rules
    assert wrong(on_github) == {}
    cloud.github.about.rules = [rule for rule in rules if rule != "pull_request"]
    assert "no active ruleset has pull_request" in wrong(on_github)["branch rules"].problem


def test_a_release_token_that_ends_later_and_may_no_more_than_publish_passes(on_github):
    assert wrong(on_github) == {}
    assert re.search(r"valid until \d{4}-\d\d-\d\d", examined(on_github)["release token"].found)


@pytest.mark.parametrize(
    "headers, administrator, problem",
    [
        ({"GitHub-Authentication-Token-Expiration": "2020-01-31 08:00:00 -0500"}, False, "expires on 2020-01-31"),
        ({}, False, "does not expire"),
        ({"GitHub-Authentication-Token-Expiration": "some day"}, False, "does not expire"),
        ({"X-OAuth-Scopes": "repo, workflow"}, False, "classic one with the scopes repo, workflow"),
        ({}, True, "belongs to an administrator"),
    ],
)
def test_a_release_token_that_may_too_much_or_for_too_long_is_named(on_github, cloud, headers, administrator, problem):
    cloud.github.about.token_headers |= {"GitHub-Authentication-Token-Expiration": ""} | headers
    cloud.github.about.administrator = administrator

    (check,) = wrong(on_github).values()
    assert check.name == "release token" and check.ok is False and problem in check.problem
    assert check.fix == "gcloud secrets versions add github-token --project=spanloop-local --data-file=-"


def test_a_release_token_that_ends_within_two_weeks_is_named(on_github, cloud):
    end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=13)
    cloud.github.about.token_headers = {"GitHub-Authentication-Token-Expiration": f"{end:%Y-%m-%d %H:%M:%S} UTC"}
    assert f"expires on {end:%Y-%m-%d}, after which no model is released" in wrong(on_github)["release token"].problem


def test_a_release_token_that_was_revoked_is_named(on_github, cloud):
    cloud.secrets.add(SECRET, b"ghp_revoked")
    check = wrong(on_github)["release token"]
    assert check.ok is False and "has expired or was revoked" in check.problem and "ghp_revoked" not in repr(check)


def test_a_release_token_that_the_caller_may_not_read_is_left_alone(on_github, cloud):
    cloud.policies.revoke(f"projects/{cloud.project}", "roles/secretmanager.secretAccessor", cloud.account)
    assert "you may not read it" in examined(on_github)["release token"].found


@pytest.fixture
def publishing(config, cloud) -> Config:
    """The configuration with a channel in the bucket and a key in Cloud KMS."""
    key = cloud.kms.add("spanloop", "device-models")
    return dataclasses.replace(config, device_channel=config.workspace, device_signing_key=key)


def test_channels_and_their_key_are_checked(publishing, cloud, tmp_path):
    assert examined(publishing)["devices"].found == f"{publishing.workspace}: nothing yet"
    devices = Devices(BucketWorkspace(cloud, publishing.workspace), tmp_path)
    device_channel.publish(publishing, devices.release(1))
    assert wrong(publishing) == {}
    assert "stable model-1 100 %" in examined(publishing)["devices"].found

    for days, ok in ((30, True), (13, False)):
        early = dataclasses.replace(publishing, device_valid_days=days)
        channel = device_channel.DeviceChannel(early)
        for name in ("stable", "beta"):
            devices.workspace.remove(f"devices/classification/channels/{name}.json")
        channel.reach(canary.promotion("model-1"))
        check = examined(publishing)["devices"]
        assert (check.ok, check.fix) == (ok, "" if ok else "python -m ci promote --only devices")


def test_what_publishing_for_devices_lacks_is_named(publishing, cloud, tmp_path):
    cloud.apis.disabled.add("cloudkms.googleapis.com")
    assert "cloudkms" in wrong(publishing)["APIs"].fix
    assert wrong(publishing)["devices"].problem == "cloudkms.googleapis.com: the project has not enabled this API"
    cloud.apis.disabled.clear()
    cloud.policies.clear()
    fix = wrong(publishing)["devices"].fix
    assert fix.startswith("gcloud kms keys add-iam-policy-binding device-models --keyring=spanloop --location=europe")
    assert "--role=roles/cloudkms.signerVerifier" in fix
    unset = dataclasses.replace(publishing, device_signing_key="")
    assert wrong(unset)["devices"].fix == "export DEVICE_SIGNING_KEY=device-key.pem"
    absent = dataclasses.replace(publishing, device_signing_key=str(tmp_path / "absent.pem"))
    assert wrong(absent)["devices"].fix.startswith("openssl genpkey")


def test_a_pipelines_account_that_may_not_sign(publishing, cloud):
    cloud.policies.revoke(f"projects/{cloud.project}", "roles/cloudkms.signerVerifier", cloud.account)
    found = wrong(publishing)
    assert "lacks roles/cloudkms.signerVerifier on device-models" in found["pipelines' roles"].problem
    assert "gcloud kms keys add-iam-policy-binding device-models" in found["pipelines' roles"].fix


@pytest.fixture
def set_up(cloud_environment) -> Project:
    """A project in which `setup` created everything, and the workflows' account looks."""
    made = setup_project.of(cloud_environment)
    made.apply()
    account = resources.workflows_account(made.config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(made.cloud.oauth.key_file(account)))
        apply.add_version(made.rest, resources.secret(made.config.release_token_secret), b"ghp_of-a-test")
        yield made


def test_a_project_that_was_set_up_is_ready(set_up):
    assert wrong(set_up.config) == {}


WANTED = resources.with_defaults(
    Config(workspace="gs://spanloop-local/spanloop", project="spanloop-local", region="europe-west1"), True
)
TABLE = resources.table(WANTED, Cloud.project_number, setup_project.REPOSITORY)
CHECKED = [*resources.pipelines_grants(WANTED), *resources.builds_grants(WANTED)]


@pytest.mark.parametrize("grant", CHECKED, ids=lambda grant: f"{grant.role}-{grant.on.kind.label}-{grant.member}")
def test_each_role_of_the_table_that_is_missing_is_named_with_its_command(set_up, grant):
    name = grant.on.short.removeprefix("gs://")
    places = {"bucket": f"buckets/{name}", "service account": f"serviceAccounts/{name}"}
    member = grant.member.removeprefix("serviceAccount:")
    set_up.cloud.policies.revoke(places.get(grant.on.kind.label, grant.on.name), grant.role, member)

    found = wrong(set_up.config)

    command = f"gcloud {grant.on.kind.gcloud} add-iam-policy-binding {grant.on.gcloud} --member={grant.member}"
    assert f"{command} --role={grant.role}" in [line for check in found.values() for line in check.fix.splitlines()]
    assert set_up.plan() == [f"+ {grant.role} on {grant.on.short} for {grant.member}"]


@pytest.mark.parametrize("api", [api for api in TABLE.apis if api != "serviceusage.googleapis.com"])
def test_each_api_of_the_table_that_is_not_enabled_is_named_with_its_command(set_up, api):
    set_up.cloud.apis.disabled.add(api)

    found = wrong(set_up.config)

    assert found["APIs"].problem == f"not enabled: {api}"
    enable = f"gcloud services enable {api} --project=spanloop-local"
    assert {check.fix for check in found.values()} <= {enable, ""}, found


@pytest.mark.parametrize("resource", TABLE.resources, ids=lambda resource: f"{resource.kind.label} {resource.short}")
def test_each_resource_of_the_table_that_is_missing_is_named_with_its_command(set_up, resource):
    cloud = set_up.cloud
    remove = {
        "bucket": lambda: cloud.gcs.store.buckets.pop(cloud.bucket),
        "image repository": lambda: cloud.registry.repositories.pop(resource.name),
        "service account": lambda: cloud.accounts.accounts.pop(resource.short),
        "identity pool": cloud.pools.found.clear,
        "identity provider": lambda: cloud.pools.found.pop(resource.name),
        "secret": lambda: cloud.secrets.remove(resource.name),
    }
    remove[resource.kind.label]()

    found = examined(set_up.config)

    if resource.short == resources.workflows_account(set_up.config) or resource.kind.label.startswith("identity"):
        assert "ci setup --repository" in f"{found['workflows'].found}{found['workflows'].fix}"
        return
    created = f"gcloud {resource.kind.gcloud} create {resource.short.partition('@')[0]}"
    assert [check for check in found.values() if check.ok is False and check.fix.startswith(created)]


@pytest.mark.parametrize(
    "condition, problem",
    [
        ("assertion.repository == 'acme/widget'", "no assertion.repository_id"),
        ("assertion.repository_id == '4711' && assertion.repository_owner_id == '42'", "other branches"),
        ("assertion.repository_id == '4711' || assertion.ref == 'refs/heads/main'", "with alternatives"),
    ],
)
def test_an_identity_provider_that_lets_others_in_is_named(set_up, condition, problem):
    name = f"{resources.pool(set_up.config).name}/providers/github"
    set_up.cloud.pools.found[name]["attributeCondition"] = condition

    check = wrong(set_up.config)["workflows"]

    assert check.ok is False and problem in check.problem
    assert check.fix == "python -m ci setup --repository OWNER/NAME"


POOL = f"principalSet://iam.googleapis.com/projects/{Cloud.project_number}/locations/global/workloadIdentityPools"


@pytest.mark.parametrize(
    "jobs", ["x/*", "github/attribute.repository/acme/widget", "github/attribute.environment/none"]
)
def test_a_binding_that_lets_more_jobs_in_than_the_workflows_have_is_named(set_up, jobs):
    account = resources.workflows_account(set_up.config)
    member = f"{POOL}/{jobs}"
    set_up.cloud.policies.grant(f"serviceAccounts/{account}", resources.FEDERATED, member)

    check = wrong(set_up.config)["workflows"]

    assert check.ok is False and member in check.problem
    assert check.fix.startswith(f"gcloud iam service-accounts remove-iam-policy-binding {account}")


def test_an_environment_whose_jobs_may_not_sign_in_is_named(set_up):
    account = resources.workflows_account(set_up.config)
    member = f"{POOL}/github/attribute.environment/evaluation"
    set_up.cloud.policies.revoke(f"serviceAccounts/{account}", resources.FEDERATED, member)

    check = wrong(set_up.config)["workflows"]

    assert check.problem == f"jobs of the environments evaluation may not use {account}"
    assert check.fix == "python -m ci setup --repository OWNER/NAME"

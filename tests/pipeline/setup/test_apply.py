"""Setting up projects that lack everything, one thing or nothing, on the local servers."""

import concurrent.futures
import dataclasses

import pytest

from pipeline.errors import CloudRefused
from pipeline.setup import apply, resources
from pipeline.setup.resources import BUCKET, PROVIDER

WIDE = "assertion.repository == 'acme/widget'"


def test_a_new_project_gets_everything_and_then_nothing_more(project):
    planned = project.plan()
    assert len(planned) > 50 and all(line.startswith("+") for line in planned)

    assert project.apply() == planned

    assert project.plan() == [] and project.apply() == []
    assert {call.method for call in project.cloud.asked() if call.status >= 400} <= {
        call.method for call in project.cloud.asked() if call.method.startswith(("Get", "buckets.get"))
    }


def test_a_plan_changes_nothing(project):
    project.plan()

    asked = {call.method for call in project.cloud.asked_of_services()}
    assert {method for method in asked if method.startswith(("Create", "Set", "Batch"))} == {"BatchGetServices"}
    assert not project.cloud.gcs.store.buckets and not project.cloud.accounts.accounts


@pytest.mark.parametrize("after", [1, 9, 17, 23, 30])
def test_what_a_stopped_call_left_is_done_by_the_next(project, after):
    lines = []

    def stop(line: str) -> None:
        lines.append(line)
        if len(lines) == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        project.apply(log=stop)
    project.apply()

    assert project.plan() == []


def test_two_calls_at_a_time_end_with_the_same_project(project, retry_waits):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        done = [pool.submit(project.apply) for _ in range(2)]
        assert all(call.result() is not None for call in done)

    assert project.plan() == []


@pytest.mark.parametrize("kind", ["503", "lose", "cut"])
def test_calls_that_fail_or_whose_answers_are_lost_are_repeated(project, retry_waits, kind):
    for service in ("serviceusage", "storage", "iam", "artifactregistry", "secretmanager", "cloudkms"):
        project.cloud.faults.add(service, kind=kind)

    project.apply()

    assert project.plan() == []


def test_bindings_with_conditions_and_of_others_stay(project):
    name = f"projects/{project.cloud.project}"
    condition = {"title": "until 2030", "expression": "request.time < timestamp('2030-01-01T00:00:00Z')"}
    binding = {"role": "roles/aiplatform.user", "members": ["user:guest@example.com"], "condition": condition}
    project.cloud.policies.conditional[name] = [binding]
    project.cloud.policies.grant(name, "roles/browser", "else@example.com")

    project.apply()

    assert project.cloud.policies.conditional[name] == [binding]
    assert project.cloud.policies.allowed("else@example.com", name, ["resourcemanager.projects.get"])


def test_what_was_deleted_disabled_or_widened_is_put_right(project):
    project.apply()
    cloud, pool = project.cloud, resources.pool(project.config).name
    cloud.pools.delete("github")
    cloud.pools.found[f"{pool}/providers/github"]["attributeCondition"] = WIDE
    cloud.accounts.accounts[cloud.builder] = True
    cloud.gcs.store.bucket(cloud.bucket).properties["iamConfiguration"]["uniformBucketLevelAccess"] = {"enabled": False}

    steps = [step for step in apply.plan(project.rest, project.config, project.table) if step.sign != apply.THERE]

    assert {step.sign for step in steps} == {"~"} and len(steps) == 4
    (condition,) = (line for step in steps for line in step.details if line.startswith("attributeCondition"))
    assert condition.startswith(f"attributeCondition: {WIDE} -> assertion.repository_id == '4711'")
    project.apply()
    assert project.plan() == []


def test_jobs_that_no_workflow_has_any_more_lose_the_right_to_sign_in(project):
    project.apply()
    account = resources.workflows_account(project.config)
    pool = f"principalSet://iam.googleapis.com/projects/{project.cloud.project_number}/locations/global/workloadIdentityPools"
    former = [f"{pool}/github/attribute.repository/acme/widget", f"{pool}/github/attribute.environment/none"]
    for member in [*former, f"{pool}/another/*"]:
        project.cloud.policies.grant(f"serviceAccounts/{account}", resources.FEDERATED, member)

    lines = [f"~ {resources.FEDERATED} on {account} no longer for {member}" for member in sorted(former)]
    assert sorted(project.plan()) == lines
    assert sorted(project.apply()) == lines and project.plan() == []

    bindings = project.cloud.policies.policy(f"serviceAccounts/{account}")["bindings"]
    (members,) = (binding["members"] for binding in bindings if binding["role"] == resources.FEDERATED)
    assert f"{pool}/another/*" in members and len(members) == 1 + len(resources.ENVIRONMENTS)


def test_settings_of_a_bucket_that_setup_does_not_know_stay(project):
    project.apply()
    found = project.cloud.gcs.store.bucket(project.cloud.bucket).properties
    theirs = {"action": {"type": "Delete"}, "condition": {"age": 3, "matchesPrefix": ["scratch/"]}}
    found["lifecycle"]["rule"] = [theirs]

    assert project.apply() == [f"~ bucket gs://{project.cloud.bucket} in europe-west1"]

    rules = project.cloud.gcs.store.bucket(project.cloud.bucket).properties["lifecycle"]["rule"]
    assert theirs in rules and len(rules) == 2


def test_a_bucket_elsewhere_is_named_and_left(project):
    project.cloud.gcs.store.create_bucket(project.cloud.bucket, project.cloud.project, {"location": "US-CENTRAL1"})
    (step,) = (step for step in apply.plan(project.rest, project.config, project.table) if step.sign == apply.NEVER)
    assert step.what.startswith("bucket gs://spanloop-local") and "location is US-CENTRAL1" in step.details

    with pytest.raises(CloudRefused, match="location is US-CENTRAL1; it cannot be changed"):
        project.apply()


def test_a_caller_who_may_not_gets_the_name_of_the_role_that_it_takes(project, retry_waits):
    project.cloud.policies.clear()

    with pytest.raises(CloudRefused, match="serviceusage.services.get.*the role Owner"):
        project.plan()


def test_the_token_for_releases_becomes_a_version_once(project):
    project.apply()
    secret = resources.secret(project.config.release_token_secret)
    assert not apply.has_version(project.rest, secret)

    assert [apply.add_version(project.rest, secret, b"ghp_1") for _ in range(2)] == [True, False]

    assert apply.has_version(project.rest, secret)
    assert apply.add_version(project.rest, secret, b"ghp_2")


def test_images_stay_private_and_only_models_become_public(project):
    project.apply()
    wanted = {resource.short: resource for resource in project.table.resources if resource.kind is BUCKET}
    models, images = (wanted[f"gs://{name}"] for name in ("models-of-a-test", project.cloud.bucket))
    assert "publicAccessPrevention" not in models.settings["iamConfiguration"]
    opened = resources.Grant(images, "roles/storage.objectViewer", "allUsers")
    table = dataclasses.replace(project.table, grants=(opened,))

    with pytest.raises(CloudRefused, match="public access prevention is enforced"):
        apply.apply(project.rest, project.config, table)


def test_a_provider_without_a_condition_is_refused_by_the_service(project, retry_waits):
    open_to_all = [
        dataclasses.replace(resource, settings={**resource.settings, "attributeCondition": ""})
        for resource in project.table.resources
        if resource.kind is PROVIDER
    ]
    pool = resources.pool(project.config)
    table = dataclasses.replace(project.table, resources=(pool, *open_to_all), grants=())

    with pytest.raises(CloudRefused, match="must reference one of the provider's claims"):
        apply.apply(project.rest, project.config, table)

"""The table of resources, and the page and the workflows that name the same."""

import json
import os
import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from pipeline.config import Config
from pipeline.setup import resources
from pipeline.setup.resources import ENVIRONMENTS, MAPPING, Repository, overlay
from tests.clone import ROOT
from tests.documentation import page

SETTINGS = {"workspace": "gs://images/spanloop", "project": "my-project", "region": "europe-west1"}
ROLE = r"\w+\.\w+(?:\.\w+)?|browser"
PLACES = {
    "the bucket": "gs://images",
    "the secret": "github-token",
    "the image repository": "spanloop",
    "`pipelines@`": "pipelines@my-project.iam.gserviceaccount.com",
    "`builds@`": "builds@my-project.iam.gserviceaccount.com",
}


def test_the_page_lists_the_roles_of_the_table():
    config = resources.with_defaults(Config(**SETTINGS, dataflow_workers=1), for_workflows=True)
    table = resources.table(config, "1", Repository("o/n", 1, 2, "main"))
    actual = {
        (grant.member.partition(":")[2].partition("@")[0], grant.on.short, grant.role.removeprefix("roles/"))
        for grant in table.grants
        if grant.role != resources.FEDERATED
    }

    described, account = set(), ""
    for name, in_project, single in page("docs/google-cloud.md").table("create-the-resources"):
        account = found[1] if (found := re.match(r"`(\w+)@`", name)) else account
        described |= {(account, "my-project", role) for role in re.findall(ROLE, in_project)}
        for part in single.split(", "):
            roles, _, places = part.partition(" on ")
            named = [f"`{account}@`" if place == "itself" else place for place in places.split(" and ")]
            described |= {(account, PLACES[place], role) for place in named for role in re.findall(ROLE, roles)}

    assert described == actual


def test_the_environments_are_those_of_the_jobs_that_sign_in():
    found = set()
    for path in (ROOT / ".github/workflows").glob("*.yml"):
        for job in yaml.safe_load(path.read_text())["jobs"].values():
            if any(step.get("uses") == "./.github/actions/cloud" for step in job.get("steps", [])):
                found.add(job["environment"])
    assert found == set(ENVIRONMENTS)


def test_a_subject_is_short_enough_whatever_names_are():
    # https://docs.github.com/en/actions/reference/security/oidc: both claims are numbers
    assert MAPPING["google.subject"] == "assertion.repository_id + ':' + assertion.run_id"


def test_models_in_the_bucket_of_the_workspace_need_no_other(tmp_path):
    config = resources.with_defaults(Config(**SETTINGS, device_channel="gs://images/models"))
    buckets = [each.short for each in resources.table(config).resources if each.kind is resources.BUCKET]
    assert buckets == ["gs://images"]


def test_an_overlay_keeps_what_it_does_not_name():
    found = {"a": {"b": 1, "c": 2}, "list": [1]}
    assert overlay(found, {"a": {"b": 3}, "list": [1, 2]}) == {"a": {"b": 3, "c": 2}, "list": [1, 2]}
    assert overlay(None, {"a": [1]}) == {"a": [1]}


def rendered(text: str, values: dict[str, str], each: str = "") -> str:
    """A string of infra/main.tf.json with its references replaced."""
    values = {**values, "each.value": each}
    return re.sub(r"\$\{([\w.]+)(?:\[0\])?([\w.]*)\}", lambda found: values[found[1] + found[2]], text)


def terraform() -> tuple[set[str], dict[tuple[str, str], dict[str, Any]], set[tuple[str, str, str]]]:
    """APIs, resources by kind and name, and roles of infra/main.tf.json, with everything that is optional."""
    written = json.loads((ROOT / "infra/main.tf.json").read_text())
    project, accounts = SETTINGS["project"], "my-project.iam.gserviceaccount.com"
    pool = f"projects/1/locations/global/workloadIdentityPools/{resources.pool(EVERYTHING).short}"
    values = {
        "var.project": project,
        "var.region": SETTINGS["region"],
        "var.bucket": "images",
        "var.models_bucket": "models",
        "var.repository_id": "3",
        "var.repository_owner_id": "4",
        "var.branch": "main",
        **{f"google_service_account.{name}.email": f"{name}@{accounts}" for name in ("pipelines", "builds", "github")},
        **{f"google_service_account.{name}.name": f"{name}@{accounts}" for name in ("pipelines", "builds", "github")},
        "google_iam_workload_identity_pool.github.name": pool,
        "google_iam_workload_identity_pool.github.workload_identity_pool_id": "github",
        "google_storage_bucket.workspace.name": "gs://images",
        "google_storage_bucket.models.name": "gs://models",
        "google_artifact_registry_repository.images.repository_id": "spanloop",
        "google_secret_manager_secret.github_token.secret_id": "github-token",
        "google_kms_key_ring.spanloop.id": "spanloop",
        "google_kms_crypto_key.device_models.id": "device-models",
    }
    texts = {name: value for name, value in written["locals"].items() if isinstance(value, str)}
    values |= {f"local.{name}": rendered(value, values) for name, value in texts.items()}
    apis, found, grants = set(), {}, set()
    for kind, blocks in written["resource"].items():
        for block in blocks.values():
            lists = re.findall(r"local\.(\w+)", block.get("for_each", ""))
            for each in written["locals"][lists[0]] if lists else [""]:
                fields = json.loads(rendered(json.dumps(block).replace("${var.models_origins}", ORIGIN), values, each))
                if kind == "google_project_service":
                    apis.add(fields["service"])
                elif kind.endswith("_iam_member"):
                    place = next(fields[name] for name in IAM_PLACES if name in fields)
                    grants.add((place, fields["role"], fields["member"]))
                else:
                    label, name, described = DESCRIBED[kind](fields)
                    found[label, name] = described
    return apis, found, grants


ORIGIN = "https://app.example.com"
IAM_PLACES = ("bucket", "repository", "service_account_id", "secret_id", "crypto_key_id", "project")


def _bucket(fields: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    access = {"uniformBucketLevelAccess": {"enabled": fields["uniform_bucket_level_access"]}}
    access |= {"publicAccessPrevention": fields["public_access_prevention"]} if "dynamic" not in fields else {}
    described = {"location": fields["location"], "iamConfiguration": access}
    if "lifecycle_rule" in fields:
        described["lifecycle"] = {"rule": fields["lifecycle_rule"]}
    if "dynamic" in fields:
        cors = fields["dynamic"]["cors"]["content"]
        shared = {"responseHeader": cors["response_header"], "maxAgeSeconds": cors["max_age_seconds"]}
        described["cors"] = [{"origin": [cors["origin"]], "method": cors["method"], **shared}]
    return "bucket", f"gs://{fields['name']}", described


def _provider(fields: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    described = {
        "attributeMapping": fields["attribute_mapping"],
        "attributeCondition": fields["attribute_condition"],
        "oidc": {"issuerUri": fields["oidc"]["issuer_uri"]},
    }
    return "identity provider", fields["workload_identity_pool_provider_id"], described


DESCRIBED = {
    "google_storage_bucket": _bucket,
    "google_artifact_registry_repository": lambda fields: (
        "image repository",
        fields["repository_id"],
        {"format": fields["format"]},
    ),
    "google_service_account": lambda fields: (
        "service account",
        f"{fields['account_id']}@my-project.iam.gserviceaccount.com",
        {},
    ),
    "google_iam_workload_identity_pool": lambda fields: ("identity pool", fields["workload_identity_pool_id"], {}),
    "google_iam_workload_identity_pool_provider": _provider,
    "google_secret_manager_secret": lambda fields: (
        "secret",
        fields["secret_id"],
        {"replication": {"automatic": fields["replication"]["auto"]}},
    ),
    "google_kms_key_ring": lambda fields: ("key ring", fields["name"], {}),
    "google_kms_crypto_key": lambda fields: (
        "key",
        fields["name"],
        {"purpose": fields["purpose"], "versionTemplate": fields["version_template"]},
    ),
}
SIGNING_KEY = (
    "projects/my-project/locations/europe-west1/keyRings/spanloop/cryptoKeys/device-models/cryptoKeyVersions/1"
)
EVERYTHING = resources.with_defaults(
    Config(
        **SETTINGS,
        dataflow_workers=1,
        device_channel="gs://models",
        device_signing_key=SIGNING_KEY,
        firebase_model="digits",
    ),
    True,
)


def test_terraform_creates_the_same_resources():
    table = resources.table(EVERYTHING, "1", Repository("o/n", 3, 4, "main"), (), [ORIGIN], public=True)

    apis, found, grants = terraform()

    assert apis == set(table.apis)
    assert found == {(each.kind.label, each.short): {**each.fixed, **each.settings} for each in table.resources}
    assert grants == {(grant.on.short, grant.role, grant.member) for grant in table.grants}


@pytest.mark.skipif(not shutil.which("terraform"), reason="needs terraform")
def test_terraform_reads_its_file(tmp_path):
    shutil.copy(ROOT / "infra/main.tf.json", tmp_path)
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "CHECKPOINT_DISABLE": "1"}
    command = ["terraform", f"-chdir={tmp_path}", "providers"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "hashicorp/google" in done.stdout, done.stderr

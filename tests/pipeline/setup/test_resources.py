"""The table of resources, and the page and the workflows that name the same."""

import re

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
    import yaml

    found = set()
    for path in (ROOT / ".github/workflows").glob("*.yml"):
        for job in yaml.safe_load(path.read_text())["jobs"].values():
            if any(step.get("uses") == "./.github/actions/cloud" for step in job.get("steps", [])):
                environment = job.get("environment", "none")
                found.add(environment if isinstance(environment, str) else environment["name"])
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

"""Variables become settings of the next steps."""

import json

from tests.ci.github.test_variables import VARIABLES


def test_the_next_steps_get_the_settings(ci, tmp_path):
    written = tmp_path / "env"
    job = {"VARIABLES": json.dumps(VARIABLES | {"PATH": "/evil"}), "GITHUB_ENV": str(written)}
    done = ci("use-variables", "--json", GITHUB_REPOSITORY="acme/widget", **job)
    assert done.code == 0 and done.json["configured"] and done.json["missing"] == []
    lines = written.read_text().splitlines()
    assert "RELEASES=github:acme/widget" in lines and "GCP_PROJECT=widgets-123" in lines
    assert not [line for line in lines if line.startswith("PATH")]


def test_a_fresh_fork_shows_the_missing_variables(ci, tmp_path):
    done = ci("use-variables", "--json", GITHUB_REPOSITORY="acme/widget", GITHUB_ENV=str(tmp_path / "env"))
    assert done.code == 0 and not done.json["configured"] and "WORKLOAD_IDENTITY_PROVIDER" in done.json["missing"]
    assert "WORKLOAD_IDENTITY_PROVIDER: how Google Cloud knows this repository" in done.err


def test_a_value_that_cannot_be_used_is_an_error(ci):
    done = ci("use-variables", GITHUB_REPOSITORY="acme/widget", VARIABLES='{"CANARY_TRAFFIC": "all"}')
    assert done.code == 2 and "CANARY_TRAFFIC is 'all'" in done.err

"""The stand-ins and act itself, tested with a small workflow."""

import pytest

from tests.workflows.pins import PINS
from tests.workflows.repository import Repository

pytestmark = pytest.mark.timeout(300)


def uses(action: str) -> str:
    return f"{action}@{PINS[action][1]}"


WORKFLOW = f"""
name: small
on: {{workflow_dispatch: {{inputs: {{end: {{default: "0"}}, depth: {{default: "1"}}}}}}}}
permissions: {{}}
jobs:
  makes:
    runs-on: ubuntu-24.04
    permissions: {{contents: read}}
    outputs: {{hit: "${{{{ steps.cache.outputs.cache-hit }}}}"}}
    steps:
      - uses: {uses("actions/checkout")}
        with: {{fetch-depth: "${{{{ inputs.depth }}}}"}}
      - run: echo "commits=$(git rev-list --count HEAD)" >> "$GITHUB_OUTPUT"
        id: history
      - uses: {uses("actions/cache")}
        id: cache
        with: {{path: kept, key: "a-key"}}
      - run: mkdir -p kept; echo "$GITHUB_RUN_ID" >> kept/runs; exit ${{{{ inputs.end }}}}
      - uses: {uses("actions/upload-artifact")}
        with: {{name: kept, path: kept}}
  takes:
    needs: makes
    runs-on: ubuntu-24.04
    permissions: {{contents: read}}
    steps:
      - uses: {uses("actions/download-artifact")}
        with: {{name: kept, path: found}}
      - run: echo "runs=$(tr '\\n' ' ' < found/runs)" >> "$GITHUB_OUTPUT"
        id: found
  signs-in:
    needs: makes
    if: needs.makes.outputs.hit == 'true'
    runs-on: ubuntu-24.04
    permissions: {{contents: read}}
    steps:
      - uses: {uses("google-github-actions/auth")}
        with:
          workload_identity_provider: projects/1/locations/global/workloadIdentityPools/github/providers/github
          service_account: github@a-project.iam.gserviceaccount.com
  gate:
    needs: [makes, takes]
    if: always()
    runs-on: ubuntu-24.04
    permissions: {{contents: read}}
    env:
      NEEDS: ${{{{ toJSON(needs) }}}}
    steps:
      - run: echo "$NEEDS" > needs; echo "failed=$(grep -c failure needs)" >> "$GITHUB_OUTPUT"
        id: gate
"""


@pytest.fixture(scope="module")
def repository(fork) -> Repository:
    (fork.clone.folder / ".github/workflows/small.yml").write_text(WORKFLOW)
    fork.clone.commit("a small workflow")
    return fork


@pytest.fixture(scope="module")
def runs(repository):
    """Three runs: one fails and keeps nothing, one keeps a folder in the cache, one restores it."""
    return [repository.press("small.yml", **inputs) for inputs in ({"end": "3"}, {"depth": "0"}, {})]


def test_a_failing_job_skips_the_next_ones_but_not_the_gate(runs):
    failed = runs[0]
    assert failed.results == {"makes": "failure", "takes": "skipped", "signs-in": "skipped", "gate": "success"}
    assert failed.output("gate", "gate", "failed") == "1" and "exit status 3" in failed.describe()


def test_a_cache_is_kept_by_a_job_that_passes(runs):
    _, second, third = runs
    assert second.output("makes", "cache", "cache-hit") == "" and third.output("makes", "cache", "cache-hit") == "true"
    assert third.output("takes", "found", "runs").split() == [f"{second.id}", f"{third.id}"]


def test_a_checkout_has_history_only_on_request(runs):
    assert [run.output("makes", "history", "commits") for run in runs] == ["1", "2", "1"]


def test_a_job_without_id_token_permission_cannot_sign_in(runs):
    assert runs[2].results["signs-in"] == "failure"
    assert "the job lacks `id-token: write`" in runs[2].log("signs-in")


def test_a_job_has_only_the_permissions_that_its_workflow_declares(repository, runs):
    assert repository.tokens[runs[0].id] == {"contents": "read"}

"""The doctor as people and workflows call it; what it finds is in tests/pipeline/doctor."""

import shutil
import subprocess

import pytest

from tests import documentation
from tests.ci.conftest import ROOT


def test_without_anything_it_says_how_to_begin_and_exits_with_1(ci, tmp_path):
    done = ci("doctor", "--json", CLOUDSDK_CONFIG=str(tmp_path), NO_GCE_CHECK="true")

    assert done.code == 1
    checks = {check["name"]: check for check in done.json["checks"]}
    assert checks["settings"]["ok"] is False and "export GCP_PROJECT=MY-PROJECT" in checks["settings"]["fix"]
    assert checks["credentials"]["fix"] == "gcloud auth application-default login"
    assert checks["bucket"]["ok"] is None
    assert "MISSING  settings" in done.err and "$ gcloud auth application-default login" in done.err
    assert "Traceback" not in done.err


@pytest.fixture
def made(cloud, tmp_path) -> dict[str, str]:
    """Makes a project in which there is nothing but what the pages' commands made; returns what they exported."""
    return documentation.make(cloud, tmp_path).exports


def test_the_commands_of_the_pages_are_all_that_the_doctor_asks_for(ci, cloud, made):
    """Before the first image is built, too."""
    email = f"github@{cloud.project}.iam.gserviceaccount.com"
    variables = cloud.environment | made | {"GOOGLE_APPLICATION_CREDENTIALS": str(cloud.oauth.key_file(email))}

    done = ci("doctor", "--json", **variables)

    assert not [check for check in done.json["checks"] if not check["ok"]], done.err
    assert done.code == 0 and "Ready." in done.err


@pytest.mark.parametrize("branch", ["trunk", "release/1.0", "it's;$HOME&x"])
def test_it_notices_that_pushes_to_the_default_branch_start_nothing(ci, tmp_path, branch):
    origin, clone = tmp_path / "origin", tmp_path / "clone"
    shutil.copytree(ROOT / ".github", origin / ".github")
    git = ["git", "-c", "user.name=T", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"]
    for command in (
        ["init", "--quiet", f"--initial-branch={branch}"],
        ["add", "."],
        ["commit", "--quiet", "--message=A"],
    ):
        subprocess.run([*git, "-C", origin, *command], check=True)
    subprocess.run([*git, "clone", "--quiet", origin, clone], check=True)

    def default_branch() -> dict:
        done = ci(
            "doctor", "--json", cwd=clone, PYTHONPATH=str(ROOT), CLOUDSDK_CONFIG=str(tmp_path), NO_GCE_CHECK="true"
        )
        (found,) = (check for check in done.json["checks"] if check["name"] == "default branch")
        return found

    wrong = default_branch()
    assert wrong["ok"] is False and f"The default branch is {branch}" in wrong["problem"]
    subprocess.run(wrong["fix"], shell=True, cwd=clone, check=True)
    assert default_branch()["ok"] is True
    changed = subprocess.run(["git", "-C", clone, "diff", "-U0"], capture_output=True, text=True, check=True).stdout
    assert f"+    branches: [{branch}] # the default branch" in changed and changed.count("\n+ ") == 2

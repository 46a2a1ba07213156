"""The doctor as people and workflows call it; what it finds is in tests/pipeline/doctor."""

import pytest

from tests import documentation


def test_without_anything_it_says_how_to_begin_and_exits_with_1(ci, tmp_path):
    done = ci("doctor", "--json", CLOUDSDK_CONFIG=str(tmp_path), NO_GCE_CHECK="true")

    assert done.code == 1
    checks = {check["name"]: check for check in done.told["checks"]}
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
    """The first look: everything is there but the image, which is built next."""
    email = f"github@{cloud.project}.iam.gserviceaccount.com"
    variables = cloud.environment | made | {"GOOGLE_APPLICATION_CREDENTIALS": str(cloud.oauth.key_file(email))}

    done = ci("doctor", "--json", **variables)

    assert {check["name"] for check in done.told["checks"] if not check["ok"]} == {"image"}, done.err

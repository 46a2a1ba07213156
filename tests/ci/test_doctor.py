"""The doctor as people and workflows call it; what it finds is in tests/pipeline/doctor."""

import re
import shlex
import subprocess

import pytest

from pipeline.doctor.access import APIS
from tests.ci.conftest import ROOT


def test_without_anything_it_says_how_to_begin_and_exits_with_1(ci, tmp_path):
    done = ci("doctor", "--json", CLOUDSDK_CONFIG=str(tmp_path), NO_GCE_CHECK="true")

    assert done.code == 1
    checks = {check["name"]: check for check in done.told["checks"]}
    assert checks["settings"]["ok"] is False and "export GCP_PROJECT=MY-PROJECT" in checks["settings"]["mend"]
    assert checks["credentials"]["mend"] == "gcloud auth application-default login"
    assert checks["bucket"]["ok"] is None
    assert "MISSING  settings" in done.err and "$ gcloud auth application-default login" in done.err
    assert "Traceback" not in done.err


def pasted(variables: dict[str, str]) -> str:
    """Returns a script of README's commands that create and set, where gcloud only writes down what it is told."""
    section = (ROOT / "README.md").read_text().partition("## On Google Cloud")[2].partition("### Use")[0]
    first, *blocks = re.findall(r"```\n(.*?)```", section, re.S)
    lines = [
        'gcloud() { { printf "%q " "$@"; echo; } >&3; [ "$2" != describe ] || echo 123456789012; }',
        "ci() { :; }",
        *(f"export {name}={shlex.quote(value)}" for name, value in variables.items()),
        re.sub(r"^export .*", "", first),  # examples of what is set already
        *blocks,
        "export >&4",
    ]
    return "\n".join(lines)


@pytest.fixture
def readme(cloud, tmp_path) -> dict[str, str]:
    """Makes a project in which there is nothing but what README's commands made; returns what they exported."""
    given = {"GCP_PROJECT": cloud.project, "GCP_REGION": cloud.region, "BUCKET": cloud.bucket, "REPOSITORY": "o/n"}
    script = f"exec 3>gcloud.txt 4>exports.txt\nset -eu\n{pasted(given)}"
    subprocess.run(["bash", "-c", script], cwd=tmp_path, env={}, check=True, timeout=30)
    cloud.policies.clear()
    cloud.accounts.accounts.clear()
    cloud.apis.disabled.update(f"{api}.googleapis.com" for api in APIS)
    for line in (tmp_path / "gcloud.txt").read_text().splitlines():
        paste(cloud, shlex.split(line))
    return dict(re.findall(r'^declare -x ([A-Z_]+)="(.+)"$', (tmp_path / "exports.txt").read_text(), re.M))


def paste(cloud, words: list[str]) -> None:
    """Does to the local servers what gcloud would do to the real ones."""
    plain = [word for word in words if not word.startswith("--")]
    options = dict(word[2:].partition("=")[::2] for word in words if word.startswith("--"))
    project = f"projects/{cloud.project}"
    places = {
        "projects": lambda name: f"projects/{name}",
        "storage buckets": lambda name: f"buckets/{name.removeprefix('gs://')}",
        "iam service-accounts": lambda name: f"serviceAccounts/{name}",
        "artifacts repositories": lambda name: f"{project}/locations/{options['location']}/repositories/{name}",
        "secrets": lambda name: f"{project}/secrets/{name}",
    }
    *kind, verb, name = plain if plain[:2] != ["services", "enable"] else ["services", "enable", ""]
    match (" ".join(kind), verb):
        case ("services", "enable"):
            cloud.apis.disabled -= set(plain[2:])
        case ("iam service-accounts", "create"):
            cloud.accounts.accounts[f"{name}@{cloud.project}.iam.gserviceaccount.com"] = False
        case ("artifacts repositories", "create"):
            assert options["location"] == cloud.region
            cloud.registry.add(name, format=options["repository-format"].upper())
        case ("secrets", "create"):
            cloud.secrets.add(f"{project}/secrets/{name}", b"ghp_of-a-test")
        case (kind, "add-iam-policy-binding"):
            member = options["member"].removeprefix("serviceAccount:")
            cloud.policies.grant(places[kind](name), options["role"], member)


def test_the_commands_of_the_readme_are_all_that_the_doctor_asks_for(ci, cloud, readme):
    """The first look: everything is there but the image, which is built next."""
    email = f"github@{cloud.project}.iam.gserviceaccount.com"
    variables = cloud.environment | readme | {"GOOGLE_APPLICATION_CREDENTIALS": str(cloud.oauth.key_file(email))}

    done = ci("doctor", "--json", **variables)

    assert {check["name"] for check in done.told["checks"] if not check["ok"]} == {"image"}, done.err

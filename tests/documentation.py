"""The pages' commands that create and set what Google Cloud needs, done to the local servers."""

import pathlib
import re
import shlex
import subprocess
from typing import NamedTuple

from pipeline.doctor.access import APIS
from tests.emulators.cloud import Cloud

DOCS = pathlib.Path(__file__).resolve().parents[1] / "docs"
BLOCK = r"```sh cloud\n(.*?)```"
# These programs only write down what they are told, a line a call.
NOTED = """
gcloud() { { printf "%q " "$@"; echo; } >&3; [ "$2" != describe ] || echo 123456789012; }
gh() { { printf "%q " "$@"; echo; } >&5; }
ci() { :; }
"""


class Project(NamedTuple):
    """What the pages' commands have exported, and which variables they have set in the repository."""

    exports: dict[str, str]
    variables: dict[str, str]


def make(cloud: Cloud, folder: pathlib.Path, repository: str = "o/n", token: bytes = b"ghp_of-a-test") -> Project:
    """Makes a project that contains only what the pages' commands create; `token` is typed in where they ask."""
    given = {"GCP_PROJECT": cloud.project, "GCP_REGION": cloud.region, "BUCKET": cloud.bucket, "REPOSITORY": repository}
    script = f"exec 3>gcloud.txt 4>exports.txt 5>gh.txt\nset -eu\n{_pasted(given)}"
    subprocess.run(["bash", "-c", script], cwd=folder, env={}, check=True, timeout=30)
    cloud.policies.clear()
    cloud.accounts.accounts.clear()
    cloud.apis.disabled.update(f"{api}.googleapis.com" for api in APIS)
    for line in (folder / "gcloud.txt").read_text().splitlines():
        _paste(cloud, shlex.split(line), token)
    exports = dict(re.findall(r'^declare -x ([A-Z_]+)="(.+)"$', (folder / "exports.txt").read_text(), re.M))
    issues, *variables = (folder / "gh.txt").read_text().splitlines()
    assert shlex.split(issues) == ["repo", "edit", repository, "--enable-issues"]
    return Project(exports, dict(map(_variable, variables)))


def _pasted(variables: dict[str, str]) -> str:
    """Returns a script of the pages' commands."""
    google_cloud, github = ((DOCS / name).read_text(encoding="utf-8") for name in ("google-cloud.md", "github.md"))
    first, *blocks = re.findall(BLOCK, google_cloud.partition("## Use")[0], re.S)
    fork = re.search(BLOCK, github.partition("## Set up a fork")[2], re.S)
    lines = [
        NOTED,
        *(f"export {name}={shlex.quote(value)}" for name, value in variables.items()),
        re.sub(r"^export .*", "", first),  # examples of what is set already
        *blocks,
        fork[1],
        "export >&4",
    ]
    return "\n".join(lines)


def _paste(cloud: Cloud, words: list[str], token: bytes) -> None:
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
            cloud.secrets.add(f"{project}/secrets/{name}", token)
        case (kind, "add-iam-policy-binding"):
            member = options["member"].removeprefix("serviceAccount:")
            cloud.policies.grant(places[kind](name), options["role"], member)


def _variable(line: str) -> tuple[str, str]:
    *command, name, option, value = shlex.split(line)
    assert (command, option) == (["variable", "set"], "--body"), line
    return name, value

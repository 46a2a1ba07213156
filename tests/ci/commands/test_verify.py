"""Releases are verified, on this machine and on the local GitHub, with and without attestations."""

import json
import os
import stat

import pytest

from pipeline.outcomes import Metrics
from pipeline.releases.factory import open_releases
from tests.conftest import EMPTY_MODEL


@pytest.fixture
def releases(tmp_path):
    """A folder with the release model-1."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "saved_model.pb").write_bytes(EMPTY_MODEL)
    folder = tmp_path / "releases"
    made = {"commit": "", "modules_digest": "", "labels": ["cat", "dog"], "metrics": Metrics(), "previous": None}
    open_releases(str(folder)).publish(str(tmp_path / "model"), identity="one", spans=[1], **made)
    return folder


@pytest.fixture
def on_github(ci, cloud, releases):
    """Runs `verify` for the same release on the local GitHub, as a job does that may read attestations."""
    files = {path.name: path.read_bytes() for path in (releases / "model-1").iterdir()}
    cloud.github.releases.add("model-1", files)

    def run(*arguments: object, **variables: str):
        given = {
            "RELEASES": f"github:{cloud.github.repository}",
            "GITHUB_TOKEN": cloud.github.token(contents="read", attestations="read"),
        }
        return ci("verify", "--json", *arguments, **cloud.environment | given | variables)

    run.digest = json.loads(files["model.json"])["files"]["model.tar.gz"]
    return run


def program(folder, exit_code: int, message: str = "") -> str:
    """A stand-in for gh that keeps its arguments in the file `asked`; returns a PATH with it."""
    path = folder / "programs" / "gh"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f'#!/bin/sh\necho "$@" >> {folder}/asked\necho "{message}" >&2\nexit {exit_code}\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return f"{path.parent}{os.pathsep}{os.environ['PATH']}"


def test_the_newest_release_of_a_folder_is_verified_and_kept_as_a_folder_of_releases(ci, releases, tmp_path):
    done = ci("verify", "--json", "--to", tmp_path / "kept", RELEASES=str(releases))

    assert done.code == 0 and done.json["releases"] == ["model-1"] and done.json["attested"] is None
    assert set(done.json["files"]) == {"model.tar.gz"}
    again = ci("verify", "model-1", RELEASES=str(tmp_path / "kept"))
    assert again.out == "model-1: the checksums of 1 file are right, and its model only computes.\n"
    twice = ci("verify", "--to", tmp_path / "kept", RELEASES=str(releases))
    assert twice.code == 1 and "Name another folder, or delete it." in twice.err


@pytest.mark.parametrize(
    "damage, expected",
    [
        (lambda folder: (folder / "model.tar.gz").write_bytes(b"another model"), "checksum of model.tar.gz"),
        (lambda folder: (folder / "model.tar.gz").unlink(), "model.tar.gz is missing"),
        (lambda folder: (folder / "model.json").write_text("{}"), "model.json cannot be read"),
    ],
)
def test_a_release_that_differs_from_its_record_fails_and_leaves_nothing(damage, expected, ci, releases, tmp_path):
    damage(releases / "model-1")

    done = ci("verify", "--to", tmp_path / "kept", RELEASES=str(releases))

    assert done.code == 1 and expected in done.err
    assert not (tmp_path / "kept" / "model-1").exists()


def test_releases_without_attestation_are_found_until_github_has_one(on_github, cloud, tmp_path):
    assert on_github("--unattested", "--dry-run").json == {"releases": ["model-1"]}
    cloud.github.attestations.empty_list = True
    assert on_github("--unattested", "--to", tmp_path / "kept").json == {"releases": ["model-1"]}
    assert (tmp_path / "kept" / "model-1" / "model.tar.gz").is_file()

    cloud.github.attestations.attested.add(on_github.digest)
    done = on_github("--unattested")

    assert done.json == {"releases": []} and "Every release has an attestation." in done.err


def test_a_broken_release_is_not_handed_over_to_be_attested(on_github, cloud, tmp_path):
    cloud.github.releases.damage("model-1", "model.tar.gz", b"x" * 100)

    done = on_github("--unattested", "--to", tmp_path / "kept")

    assert done.code == 1 and "model-1" in done.err and not (tmp_path / "kept" / "model-1").exists()


def test_the_permission_that_a_token_lacks_is_named(on_github, cloud):
    done = on_github("--unattested", GITHUB_TOKEN=cloud.github.token(contents="read"))
    assert done.code == 1 and "attestations: read" in done.err


def test_an_attestation_of_the_workflow_is_asked_for_where_gh_is_installed(on_github, tmp_path):
    done = on_github(PATH=program(tmp_path, 0))

    assert done.json["attested"] is True and "attested by acme/widget/.github/workflows/attest.yml" in done.err
    asked = (tmp_path / "asked").read_text()
    assert asked.startswith("attestation verify /") and "/model-1/model.tar.gz --repo acme/widget" in asked
    assert "--signer-workflow acme/widget/.github/workflows/attest.yml" in asked


def test_without_network_the_attestation_and_the_keys_come_from_files(on_github, tmp_path):
    on_github("--bundle", "b.jsonl", "--trusted-root", "r.jsonl", PATH=program(tmp_path, 0))
    assert (tmp_path / "asked").read_text().endswith(" --bundle=b.jsonl --custom-trusted-root=r.jsonl\n")


def test_a_release_without_valid_attestation_is_refused(on_github, tmp_path):
    done = on_github("--to", tmp_path / "kept", PATH=program(tmp_path, 1, "no attestations found."))
    assert done.code == 1
    assert "model.tar.gz of release model-1 has no valid attestation: no attestations found. Do not use it" in done.err


def test_without_gh_it_says_that_the_attestation_was_not_checked(on_github, tmp_path):
    done = on_github(PATH=str(tmp_path))
    assert done.code == 0 and done.json["attested"] is False and "needs the program gh" in done.err


@pytest.mark.parametrize("arguments", [["model-1", "--unattested"], ["--dry-run"], ["--unattested"]])
def test_options_that_contradict_each_other_are_usage_errors(arguments, ci, releases):
    assert ci("verify", *arguments, RELEASES=str(releases)).code == 2


def test_what_does_not_exist_is_named(ci, releases, tmp_path):
    assert "There is no release 'model-7'" in ci("verify", "model-7", RELEASES=str(releases)).err
    assert "No model was released" in ci("verify", RELEASES=str(tmp_path / "none")).err

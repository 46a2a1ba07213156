"""Releases on the local GitHub: no failed call loses or doubles a release."""

import dataclasses
import hashlib
import itertools
import json
import os
import re
import signal
import subprocess
import sys

import pytest

from pipeline.errors import BrokenRelease, GitHubRefused, ReleaseNotFound
from pipeline.outcomes import Metrics
from pipeline.releases import github
from pipeline.releases.factory import open_releases
from tests.conftest import EMPTY_MODEL, files_in, put
from tests.emulators.github.releases import DOWNLOADS
from tests.emulators.services import Response

pytestmark = pytest.mark.usefixtures("retry_waits")

MODEL = {"saved_model.pb": EMPTY_MODEL * 2500, "variables/variables.index": b"index"}
NAMES = {"model.tar.gz", "model.json", "card.html"}
SHA = "5" * 40


@pytest.fixture
def there(cloud_environment):
    """The releases on the local GitHub."""
    return cloud_environment.github.releases


@pytest.fixture
def opened(cloud_environment, monkeypatch):
    """Opens the releases with a new token, which may write by default."""

    def opened(contents="write"):
        monkeypatch.setenv("GITHUB_TOKEN", cloud_environment.github.token(contents=contents))
        return open_releases(f"github:{cloud_environment.github.repository}")

    return opened


@pytest.fixture
def model(tmp_path) -> str:
    put(tmp_path / "model", MODEL)
    return str(tmp_path / "model")


@pytest.fixture
def publish(model):
    def publish(releases, identity="first", **options):
        details = {"commit": "", "modules_digest": "9d", "spans": [1], "labels": ["cat"], "metrics": Metrics()}
        options = details | {"previous": None, "attach": lambda release: {"card.html": b"<html>"}} | options
        return releases.publish(model, identity=identity, **options)

    return publish


def calls(cloud):
    return [asked.method for asked in cloud.asked("github")]


def test_no_release_is_visible_before_every_file_has_arrived(opened, publish, there, cloud):
    seen = []
    reader = opened("read")
    publish(opened(), attach=lambda release: seen.append(reader.tags()) or {})

    asked = calls(cloud)
    uploads = [at for at, method in enumerate(asked) if method == "repos/upload-release-asset"]
    (published,) = [at for at, method in enumerate(asked) if method == "repos/update-release"]
    checked = max(at for at, method in enumerate(asked) if method == "repos/list-release-assets")
    assert len(uploads) == 2 and max(uploads) < checked < published
    assert seen == [[]] and reader.tags() == ["model-1"] and there.drafts() == []


def test_a_version_of_the_template_is_no_model(opened, publish, there):
    releases = opened()
    there.add("v0.2.0", {})
    assert releases.tags() == [] and releases.newest() is None
    publish(releases)
    there.add("v0.3.0", there.published()["model-1"])

    assert releases.tags() == ["model-1"] and releases.newest().tag == "model-1"
    assert publish(releases, identity="second").tag == "model-2"
    with pytest.raises(ReleaseNotFound):
        releases.get("v0.3.0")


FAILURES = ["429", "500", "503", "cut", "lose", "limit"]


@pytest.mark.parametrize("failure", FAILURES)
def test_each_call_fails_once_and_there_is_one_release(opened, publish, there, cloud, tmp_path, failure, monkeypatch):
    for nth in itertools.count(1):
        cloud.github.reset()
        releases = opened()
        if failure == "limit":
            cloud.github.limits.spare(nth - 1)
            cloud.github.limits.secondary(retry_after=1)
            fault = None
        else:
            fault = cloud.faults.add("github", nth=nth, kind=failure)
        release = publish(releases)
        again = publish(releases)
        releases.fetch(releases.newest(), str(tmp_path / f"fetched {nth}"))
        done = fault.done if fault else cloud.github.limits.met
        cloud.faults.clear()
        assert release == again and release.tag == "model-1" and files_in(tmp_path / f"fetched {nth}") == MODEL
        here = cloud.github.releases
        assert {tag: set(files) for tag, files in here.published().items()} == {"model-1": NAMES}
        assert here.drafts() == [] and list(here.tags) == ["model-1"]
        if not done:
            break
    assert nth > 15


def test_a_lasting_failure_publishes_nothing(opened, publish, there, cloud):
    releases = opened()
    cloud.faults.add("github", "repos/upload-release-asset", kind="503", times=99)
    with pytest.raises(GitHubRefused, match="GitHub answered 503") as error:
        publish(releases)
    assert (error.value.doing, error.value.status) == ("Releasing model-1 in github:acme/widget", 503)
    assert there.published() == {} and there.drafts() == []


KILLED = """
import os, sys
from pipeline.outcomes import Metrics
from requests import Session
from pipeline.releases.factory import open_releases
address, model, last = sys.argv[1], sys.argv[2], int(sys.argv[3])
steps = iter(range(last))
send = Session.send
def counted(self, request, **how):
    answer = send(self, request, **how)
    if next(steps, None) is None:
        os.kill(os.getpid(), 9)
    return answer
Session.send = counted
details = dict(commit="", modules_digest="", spans=[1], labels=["cat"], metrics=Metrics(), previous=None)
open_releases(address).publish(model, identity="first", **details)
"""


def test_a_release_killed_while_it_is_published_is_complete_or_absent(
    opened, publish, there, cloud, model, tmp_path, monkeypatch
):
    reader = opened("read")
    environment = os.environ | {"GITHUB_TOKEN": cloud.github.token(contents="write")}
    left = []
    for last in range(4, 99):
        command = [sys.executable, "-c", KILLED, f"github:{cloud.github.repository}", model, str(last)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        left.append(len(there.drafts()))
        assert [set(files) for files in there.published().values()] in ([], [{"model.tar.gz", "model.json"}])
        if there.published():
            break
        assert reader.tags() == []
    assert left[-1] > 2, "it was killed with a draft several times"

    monkeypatch.setattr(github, "DRAFT_LIFETIME", github.DRAFT_LIFETIME * 0)
    release = publish(opened())
    assert reader.tags() == [release.tag] == ["model-1"]
    publish(opened(), "second")
    assert there.drafts() == []


def test_drafts_of_killed_processes_are_deleted_after_an_hour_and_others_never(opened, publish, there, monkeypatch):
    old = json.dumps(["other", "a1", "2026-01-01T00:00:00Z"])
    young = json.dumps(["other", "b2", f"{github._now():%Y-%m-%dT%H:%M:%SZ}"])
    for body in (
        f"<!-- spanloop: {old} -->",
        f"<!-- spanloop: {young} -->",
        "Written by a person",
        "<!-- spanloop: 7 -->",
    ):
        there.add("model-1", {"body": body.encode()}, body, draft=True)

    publish(opened())

    assert [files["body"][:20] for files in there.drafts()][::-1] == [
        b'<!-- spanloop: ["oth',
        b"Written by a person",
        b"<!-- spanloop: 7 -->",
    ]
    assert json.loads(re.search(r"spanloop: (.*) -->", there.drafts()[-1]["body"].decode())[1])[1] == "b2"


def test_tags_reserve_numbers_and_drafts_do_not(opened, publish, there):
    there.add("model-5", {}, draft=True)
    there.tags |= {"model-3": there.head, "v1.0": there.head, "model-x": there.head}
    there.add("model-2", {"notes": b"of a person"})

    assert publish(opened()).tag == "model-4"
    assert opened().tags() == ["model-4"]


def test_a_reader_sees_no_draft_and_may_not_publish(opened, publish, there):
    there.add("model-1", dict.fromkeys(NAMES, b"x"), draft=True)
    reader = opened("read")
    assert reader.tags() == [] and reader.newest() is None
    with pytest.raises(ReleaseNotFound):
        reader.get("model-1")
    with pytest.raises(GitHubRefused, match="Give it the permission contents: write"):
        publish(reader)


def test_without_a_token_or_with_a_wrong_one_the_next_step_is_named(cloud_environment, monkeypatch):
    for token in ("", "wrong"):
        monkeypatch.setenv("GITHUB_TOKEN", token)
        with pytest.raises(GitHubRefused, match="Listing the releases in github:acme/widget.*Set GITHUB_TOKEN"):
            open_releases("github:acme/widget").tags()


def test_a_pipeline_has_its_token_from_secret_manager(cloud_environment, monkeypatch, publish):
    monkeypatch.delenv("GITHUB_TOKEN", raising=False)
    cloud = cloud_environment
    secret = f"projects/{cloud.project}/secrets/github-token"
    cloud.secrets.add(secret, cloud.github.token(contents="write").encode())
    releases = open_releases(f"github:{cloud.github.repository}", f"{secret}/versions/latest")
    assert publish(releases).tag == "model-1"


def test_a_truncated_upload_is_repeated(opened, publish, there):
    there.failing_uploads = 2
    publish(opened())
    assert set(there.published()["model-1"]) == NAMES
    assert opened().newest().identity == "first"


def test_uploads_that_are_always_truncated_are_not_published(opened, publish, there):
    there.failing_uploads = 99
    with pytest.raises(GitHubRefused, match="did not arrive as sent"):
        publish(opened())
    assert there.published() == {} and there.drafts() == []


def test_a_truncated_download_is_repeated(opened, publish, there, tmp_path, cloud):
    releases = opened()
    release = publish(releases)
    there.short_downloads = 2
    releases.fetch(release, str(tmp_path / "fetched"))
    assert files_in(tmp_path / "fetched") == MODEL
    there.short_downloads = 99
    with pytest.raises(GitHubRefused, match="GitHub cannot be reached: model.tar.gz ended after .* bytes"):
        releases.fetch(release, str(tmp_path / "again"))
    assert not (tmp_path / "again").exists()


def test_damaged_bytes_are_refused(opened, publish, there, tmp_path):
    releases = opened()
    release = publish(releases)
    data = there.published()["model-1"]["model.tar.gz"]
    there.damage("model-1", "model.tar.gz", data[:-1] + b"x")
    with pytest.raises(BrokenRelease, match="the checksum of model.tar.gz") as error:
        releases.fetch(release, str(tmp_path / "fetched"))
    assert error.value.tag == "model-1"
    there.remove("model-1", "model.json")
    assert releases.tags() == []
    with pytest.raises(ReleaseNotFound):
        releases.get("model-1")


def test_the_host_of_downloads_never_sees_the_token(opened, publish, tmp_path, cloud):
    releases = opened()
    releases.fetch(publish(releases), str(tmp_path / "fetched"))
    releases.newest()
    downloads = cloud.asked("github", "download")
    assert len(downloads) >= 2
    for asked in downloads:
        assert asked.headers["host"].partition(":")[0] == DOWNLOADS
        assert not any(os.environ["GITHUB_TOKEN"] in value for value in asked.headers.values())


@pytest.mark.parametrize("body", [b"", b"null", b"{}", b"<html>Please sign in.</html>"])
def test_a_damaged_list_is_not_an_empty_one(opened, publish, cloud, body):
    releases = opened()
    publish(releases)
    cloud.github.proxy = iter([Response(200, body)])
    with pytest.raises(GitHubRefused, match="GitHub's response is"):
        releases.newest()
    assert releases.newest().tag == "model-1"


@pytest.mark.parametrize("host", [b"uploads.github.com", b"api.github.com"])
def test_no_address_in_a_response_sends_the_token_elsewhere(opened, publish, cloud, host):
    releases = opened()
    publish(releases)
    cloud.github.replaced = {b"https://" + host: b"https://github.example.com"}
    with pytest.raises(GitHubRefused, match="names an address on another host: 'https://github.example.com/"):
        publish(releases, "second")


def test_a_renamed_repository_keeps_its_releases(cloud_environment, opened, publish, tmp_path):
    release = publish(opened())
    cloud_environment.github.former_names.add("acme/former")
    former = open_releases("github:acme/former")
    former.fetch(former.newest(), str(tmp_path / "fetched"))
    assert files_in(tmp_path / "fetched") == MODEL
    assert publish(former) == release and publish(former, "second").tag == "model-2"


def test_credentials_in_netrc_are_not_sent(opened, publish, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine api.github.com login x password y\ndefault login x password y\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    releases = opened()
    assert publish(releases) == releases.newest()


@pytest.mark.parametrize(
    "commit, known, target",
    [(SHA, True, SHA), (SHA, False, ""), (f"{SHA}-dirty", True, ""), ("c0ffee", True, ""), ("", True, "")],
)
def test_the_tag_is_at_the_commit_if_github_has_it(opened, publish, there, commit, known, target):
    if known:
        there.commits.add(SHA)
    assert publish(opened(), commit=commit).commit == commit
    assert there.tags == {"model-1": target or there.head}


@pytest.mark.parametrize("refusal", [("create", 403), ("create", 404), ("publish", 403), ("publish", 404)])
def test_a_commit_with_other_workflows_is_released_at_the_default_branch(opened, publish, there, caplog, refusal):
    there.commits.add(SHA)
    there.other_workflows.add(SHA)
    there.workflows_refusal = refusal

    release = publish(opened(), commit=SHA)

    assert release.commit == SHA == json.loads(there.published()["model-1"]["model.json"])["commit"]
    assert there.tags == {"model-1": there.head} and there.drafts() == []
    assert f"GitHub refuses a tag at commit {SHA}" in caplog.text


def test_the_tag_of_a_deleted_immutable_release_is_skipped(opened, publish, there):
    there.immutable = True
    releases = opened()
    for identity in ("first", "second", "third"):
        publish(releases, identity)
    there.discard("model-2")
    there.discard("model-3")

    assert publish(opened(), "fourth").tag == "model-4"
    assert set(there.published()) == {"model-1", "model-4"} and there.drafts() == []


def test_tags_that_are_all_refused_are_given_up(opened, publish, there, monkeypatch):
    monkeypatch.setattr(github, "MOST_TAKEN", 1)
    there.immutable = True
    for identity in ("first", "second", "third"):
        publish(opened(), identity)
    for tag in ("model-1", "model-2", "model-3"):
        there.discard(tag)

    with pytest.raises(GitHubRefused, match="Releasing model-2 .* tag_name custom"):
        publish(opened(), "fourth")


def test_a_release_marked_as_a_prerelease_is_not_the_current_model(opened, publish, there):
    releases = opened()
    first, second = publish(releases), publish(releases, "second")
    there.mark("model-2", prerelease=True)

    assert releases.newest() == first and releases.tags() == ["model-1"]
    assert releases.get("model-2") == second == publish(releases, "second")
    assert publish(releases, "third").tag == "model-3"


def test_a_release_turned_back_into_a_draft_is_kept_and_not_the_current_model(opened, publish, there, monkeypatch):
    releases = opened()
    publish(releases)
    publish(releases, "second")
    there.mark("model-2", draft=True)
    assert releases.newest().tag == "model-1"

    monkeypatch.setattr(github, "DRAFT_LIFETIME", github.DRAFT_LIFETIME * 0)
    assert publish(releases, "third").tag == "model-3"
    assert [set(files) for files in there.drafts()] == [NAMES]


def test_the_text_ends_with_a_hidden_comment(opened, publish, there):
    releases = opened()
    publish(releases, "a --> b", describe=lambda release: f"**{release.tag}**")
    text, comment = there.body("model-1").split("\n\n")
    assert text == "**model-1**"
    assert re.fullmatch(r'<!-- spanloop: \["a --\\u003e b", "[0-9a-f]{16}", "[\dTZ:-]+"\] -->\n?', comment)
    assert publish(releases, "a --> b").tag == "model-1"


def test_a_text_that_is_too_long_is_cut(opened, publish, there):
    publish(opened(), describe=lambda release: "x" * 200_000)
    assert 100_000 < len(there.body("model-1")) < 100_300


def test_records_are_read_only_to_be_sure(opened, publish, there, cloud):
    releases = opened()
    for number in range(5):
        publish(releases, f"training {number}")
    cloud.requests.clear()
    assert publish(releases, "training 2").tag == "model-3"
    assert len(cloud.asked("github", "download")) == 1


def test_a_release_with_an_edited_text_is_found(opened, publish, there):
    releases = opened()
    publish(releases)
    there.edit("model-1", "All of it is mine now.")
    assert publish(releases).tag == "model-1"


def test_the_record_decides_and_not_the_comment(opened, publish, there):
    releases = opened()
    publish(releases)
    there.edit("model-1", there.body("model-1").replace('"first"', '"second"'))
    assert publish(releases, "second").tag == "model-2"


def test_a_release_that_lists_still_show_as_a_draft_is_not_deleted(opened, publish, there):
    there.lagging = True
    assert publish(opened()).tag == "model-1"
    assert set(there.published()) == {"model-1"}


def test_a_release_that_lists_do_not_show_yet_is_found(opened, publish, there):
    other, releases = opened(), opened()

    def other_is_first(release):
        if not there.published():
            publish(other, attach=lambda release: {"other": b"x"})
            there.unlisted.add("model-1")
        return {}

    assert publish(releases, attach=other_is_first).tag == "model-1"
    assert set(there.published()) == {"model-1"} and there.drafts() == []


def test_the_number_of_a_release_that_lists_do_not_show_is_not_tried_again(opened, publish, there):
    other, releases = opened(), opened()

    def other_is_first(release):
        if not there.published():
            publish(other, "second")
            there.unlisted.add("model-1")
        return {}

    assert publish(releases, attach=other_is_first).tag == "model-2"


def test_many_pages_of_releases_are_listed(opened, publish, there):
    for number in range(1, 251):
        there.add(f"v{number}", {})
    releases = opened()
    assert publish(releases).tag == "model-1" and publish(releases, "second").tag == "model-2"
    assert releases.tags() == ["model-2", "model-1"]


def test_the_record_has_the_checksums_of_github(opened, publish, there):
    release = publish(opened(), image="pipelines@sha256:1a")
    files = there.published()["model-1"]
    assert json.loads(files["model.json"]) == json.loads(json.dumps(dataclasses.asdict(release)))
    assert dict(release.files) == {
        name: hashlib.sha256(data).hexdigest() for name, data in files.items() if name != "model.json"
    }

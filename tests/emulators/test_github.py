"""The local GitHub used by PyGithub: its methods, and errors like GitHub's."""

import hashlib
import io
import json

import github
import pytest
import requests
from github.GithubException import BadCredentialsException, GithubException, UnknownObjectException

from tests.emulators.github.releases import DOWNLOADS

SHA = "5" * 40


@pytest.fixture
def repository(cloud_environment):
    """Makes a client with these permissions; without any it has all."""
    here = cloud_environment.github

    def repository(name: str = here.repository, token: str = "", **permissions: str):
        auth = github.Auth.Token(token or here.token(**permissions))
        throttled = {"seconds_between_requests": 0, "seconds_between_writes": 0}
        return github.Github(auth=auth, retry=0, lazy=True, **throttled).get_repo(name)

    return repository


@pytest.fixture
def releases(cloud_environment):
    return cloud_environment.github.releases


def refusal(call, *arguments, **named) -> tuple[int, str]:
    """Makes a call that GitHub refuses; returns status, and message or errors of fields."""
    with pytest.raises(GithubException) as error:
        found = call(*arguments, **named)
        list(found)  # PyGithub requests a list when it is read
    fields = [f"{each['field']} {each['code']}" for each in error.value.data.get("errors", ())]
    return error.value.status, "; ".join(fields) or error.value.data["message"]


def draft(repository, tag="model-1", **options):
    return repository.create_git_release(tag, name=tag, message="Hello.", draft=True, **options)


def upload(release, name="model.tar.gz", data=b"a model"):
    return release.upload_asset_from_memory(io.BytesIO(data), len(data), name)


def publish(release, tag="model-1"):
    return release.update_release(tag, "Hello.", draft=False, tag_name=tag)


def request(cloud, token, verb, path, body=None, host="api.github.com"):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return requests.request(verb, f"https://{host}/repos/acme/widget{path}", json=body, headers=headers)


# Access control.


def test_a_request_without_a_valid_token_is_refused(repository, cloud):
    with pytest.raises(BadCredentialsException):
        list(repository(token="unknown").get_releases())
    assert request(cloud, "", "GET", "/releases").status_code == 401


def test_another_repository_is_not_found(repository):
    with pytest.raises(UnknownObjectException):
        list(repository("acme/gadget").get_releases())


@pytest.mark.parametrize(
    "permissions, call",
    [
        ({"issues": "write"}, lambda repository: repository.get_releases()),
        ({"contents": "read"}, lambda repository: draft(repository)),
        ({"contents": "read"}, lambda repository: repository.get_deployments()),
        ({"actions": "read"}, lambda repository: repository.get_workflow("a.yml").create_dispatch("main", throw=True)),
        ({"issues": "read"}, lambda repository: repository.create_issue("title")),
        ({"contents": "write"}, lambda repository: repository.get_issues()),
        ({"contents": "write"}, lambda repository: repository.get_pull(1).head),
        ({"pull_requests": "read"}, lambda repository: repository.get_issue(1).create_comment("Hello.")),
    ],
)
def test_a_token_without_the_permission_is_refused(repository, cloud, permissions, call):
    cloud.github.actions.workflows["a.yml"] = set()
    cloud.github.pulls.propose(1, SHA, SHA)
    assert refusal(call, repository(**permissions)) == (403, "Resource not accessible by integration")


def test_fields_that_github_would_ignore_are_refused(cloud_environment):
    cloud, token = cloud_environment, cloud_environment.github.token()
    cloud.github.actions.workflows["a.yml"] = set()
    for path, body in [
        ("/releases", {"tag_name": "model-1", "tag": "model-1"}),
        ("/issues", {"title": "t", "text": "t"}),
        ("/issues", {"title": 7}),
        ("/actions/workflows/a.yml/dispatches", {"ref": "main", "input": {}}),
    ]:
        answer = request(cloud, token, "POST", path, body)
        assert answer.status_code == 422 and answer.json()["errors"][0]["code"] == "invalid"
    assert requests.post("https://api.github.com/repos/acme/widget/nothing").status_code == 404


def test_lists_come_in_pages(repository, cloud, releases):
    for number in range(1, 66):
        releases.add(f"model-{number}", {})
        cloud.github.deployments.add("vertex-ai", SHA, "success")
        cloud.github.actions.add_run("a.yml", SHA, "success")
    cloud.github.actions.workflows["a.yml"] = set()
    here = repository()
    assert [release.tag_name for release in here.get_releases()] == [f"model-{n}" for n in range(65, 0, -1)]
    assert len(list(here.get_deployments())) == 65
    assert len(list(here.get_workflow("a.yml").get_runs())) == 65
    assert len(list(here.get_git_matching_refs("tags/model-6"))) == 7  # 6, and 60 to 65
    assert len(cloud.asked("github", "repos/list-releases")) == 3


def test_a_rate_limit_applies_to_the_chosen_number_of_calls(repository, cloud):
    cloud.github.limits.secondary(retry_after=3)
    cloud.github.limits.primary(seconds=9, calls=2)
    here = repository()
    assert refusal(here.get_releases)[1].startswith("You have exceeded a secondary rate limit")
    for _ in range(2):
        assert refusal(here.get_releases)[1].startswith("API rate limit exceeded")
    assert list(here.get_releases()) == []


# Workflows, issues, pull requests and deployments.


def test_workflows_are_started_only_with_inputs_that_they_declare(repository, cloud):
    cloud.github.actions.workflows["a.yml"] = {"spans"}
    workflow = repository(actions="write").get_workflow("a.yml")
    assert workflow.create_dispatch("main", {"spans": "1"}, throw=True)
    assert cloud.github.actions.dispatched == [("a.yml", "main", {"spans": "1"})]
    assert refusal(workflow.create_dispatch, "gone", throw=True) == (422, "No ref found for: gone")
    assert "Unexpected inputs" in refusal(workflow.create_dispatch, "main", {"span": "1"}, throw=True)[1]
    with pytest.raises(UnknownObjectException):
        repository().get_workflow("gone.yml").create_dispatch("main", throw=True)


def test_issues_are_opened_found_and_closed(repository):
    here = repository(issues="write")
    issue = here.create_issue("It fails", body="Again.", labels=["incident"])
    here.create_issue("Another")
    assert [found.number for found in here.get_issues(state="open", labels=["incident"])] == [issue.number]
    issue.edit(state="closed", state_reason="completed")
    assert list(here.get_issues(state="open", labels=["incident"])) == []
    assert refusal(here.create_issue, "Empty", body=" ")[0] == 422


def test_pull_requests_are_seen_and_commented_on(repository, cloud):
    cloud.github.pulls.propose(3, SHA, "6" * 40, fork="other/widget")
    here = repository(pull_requests="write")
    pull = here.get_pull(3)
    assert (pull.head.sha, pull.head.repo.full_name) == (SHA, "other/widget")
    here.get_issue(3).create_comment("Hello.").edit("Hello again.")
    assert cloud.github.issues.texts(3) == ["Hello again."]
    with pytest.raises(UnknownObjectException):
        here.get_issue(4).create_comment("Hello.")


def test_deployments_are_found_by_their_environment(repository, cloud):
    cloud.github.deployments.add("vertex-ai", SHA, "in_progress", "success")
    cloud.github.deployments.add("elsewhere", "6" * 40)
    (found,) = repository(deployments="read").get_deployments(environment="vertex-ai")
    assert found.sha == SHA and [status.state for status in found.get_statuses()] == ["success", "in_progress"]


# Releases.


def test_a_draft_is_published_with_its_files(repository, releases):
    here = repository(contents="write")
    made = draft(here)
    asset = upload(made)
    assert (asset.state, asset.size) == ("uploaded", 7)
    assert asset.digest == f"sha256:{hashlib.sha256(b'a model').hexdigest()}"
    assert releases.published() == {} and releases.tags == {}

    published = publish(made)

    assert not published.draft and published.published_at
    assert [asset.name for asset in here.get_release("model-1").assets] == ["model.tar.gz"]
    assert releases.published() == {"model-1": {"model.tar.gz": b"a model"}}
    assert releases.tags == {"model-1": releases.head}


def test_only_a_token_that_may_write_sees_drafts(repository, releases, cloud):
    asset = upload(draft(repository(contents="write")))
    reader = repository(contents="read")
    assert list(reader.get_releases()) == [] and len(list(repository().get_releases())) == 1
    for who in (reader, repository()):
        with pytest.raises(UnknownObjectException):
            who.get_release("model-1")
    token = cloud.github.token(contents="read")
    assert request(cloud, token, "GET", f"/releases/assets/{asset.id}").status_code == 404
    assert request(cloud, token, "GET", "/releases/1/assets").status_code == 404


def test_a_tag_is_published_once_but_drafts_may_share_it(repository, releases):
    here = repository(contents="write")
    first, second = draft(here), draft(here)
    publish(first)
    publish(first)  # a repeated request
    assert refusal(publish, second) == (422, "tag_name already_exists")
    assert refusal(here.create_git_release, "model-1", "", "") == (422, "tag_name already_exists")
    assert publish(second, "model-2").tag_name == "model-2"
    assert [release.tag_name for release in here.get_releases()] == ["model-2", "model-1"]


def test_a_name_is_uploaded_once(repository):
    made = draft(repository(contents="write"))
    asset = upload(made)
    assert refusal(upload, made, data=b"another") == (422, "name already_exists")
    asset.delete_asset()
    assert upload(made, data=b"another").size == 7 and [asset.size for asset in made.get_assets()] == [7]


def test_a_failed_upload_leaves_a_name_without_content(repository, releases):
    releases.failing_uploads = 1
    made = draft(repository(contents="write"))
    assert refusal(upload, made) == (502, "Server Error")
    assert [(asset.state, asset.size, asset.digest) for asset in made.get_assets()] == [("starter", 0, None)]
    assert refusal(upload, made) == (422, "name already_exists")


def test_files_are_uploaded_to_a_separate_host(cloud_environment, repository):
    draft(repository(contents="write"))
    token = cloud_environment.github.token()
    assert request(cloud_environment, token, "POST", "/releases/1/assets?name=a", {}).status_code == 404


def test_a_file_is_downloaded_from_another_host_without_the_token(cloud_environment, repository):
    release = draft(repository(contents="write"))
    asset = upload(release)
    publish(release)
    headers = {"Authorization": f"Bearer {cloud_environment.github.token()}", "Accept": "application/octet-stream"}
    answer = requests.get(asset.url, headers=headers, allow_redirects=False)
    assert answer.status_code == 302 and answer.headers["Location"].startswith(f"https://{DOWNLOADS}/")
    assert requests.get(answer.headers["Location"]).content == b"a model"
    assert requests.get(answer.headers["Location"], headers=headers).status_code == 403
    assert requests.get(answer.headers["Location"].partition("?")[0]).status_code == 404
    assert b"".join(asset.download_asset(chunk_size=1024)[2]) == b"a model"
    assert json.loads(requests.get(asset.url, headers=headers | {"Accept": "*/*"}).text)["size"] == 7


def test_a_tag_is_created_only_at_a_commit_that_github_has(repository, releases):
    releases.commits.add(SHA)
    here = repository(contents="write")
    publish(draft(here, target_commitish=SHA))
    assert releases.tags == {"model-1": SHA} and here.get_git_commit(SHA).sha == SHA
    assert refusal(draft, here, target_commitish="6" * 40) == (422, "target_commitish invalid")
    releases.commits.remove(SHA)
    gone = draft(here, "model-2")
    assert refusal(gone.update_release, "model-2", "", target_commitish=SHA) == (422, "target_commitish invalid")
    with pytest.raises(UnknownObjectException):
        here.get_git_commit(SHA)


def test_a_release_that_is_deleted_leaves_its_tag(repository, releases):
    made = draft(repository(contents="write"))
    publish(made)
    made.delete_release()
    assert releases.published() == {} and list(releases.tags) == ["model-1"]
    refs = repository(contents="read").get_git_matching_refs("tags/model-")
    assert [(ref.ref, ref.object.sha) for ref in refs] == [("refs/tags/model-1", releases.head)]


def test_texts_have_a_maximum_length(repository):
    here = repository(contents="write")
    assert refusal(here.create_git_release, "model-1", "", "x" * 125_001, draft=True) == (422, "body too_long")


def test_a_page_links_to_its_neighbours_and_to_the_ends(cloud_environment):
    github = cloud_environment.github
    for number in range(5):
        github.releases.add(f"model-{number}", {})
    token = github.token(contents="read")

    def relations(page):
        answer = request(cloud_environment, token, "GET", f"/releases?per_page=2&page={page}")
        return {name: link["url"].rpartition("page=")[2] for name, link in answer.links.items()}

    assert relations(1) == {"next": "2", "last": "3"}
    assert relations(2) == {"prev": "1", "first": "1", "next": "3", "last": "3"}
    assert relations(3) == {"prev": "2", "first": "1"}


def test_the_latest_release_is_neither_a_draft_nor_a_prerelease(cloud_environment, releases):
    def latest():
        return request(cloud_environment, cloud_environment.github.token(), "GET", "/releases/latest")

    assert latest().status_code == 404
    for tag in ("model-1", "model-2", "model-3"):
        releases.add(tag, {})
    releases.mark("model-3", prerelease=True)
    releases.add("model-4", {}, draft=True)
    assert latest().json()["tag_name"] == "model-2"


def test_runs_are_listed_for_the_whole_repository_too(repository, cloud):
    numbers = [cloud.github.actions.add_run(f"{name}.yml", SHA, "success") for name in ("ci", "cd")]
    here = repository()
    assert [run.id for run in here.get_workflow_runs(head_sha=SHA)] == numbers[::-1]
    assert here.get_workflow_run(numbers[0]).conclusion == "success"
    assert request(cloud, cloud.github.token(), "GET", "/actions/runs/99").status_code == 404


def test_the_rate_limit_is_shown_and_not_used_up_by_that(cloud_environment):
    here = cloud_environment.github
    client = github.Github(auth=github.Auth.Token(here.token()), retry=0)
    before = client.get_rate_limit().resources.core
    assert before.limit == 5000 and client.get_rate_limit().resources.core.remaining == before.remaining
    here.limits.primary(seconds=60)
    assert client.get_rate_limit().resources.core.remaining == 0
    assert not here.limits.met

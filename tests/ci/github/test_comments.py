"""One comment on a pull request, on the local GitHub."""

import concurrent.futures

import pytest

from ci.github import comments
from ci.github.comments import MARKER, WORKFLOWS
from pipeline.errors import GitHubRefused
from pipeline.github import client

HEAD, NEWER = "a" * 40, "b" * 40


@pytest.fixture
def github(cloud_environment):
    """The local GitHub with a pull request from a fork."""
    cloud_environment.github.pulls.propose(7, HEAD, "0" * 40, fork="stranger/widget")
    return cloud_environment.github


@pytest.fixture
def repository(github):
    return client.repository(github.repository, github.token(contents="read", pull_requests="write"))


def of(github, login: str, text: str) -> int:
    """A comment by another user."""
    person = client.repository(github.repository, github.token())
    number = person.get_issue(7).create_comment(text).id
    github.issues.comments[number]["user"] = {"login": login, "type": "Bot" if "[bot]" in login else "User"}
    return number


def test_the_first_report_is_a_comment_and_the_next_the_same_one(repository, github):
    first = comments.keep(repository, 7, HEAD, "95 %")
    assert not first.updated and github.issues.texts(7) == [f"{MARKER}\n95 %"]
    github.pulls.propose(7, NEWER, "0" * 40)
    second = comments.keep(repository, 7, NEWER, "96 %")
    assert second.updated and second.address == first.address and "/7#issuecomment-" in first.address
    assert github.issues.texts(7) == [f"{MARKER}\n96 %"]


def test_a_report_of_an_older_commit_writes_nothing(repository, github):
    comments.keep(repository, 7, HEAD, "95 %")
    github.pulls.propose(7, NEWER, "0" * 40)
    assert comments.keep(repository, 7, HEAD, "94 %") is None
    assert github.issues.texts(7) == [f"{MARKER}\n95 %"]


def test_a_forged_number_has_no_effect(repository, github):
    github.pulls.propose(8, NEWER, "0" * 40)
    assert comments.keep(repository, 8, HEAD, "95 %") is None
    with pytest.raises(GitHubRefused, match="Commenting on pull request 9 failed: .*does not exist"):
        comments.keep(repository, 9, HEAD, "95 %")
    assert github.issues.comments == {}


def test_doubled_comments_become_one(repository, github):
    for text in ("90 %", "91 %", "92 %"):
        of(github, WORKFLOWS, f"{MARKER}\n{text}")
    assert comments.keep(repository, 7, HEAD, "95 %").updated
    assert github.issues.texts(7) == [f"{MARKER}\n95 %"]


@pytest.mark.parametrize("login", ["stranger", "dependabot[bot]", "github-actions"])
def test_what_others_write_stays_whatever_it_looks_like(repository, github, login):
    of(github, login, f"{MARKER}\nmine")
    of(github, WORKFLOWS, f"Not ours:\n{MARKER}\n")
    kept = comments.keep(repository, 7, HEAD, "95 %")
    comments.keep(repository, 7, HEAD, "96 %")
    assert not kept.updated
    assert github.issues.texts(7) == [f"{MARKER}\nmine", f"Not ours:\n{MARKER}\n", f"{MARKER}\n96 %"]


def test_a_comment_of_a_deleted_user_is_left_alone(repository, github):
    github.issues.comments[of(github, "ghost", f"{MARKER}\nboo")]["user"] = None
    assert not comments.keep(repository, 7, HEAD, "95 %").updated
    assert len(github.issues.texts(7)) == 2


def test_who_comments_as_a_person_has_one_comment_too(repository, github, monkeypatch):
    answer = github.issues.comment

    def by_a_person(asked, number):
        response = answer(asked, number)
        comment = list(github.issues.comments.values())[-1]
        comment["user"] = {"login": "maintainer", "type": "User"}
        return response._replace(body=response.body.replace(WORKFLOWS.encode(), b"maintainer"))

    monkeypatch.setattr(github.issues, "comment", by_a_person)
    first = comments.keep(repository, 7, HEAD, "95 %")
    second = comments.keep(repository, 7, HEAD, "96 %")
    assert second.updated and first.address == second.address and github.issues.texts(7) == [f"{MARKER}\n96 %"]


@pytest.mark.parametrize("kind", ["500", "503", "cut", "lose"])
@pytest.mark.parametrize("nth", range(1, 7))
def test_a_call_that_fails_once_is_made_again(repository, github, cloud, kind, nth):
    of(github, WORKFLOWS, f"{MARKER}\n90 %")
    of(github, WORKFLOWS, f"{MARKER}\n91 %")
    cloud.faults.add("github", nth=nth, kind=kind)
    comments.keep(repository, 7, HEAD, "95 %")
    comments.keep(repository, 7, HEAD, "96 %")
    assert github.issues.texts(7) == [f"{MARKER}\n96 %"]


def test_a_lost_answer_to_the_first_comment_leaves_one(repository, github, cloud):
    cloud.faults.add("github", "issues/create-comment", kind="lose")
    assert not comments.keep(repository, 7, HEAD, "95 %").updated
    assert github.issues.texts(7) == [f"{MARKER}\n95 %"]


def test_two_at_once_leave_one(repository, github):
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        token = github.token(contents="read", pull_requests="write")
        each = [client.repository(github.repository, token) for _ in range(4)]
        kept = list(threads.map(lambda one: comments.keep(one, 7, HEAD, "95 %"), each))
    assert github.issues.texts(7) == [f"{MARKER}\n95 %"]
    assert len({one.address for one in kept}) == 1


def test_without_permission_it_says_what_is_missing(github):
    reader = client.repository(github.repository, github.token(contents="read", pull_requests="read"))
    with pytest.raises(GitHubRefused, match="Commenting on pull request 7 failed"):
        comments.keep(reader, 7, HEAD, "95 %")

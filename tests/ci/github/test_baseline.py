"""Releases by the code of a base commit, on real git repositories whose code is short."""

import json
import pathlib
import textwrap

import pytest

from ci.github.baseline import Baselines, NoBaseline, adopt
from pipeline.config import Config
from pipeline.releases.factory import open_releases
from tests.ci.github.test_routing import Repository

# Releases what another training released already, and notes that it was called, where and with which settings.
RELEASING = """
    import json, os, pathlib, shutil, sys

    noted = pathlib.Path({noted!r})
    names = ("WORKSPACE", "MODULES", "SEED", "ACCURACY_THRESHOLD", "GITHUB_TOKEN")
    call = {{name: os.environ.get(name) for name in names}}
    with noted.open("a") as file:
        file.write(json.dumps(call | {{"arguments": sys.argv[1:], "cwd": os.getcwd()}}) + "\\n")
    if sys.argv[1] == "train":
        shutil.copytree({releases!r}, os.environ["RELEASES"])
"""


@pytest.fixture
def base(tmp_path, trained_workspace):
    """A repository whose only commit is code that releases a model at once."""
    repository = Repository(tmp_path / "clone")
    code = RELEASING.format(noted=str(tmp_path / "noted"), releases=str(trained_workspace / "releases"))
    repository.base = repository.commit({"ci/__main__.py": textwrap.dedent(code)})
    return repository


@pytest.fixture
def baselines(base, tmp_path):
    def make(**settings) -> Baselines:
        images = tmp_path / "images" / "cat"
        images.mkdir(parents=True, exist_ok=True)
        (images / "1.png").write_bytes(b"a cat")
        scratch = tmp_path / f"scratch-{len(list(tmp_path.glob('scratch-*')))}"
        scratch.mkdir()
        return Baselines(
            Config(**settings), str(images.parent), str(tmp_path / "baseline"), str(scratch), str(base.root)
        )

    return make


@pytest.fixture
def calls(tmp_path):
    """What the base's code was asked to do."""
    noted = tmp_path / "noted"
    return lambda: [json.loads(line) for line in noted.read_text().splitlines()] if noted.exists() else []


def test_the_base_s_code_releases_a_model_once(base, baselines, calls, tmp_path, monkeypatch):
    monkeypatch.setenv("GITHUB_TOKEN", "secret")
    monkeypatch.setenv("WORKSPACE", "gs://bucket/ours")
    place, release = baselines(seed=3).release(base.base)

    assert release.tag == "model-1" and place.startswith(str(tmp_path / "baseline" / base.base))
    imported, trained = calls()
    assert imported["arguments"] == ["import-images", str(tmp_path / "images"), "--json"]
    assert trained["arguments"] == ["train", "--json"]
    assert trained["SEED"] == "3" and trained["ACCURACY_THRESHOLD"] == "0" and trained["GITHUB_TOKEN"] is None
    assert pathlib.Path(trained["WORKSPACE"]).parent == pathlib.Path(trained["cwd"]).parent == tmp_path / "scratch-0"
    assert not pathlib.Path(trained["cwd"]).exists() and base.git("worktree", "list").count("\n") == 0

    assert baselines(seed=3).release(base.base) == (place, release) and len(calls()) == 2


def test_other_settings_images_or_commits_make_another_one(base, baselines, calls, tmp_path):
    first, _ = baselines().release(base.base)
    second, _ = baselines(seed=1).release(base.base)
    (tmp_path / "images" / "cat" / "2.png").write_bytes(b"another cat")
    third, _ = baselines(seed=1).release(base.base)
    fourth, _ = baselines(seed=1).release(base.commit({"README.md": "2"}))
    assert len({first, second, third, fourth}) == 4 and len(calls()) == 8
    assert [path.name for path in (tmp_path / "baseline").iterdir()] == [base.git("rev-parse", "HEAD")]


def test_what_a_commit_s_own_rehearsal_made_is_its_baseline(base, baselines, calls, trained_workspace):
    baselines().keep(base.base, str(trained_workspace / "releases" / "model-1"))
    _, release = baselines().release(base.base)
    assert release == open_releases(str(trained_workspace / "releases")).get("model-1") and not calls()


def test_a_release_that_was_damaged_in_the_cache_is_made_again(base, baselines, calls):
    place, release = baselines().release(base.base)
    with open(f"{place}/model-1/model.tar.gz", "ab") as archive:
        archive.write(b"more")
    assert baselines().release(base.base) == (place, release) and len(calls()) == 4


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise ImportError('of another time')", "the base's `import-images` failed"),
        ("import sys\nsys.exit(sys.argv[1] == 'train')", "the base's `train` failed"),
        ("", "the base's release cannot be read"),
    ],
)
def test_a_base_that_releases_nothing_is_no_baseline(base, baselines, code, said):
    broken = base.commit({"ci/__main__.py": code})
    with pytest.raises(NoBaseline, match=said):
        baselines().release(broken)
    assert base.git("worktree", "list").count("\n") == 0


def test_what_cannot_be_checked_out_is_no_baseline(baselines):
    with pytest.raises(NoBaseline, match="cannot check out"):
        baselines().release("f" * 40)


def test_the_current_model_of_a_rehearsal_has_another_identity(trained_workspace, tmp_path):
    releases = open_releases(str(trained_workspace / "releases"))
    given = releases.newest()
    adopted = adopt(releases.address, given, str(tmp_path / "releases"))

    assert adopted.identity != given.identity and adopted.files == given.files and adopted.metrics == given.metrics
    there = open_releases(str(tmp_path / "releases"))
    assert there.newest() == adopted and there.fetch(adopted, str(tmp_path / "model"))
    assert releases.newest() == given

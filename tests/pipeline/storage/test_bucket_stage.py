"""Preparations whose calls fail, that are killed or overtaken at each call: no image is lost or doubled."""

import concurrent.futures
import contextlib
import itertools
import os
import signal
import textwrap
from collections.abc import Callable, Collection, Iterator

import pytest

from pipeline.data import spans
from pipeline.data.span import Span
from pipeline.storage.bucket import Bucket
from pipeline.storage.factory import open_storage
from tests.conftest import BucketWorkspace, jpeg, photographs
from tests.killing import Children

PUBLISHED = photographs(range(100, 102))
NEW = photographs(range(3)) | {"dog_3.jpg": jpeg(3)}
AGAIN = {"cat/copy.jpg": jpeg(0), "dog/old.jpg": jpeg(101)}  # of an image of this span, and of an earlier one
BAD = {"cat/bad.jpg": b"no image"}
EVERYTHING = [*PUBLISHED.values(), *NEW.values()]


@pytest.fixture
def kind():
    return "bucket"


@pytest.fixture
def begun(cloud_environment, workspace, storage, retry_waits) -> Callable[[object], BucketWorkspace]:
    """Creates another workspace with a span, and with collected images of all kinds."""
    workspace.collect(PUBLISHED)
    spans.prepare(storage)
    workspace.collect(NEW | AGAIN | BAD)

    def begin(name: object) -> BucketWorkspace:
        made = BucketWorkspace(cloud_environment, f"{workspace.address}-{name}")
        made.put(workspace.files())
        cloud_environment.requests.clear()
        return made

    return begin


@pytest.fixture
def at_call(cloud, monkeypatch) -> Callable[[int, Callable[[], str]], None]:
    """Calls `happens()` before the n-th call of storage is served; it returns a kind of fault, or ""."""

    def watch(nth: int, happens: Callable[[], str], passed_over: Collection[str] = ()) -> None:
        calls = itertools.count(1)

        def take(service: str, method: str, target: str) -> str:
            counts = service == "storage" and method not in passed_over
            return happens() if counts and next(calls) == nth else ""

        monkeypatch.setattr(cloud.faults, "take", take)

    return watch


def is_whole(found: BucketWorkspace) -> bool:
    """True when all images are in spans and no temporary object is left."""
    assert not found.unaccounted(EVERYTHING)
    assert found.collected() == {}
    assert found.rejected() == {"cat/bad.jpg": b"no image", "cat/bad.jpg.reason.txt": b"neither JPEG nor PNG\n"}
    sources = [data for name, data in found.archived().items() if "/sources/" in name]
    assert sorted(sources) == sorted(EVERYTHING)
    manifests = {name.split("/")[0] for name in found.files("spans") if name.endswith("/span.json")}
    assert {name.split("/")[0] for name in found.files("spans")} == manifests, sorted(found.files("spans"))
    return True


@pytest.mark.parametrize("failure", ["503", "cut"])  # test_bucket.py tries all of a retraining with "lose"
def test_each_call_fails_once(cloud, begun, failure):
    for nth in itertools.count(1):
        found = begun(nth)
        fault = cloud.faults.add(service="storage", nth=nth, kind=failure)
        prepared = spans.prepare(open_storage(found.address))
        cloud.faults.clear()
        assert (prepared.span, prepared.images, prepared.duplicates) == (2, 4, 2), nth
        assert is_whole(found) and len(found.archived()) == len(EVERYTHING) + len(AGAIN)
        assert not [name for name in found.files() if name[0] == "."]
        if not fault.done:
            break
    assert nth > 25


@pytest.fixture
def children(cloud_environment, tmp_path) -> Iterator[Children]:
    """Prepares spans in child processes, which have imported all and made no call."""
    (tmp_path / "image.jpg").write_bytes(jpeg(0))
    prepare = textwrap.dedent(f"""
        import google.oauth2.service_account
        import simplejpeg
        from pipeline.data import images, preparation, spans
        from pipeline.storage import bucket

        images.check(open({str(tmp_path / "image.jpg")!r}, "rb").read())
    """)
    with Children(prepare, "spans.prepare") as children:
        yield children


READS = ("objects.list", "objects.get", "objects.download", "xml.get", "batch")  # change nothing


def test_killed_after_each_change_in_turn(begun, at_call, children):
    for nth in itertools.count(1):
        found = begun(nth)
        child = children.start(found.address)
        at_call(nth, lambda child=child: os.kill(child, signal.SIGKILL) or "lose", READS)
        children.go()
        code = children.end()
        at_call(0, str)
        for name in {*found.files()} & {"collected/cat/copy.jpg", "collected/dog/old.jpg", ".preparing-a-span.lock"}:
            found.remove(name)  # second copies, which would count as doubled, and an expired lease
        assert not found.unaccounted(EVERYTHING), nth
        spans.prepare(open_storage(found.address))
        assert is_whole(found), nth
        if code == 0:
            break
        assert code == -signal.SIGKILL
    assert nth > 15


def test_concurrent_preparations_make_one_span(begun, caplog):
    found = begun("at once")
    with concurrent.futures.ThreadPoolExecutor(3) as threads:
        prepared = list(threads.map(spans.prepare, [open_storage(found.address) for _ in range(3)]))

    assert sorted(one.images for one in prepared) == [0, 0, 4]
    assert is_whole(found)
    assert "Another process is preparing a span" in caplog.text


def test_overtaken_at_each_call_in_turn(begun, at_call, monkeypatch):
    """Two concurrent preparations without a common lease, as after a pause longer than one."""
    monkeypatch.setattr(Bucket, "exclusive", lambda *_: contextlib.nullcontext())
    # Before Python 3.12 a cached_property has one lock for all threads, which two processes do not share.
    monkeypatch.setattr(vars(Span)["listed"], "lock", contextlib.nullcontext(), raising=False)
    for nth in itertools.count(1):
        found, others = begun(nth), []

        def prepare(found=found, others=others) -> str:
            others.append(spans.prepare(open_storage(found.address)))
            return ""

        at_call(nth, prepare)
        prepared = spans.prepare(open_storage(found.address))
        at_call(0, str)
        assert is_whole(found), nth
        if not others:
            break
        assert sum(one.images for one in (prepared, *others)) == 4
    assert nth > 25

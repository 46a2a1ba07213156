"""Uploads of hard pictures: what is taken, up to which limits, and what a client can never do."""

import asyncio
import hashlib
import json

from pipeline.config import Config
from pipeline.serving.server import uploads
from pipeline.serving.server.protocol import Refusal
from pipeline.serving.server.uploads import Uploads
from tests.conftest import Workspace, jpeg
from tests.pipeline.conftest import plain
from tests.pipeline.data.incoming.test_unlabelled import NOTE
from tests.pipeline.serving.server.test_app import value
from tests.places import kind, workspace
from tests.served import Served

__all__ = ["kind", "workspace"]

NOTE = json.dumps(NOTE).encode()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Client:
    """Uploads to `Uploads` with these settings."""

    def __init__(self, workspace, **settings):
        self._uploads = Uploads(Config(**{"workspace": workspace.address, "serving_uploads": 2, **settings}))

    async def _put(self, name: str, data: bytes) -> int:
        async def body() -> bytes:
            return data

        try:
            return 201 if await self._uploads.take(name, body) else 200
        except Refusal as refusal:
            assert bool(refusal.retry_after) == (refusal.status == 429)
            return refusal.status

    def put(self, name: str, data: bytes) -> int:
        return asyncio.run(self._put(name, data))

    def put_all(self, pictures) -> list[int]:
        async def together() -> list[int]:
            return await asyncio.gather(*(self._put(f"{digest(each)}.jpg", each) for each in pictures))

        return asyncio.run(together())


def test_a_picture_comes_before_its_note_and_neither_is_overwritten(workspace):
    client, name = Client(workspace), digest(jpeg(1))

    assert client.put(f"{name}.json", NOTE) == 409
    assert [client.put(f"{name}.jpg", jpeg(1)) for _ in range(2)] == [201, 200]
    assert [client.put(f"{name}.json", note) for note in (b"{}", NOTE, NOTE.replace(b"cat", b"dog"))] == [400, 201, 200]

    files = workspace.files("unlabelled")
    assert set(files) == {f"{name}.jpg", f"{name}.json"} and b"cat" in files[f"{name}.json"]


def test_the_name_is_that_of_the_content(workspace):
    client, right = Client(workspace), digest(jpeg(1))
    for name in (f"{digest(b'other')}.jpg", f"{right}.png"):
        assert client.put(name, jpeg(1)) == 400
    for name in ("1.jpg", f"{right}.jpeg", f"{right.upper()}.jpg", f"../{right}.jpg", f"cat_{right}.jpg", "list.csv"):
        assert client.put(name, jpeg(1)) == 404
    broken = jpeg(1)[:-20]
    assert client.put(f"{digest(broken)}.jpg", broken) == 400
    assert workspace.files("unlabelled") == {}


def test_there_is_room_for_so_many_pictures_and_bytes_until_some_are_taken_away(workspace, monkeypatch):
    client = Client(workspace, serving_uploads=2)
    assert client.put_all(map(jpeg, (1, 2, 3))) == [201, 201, 507]
    assert client.put(f"{digest(jpeg(1))}.jpg", jpeg(1)) == 200, "it is there already"

    workspace.remove(f"unlabelled/{digest(jpeg(1))}.jpg")
    assert client.put_all([jpeg(3)]) == [507], "counted again within a minute"
    monkeypatch.setattr(uploads, "COUNTED_SECONDS", 0.0)
    assert client.put_all([jpeg(3)]) == [201]

    small = Client(workspace, serving_uploads=100, serving_upload_megabytes=0.001)
    assert small.put_all([jpeg(4)]) == [507]


def test_who_uploads_too_much_at_a_time_waits(tmp_path, monkeypatch):
    monkeypatch.setattr(uploads, "BURST", 3)
    monkeypatch.setattr(uploads, "RATE", 0.0)
    client = Client(Workspace(tmp_path), serving_uploads=100)
    assert client.put_all(map(jpeg, range(5))) == [201, 201, 201, 429, 429]
    monkeypatch.setattr(uploads, "RATE", 1e6)
    assert client.put_all([jpeg(9)]) == [201]

    monkeypatch.setattr(uploads, "BURST", 1000)
    many = Client(Workspace(tmp_path / "other"), serving_uploads=100)
    statuses = many.put_all(map(jpeg, range(12)))
    assert statuses.count(201) == uploads.WAITING and statuses.count(429) == 12 - uploads.WAITING


def test_a_server_takes_pictures_only_where_it_is_asked_to(bright_or_dark, device_model_server, tmp_path):
    path, picture = f"/unlabelled/{digest(plain(9))}.png", plain(9)
    assert device_model_server.ask("PUT", path, picture).status == 404
    assert device_model_server.get("/config.json").json["unlabelled"] is None
    variables = {"WORKSPACE": str(tmp_path), "SERVING_UPLOADS": "5", "SERVING_BODY_MEGABYTES": "0.01"}
    with Served(bright_or_dark, **variables) as server:
        assert server.get("/config.json").json["unlabelled"] == "/unlabelled/"
        answers = [server.ask("PUT", path, picture) for _ in range(2)]
        assert [(each.status, each.json) for each in answers] == [(201, {"kept": True}), (200, {"kept": False})]
        large = server.ask("PUT", path, b" " * 20_000)
        assert large.status == 413 and "10,000 bytes" in large.json["error"]
        assert server.get(path).status == 404, "what was uploaded is not served"
        assert server.ask("DELETE", path).status == 404
        for wrong in ("/unlabelled/..%2fx.png", "/unlabelled/%2e%2e/x.png", "/unlabelled/x/y.png"):
            assert server.ask("PUT", wrong, picture).status == 404
        assert value(server, 'spanloop_uploads_total{status="201"}') == 1
    assert [each.name for each in (tmp_path / "unlabelled").iterdir()] == [path.rpartition("/")[2]]

"""A channel is read from a folder, a bucket, GitHub and a web server, and never more than what was asked for."""

import contextlib
import functools
import http.server
import threading

import pytest

from apps.client.channel import Unreachable, open_channel
from apps.client.installation import Installation, Update
from pipeline.config import Config
from pipeline.releases.factory import releases_of
from pipeline.serving import rollout
from tests.devices import Key
from tests.pipeline.conftest import plain

NAME = "devices/classification/channels/stable.json"


class Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Stays silent."""


@contextlib.contextmanager
def web_server(folder):
    handler = functools.partial(Files, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_folder_and_a_web_server_have_the_same_files(published):
    with web_server(str(published.root)) as url:
        for address in (str(published.root), url, f"{url}/"):
            read = open_channel(address)
            assert b"model-1" in read(NAME, 1 << 20)
            with pytest.raises(Unreachable, match="nothing.json"):
                read("devices/nothing.json", 1 << 20)
            with pytest.raises(Unreachable, match="more than 10 bytes"):
                read(NAME, 10)
    with pytest.raises(Unreachable, match="cannot be read"):
        open_channel(url)(NAME, 1 << 20)


def test_a_client_installs_from_a_web_server(published):
    with web_server(str(published.root)) as url:
        assert published.client.update(open_channel(url)).changed


def test_a_client_follows_a_channel_in_releases_of_github(cloud_environment, pair_of_hand, tmp_path, monkeypatch):
    github = cloud_environment.github
    monkeypatch.setenv("GITHUB_TOKEN", github.token(contents="write"))
    address, key = f"github:{github.repository}", Key(tmp_path / "device-key.pem")
    config = Config(workspace=str(tmp_path / "workspace"), device_channel=address, device_signing_key=key.file)
    rollout.promote(config, pair_of_hand(releases_of(config)).tag)
    monkeypatch.delenv("GITHUB_TOKEN")  # a device has none
    client = Installation(str(tmp_path / "app"), [key.public], "classification")

    assert client.update(open_channel(address)) == Update("model-1", changed=True)
    assert client.open().answer(plain(250)).label == "bright"

    github.releases.damage("devices-classification-model-1", "model.tflite", b"TFL3")
    other = Installation(str(tmp_path / "other"), [key.public], "classification").update(open_channel(address))
    assert other.tag is None and "is not the file" in other.kept
    github.releases.remove("devices-classification-channels", "stable.json")
    kept = client.update(open_channel(address))
    assert kept.tag == "model-1" and "channels/stable.json answers 404" in kept.kept


def test_a_client_installs_from_a_bucket(published, cloud_environment, gs_workspace):
    for path in published.root.rglob("*.*"):
        cloud_environment.gcs.put(f"{gs_workspace}/{path.relative_to(published.root)}", path.read_bytes())

    assert published.client.update(open_channel(gs_workspace)).tag == "model-1"

    with pytest.raises(Unreachable, match="there is no gs://"):
        open_channel(gs_workspace)("devices/nothing.json", 1 << 20)

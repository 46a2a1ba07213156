"""The web client and the device channel over HTTP: what is served, with which headers, and what never is."""

import base64
import json
import os
import pathlib

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from pipeline.config import Config
from pipeline.errors import SigningKeyUnusable
from pipeline.serving import rollout
from pipeline.serving.server.web import public_key
from tests.conftest import Workspace, put
from tests.devices import Devices
from tests.served import Served


@pytest.fixture(scope="module")
def devices(tmp_path_factory):
    folder = tmp_path_factory.mktemp("channel")
    made = Devices(Workspace(folder / "workspace"), folder)
    rollout.promote(made.config, made.release(1).tag)
    put(folder, {"secret": b"a secret"})
    os.symlink(folder / "secret", folder / "workspace" / "devices" / "link")
    os.symlink(folder, folder / "workspace" / "devices" / "outside")
    return made


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The built files of a web client, in the place of apps/web/dist."""
    folder = tmp_path_factory.mktemp("dist")
    files = {
        "index.html": b"<!doctype html>",
        "sw.js": b"1",
        "manifest.webmanifest": b"{}",
        "main.js": b"export {}",
        "samples/cat-retriever.jpg": b"\xff\xd8",
        "litert-2.5.3/internal.wasm": b"\0asm",
        "litert-2.5.3/internal.wasm.br": b"compressed",
    }
    put(folder, files)
    return folder


@pytest.fixture(scope="module")
def server(devices, page, bright_or_dark):
    public = pathlib.Path(devices.key.file).with_name("device-public-key.pem")
    public.write_text(devices.key.public)
    variables = {"DEVICE_CHANNEL": devices.config.device_channel, "DEVICE_PUBLIC_KEY": str(public)}
    with Served(bright_or_dark, "--page", str(page), **variables) as running:
        yield running


def test_the_page_learns_where_everything_is(server, devices):
    answer = server.get("/config.json")
    found = answer.json
    key = load_pem_public_key(devices.key.public.encode()).public_bytes_raw()
    assert base64.b64decode(found.pop("publicKey")) == key
    assert found == {
        "channel": "/devices/classification/channels/stable.json",
        "predict": server.path,
        "task": "classification",
        "unlabelled": None,
    }
    assert answer.headers["cache-control"] == "no-cache"


def test_the_public_key_is_published_without_the_private_one(devices, tmp_path):
    put(tmp_path, {"public.pem": devices.key.public.encode(), "text": b"no key"})
    absent = str(tmp_path / "absent.pem")
    public = Config(device_public_key=str(tmp_path / "public.pem"), device_signing_key=absent)
    assert public_key(public) == public_key(Config(device_signing_key=devices.key.file))
    for wrong, why in ((absent, "No such file"), (str(tmp_path / "text"), "no public key"), (devices.key.file, "no p")):
        with pytest.raises(SigningKeyUnusable, match=rf"DEVICE_PUBLIC_KEY \({wrong}\): .*{why}"):
            public_key(Config(device_public_key=wrong))
    assert public_key(Config()) is None


def test_what_is_not_configured_is_null(device_model_server):
    found = device_model_server.get("/config.json").json
    assert found["channel"] is None and found["publicKey"] is None and found["predict"] == device_model_server.path
    assert device_model_server.get("/devices/classification/channels/stable.json").status == 404


def test_a_page_that_is_not_built_says_how_to_build_it(bright_or_dark, tmp_path):
    with Served(bright_or_dark, "--page", str(tmp_path)) as server:
        answer = server.get("/")
        assert answer.status == 200 and b"npm run build" in answer.body and b":predict" in answer.body
        assert server.get("/index.html").status == 404


def test_the_channel_is_served_as_it_is(server, devices):
    pointer = server.get("/devices/classification/channels/stable.json")
    assert pointer.body == devices.workspace.read("devices/classification/channels/stable.json")
    assert pointer.headers["cache-control"] == "no-cache" and pointer.headers["content-type"] == "application/json"
    model = server.get(f"/devices/classification/{json.loads(pointer.body)['tag']}/model.tflite")
    assert model.body == b"TFL3 1" and "immutable" in model.headers["cache-control"]


@pytest.mark.parametrize(
    "path",
    [
        "/devices/link",
        "/devices/outside/secret",
        "/devices/../secret",
        "/devices/..%2fsecret",
        "/devices/%2e%2e/secret",
        "/devices/%2e%2e%2fsecret",
        "/devices/..%5csecret",
        "/devices/x%00",
        "/devices//etc/passwd",
        "/devices/",
        "/devices/classification",
        "/../secret",
        "/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/.hidden",
    ],
)
def test_nothing_else_is_served(server, path):
    answer = server.get(path)
    assert answer.status == 404 and b"secret" not in answer.body
    assert server.ask("PUT", path, b"x").status == 404


def test_files_of_the_page_have_their_types_and_are_cached_by_their_names(server):
    for path, kind, caching in (
        ("/", "text/html; charset=utf-8", "no-cache"),
        ("/index.html", "text/html; charset=utf-8", "no-cache"),
        ("/sw.js", "text/javascript; charset=utf-8", "no-cache"),
        ("/manifest.webmanifest", "application/manifest+json", "no-cache"),
        ("/main.js", "text/javascript; charset=utf-8", "no-cache"),
        ("/samples/cat-retriever.jpg", "image/jpeg", "no-cache"),
        ("/litert-2.5.3/internal.wasm", "application/wasm", "public, max-age=31536000, immutable"),
    ):
        answer = server.get(path)
        shown = (answer.status, answer.headers["content-type"], answer.headers.get("cache-control"))
        assert shown == (200, kind, caching), path
        assert "'unsafe-inline'" not in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_what_was_compressed_is_sent_compressed_to_who_takes_it(server):
    path = "/litert-2.5.3/internal.wasm"
    answer = server.get(path, Accept_Encoding="gzip, br")
    assert answer.body == b"compressed" and answer.headers["content-encoding"] == "br"
    assert answer.headers["content-type"] == "application/wasm" and answer.headers["vary"] == "Accept-Encoding"
    assert server.get(path).body == b"\0asm"
    assert server.get(path, If_None_Match=server.get(path).headers["etag"]).status == 304

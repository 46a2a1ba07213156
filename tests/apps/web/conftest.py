"""The web client in headless Chromium, with a channel that real releases are published to.

Its tests need the built page (`make test-web` builds it) and Chromium; they are not collected without both.
"""

import base64
import contextlib
import dataclasses
import json
import pathlib
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect, sync_playwright

from pipeline.config import Config
from pipeline.outcomes import Escalation, Metrics
from pipeline.releases.factory import open_releases, releases_of
from pipeline.releases.record import DeviceModel, Release
from pipeline.serving import canary
from pipeline.serving.device_channel import DeviceChannel
from pipeline.serving.device_manifest import Pointer
from pipeline.serving.device_signing import Signer
from tests.apps.web.site import DIST, Site
from tests.conftest import EMPTY_MODEL
from tests.devices import Key

WEB = DIST.parent
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
collect_ignore_glob = [] if CHROMIUM and (DIST / "index.html").exists() else ["test_*.py"]
expect.set_options(timeout=20_000)  # milliseconds: the first look compiles 9 MB of WebAssembly


class Publisher:
    """Publishes releases of a device model to a channel in a folder, signed."""

    def __init__(self, folder: pathlib.Path, model: pathlib.Path):
        self.folder = folder
        self.devices = folder / "devices"
        self._model = model
        self.key = Key(folder / "device-key.pem")
        public = load_pem_public_key(self.key.public.encode())
        self.public_key = base64.b64encode(public.public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()
        self.config = Config(
            workspace=str(folder / "workspace"), device_channel=str(folder), device_signing_key=self.key.file
        )

    def release(
        self,
        number: int,
        labels: tuple[str, str] = ("dark", "bright"),
        threshold: float | None = 0.8,
        data: bytes | None = None,
        percent: int = 100,
    ) -> None:
        """Releases model-NUMBER, whose file is `data` if given, and promotes it for some of the devices."""
        data = (self._model / "tflite").read_bytes() if data is None else data
        (self.folder / "tflite").write_bytes(data)
        saved = self.folder / "saved_model"
        saved.mkdir(exist_ok=True)
        (saved / "saved_model.pb").write_bytes(EMPTY_MODEL)
        described = DeviceModel(
            file="model.tflite",
            bytes=len(data),
            labels=labels,
            input=json.loads((self._model / "device.json").read_text())["input"],
            quantization="fp32",
            metrics=Metrics(accuracy=0.93, images=400),
            agreement=0.95,
            escalation=Escalation(threshold=threshold, escalated=0.25, accuracy=0.95) if threshold else None,
        )
        release = open_releases(self.config.releases).publish(
            str(saved),
            identity=f"{number}",
            commit="c0ffee",
            modules_digest="a" * 64,
            spans=(1,),
            labels=labels,
            metrics=Metrics(accuracy=0.97, images=400),
            previous=None,
            device=described,
            device_file=str(self.folder / "tflite"),
        )
        assert release.tag == f"model-{number}"
        self.promote(release, percent)

    def promote(self, release: Release, percent: int = 100) -> None:
        channel = DeviceChannel(self.config)
        channel.publish(release)
        channel.reach(canary.promotion(release.tag), percent)

    def rollout(self, number: int, percent: int) -> None:
        self.promote(releases_of(self.config).get(f"model-{number}"), percent)

    def roll_back(self) -> None:
        DeviceChannel(self.config).reach(canary.roll_back)

    def sign(self, pointer: Pointer, **changes: str) -> bytes:
        """Returns a pointer, changed, with the key's signature."""
        return Signer(self.config.device_signing_key).sign(dataclasses.replace(pointer, **changes))

    @property
    def pointer(self) -> bytes:
        return (self.devices / "classification" / "channels" / "stable.json").read_bytes()


class App:
    """The page in one tab."""

    def __init__(self, tab: Page, url: str):
        self.tab, self._url = tab, url
        self.problems: list[str] = []  # exceptions that were not caught, and what the policy of the page refused
        tab.on("pageerror", lambda error: self.problems.append(str(error)))
        tab.on("console", lambda message: "Content Security" in message.text and self.problems.append(message.text))

    def open(self, model: str | None = "model-1") -> "App":
        """Opens the page and waits until it runs this model and would open without a network."""
        self.tab.goto(self._url)
        if model:
            self.has_model(model)
            expect(self.part("offline")).to_be_visible()
        return self

    def has_model(self, tag: str) -> None:
        expect(self.part("model")).to_have_text(tag)

    def part(self, identity: str) -> Locator:
        return self.tab.locator(f"#{identity}")

    def choose(self, picture: bytes, kind: str = "image/png") -> None:
        self.part("file").set_input_files([{"name": "picture", "mimeType": kind, "buffer": picture}])

    def mode(self, value: str) -> None:
        self.tab.locator(f"input[name=mode][value={value}]").check()

    def says(self, label: str, by: str, reason: str | None = None) -> None:
        """Waits for an answer, and compares it."""
        expect(self.part("answer-label")).to_have_text(label)
        expect(self.part("answer")).to_have_attribute("data-by", by)
        expect(self.part("answer")).not_to_have_attribute("aria-busy", "true")
        if reason:
            expect(self.part("answer")).to_have_attribute("data-reason", reason)

    def look(self) -> None:
        """Looks at the channel now instead of a minute later."""
        self.part("check").click()
        expect(self.part("check")).to_be_enabled()


@pytest.fixture(scope="module")  # Playwright runs an event loop in this thread, in which other tests cannot run theirs
def browser() -> Iterator[Browser]:
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    hosts = ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments + camera + hosts)
        yield browser
        browser.close()


@pytest.fixture
def publisher(tmp_path, bright_or_dark) -> Publisher:
    """A publisher that has released model-1."""
    return first_release(tmp_path, bright_or_dark)


def first_release(folder: pathlib.Path, model: pathlib.Path) -> Publisher:
    publisher = Publisher(folder, model)
    publisher.release(1)
    return publisher


@pytest.fixture
def site(publisher) -> Iterator[Site]:
    with serving(publisher) as site:
        yield site


@contextlib.contextmanager
def serving(publisher: Publisher) -> Iterator[Site]:
    """Serves the page with the publisher's channel; the server has 1.5 s for an answer."""
    config: dict[str, Any] = {
        "task": "classification",
        "channel": "/devices/classification/channels/stable.json",
        "publicKey": publisher.public_key,
        "predict": "/v1/models/classification:predict",
        "budgetSeconds": 1.5,
    }
    site = Site(publisher.devices, config)
    yield site
    site.close()


@pytest.fixture
def context(browser) -> Iterator[BrowserContext]:
    """A browser's profile: what tabs share, and what stays when they are closed."""
    with profile(browser) as context:
        yield context


@contextlib.contextmanager
def profile(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 390, "height": 844}, accept_downloads=True)
    yield context
    context.close()


@pytest.fixture
def new_tab(context, site) -> Iterator[Any]:
    """Makes tabs, in which no exception may be left and the page's policy must refuse nothing."""
    apps: list[App] = []

    def new(url: str = "") -> App:
        apps.append(App(context.new_page(), url or site.url))
        return apps[-1]

    yield new
    assert [problem for app in apps for problem in app.problems] == []


@pytest.fixture
def app(new_tab) -> App:
    """The page, opened, with model-1 installed."""
    return new_tab().open()


@pytest.fixture(scope="session")
def modules(tmp_path_factory) -> Any:
    """Makes the JavaScript of a file of the page's sources, by its name, with what it exports."""
    folder = tmp_path_factory.mktemp("modules")

    def made(name: str) -> bytes:
        out = folder / f"{name}.js"
        build = [WEB / "node_modules" / ".bin" / "esbuild", WEB / "src" / f"{name}.ts", f"--outfile={out}"]
        runtime = next(DIST.glob("litert-*")).name
        options = ["--bundle", "--format=esm", "--log-level=error", f"--define:LITERT={json.dumps(runtime)}"]
        subprocess.run([*build, *options], check=True)
        return out.read_bytes()

    return made

"""Shows two models of one training at work, in an app that loses its network and updates itself."""

import datetime
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import webbrowser
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import click

from ci import own_workspace
from ci.commands.demo import CAMERAS, SHOWN, Runner, StoryBroken, evaluated, imported, retrained, trained
from ci.outcome import Outcome, command
from pipeline.config import Config
from pipeline.data import digits
from pipeline.formatting import counted, duration, listed, megabytes, percent
from pipeline.quality.scores import Score
from pipeline.releases.factory import releases_of
from pipeline.reporting.device_story_page import Act, DeviceStory, Question, device_story_page

GROUP = "models"

FIRST, COLLECTED = 800, 480  # digits of each camera that are for training; the others are new to all models
BUDGET = "1"  # seconds that the app waits for the server
STARTS = 120.0  # most seconds until the server has loaded its model
NEW = 200  # digits of each camera that are shown to the app
WEB = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "apps", "web")
# the device's small network learns less of so few pictures than it would of more
SETTINGS = {
    "DEVICE_MODEL": "true",
    "DEVICE_ACCURACY_THRESHOLD": "0.5",
    "DEVICE_AGREEMENT": "0.5",
    "SERVING_UPLOADS": "200",  # hard pictures that the page may send
}


@command
@click.option("--folder", default="./workspace-devices", show_default=True, help="Its workspace; it is emptied first.")
@click.option("--stay/--no-stay", default=None, help="Serve the page until Enter is pressed.  [default: on a terminal]")
@click.option(
    "--open/--no-open",
    "opens",
    default=None,
    help="Open the page in a browser, that of BROWSER if it is set.  [default: on a terminal of a desktop]",
)
def demo_devices(config: Config, folder: str, stay: bool | None, opens: bool | None) -> Outcome:
    """Shows two models of one training at work: an app that goes on without a network, and learns a new camera."""
    on_terminal = sys.stdin.isatty() and sys.stderr.isatty()
    watched = on_terminal if stay is None else stay
    opens = on_terminal and has_desktop() if opens is None else opens
    with own_workspace.afresh(folder, "demo-devices"):
        demo = Demo(folder)
        page = demo.web_page()
        with demo.app:
            run_story(demo, page, opens)
            report = os.path.abspath(os.path.join(folder, "report.html"))
            with open(report, "w", encoding="utf-8") as file:
                file.write(device_story_page(demo.story()))
            if watched:
                demo.runner.say(f"\nReport: {report}\nThe app is served at {demo.app.url} until you press Enter.")
                sys.stdin.readline()
    acts = demo.acts
    return Outcome(
        f"Without a network the device answered {acts['cut'].answered}. The camera changed, and the app got"
        f" {percent(acts['changed'].right.accuracy)} right. The loop trained both models, the app updated itself:"
        f" {percent(acts['updated'].right.accuracy)}, after {duration(demo.runner.seconds)}.\n"
        f"Open in a browser: {report}\n"
        f"Go on by hand: export WORKSPACE={folder}, then .venv/bin/python -m ci status",
        report=report,
        workspace=folder,
        accuracy={name: act.right.accuracy for name, act in acts.items()},
        page=page,
        seconds=round(demo.runner.seconds, 1),
    )


class App:
    """The server of the cloud model, which also serves the page and the channel: `python -m ci serve`."""

    def __init__(self, runner: Runner, folder: str):
        self._runner, self._log = runner, os.path.join(folder, "serve.log")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen | None = None

    def start(self, said: str) -> None:
        """Starts the server and waits until it answers. Raises StoryBroken."""
        typed = ["serve", "--port", str(self._port)]
        shown, began = f"python -m ci {' '.join(typed)}", self._runner.seconds
        self._runner.show(shown)
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ci", *typed],
                env={name: of for name, of in self._runner.environment.items() if name != "DEVICE_SIGNING_KEY"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.wait_for("")
        self._runner.add(shown, said, began)

    def wait_for(self, tag: str, percent: int = 0) -> None:
        """Waits until the server gives a release, "" for any, this share of the requests. Raises StoryBroken."""
        end = time.monotonic() + STARTS
        while not self._serves(tag, percent):
            if self._process.poll() is not None or time.monotonic() > end:
                raise StoryBroken(f"The demo stopped, because the server does not serve {tag}: see {self._log}.")
            time.sleep(0.2)

    def _serves(self, tag: str, percent: int) -> bool:
        try:
            # Without the proxy that the environment may name: it cannot reach this machine's own server.
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
                f"{self.url}/health", timeout=2
            ) as response:
                shares = json.load(response)["models"]
        except (OSError, ValueError):  # not there yet: URLError is an OSError
            return False
        return any(share >= percent for name, share in shares.items() if tag in ("", name))

    def cut(self) -> None:
        """Ends the server, as far as an app can see: nothing answers any more."""
        if self._process:
            self._process.terminate()
            try:
                self._process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def __enter__(self) -> "App":
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()


class Demo:
    """The folder, the commands and what they came to."""

    def __init__(self, folder: str):
        self.folder = folder
        private, public = (os.path.join(folder, name) for name in ("device-key.pem", "device-public-key.pem"))
        make_key(private, public)
        settings = SETTINGS | {
            "DEVICE_CHANNEL": os.path.join(folder, "channel"),
            "DEVICE_SIGNING_KEY": private,
            "DEVICE_PUBLIC_KEY": public,
        }
        self.runner = Runner(folder, **settings)
        self.config = Config.from_environment(settings | {"WORKSPACE": folder})
        self.app = App(self.runner, folder)
        self.acts: dict[str, Act] = {}
        # new to both models
        self.pictures = {camera: os.path.join(folder, "pictures", camera.replace(" ", "-")) for camera in CAMERAS}
        for camera, seen, skip in zip(CAMERAS, (digits.FIRST, digits.CHANGED), (FIRST, COLLECTED), strict=True):
            digits.write(self.pictures[camera], seen, skip, NEW)

    def web_page(self) -> bool:
        """Builds the page unless it is built; says what is missing where it cannot be, and returns False."""
        if os.path.exists(os.path.join(WEB, "dist", "index.html")):
            return True
        if not os.path.exists(os.path.join(WEB, "package.json")) or not shutil.which("npm"):
            self.runner.say(
                "Without the page in a browser, which needs Node.js 20 or newer: the client in Python shows it."
            )
            return False
        with self.runner.busy("Building the page: npm ci && npm run build"):
            for typed in (["npm", "ci", "--no-audit", "--no-fund"], ["npm", "run", "build"]):
                done = subprocess.run(typed, cwd=WEB, stdin=subprocess.DEVNULL, capture_output=True, text=True)
                if done.returncode:
                    last = (done.stderr or done.stdout).strip().splitlines()[-1:]
                    self.runner.say(
                        f"Without the page in a browser: `{' '.join(typed)}` failed in apps/web: {listed(last)}"
                    )
                    return False
        return True

    def predict(self, name: str, title: str, camera: str, mode: str) -> Mapping[str, Any]:
        """Lets the app answer for all new pictures of a camera, and keeps the result as an act of the story."""
        found = self.runner.run(
            *("predict", "--on", mode, "--server", self.app.url, "--budget", BUDGET),
            *("--app-folder", os.path.join(self.folder, "app"), self.pictures[camera]),
            said=predicted,
            expected=lambda found: found["images"] == NEW and not found["unanswered"],
        )
        self.acts[name] = act_of(title, camera, found)
        return found

    def story(self) -> DeviceStory:
        """Assembles the report."""
        releases = releases_of(self.config)
        new, old = map(releases.get, releases.tags())
        return DeviceStory(
            created=datetime.datetime.now(datetime.timezone.utc),
            workspace=self.folder,
            steps=self.runner.steps,
            acts=self.acts,
            old=old,
            new=new,
            sizes={
                "cloud": os.path.getsize(os.path.join(self.config.releases, new.tag, "model.tar.gz")),
                "device": new.device.bytes,
            },
        )


def has_desktop() -> bool:
    """True where a browser has a window of its own; others would take the terminal."""
    return sys.platform == "darwin" or bool({"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys())


def open_page(url: str) -> None:
    """Opens a page in the user's browser. One that runs until it is closed is not waited for."""
    threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()


def run_story(demo: Demo, page: bool, opens: bool) -> None:
    """Runs every command of the story, in order; shows the link of the page if there is one, and may open it."""
    runner, first, changed = demo.runner, *CAMERAS
    runner.chapter("One training makes two models")
    runner.run(
        *("import-images", "--demo", "--limit", str(FIRST)),
        said=imported,
        expected=lambda found: found["span"] == 1,
    )
    runner.run("train", said=pair_trained, expected=lambda found: found["release"] and found["device"])

    runner.chapter("An app installs one of them, and asks the other where it is unsure")
    demo.app.start(f"Serves model-1, the page and the channel at {demo.app.url}.")
    if page:
        runner.say(f"\nThe page: {demo.app.url}. It goes on answering when the network is cut.")
        if opens:
            open_page(demo.app.url)
    demo.predict("online", "Online", first, "escalate")
    demo.predict("device", "The device alone", first, "device")
    demo.predict("cloud", "The cloud alone", first, "cloud")

    runner.chapter("The network is cut")
    demo.app.cut()
    demo.predict("cut", "Offline", first, "escalate")

    runner.chapter("The network is back, and the camera has changed")
    demo.app.start("Serves model-1 again.")
    demo.predict("changed", "New camera", changed, "escalate")
    runner.run(
        *("import-images", "--demo", "--collect", "--limit", str(COLLECTED)),
        said=imported,
        expected=lambda found: found["imported"] == COLLECTED,
    )
    runner.run("evaluate", said=evaluated, expected=lambda found: found["should_retrain"])

    runner.chapter("The loop trains both models")
    runner.run("retrain", said=partial(pair_trained, before=retrained), expected=lambda found: found["release"])
    demo.app.wait_for("model-2")  # it follows the releases

    runner.chapter("The app updates itself")
    runner.run("promote", said=promoted, expected=lambda found: found["devices"]["changed"])
    demo.app.wait_for("model-2", 100)
    found = demo.predict("updated", "Updated", changed, "escalate")
    if found["device_model"] != "model-2":
        raise StoryBroken(f"The demo stopped, because the app kept {found['device_model']}: {found['update']['kept']}")


def predicted(found: Mapping[str, Any]) -> str:
    updated = f"Installed {found['device_model']}. " if (found["update"] or {}).get("changed") else ""
    who = [f"the {name} {found[f'by_{name}']}" for name in ("device", "cloud") if found[f"by_{name}"]]
    right = percent(right_of(found).accuracy)
    sent = f", {found['bytes_sent']:,} bytes sent" if found["bytes_sent"] else ""
    return f"{updated}Of {counted(found['images'], 'picture')}, {listed(who)} answered: {right} right{sent}."


def pair_trained(found: Mapping[str, Any], before: Callable[[dict], str] = trained) -> str:
    device = found.get("device")
    shown = (
        f" Its device model: {percent(device['metrics']['accuracy'])}, {megabytes(device['bytes'])}." if device else ""
    )
    return f"{before(found)}{shown}"


def promoted(found: Mapping[str, Any]) -> str:
    stable = found["devices"]["channels"]["stable"]
    return f"Channel stable: {stable['tag']} for {stable['percent']} % of the devices."


def label_of(prediction: Mapping[str, Any]) -> str:
    """Returns the true label, which is the name of the picture's folder."""
    return os.path.basename(os.path.dirname(prediction["file"]))


def right_of(found: Mapping[str, Any]) -> Score:
    return Score(sum(of["label"] == label_of(of) for of in found["predictions"]), found["images"])


def act_of(title: str, camera: str, found: Mapping[str, Any]) -> Act:
    """Returns what the report shows of a call of `predict`."""
    corrected = [of for of in found["predictions"] if of["device"] and of["cloud"] and of["label"] == label_of(of)]
    return Act(
        title=title,
        camera=camera,
        mode=found["on"],
        model=found["device_model"] or listed(found["cloud_models"]),
        right=right_of(found),
        by_device=found["by_device"],
        by_cloud=found["by_cloud"],
        calls=found["calls"],
        sent=found["bytes_sent"],
        seconds=found["median_seconds"],
        questions=[question(of) for of in corrected if of["device"]["label"] != of["label"]][:SHOWN],
    )


def question(prediction: Mapping[str, Any]) -> Question:
    with open(prediction["file"], "rb") as file:
        image = file.read()
    device, cloud = prediction["device"], prediction["cloud"]
    return Question(image, device["label"], device["confidence"], cloud["label"], cloud["confidence"])


def make_key(private: str, public: str) -> None:
    """Writes a new Ed25519 key, which signs for this demo alone, and its public half."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    with open(os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(key.private_bytes(*form))
    with open(public, "wb") as file:
        form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        file.write(key.public_key().public_bytes(*form))

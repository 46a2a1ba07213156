"""The whole loop on the local Google Cloud, from `setup` to `clean`, run in a clone of this repository.

The loop runs once; each test checks one part of its results.
"""

import base64
import dataclasses
import hashlib
import json
import os
import pathlib
import shlex
import signal
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from pipeline.data import digits
from pipeline.serving.device_manifest import Pointer, check_model, read_manifest, read_pointer
from tests.clone import Clone
from tests.documentation import commands
from tests.emulators.cloud import Cloud
from tests.gcloud import new_project

pytestmark = pytest.mark.timeout(900)

FIRST, CHANGED = 200, 120  # images of each camera
TOKEN = "ghp_an0therSecretOfTheTests"
SECRET = "s3cret-of-the-secret-manager"
CLONE = f"clone@sha256:{'0' * 64}"
PREDICT = """
import json, sys
from google.cloud import aiplatform

endpoint, picture, times = sys.argv[1:]
served = aiplatform.Endpoint(endpoint)
found = [served.predict(instances=[{"image": {"b64": picture}}]) for _ in range(int(times))]
print(json.dumps([[one.model_version_id, one.predictions[0]] for one in found]))
"""


@dataclasses.dataclass
class Step:
    """A finished command: exit code, JSON, output, and methods of the cloud that it called."""

    code: int
    outcome: dict[str, Any]
    out: str
    err: str
    calls: list[str]

    def times(self, method: str) -> int:
        return self.calls.count(method)


class Served(NamedTuple):
    """What both kinds of clients get: the endpoint's traffic by release, and the pointers that a device accepts."""

    traffic: dict[str, int]
    stable: Pointer
    beta: Pointer

    @property
    def releases(self) -> tuple[dict[str, int], str, str]:
        return self.traffic, self.stable.tag, self.beta.tag


class Loop:
    """A clone, a bucket, and the steps executed with them, by name."""

    def __init__(self, cloud: Cloud, folder: pathlib.Path):
        self.cloud, self.clone = cloud, Clone(folder / "clone", lambda name: not name.startswith("tests/"))
        self.workspace = f"gs://{cloud.bucket}/loop"
        self.steps: dict[str, Step] = {}
        self.typed: list[tuple[str, ...]] = []
        self.served: dict[str, Served] = {}
        self.answered: tuple[str, ...] = ()  # model versions that served the predictions
        self.predicted: tuple[dict[str, Any], ...] = ()
        self.released: dict[str, dict[str, Any]] = {}
        self.jobs: list[Any] = []
        self.channel = f"gs://{cloud.bucket}/apps"
        self.lock = f"{cloud.bucket}/apps/.publishing-to-devices.lock"
        ring = f"projects/{cloud.project}/locations/{cloud.region}/keyRings/spanloop"
        self.signing_key = f"{ring}/cryptoKeys/device-models/cryptoKeyVersions/1"
        self.secret = f"projects/{cloud.project}/secrets/github-token/versions/latest"
        self.owner = new_project(cloud)
        self.environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            **cloud.environment,
            "GOOGLE_APPLICATION_CREDENTIALS": str(self.owner),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "WORKSPACE": self.workspace,
            "VERTEX_ENDPOINT": "digits",
            "ACCURACY_THRESHOLD": "0.4",  # few images and a short training: the test is about the loop, not accuracy
            "ACCURACY_MARGIN": "0.6",
            "LABEL_FLOOR": "0",
            "DEVICE_MODEL": "true",
            "DEVICE_ACCURACY_THRESHOLD": "0",
            "DEVICE_AGREEMENT": "0",
            "DEVICE_TRAINING_MACHINES": "n1-highcpu-8",
            "DEVICE_CHANNEL": self.channel,
            "DEVICE_SIGNING_KEY": self.signing_key,
            "GITHUB_TOKEN": TOKEN,
            "RELEASE_TOKEN_SECRET": self.secret,
        }
        cloud.vertex.workers.images.add(CLONE, self.clone.folder)

    def ci(self, step: str, *arguments: str) -> dict[str, Any]:
        """Runs `python -m ci ARGUMENTS --json` in the clone."""
        before = len(self.cloud.requests)
        code, out, err = self.run(step, ["-m", "ci", *arguments, "--json"])
        calls = [call.method for call in self.cloud.requests[before:]]
        self.typed.append(arguments)
        self.steps[step] = Step(code, json.loads(out or "{}"), out, err, calls)
        last = list(self.cloud.vertex.workers.logs().values())[-1:]
        assert code == 0, f"{step}: {err[-3000:]}\nThe last task: {last}"
        return self.steps[step].outcome

    def kill(self, step: str, command: str, method: str, target: str) -> None:
        """Runs a command that gets SIGKILL at its first write of an object, and records what is served then."""
        ends: list[Callable[[], object]] = []
        fault = self.cloud.faults.add("storage", method, target=target, kind="cut", happens=lambda: ends[0]())
        code, _, err = self.run(step, ["-m", "ci", command], ends.append)
        assert (code, fault.done) == (-signal.SIGKILL, 1), err[-3000:]
        self.record_served(step)

    def run(
        self, name: str, arguments: list[str], started: Callable[[Callable[[], object]], object] = lambda end: None
    ) -> tuple[int, str, str]:
        """Runs Python in the clone; returns exit code, line of JSON and remaining output."""
        return self.cloud.vertex.workers.run_for_user(name, CLONE, arguments, self.environment, started)

    def record_served(self, when: str) -> None:
        """Records the endpoint's traffic split, and the channels as read by a device with the pinned public key."""
        (endpoint,) = self.cloud.vertex.endpoints.endpoints.values()
        shares = {model.display_name: endpoint.traffic_split.get(model.id, 0) for model in endpoint.deployed_models}
        keys, last = [self.cloud.kms.pem(self.signing_key)], list(self.served.values())[-1:]
        stable, beta = (
            read_pointer(
                self.cloud.gcs.read(f"{self.channel}/devices/classification/channels/{channel}.json"),
                keys,
                model="classification",
                channel=channel,
                last_serial=getattr(last[0], channel).serial if last else 0,
            )
            for channel in ("stable", "beta")
        )
        self.served[when] = Served(shares, stable, beta)

    def predict(self, times: int) -> None:
        """Requests predictions with Google's own client, as an application does."""
        (endpoint,) = self.cloud.vertex.endpoints.endpoints
        _, picture = next(digits.images(digits.CHANGED, skip=CHANGED, limit=1))
        program = self.clone.folder.parent / "predict.py"
        program.write_text(PREDICT)
        picture = base64.b64encode(picture).decode()
        code, out, err = self.run("predict", [str(program), endpoint, picture, str(times)])
        assert code == 0, err[-3000:]
        self.answered, self.predicted = zip(*json.loads(out), strict=True)

    def set_up(self) -> None:
        """Sets an empty project up as its owner; from then on commands run as the workflows' account."""
        token = self.clone.folder.parent / "token"
        token.write_text(SECRET)
        self.environment["GITHUB_TOKEN"] = self.cloud.github.token(contents="read")
        self.ci("set up", "setup", "--repository", self.cloud.github.repository, "--release-token", str(token))
        account = f"github@{self.cloud.project}.iam.gserviceaccount.com"
        key = str(self.cloud.oauth.key_file(account))
        self.environment |= {"GITHUB_TOKEN": TOKEN, "GOOGLE_APPLICATION_CREDENTIALS": key}

    def clean(self) -> None:
        """Deletes what is not needed, as the project's owner, and twice, because then there is nothing more."""
        self.environment["GOOGLE_APPLICATION_CREDENTIALS"] = str(self.owner)
        for step in ("clean", "clean again"):
            self.ci(step, "clean", "--older-than", "0", "--yes")
        self.ci("status after clean", "status")
        self.record_served("cleaned")

    def run_once(self) -> None:
        """Executes every step of the loop once."""
        cloud, first = self.cloud, self.clone.folder.parent / "first"
        self.set_up()
        digits.write(str(first), digits.FIRST, limit=FIRST)
        self.ci("import", "import-images", str(first))
        self.ci("copy", "copy-modules")
        self.environment["PIPELINE_IMAGE"] = self.ci("build", "build-image")["image"]
        self.ci("train", "submit", "--pipeline", "training", "--wait")
        self.ci("train again", "submit", "--pipeline", "training")
        self.record_served("released")

        for name, data in digits.images(digits.CHANGED, limit=CHANGED):
            cloud.gcs.put(f"{self.workspace}/collected/{name}", data)
        self.ci("count", "count-collected", "--threshold", "100")
        self.ci("evaluate", "evaluate", "--accuracy-threshold", "0.9", "--on", "vertex")

        self.clone.change("modules/classification/settings.py", "dropout: float = 0.1", "dropout: float = 0.2")
        self.ci("build after modules", "build-image")
        self.ci("retrain", "submit", "--pipeline", "retraining", "--wait")
        for name in list(cloud.vertex.pipelines.jobs):
            cloud.vertex.pipelines.wait(name)
        self.record_served("tried")
        self.predict(20)
        self.kill("promote killed", "promote", "objects.insert", self.lock)
        self.ci("promote", "promote")
        self.record_served("promoted")
        self.kill("roll back killed", "rollback", "xml.put", "*/channels/stable.json")
        cloud.gcs.delete(f"gs://{self.lock}")  # it expires after a minute
        self.ci("roll back", "rollback")
        self.record_served("rolled back")
        self.ci("status", "status")

        self.clone.append("pipeline/formatting.py", "# One more word.")
        self.ci("build after pipeline", "build-image")
        self.ci("build again", "build-image")

    def keep_state(self) -> None:
        """Copies the state of the servers for the tests, because other tests reset the servers."""
        cloud = self.cloud
        self.jobs = list(cloud.vertex.pipelines.jobs.values())
        self.custom_jobs = list(cloud.vertex.custom_jobs.jobs.values())
        self.requests, self.refused = list(cloud.requests), list(cloud.refused)
        self.commands, self.logs = list(cloud.vertex.workers.commands), cloud.vertex.workers.logs()
        address = f"gs://{cloud.bucket}/"
        self.objects = {name: cloud.gcs.read(address + name) for name in cloud.gcs.names(address)}
        self.layout = {
            path: path.read_bytes()
            for path in cloud.builds.layout(self.environment["PIPELINE_IMAGE"]).rglob("*")
            if path.is_file()
        }
        self.public_key = cloud.kms.pem(self.signing_key)
        for tag in ("model-1", "model-2"):
            self.released[tag] = json.loads(self.objects[f"loop/releases/{tag}/model.json"])


@pytest.fixture(scope="session")
def loop(cloud_servers, tmp_path_factory) -> Loop:
    """The loop after every step was executed once."""
    cloud_servers.reset()
    # The warm process starts in parallel with the first commands.
    cloud_servers.vertex.workers.warm.warm_up()
    loop = Loop(cloud_servers, tmp_path_factory.mktemp("loop"))
    loop.run_once()
    loop.keep_state()
    loop.clean()
    return loop


def test_the_loop_began_in_an_empty_project_with_the_roles_of_setup_alone(loop):
    steps = loop.steps["set up"].outcome["steps"]
    assert {step["action"] for step in steps} == {"create", "none"} and len(steps) > 40
    callers = {call.principal for call in loop.requests if call.service == "aiplatform"}
    assert callers == {f"{name}@{loop.cloud.project}.iam.gserviceaccount.com" for name in ("github", "pipelines")}


def test_clean_ends_the_loop_and_everything_that_is_needed_stays(loop):
    cleaned = loop.steps["clean"].outcome
    assert cleaned["deleted"] == len(cleaned["items"]) > 0 and not cleaned["failed"]
    kinds = {item["kind"] for item in cleaned["items"]}
    assert kinds <= {
        "results of a run",
        "checkpoints",
        "compiled pipeline",
        "image",
        "modules",
        "batch prediction",
    }, kinds
    assert loop.steps["clean again"].outcome["items"] == []
    before, after = loop.steps["status"].outcome, loop.steps["status after clean"].outcome
    assert after == before and after["releases"] == ["model-2", "model-1"]
    assert loop.served["cleaned"].releases == loop.served["rolled back"].releases


def job_of(loop: Loop, pipeline: str) -> list[Any]:
    return [job for job in loop.jobs if job.labels["pipeline"] == pipeline]


def test_a_training_on_vertex_releases_a_model_that_serves(loop):
    trained = loop.steps["train"].outcome
    assert trained["submitted"] and trained["state"] == "succeeded"
    assert loop.released["model-1"]["spans"] == [1]
    assert loop.served["released"].releases == ({"model-1": 100}, "model-1", "model-1")
    assert "Trainer" in loop.steps["train"].err and "done" in loop.steps["train"].err
    assert [job.state.name for job in loop.custom_jobs] == ["JOB_STATE_SUCCEEDED"] * 4


def test_a_device_model_is_trained_on_machines_of_its_own_and_released_beside_the_other(loop):
    machines = [
        (job.labels["node"], job.job_spec.worker_pool_specs[0].machine_spec.machine_type) for job in loop.custom_jobs
    ]
    assert sorted(machines) == [("devicetrainer", "n1-highcpu-8")] * 2 + [("trainer", "n1-standard-4")] * 2
    for tag, release in loop.released.items():
        model = loop.objects[f"loop/releases/{tag}/model.tflite"]
        assert release["files"]["model.tflite"] == hashlib.sha256(model).hexdigest()
        assert release["device"]["bytes"] == len(model) and len(release["device"]["labels"]) == 10
    assert loop.steps["evaluate"].outcome["device"]["accuracy"] is not None


def test_the_commands_of_the_page_were_executed_in_their_order(loop):
    (script,) = commands("docs/google-cloud.md#use")
    left = iter(loop.typed)
    for line in script.splitlines():
        _, command, *arguments = shlex.split(line, comments=True)
        arguments = [argument for argument in arguments if argument != "~/photographs"]
        assert any(typed[0] == command and set(arguments) <= set(typed) for typed in left), line


def test_submitting_the_same_run_twice_starts_one(loop):
    again = loop.steps["train again"]
    assert again.outcome["submitted"] is False and again.outcome["job"] == loop.steps["train"].outcome["job"]
    assert len([job for job in job_of(loop, "training") if job.labels["spans"] == "1"]) == 1


def test_collected_images_that_the_model_gets_wrong_call_for_a_retraining(loop):
    assert loop.steps["count"].outcome["enough"] is True
    found = loop.steps["evaluate"].outcome
    assert found["images"] == CHANGED and found["accuracy"] < 0.9 and found["should_retrain"] is True
    assert loop.steps["evaluate"].times("CreateBatchPredictionJob") == 1


def test_the_retraining_makes_a_span_and_starts_one_training_on_it(loop):
    assert loop.steps["retrain"].outcome["submitted"] is True
    (retraining,) = job_of(loop, "retraining")
    trainings = job_of(loop, "training")
    assert len(trainings) == 2 and retraining.labels["spans"] == "2"
    assert loop.released["model-2"]["spans"] == [1, 2] and loop.released["model-2"]["previous"] == "model-1"
    assert not [name for name in loop.objects if name.startswith("loop/collected/")]
    states = {detail.task_name: detail.state.name for job in loop.jobs for detail in job.job_detail.task_details}
    assert set(states.values()) == {"SUCCEEDED"} and {"PipelineTrigger", "SpanPreparator"} <= set(states)
    assert {"CurrentModel", "CurrentDeviceModel", "PairGate"} <= set(states)


def test_a_new_pair_gets_a_tenth_of_the_traffic_and_of_the_devices_on_beta(loop):
    tried = loop.served["tried"]
    assert tried.releases == ({"model-1": 90, "model-2": 10}, "model-1", "model-2")
    assert (tried.beta.percent, tried.beta.previous) == (10, "model-1")
    assert sorted(loop.answered) == ["1"] * 18 + ["2"] * 2
    assert all(prediction["label"] in set("0123456789") for prediction in loop.predicted)
    published = [detail.task_name for job in loop.jobs for detail in job.job_detail.task_details]
    assert published.count("DevicePublisher") == 2


def test_a_device_gets_the_model_of_the_release(loop):
    for tag, release in loop.released.items():
        folder = f"apps/devices/classification/{tag}"
        manifest = read_manifest(
            loop.objects[f"{folder}/manifest.json"], [loop.public_key], model="classification", tag=tag
        )
        check_model(manifest, loop.objects[f"{folder}/model.tflite"])
        assert manifest.sha256 == release["files"]["model.tflite"]


def test_a_promotion_killed_between_both_moves_is_finished_by_the_next(loop):
    assert loop.served["promote killed"].releases == ({"model-2": 100}, "model-1", "model-2")
    assert loop.served["promote killed"].beta.percent == 10
    promoted = loop.served["promoted"]
    assert promoted.releases == ({"model-2": 100}, "model-2", "model-2") and promoted.stable.percent == 100
    assert loop.steps["promote"].outcome["changed"]


def test_a_roll_back_killed_between_both_moves_is_finished_by_the_next(loop):
    assert loop.served["roll back killed"].releases == ({"model-1": 100}, "model-2", "model-2")
    assert loop.served["rolled back"].releases == ({"model-1": 100}, "model-1", "model-1")
    assert loop.served["rolled back"].stable.serial > loop.served["promoted"].stable.serial
    assert loop.steps["roll back"].outcome["changed"]
    serving = loop.steps["status"].outcome["serving"]
    assert serving["endpoint"] == {"model-1": 100} and serving["devices"]["stable"]["tag"] == "model-1"


def test_a_change_in_modules_changes_the_model_and_builds_no_image(loop):
    assert loop.steps["build after modules"].outcome["built"] is False
    assert not loop.steps["build after modules"].times("CreateBuild")
    first, second = (loop.released[tag]["modules_digest"] for tag in ("model-1", "model-2"))
    assert first == loop.steps["copy"].outcome["digest"] != second
    wheels = {name.split("/")[2] for name in loop.objects if name.startswith("loop/modules/")}
    assert wheels == {first, second}
    images = {executor.get("container", {}).get("image") for job in loop.jobs for executor in executors(job)}
    assert images == {loop.steps["build"].outcome["image"]}, "the same image trained both"


def test_a_change_in_the_pipeline_makes_exactly_one_build(loop):
    assert loop.steps["build"].outcome["built"] and loop.steps["build"].times("CreateBuild") == 1
    changed = loop.steps["build after pipeline"]
    assert changed.outcome["built"] and changed.times("CreateBuild") == 1
    assert changed.outcome["image"] != loop.steps["build"].outcome["image"]
    assert not loop.steps["build again"].outcome["built"] and not loop.steps["build again"].times("CreateBuild")


def executors(job: Any) -> list[dict[str, Any]]:
    from google.protobuf import json_format

    spec = json_format.MessageToDict(type(job).pb(job).pipeline_spec)
    return list(spec["deploymentSpec"]["executors"].values())


def test_tasks_run_with_the_files_of_the_image_without_modules_and_tests(loop):
    assert not [path for path in loop.layout if {"modules", "tests", ".git"} & set(path.parts[-3:-1])]
    assert [path for path in loop.layout if path.parts[-2:] == ("orchestrators", "vertex.py")]
    assert all(command[:2] == ["python", "-m"] for command in loop.commands) and len(loop.commands) > 20


def secrets(loop: Loop) -> dict[str, bytes]:
    key = json.loads(pathlib.Path(loop.cloud.environment["GOOGLE_APPLICATION_CREDENTIALS"]).read_text())["private_key"]
    tokens = {call.headers.get("authorization", "").partition(" ")[2] for call in loop.requests} - {""}
    assert len(tokens) > 10
    return {
        "GITHUB_TOKEN": TOKEN.encode(),
        "the secret's value": SECRET.encode(),
        "the private key": key.splitlines()[1].encode(),
        **{f"token {number}": token.encode() for number, token in enumerate(sorted(tokens))},
    }


def test_a_secret_is_in_no_spec_image_request_log_or_argument(loop):
    searched = {f"object {name}": data for name, data in loop.objects.items()}
    searched |= {f"image {path}": data for path, data in loop.layout.items()}
    searched |= {f"log {name}": text.encode() for name, text in loop.logs.items()}
    searched |= {f"output of {name}": f"{step.out}{step.err}".encode() for name, step in loop.steps.items()}
    searched["arguments"] = json.dumps(loop.commands).encode()
    searched["jobs"] = "".join(str(job) for job in (*loop.jobs, *loop.custom_jobs)).encode()
    for number, call in enumerate(loop.requests):
        headers = {name: value for name, value in call.headers.items() if name != "authorization"}
        searched[f"request {number} {call.method}"] = call.body + f"{call.target} {headers}".encode()
    assert len(searched) > 1000

    everything = b"\0".join(searched.values())
    assert loop.secret.encode() in everything, "the name of a secret may be seen, so it is found"
    for what, secret in secrets(loop).items():
        if secret in everything:
            pytest.fail(f"{what} is in {[name for name, data in searched.items() if secret in data][:5]}")


def test_no_client_tried_to_reach_another_host(loop):
    assert not loop.refused

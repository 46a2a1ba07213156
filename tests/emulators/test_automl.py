"""The AutoML flavour on the local Google Cloud, run with the product's commands: from images to a promoted pair.

In AutoML's place a small network is trained (vertex/programs/automl.py): the numbers are real, its quality is not
AutoML's. The run happens once; each test checks one part of its results.
"""

import json
import os
import pathlib
from typing import Any

import pytest

from pipeline.data import digits
from pipeline.serving.device_manifest import check_model, read_manifest, read_pointer
from pipeline.storage.factory import open_storage
from tests.conftest import IMAGE, record_image
from tests.emulators.cloud import Cloud

pytestmark = pytest.mark.timeout(900)

ROOT = pathlib.Path(__file__).resolve().parents[2]
IMAGES, COLLECTED = 300, 40
NODES = {
    "import-file",
    "image-dataset-create",
    "automl-image-training-job",
    "automl-image-training-job-2",
    "model-batch-predict",
    "model-export",
    "release",
    "deploy",
    "publish",
}


class Flavour:
    """A workspace in the bucket, and the outcomes of the commands that ran with it, by name."""

    def __init__(self, cloud: Cloud, folder: pathlib.Path):
        self.cloud, self._folder = cloud, folder
        self.workspace = f"gs://{cloud.bucket}/automl"
        self.key = cloud.kms.add("spanloop", "device-models")
        self.outcomes: dict[str, dict[str, Any]] = {}
        self._environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            **cloud.environment,
            "WORKSPACE": self.workspace,
            "PIPELINE_IMAGE": IMAGE,
            "VERTEX_ENDPOINT": "digits",
            "DEVICE_CHANNEL": f"gs://{cloud.bucket}/apps",
            "DEVICE_SIGNING_KEY": self.key,
            "ACCURACY_THRESHOLD": "0.6",  # few images, and no AutoML: the test is about the flavour, not accuracy
        }

    def ci(self, *arguments: str) -> None:
        """Runs `python -m ci ARGUMENTS --json`; keeps its outcome by the command's name."""
        workers = self.cloud.vertex.workers
        code, out, err = workers.run_for_user(
            arguments[0], IMAGE, ["-m", "ci", *arguments, "--json"], self._environment
        )
        last = list(workers.logs().values())[-1:]
        assert code == 0, f"{arguments}: {err[-3000:]}\nThe last task: {last}"
        self.outcomes[arguments[0]] = json.loads(out)

    def run(self) -> None:
        train, collected = str(self._folder / "train"), str(self._folder / "collected")
        digits.write(train, digits.FIRST, limit=IMAGES)
        digits.write(collected, digits.FIRST, skip=IMAGES, limit=COLLECTED)
        self.ci("import-images", train)
        self.ci("submit", "--pipeline", "automl", "--wait")
        self.ci("promote")
        self.ci("predict", "--on", "cloud", "--budget", "60", collected)
        self.ci("import-images", collected, "--collect")
        self.ci("evaluate", "--on", "vertex")
        self.ci("status")
        self.ci("clean", "--older-than", "0")
        self._keep_state()

    def _keep_state(self) -> None:
        """Copies the state of the servers for the tests, because other tests reset the servers."""
        cloud, bucket = self.cloud, f"gs://{self.cloud.bucket}/"
        self.objects = {name: cloud.gcs.read(bucket + name) for name in cloud.gcs.names(bucket)}
        (self.job,) = cloud.vertex.pipelines.jobs.values()
        (self.endpoint,) = cloud.vertex.endpoints.endpoints.values()
        self.models = {
            version.name: version for each in cloud.vertex.models.models.values() for version in each.values()
        }
        self.public_key, self.refused = cloud.kms.pem(self.key), list(cloud.refused)

    @property
    def release(self) -> dict[str, Any]:
        return json.loads(self.objects["automl/releases/model-1/model.json"])


@pytest.fixture(scope="module")
def flavour(cloud_servers, tmp_path_factory) -> Flavour:
    """The flavour after every step was executed once; the pipelines' image is this checkout."""
    cloud_servers.reset()
    cloud_servers.registry.add("spanloop")
    cloud_servers.vertex.workers.images.add(IMAGE, ROOT)
    cloud_servers.vertex.workers.warm.warm_up()  # in parallel with the first commands
    found = Flavour(cloud_servers, tmp_path_factory.mktemp("flavour"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in cloud_servers.environment.items():
            patch.setenv(name, value)
        record_image(open_storage(found.workspace), IMAGE)
    found.run()
    return found


def test_every_node_of_the_run_succeeds(flavour):
    states = {detail.task_name: detail.state.name for detail in flavour.job.job_detail.task_details}
    assert states == dict.fromkeys({*NODES, "automl"}, "SUCCEEDED")
    assert flavour.outcomes["submit"]["state"] == "succeeded"


def test_both_models_are_evaluated_on_the_images_for_evaluation_and_released_together(flavour):
    trained = flavour.outcomes["submit"]
    assert trained["blessed"] and trained["release"] == "model-1" and trained["device"]["blessed"]
    span = json.loads(flavour.objects["automl/spans/span-0001/span.json"])
    of_eval = sum(source["split"] == "eval" for source in span["sources"])
    assert trained["metrics"]["images"] == trained["device"]["metrics"]["images"] == of_eval > 50
    assert trained["metrics"]["accuracy"] > 0.6 and trained["device"]["metrics"]["accuracy"] > 0.6
    assert trained["device"]["agreement"] > 0.6
    assert flavour.release["flavour"] == "automl" and flavour.release["metrics"] == trained["metrics"]


def test_the_cloud_model_is_automls_and_has_all_traffic_of_the_endpoint(flavour):
    name, _, version = flavour.release["cloud_model"].partition("@")
    assert flavour.models[name].training_pipeline and not flavour.models[name].supported_export_formats
    (deployed,) = flavour.endpoint.deployed_models
    assert (deployed.model, deployed.model_version_id) == (name, version)
    assert deployed.automatic_resources.min_replica_count == 1
    assert dict(flavour.endpoint.traffic_split) == {deployed.id: 100}


def test_a_client_is_answered_by_the_endpoint(flavour):
    found = flavour.outcomes["predict"]
    assert (found["by_cloud"], found["unanswered"]) == (COLLECTED, 0)
    right = [pathlib.Path(one["file"]).parent.name == one["label"] for one in found["predictions"]]
    assert sum(right) / len(right) > 0.6


def test_devices_get_the_exported_model_by_a_signed_manifest(flavour):
    keys = [flavour.public_key]
    folder = "apps/devices/classification"
    manifest = read_manifest(
        flavour.objects[f"{folder}/model-1/manifest.json"], keys, model="classification", tag="model-1"
    )
    check_model(manifest, flavour.objects[f"{folder}/model-1/model.tflite"])
    assert manifest.sha256 == flavour.release["files"]["model.tflite"]
    (labels,) = (data for name, data in flavour.objects.items() if name.endswith("/dict.txt"))
    assert flavour.release["device"]["labels"] == labels.decode().split() == list("0123456789")
    for channel in ("stable", "beta"):
        pointer = read_pointer(
            flavour.objects[f"{folder}/channels/{channel}.json"], keys, model="classification", channel=channel
        )
        assert (pointer.tag, pointer.percent) == ("model-1", 100)


def test_the_loop_goes_on_with_the_release(flavour):
    evaluated, status = flavour.outcomes["evaluate"], flavour.outcomes["status"]
    assert evaluated["release"] == "model-1" and evaluated["images"] == COLLECTED and evaluated["accuracy"] > 0.5
    assert status["releases"] == ["model-1"] and status["serving"]["endpoint"] == {"model-1": 100}
    assert status["serving"]["devices"]["stable"]["tag"] == "model-1"


def test_clean_names_nothing_of_the_release(flavour):
    cloud_model = flavour.release["cloud_model"].partition("@")[0]
    found = [item["name"] for item in flavour.outcomes["clean"]["items"]]
    assert flavour.outcomes["clean"]["dry_run"]
    assert not [name for name in found if cloud_model in name or "/datasets/" in name or "/devices/" in name]


def test_no_client_tried_to_reach_another_host(flavour):
    assert not flavour.refused

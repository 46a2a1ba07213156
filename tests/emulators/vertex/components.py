"""Containers of Google Cloud Pipeline Components: the code of their image, which the Python package also holds."""

import importlib.metadata
import json
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tests.emulators.vertex.processes import PROGRAMS, NoSuchImage

if TYPE_CHECKING:
    from tests.emulators.cloud import Cloud

PACKAGE = "google_cloud_pipeline_components"
# As components name it, by a tag: google_cloud_pipeline_components/_image.py
IMAGE = f"gcr.io/ml-pipeline/google-cloud-pipeline-components:{importlib.metadata.version(PACKAGE)}"
IMPORTED = (
    "tensorflow",
    "keras",
    "google.cloud.aiplatform",
    f"{PACKAGE}.container.v1.automl_training_job.image.remote_runner",
    f"{PACKAGE}.container.v1.batch_prediction_job.remote_runner",
    f"{PACKAGE}.container.v1.gcp_launcher.lro_remote_runner",
)


def local_command(command: Sequence[str]) -> list[str]:
    """A component's command line on this machine; raises NoSuchImage for a program that the image does not have."""
    interpreter, *options, module = command[: command.index("-m") + 2] if "-m" in command else ("",) * 2
    if interpreter != "python3" or set(options) - {"-u", "-m"} or not module.startswith(f"{PACKAGE}.container."):
        raise NoSuchImage(f"The image {IMAGE} has no program {' '.join(command[:4])!r}.")
    return ["python", str(PROGRAMS / "component.py"), module, *command[command.index("-m") + 2 :]]


class Mount:
    """A folder that a component sees as /gcs, since only root can mount at /gcs; saved to the buckets at the end.

    https://cloud.google.com/vertex-ai/docs/training/cloud-storage-file-system
    """

    def __init__(self, cloud: "Cloud", folder: pathlib.Path):
        self._gcs, self._folder = cloud.gcs, folder

    def mounted(self, executor_input: dict[str, Any]) -> dict[str, Any]:
        """The executor input with paths in this folder; holds what an earlier attempt of the task has written."""
        task = executor_input["outputs"]["outputFile"].removeprefix("/gcs/").rpartition("/")[0]
        bucket = task.partition("/")[0]
        for name in self._gcs.names(f"gs://{task}/"):
            path = self._folder / bucket / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self._gcs.read(f"gs://{bucket}/{name}"))
        return json.loads(json.dumps(executor_input).replace('"/gcs/', f'"{self._folder}/'))

    def save(self) -> None:
        """Writes all files to their buckets."""
        for path in sorted(self._folder.rglob("*")):
            if path.is_file():
                self._gcs.put(f"gs://{path.relative_to(self._folder)}", path.read_bytes())

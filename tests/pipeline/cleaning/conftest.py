"""A project in which some things are needed and others are not; time passes as `Search` is told."""

import dataclasses
import json
import time

import pytest
from google.cloud import aiplatform_v1 as types

from pipeline.cleaning import plan
from pipeline.cleaning.item import DAY, Item, Search
from pipeline.cloud.vertex import label_value
from pipeline.config import Config
from pipeline.packaging import image
from pipeline.releases.record import Release
from pipeline.serving import endpoint
from pipeline.storage.factory import open_storage
from tests.conftest import EMPTY_MODEL, put
from tests.emulators.vertex import names
from tests.serving import Serving

STATE = types.PipelineState


class Project:
    """A workspace in the local servers' bucket, and what was made there."""

    def __init__(self, serving: Serving):
        self.serving, self.cloud = serving, serving.cloud
        self.config: Config = serving.settings(image_repository=serving.cloud.image_repository)
        self.cloud.registry.add("spanloop")
        self.storage = open_storage(self.config.workspace)

    def add(self, *files: str) -> None:
        """Writes files of the workspace."""
        for name in files:
            self.cloud.gcs.put(f"{self.config.workspace}/{name}", b"12345")

    def names(self) -> set[str]:
        """The files of the workspace."""
        prefix = f"{self.config.workspace}/"
        return {name[len(prefix.partition("gs://")[2].partition("/")[2]) :] for name in self.cloud.gcs.names(prefix)}

    def run(self, number: str, state: STATE = STATE.PIPELINE_STATE_SUCCEEDED, uses: str = "", **labels: str) -> None:
        """Adds a run that made `data`, or has taken that of the run `uses` from the cache."""
        project, folder = self.cloud.project_number, f"pipeline_root/training/{self.cloud.project_number}"
        parent = f"projects/{project}/locations/{self.cloud.region}"
        made = f"{folder}/training-{uses or number}/Node_1/data"
        execution = f"{parent}/metadataStores/default/executions/{number}"
        detail = types.PipelineTaskDetail(
            task_name="Node",
            execution=types.Execution(name=execution),
            outputs={"data": {"artifacts": [types.Artifact(uri=self.storage.address(made))]}},
        )
        job = types.PipelineJob(
            name=f"{parent}/pipelineJobs/training-{number}",
            state=state,
            labels={"pipeline": "training", **{name: label_value(value) for name, value in labels.items()}},
            runtime_config={"gcs_output_directory": f"{self.config.workspace}/pipeline_root/training"},
            job_detail={"task_details": [detail]},
            create_time=names.now(),
            update_time=names.now(),
            end_time=names.now(),
        )
        self.cloud.vertex.pipelines.jobs[job.name] = job
        self.cloud.vertex.pipelines.store.keep(uses or number, {}, {}, execution)
        if not uses:
            self.add(f"{made}/.hidden/part-0")

    def cached(self, number: str) -> bool:
        """True when an equal task would use the results of a run."""
        return self.cloud.vertex.pipelines.store.cached(number) is not None

    def image(self, digit: str) -> str:
        """Builds an image, so to speak, each a second after the one before."""
        digest, content = digit * 64, f"{digit}c" * 32
        name = f"{self.config.image_repository}@sha256:{digest}"
        self.cloud.registry.add("spanloop", *self.images(), f"pipelines@sha256:{digest}")
        moment = max(self.cloud.registry.uploaded.values(), default=time.time() - 100) + 1
        self.cloud.registry.uploaded[f"pipelines@sha256:{digest}"] = moment
        record = json.dumps(dataclasses.asdict(image.Record(name, "1.16.0", "3.10", "c0ffee", content))).encode()
        self.storage.write(f"images/{digest}.json", record)
        self.storage.write(f"images/content-{content}.json", record)
        self.add(f"sources/{content}.tar.gz")
        return name

    def images(self) -> set[str]:
        return next(images for _, images in self.cloud.registry.repositories.values())

    def deploy(self, release: Release) -> None:
        endpoint.deploy(self.config, release)

    def search(self, days: int = 30, later: float = 40, **settings: object) -> Search:
        """A search so many days later."""
        return Search(dataclasses.replace(self.config, **settings), days, now=time.time() + later * DAY)

    def find(self, **how: object) -> dict[str, list[str]]:
        """What may be deleted: {kind: names without the workspace's address}."""
        found: dict[str, list[str]] = {}
        for item in self.items(**how):
            found.setdefault(item.kind, []).append(item.name.removeprefix(f"{self.config.workspace}/"))
        return found

    def items(self, **how: object) -> tuple[Item, ...]:
        return plan.find(self.search(**how)).items

    def clean(self, **how: object) -> list[plan.Failure]:
        return plan.remove(self.items(**how), lambda item: None)


@pytest.fixture
def project(cloud_environment, gs_workspace, tmp_path, monkeypatch) -> Project:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    put(tmp_path / "model", {"saved_model.pb": EMPTY_MODEL, "variables/variables.index": b"an index"})
    return Project(Serving(cloud_environment, gs_workspace, str(tmp_path / "model")))

"""The node Release: both models on the images for evaluation, the gates, and a release with both or none."""

import argparse
import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Sequence

from pipeline.batch import automl, here, on_vertex
from pipeline.batch.automl import Labels
from pipeline.batch.model_client import ModelClient
from pipeline.batch.on_device import DeviceClassifier
from pipeline.batch.pair import device_outcome
from pipeline.candidate import Candidate, conclude
from pipeline.cloud.calls import cloud_errors, read_retry
from pipeline.cloud.vertex import client
from pipeline.config import Config
from pipeline.data import automl_dataset
from pipeline.data.manifest import name_of
from pipeline.data.span import Span
from pipeline.device import automl as exported
from pipeline.device.description import UnusableDeviceModel
from pipeline.device.examination import examine
from pipeline.nodes import node
from pipeline.outcomes import Rejected
from pipeline.plan import AutomlPlan
from pipeline.quality.pair_gate import PairRequirements
from pipeline.quality.release_gate import Requirements
from pipeline.quality.scores import LabelledImage, Prediction
from pipeline.releases.base import Releases
from pipeline.releases.factory import releases_of
from pipeline.releases.record import Release
from pipeline.storage.factory import open_storage

EXAMINED = 8  # images on which a fresh process has to give the same


def main(given: argparse.Namespace) -> None:
    """Evaluates both models, decides, and releases them if they are good enough; `released` gets the tag or nothing.

    The gates and their thresholds are those of the training pipeline.
    """
    config, plan = Config.from_json(given.settings), AutomlPlan.from_json(given.run)
    storage, releases = open_storage(config.workspace), releases_of(config)
    spans = plan.chosen(storage)
    cloud, problem = on_vertex.read_answers(open_storage(given.predictions), "")
    if problem:
        node.log(f"The batch prediction reports: {problem}")
    with tempfile.TemporaryDirectory(prefix="spanloop-") as folder:
        model = os.path.join(folder, "model")
        fetch_export(json.loads(given.export), model)
        current = _answers_of(config, releases, releases.get(plan.current), spans) if plan.current else None
        with ModelClient(folder, "the exported model", node.log) as confined:
            counted = automl.count(spans, cloud, confined.classify, current, config.escalation_loss)
        classifier = DeviceClassifier(model)
        file = examine(os.path.join(model, exported.TFLITE), automl.first_images(spans, classifier.pixels, EXAMINED))
        device = device_outcome(
            counted.device,
            counted.agreement,
            file,
            classifier.description,
            Requirements.of_device(config),
            PairRequirements.of(config),
            plan.current,
        )
        candidate = Candidate(
            identity=plan.identity,
            commit=given.commit,
            modules_digest="",
            image=config.image,
            spans=spans,
            data=plan.data,
            labels=plan.labels,
            current=plan.current,
            tallies=counted.cloud,
            device=device,
            agreement=counted.agreement,
            left_out=_named(counted.undecoded, spans),
        )

        @contextlib.contextmanager
        def models() -> Iterator[dict[str, str]]:
            trained = version_of(config, given.cloud_model)
            yield {"model": "", "cloud_model": trained, "device_file": os.path.join(model, exported.TFLITE)}

        outcome = conclude(candidate, Requirements.of(config), storage, releases, models)
    for reason in outcome.reasons:
        node.log(f"Not released: {reason}")
    node.log(f"Report: {outcome.page}")
    node.write(given.released, outcome.release or "")


def fetch_export(info: dict[str, str], folder: str) -> None:
    """Writes the device model of an export, of which `info` has the address, to a folder as released models are.

    Raises UnusableDeviceModel.
    """
    address = info.get("artifactOutputUri", "")
    if not address:
        raise UnusableDeviceModel(f"The export names no address of the model: {info}.")
    storage = open_storage(address.rstrip("/"))
    files = {entry.name.rpartition("/")[2]: entry.name for entry in storage.list("")}
    found = [name for name in files if name.endswith(".tflite")]
    if len(found) != 1:
        raise UnusableDeviceModel(f"The export at {address} has {len(found)} files *.tflite, not one.")
    labels = next((files[name] for name in exported.LABEL_FILES if name in files), None)
    exported.adapt(storage.read(files[found[0]]), labels and storage.read(labels), folder)


def version_of(config: Config, model: str) -> str:
    """Returns the resource name of a model with its version, as releases record it."""
    with cloud_errors(f"Looking for the model {model}"):
        found = client(config, "ModelService").get_model(name=model, retry=read_retry())
    return f"{model.partition('@')[0]}@{found.version_id}"


def _answers_of(config: Config, releases: Releases, release: Release, spans: Sequence[Span]) -> tuple[Labels, Labels]:
    """Returns what both models of the current release say of the images; nothing for a device model that is none."""

    def images() -> Iterator[LabelledImage]:
        for span in spans:
            for example in span.examples(automl_dataset.EVAL):
                yield LabelledImage(example.source, example.label, example.image)

    node.log(f"Evaluating {release.tag} on the same images ...")
    open_cloud = on_vertex.predictor if release.cloud_model else here.predictor
    with open_cloud(config, release, node.log) as predict:
        cloud = {of.name: of.predicted for of in predict(images()) if isinstance(of, Prediction)}
    if release.device is None:
        return cloud, {}
    with here.device_classifier(releases, release) as classify:
        found = here.predictions(images(), classify)
        return cloud, {of.name: of.predicted for of in found if isinstance(of, Prediction)}


def _named(sources: set[str], spans: Sequence[Span]) -> tuple[Rejected, ...]:
    """Returns the names of images, by their sha256, as `withdraw` takes them."""
    return tuple(
        Rejected(f"{name_of(span.number)}/{source.name}", "one of the models has no answer")
        for span in spans
        for source in span.listed
        if source.sha256 in sources
    )


if __name__ == "__main__":
    node.run(main, "settings", "run", "commit", "cloud-model", "predictions", "export", "released")

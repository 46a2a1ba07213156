"""Releases a blessed model; writes the outcome of the training."""

import contextlib
import dataclasses
import datetime
import json
import os
from collections.abc import Mapping, Sequence

import tensorflow as tf
from tfx.utils import path_utils

from pipeline.components import local_copies, undecodable
from pipeline.components import tfx_api as tfx
from pipeline.data import reports
from pipeline.data.spans import Span, published
from pipeline.device.released import TFLITE
from pipeline.outcomes import CurrentModel, DeviceOutcome, TrainingOutcome, states_from_json
from pipeline.quality import evaluator_config
from pipeline.quality.pair_gate import Agreement
from pipeline.quality.release_gate import Requirements, decide
from pipeline.quality.scores import Evaluation, Prediction
from pipeline.quality.tally import Tally
from pipeline.releases.factory import open_releases
from pipeline.releases.record import DEVICE_MODEL, DeviceModel
from pipeline.reporting import model_card
from pipeline.reporting.pair import Pair
from pipeline.reporting.training_page import TrainingPage, training_page
from pipeline.storage.factory import open_storage

artifacts = tfx.artifacts
InputArtifact = tfx.InputArtifact
Parameter = tfx.Parameter


@tfx.component
def ReleasePusher(
    examples: InputArtifact[artifacts.Examples],
    model: InputArtifact[artifacts.Model],
    blessing: InputArtifact[artifacts.ModelBlessing],
    evaluation: InputArtifact[artifacts.ModelEvaluation],
    model_run: InputArtifact[artifacts.ModelRun],
    requirements: Parameter[str],
    workspace: Parameter[str],
    releases: Parameter[str],
    token_secret: Parameter[str],
    spans: Parameter[str],
    data: Parameter[str],
    labels: Parameter[str],
    modules_digest: Parameter[str],
    commit: Parameter[str],
    current: Parameter[str],
    identity: Parameter[str],
    image: Parameter[str],
    pushed_model: tfx.OutputArtifact[artifacts.PushedModel],
    device_model: InputArtifact[artifacts.Model] = None,
    pair: InputArtifact[artifacts.String] = None,
):
    """Publishes a blessed `model` with its lineage; writes a TrainingOutcome to `outcome.json` and a report
    with a page.

    With a `device_model`, whose `pair` PairGate wrote, both are published together or neither.

    A model is released when the Evaluator blessed it and it meets `requirements`, a Requirements as JSON.
    `spans` and `labels` are JSON lists, `data` is what each span held, as JSON; `current` is the tag of the release
    that the Evaluator compared with, or empty.
    `token_secret` is the resource name of the secret that holds the token for `releases`, or empty; `image` is the one
    that the model was trained in, by digest, or empty. Publishing the same `identity` again returns the existing
    release.
    """
    catalog = open_releases(releases, token_secret)
    tallies = evaluator_config.tallies(evaluation.uri, bool(current))
    needed = Requirements.from_json(requirements)
    verdict = decide(tallies, needed, current)
    learned = sorted(set(json.loads(labels)).difference(tallies.unlearned))
    compared = None
    if current:
        new_labels = set(learned).difference(catalog.get(current).labels)
        compared = CurrentModel(current, tallies.metrics(current=True), tuple(sorted(new_labels)))
    device, agreement = _pair(pair) if pair else (None, None)
    storage = open_storage(workspace)
    chosen = [span for span in published(storage) if span.number in json.loads(spans)]
    broken = undecodable.left_out_of(examples.uri) | undecodable.left_out_of(model_run.uri)
    outcome = TrainingOutcome(
        spans=tuple(json.loads(spans)),
        data=states_from_json(json.loads(data)),
        blessed=bool(blessing.get_int_custom_property("blessed"))
        and verdict.blessed
        and (device is None or device.blessed),
        metrics=tallies.metrics(),
        reasons=(*verdict.reasons, *(device.reasons if device else ())),
        current=compared,
        slices=verdict.slices,
        unlearned=tallies.unlearned,
        device=device,
        left_out=undecodable.named(broken, chosen),
    )
    images = _images(chosen, tallies.overall, agreement)
    shown = Pair(outcome.metrics, device, agreement, images) if device else None
    if outcome.blessed:
        with contextlib.ExitStack() as copies:
            folder, of_device = (
                copies.enter_context(local_copies.to_read(path_utils.serving_model_path(one.uri))) if one else ""
                for one in (model, device_model)
            )
            release = catalog.publish(
                folder,
                identity=identity,
                commit=commit,
                modules_digest=modules_digest,
                spans=outcome.spans,
                data=outcome.data,
                labels=learned,
                metrics=outcome.metrics,
                previous=current or None,
                image=image,
                device=_released(device) if device else None,
                device_file=os.path.join(of_device, TFLITE),
                attach=lambda release: model_card.card(release, compared, shown),
                describe=model_card.notes,
            )
        outcome = dataclasses.replace(outcome, release=release.tag)
    page = TrainingPage(
        outcome=outcome,
        requirements=needed,
        created=datetime.datetime.now(datetime.timezone.utc),
        evaluation=Evaluation(tallies.overall.confusion),
        mistakes=_mistakes(tallies.overall, images),
        pair=shown,
        curves=_curves(model_run.uri),
        lineage={"commit": commit, "modules": modules_digest, "image": image or "none", "identity": identity},
    )
    report = reports.save_training(
        storage,
        outcome,
        identity=identity,
        modules_digest=modules_digest,
        commit=commit,
        page=training_page(page),
    )
    outcome = dataclasses.replace(outcome, page=f"{report}/{reports.PAGE}")
    with tf.io.gfile.GFile(os.path.join(pushed_model.uri, OUTCOME), "w") as file:
        json.dump(outcome.to_json(), file, indent=1)


def _pair(artifact: artifacts.String) -> tuple[DeviceOutcome, Agreement]:
    """Reads what PairGate wrote."""
    written = json.loads(artifact.read())
    return DeviceOutcome.from_json(written["device"]), Agreement.from_json(written["agreement"])


def _released(device: DeviceOutcome) -> DeviceModel:
    """Returns the fields of a device model that its release records."""
    names = [field.name for field in dataclasses.fields(DeviceModel) if field.name != "file"]
    return DeviceModel(DEVICE_MODEL, **{name: getattr(device, name) for name in names})


OUTCOME = "outcome.json"
EPOCHS = "epochs.json"  # written by the modules' `run_fn` if it likes: a list of {name: value}, one an epoch


def _curves(model_run: str) -> list[dict[str, float]]:
    address = os.path.join(model_run, EPOCHS)
    if not tf.io.gfile.exists(address):
        return []
    with tf.io.gfile.GFile(address) as file:
        return json.load(file)


def _images(spans: Sequence[Span], tally: Tally, agreement: Agreement | None) -> dict[str, bytes]:
    """Returns the images that pages show, which only the spans have, by the sha256 of their bytes."""
    wanted = {of.source for of in (*tally.mistakes, *(agreement.differences if agreement else ()))}
    found = {}
    for span in spans:
        if len(found) < len(wanted):
            found |= {example.source: example.image for example in span.examples("eval") if example.source in wanted}
    return found


def _mistakes(tally: Tally, images: Mapping[str, bytes]) -> list[Prediction]:
    """Returns the most confident mistakes with their images."""
    return [
        Prediction(of.source, of.label, images[of.source], of.predicted, of.confidence)
        for of in tally.mistakes
        if of.source in images
    ]

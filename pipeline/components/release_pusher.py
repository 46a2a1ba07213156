"""Releases a blessed model; writes the outcome of the training."""

import contextlib
import json
import os
from collections.abc import Iterator

import tensorflow as tf
from tfx.utils import path_utils

from pipeline.candidate import Candidate, conclude
from pipeline.components import local_copies, undecodable
from pipeline.components import tfx_api as tfx
from pipeline.data.spans import published
from pipeline.device.released import TFLITE
from pipeline.outcomes import DeviceOutcome, states_from_json
from pipeline.quality import evaluator_config
from pipeline.quality.pair_gate import Agreement
from pipeline.quality.release_gate import Requirements
from pipeline.releases.factory import open_releases
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
    storage = open_storage(workspace)
    chosen = [span for span in published(storage) if span.number in json.loads(spans)]
    device, agreement = _pair(pair) if pair else (None, None)
    candidate = Candidate(
        identity=identity,
        commit=commit,
        modules_digest=modules_digest,
        image=image,
        spans=chosen,
        data=states_from_json(json.loads(data)),
        labels=json.loads(labels),
        current=current,
        tallies=evaluator_config.tallies(evaluation.uri, bool(current)),
        device=device,
        agreement=agreement,
        left_out=undecodable.named(
            undecodable.left_out_of(examples.uri) | undecodable.left_out_of(model_run.uri), chosen
        ),
        curves=_curves(model_run.uri),
        blessed=bool(blessing.get_int_custom_property("blessed")),
    )

    @contextlib.contextmanager
    def models() -> Iterator[dict[str, str]]:
        with contextlib.ExitStack() as copies:
            folder, of_device = (
                copies.enter_context(local_copies.to_read(path_utils.serving_model_path(one.uri))) if one else ""
                for one in (model, device_model)
            )
            yield {"model": folder, "device_file": os.path.join(of_device, TFLITE)}

    catalog = open_releases(releases, token_secret)
    outcome = conclude(candidate, Requirements.from_json(requirements), storage, catalog, models)
    with tf.io.gfile.GFile(os.path.join(pushed_model.uri, OUTCOME), "w") as file:
        json.dump(outcome.to_json(), file, indent=1)


def _pair(artifact: artifacts.String) -> tuple[DeviceOutcome, Agreement]:
    """Reads what PairGate wrote."""
    written = json.loads(artifact.read())
    return DeviceOutcome.from_json(written["device"]), Agreement.from_json(written["agreement"])


OUTCOME = "outcome.json"
EPOCHS = "epochs.json"  # written by the modules' `run_fn` if it likes: a list of {name: value}, one an epoch


def _curves(model_run: str) -> list[dict[str, float]]:
    address = os.path.join(model_run, EPOCHS)
    if not tf.io.gfile.exists(address):
        return []
    with tf.io.gfile.GFile(address) as file:
        return json.load(file)

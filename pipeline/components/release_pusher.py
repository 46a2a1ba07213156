"""Releases a blessed model; writes the outcome of the training."""

import dataclasses
import json
import os

import tensorflow as tf
from tfx.utils import path_utils

from pipeline.components import local_copies
from pipeline.components import tfx_api as tfx
from pipeline.data import reports
from pipeline.outcomes import CurrentModel, TrainingOutcome
from pipeline.quality import release_gate
from pipeline.quality.verdict import Requirements, decide
from pipeline.releases.factory import open_releases
from pipeline.reporting import model_card
from pipeline.storage.factory import open_storage

artifacts = tfx.artifacts
InputArtifact = tfx.InputArtifact
Parameter = tfx.Parameter


@tfx.component
def ReleasePusher(
    model: InputArtifact[artifacts.Model],
    blessing: InputArtifact[artifacts.ModelBlessing],
    evaluation: InputArtifact[artifacts.ModelEvaluation],
    requirements: Parameter[str],
    workspace: Parameter[str],
    releases: Parameter[str],
    token_secret: Parameter[str],
    spans: Parameter[str],
    labels: Parameter[str],
    modules_digest: Parameter[str],
    commit: Parameter[str],
    current: Parameter[str],
    identity: Parameter[str],
    image: Parameter[str],
    pushed_model: tfx.OutputArtifact[artifacts.PushedModel],
):
    """Publishes a blessed `model` with its lineage; writes a TrainingOutcome to `outcome.json` and a report.

    A model is released when the Evaluator blessed it and it meets `requirements`, a Requirements as JSON.
    `spans` and `labels` are JSON lists, `current` is the tag of the release that the Evaluator compared with, or empty.
    `token_secret` is the resource name of the secret that holds the token for `releases`, or empty; `image` is the one
    that the model was trained in, by digest, or empty. Publishing the same `identity` again returns the existing
    release.
    """
    catalog = open_releases(releases, token_secret)
    tallies = release_gate.tallies(evaluation.uri, bool(current))
    verdict = decide(tallies, Requirements.from_json(requirements), current)
    learned = sorted(set(json.loads(labels)).difference(tallies.unlearned))
    compared = None
    if current:
        new_labels = set(learned).difference(catalog.get(current).labels)
        compared = CurrentModel(current, tallies.metrics(current=True), tuple(sorted(new_labels)))
    outcome = TrainingOutcome(
        spans=tuple(json.loads(spans)),
        blessed=bool(blessing.get_int_custom_property("blessed")) and verdict.blessed,
        metrics=tallies.metrics(),
        reasons=verdict.reasons,
        current=compared,
        slices=verdict.slices,
        unlearned=tallies.unlearned,
    )
    if outcome.blessed:
        with local_copies.to_read(path_utils.serving_model_path(model.uri)) as folder:
            release = catalog.publish(
                folder,
                identity=identity,
                commit=commit,
                modules_digest=modules_digest,
                spans=outcome.spans,
                labels=learned,
                metrics=outcome.metrics,
                previous=current or None,
                image=image,
                attach=lambda release: model_card.card(release, compared),
                describe=model_card.notes,
            )
        outcome = dataclasses.replace(outcome, release=release.tag)
    with tf.io.gfile.GFile(os.path.join(pushed_model.uri, OUTCOME), "w") as file:
        json.dump(outcome.to_json(), file, indent=1)
    reports.save_training(
        open_storage(workspace), outcome, identity=identity, modules_digest=modules_digest, commit=commit
    )


OUTCOME = "outcome.json"

"""Batch evaluation: a released model judged on everything that was collected, image after image."""

import contextlib
import datetime
import hashlib
import io
import itertools
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import BinaryIO

from pipeline.config import Config
from pipeline.data import collected, reports, spans
from pipeline.data.images import BadImage
from pipeline.data.spans import Span
from pipeline.errors import NoRelease
from pipeline.outcomes import EvaluationOutcome, Rejected
from pipeline.quality.scores import Evaluation, Judged, Labelled, examine, judged
from pipeline.releases.base import Release, Releases
from pipeline.releases.factory import releases_of
from pipeline.reporting.evaluation_page import EvaluationPage, evaluation_page
from pipeline.storage.base import Storage
from pipeline.storage.factory import open_storage

PAGE = "report.html"
PREDICTIONS = "predictions.jsonl"
Judge = Callable[[Iterable[Labelled]], Iterator[Judged]]
Judging = Callable[[Config, Release], AbstractContextManager[Judge]]
MOST_NAMED = 50  # unusable images that a report names; the others are only counted


@dataclass
class LeftOut:
    """What was collected and is not judged, and why."""

    unusable: int = 0
    skipped: list[Rejected] = field(default_factory=list)  # the first of them
    duplicates: int = 0  # the same bytes again
    in_spans: int = 0  # published already: trained on, or the measure of what was trained


def evaluate(
    config: Config,
    threshold: float,
    progress: Callable[[int], None] = lambda done: None,
    judging: Judging | None = None,  # judging_here unless another is named
) -> EvaluationOutcome:
    """Judges the newest release on the collected images and keeps metrics, predictions and a page as a report.

    `judging` says where the model runs; says `progress(images judged)` now and then. Raises NoRelease or BrokenRelease.
    """
    storage = open_storage(config.workspace)
    release = releases_of(config).newest()
    if release is None:
        raise NoRelease(config.releases)
    left_out = LeftOut()
    waiting = sum(1 for _ in collected.images(storage))
    images = new_images(storage, left_out)
    first = next(images, None)
    if first is None:  # known before TensorFlow is imported
        return _outcome(release, Evaluation({}), threshold, left_out, waiting)
    written = io.BytesIO()
    with (judging or judging_here)(config, release) as judge:
        evaluation, mistakes = judge_images(itertools.chain([first], images), judge, written, progress)
    outcome = _outcome(release, evaluation, threshold, left_out, waiting)
    page = EvaluationPage(release, datetime.datetime.now(datetime.timezone.utc), outcome, evaluation, mistakes)
    files = {PAGE: evaluation_page(page).encode(), PREDICTIONS: written.getvalue()}
    folder = reports.save_evaluation(storage, outcome, evaluation.confusion, files)
    return replace(outcome, report=f"{folder}/{PAGE}")


def new_images(storage: Storage, left_out: LeftOut) -> Iterator[Labelled]:
    """Reads the collected images that can be used and are in no span, each content once; counts the others."""
    known = spans.Known(storage)
    for source in collected.sources(storage):
        try:
            label = collected.examine(source)
        except BadImage as bad:
            left_out.unusable += 1
            if len(left_out.skipped) < MOST_NAMED:
                left_out.skipped.append(Rejected(source.name, str(bad)))
            continue
        digest = hashlib.sha256(source.data).digest()
        holder = known.holder(digest)
        if holder is None:
            known.add(digest)
            yield Labelled(source.name, label, source.data)
        elif holder == spans.THIS:
            left_out.duplicates += 1
        else:
            left_out.in_spans += 1


def judge_images(
    images: Iterable[Labelled],
    judge: Judge,
    predictions: BinaryIO,
    progress: Callable[[int], None] = lambda done: None,
) -> tuple[Evaluation, list[Judged]]:
    """Judges a stream of images; writes a line of JSON about each. Returns what `examine` does."""

    def told() -> Iterator[Judged]:
        for done, result in enumerate(judge(images), 1):
            line = {"name": result.name, "label": result.label, "predicted": result.predicted}
            predictions.write(json.dumps(line | {"confidence": round(result.confidence, 4)}).encode() + b"\n")
            if not done % collected.PROGRESS_EVERY:
                progress(done)
            yield result

    return examine(told())


def span_images(span: Span, split: str) -> Iterator[Labelled]:
    """Reads the images of a published span's split."""
    for example in span.examples(split):
        yield Labelled(example.source, example.label, example.image)


@contextlib.contextmanager
def judging_here(config: Config, release: Release) -> Iterator[Judge]:
    """Gives what judges images with a release's model, loaded into this process."""
    with predictor(releases_of(config), release) as predict:
        yield partial(judged, predict=predict)


@contextlib.contextmanager
def predictor(releases: Releases, release: Release) -> Iterator[Callable[[Iterable[bytes]], Iterator]]:
    """Fetches, verifies and loads a release's model; gives what predicts with it, which takes encoded images."""
    with tempfile.TemporaryDirectory(prefix="spanloop-") as folder:
        releases.fetch(release, folder)
        from pipeline.batch import inference

        yield partial(inference.predict, inference.load(folder))


def _outcome(
    release: Release, evaluation: Evaluation, threshold: float, left_out: LeftOut, waiting: int
) -> EvaluationOutcome:
    scores = evaluation.per_label
    return EvaluationOutcome(
        release=release.tag,
        images=evaluation.images,
        accuracy=evaluation.accuracy,
        interval=evaluation.interval,
        per_label={label: score.accuracy for label, score in scores.items()},
        should_retrain=evaluation.accuracy is not None and evaluation.accuracy < threshold,
        threshold=threshold,
        collected=waiting,
        unusable=left_out.unusable,
        skipped=tuple(left_out.skipped),
        duplicates=left_out.duplicates,
        in_spans=left_out.in_spans,
        unknown_labels={label: scores[label].images for label in sorted(set(scores).difference(release.labels))},
    )

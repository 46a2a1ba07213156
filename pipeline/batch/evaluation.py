"""Batch evaluation: the newest released model on all collected images, and the report about it."""

import contextlib
import datetime
import hashlib
import io
import itertools
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO

from pipeline.batch import here
from pipeline.batch.predictor import Classification, OpenPredictor, Predictor
from pipeline.config import Config
from pipeline.data import reports
from pipeline.data.images import BadImage
from pipeline.data.images.conversion import original_of
from pipeline.data.incoming import collected
from pipeline.data.incoming.collected import Waiting
from pipeline.data.known import Known
from pipeline.data.spans import Span, published
from pipeline.errors import NoRelease, UndecodedImages
from pipeline.outcomes import Conflict, DeviceEvaluation, EvaluationOutcome, Rejected
from pipeline.quality.scores import Evaluation, LabelledImage, Prediction, score
from pipeline.releases.base import Releases
from pipeline.releases.factory import releases_of
from pipeline.releases.record import Release
from pipeline.reporting.evaluation_page import EvaluationPage, evaluation_page
from pipeline.storage.base import Source, Storage
from pipeline.storage.factory import open_storage

PAGE = "report.html"
PREDICTIONS = "predictions.jsonl"
MOST_NAMED = 50  # unusable images that a report names; the others are only counted


@dataclass
class LeftOut:
    """Collected images that are not evaluated, by reason."""

    unusable: int = 0
    skipped: list[Rejected] = field(default_factory=list)  # the first unusable ones
    duplicates: int = 0  # the same bytes again
    in_spans: int = 0  # published already: the model was trained or evaluated on them
    conflicts: list[Conflict] = field(default_factory=list)  # under two labels, here or here and in a span
    contested: set[str] = field(default_factory=set)  # names of images whose other label was found after they were read
    generations: dict[str, str] = field(default_factory=dict)  # {name in the workspace: generation} of all of them
    not_decoded: list[str] = field(default_factory=list)  # names of those, among the unusable, that the model refused

    def add(self, source: Source) -> None:
        """Remembers that a source was left out."""
        self.generations[f"{collected.FOLDER}/{source.name}"] = source.generation

    def contest(self, name: str, generation: str, label: str, there: str) -> None:
        """Remembers that an image that was read before came under the label `there`, too."""
        self.contested.add(name)
        self.generations[f"{collected.FOLDER}/{name}"] = generation
        self.conflicts.append(Conflict(name, label, None, there))

    def skip(self, name: str, reason: str) -> None:
        """Counts an unusable image, and names it if it is one of the first."""
        self.unusable += 1
        if len(self.skipped) < MOST_NAMED:
            self.skipped.append(Rejected(name, reason))

    def undecoded(self, image: LabelledImage) -> None:
        """Counts an image that passed the checks, but that the model could not decode."""
        self.not_decoded.append(image.name)
        self.skip(image.name, "the model cannot decode it")

    def check_undecoded(self, evaluated: int) -> None:
        """Raises UndecodedImages when they are more than one in a hundred of the images."""
        images = evaluated + len(self.not_decoded)
        if UndecodedImages.too_many(len(self.not_decoded), images):
            raise UndecodedImages(self.not_decoded, images, "Take them out of collected/.")


def evaluate(
    config: Config,
    threshold: float,
    progress: Callable[[int], None] = lambda done: None,
    open_predictor: OpenPredictor = here.predictor,
) -> EvaluationOutcome:
    """Evaluates the newest release on the collected images; keeps metrics, predictions and a page as a report.

    A device model of the release is evaluated on the same images, always on this machine.
    Also an evaluation that found no image is kept, without a page: so it is known that what waits was looked at.
    `open_predictor` decides where the model runs. Calls `progress(images done)` now and then. Raises NoRelease or
    BrokenRelease.
    """
    storage = open_storage(config.workspace)
    releases = releases_of(config)
    release = releases.newest()
    if release is None:
        raise NoRelease(config.releases)
    left_out = LeftOut()
    waiting = collected.waiting(storage)
    images = new_images(storage, left_out)
    first = next(images, None)
    if first is None:  # known before TensorFlow is imported
        return _without_images(storage, release, threshold, left_out, waiting)
    written = io.BytesIO()
    with open_predictor(config, release) as predictor, open_device(releases, release) as device:
        evaluation, mistakes = evaluate_images(
            itertools.chain([first], images),
            predictor,
            written,
            progress,
            left_out.undecoded,
            device,
            left_out.contested,
        )
    left_out.check_undecoded(evaluation.images)
    if not evaluation.images:
        return _without_images(storage, release, threshold, left_out, waiting)
    outcome = _outcome(release, evaluation, threshold, left_out, waiting)
    if device:
        outcome = _with_device(outcome, device, config.device_accuracy_threshold)
    page = EvaluationPage(release, datetime.datetime.now(datetime.timezone.utc), outcome, evaluation, mistakes)
    files = {PAGE: evaluation_page(page).encode(), PREDICTIONS: written.getvalue()}
    collected.remember_left_out(storage, left_out.generations)
    folder = reports.save_evaluation(storage, outcome, evaluation.confusion, files)
    return replace(outcome, report=f"{folder}/{PAGE}")


def _without_images(
    storage: Storage, release: Release, threshold: float, left_out: LeftOut, waiting: Waiting
) -> EvaluationOutcome:
    """Keeps an evaluation that found no image, if anything waits."""
    outcome = _outcome(release, Evaluation({}), threshold, left_out, waiting)
    if waiting.images:
        collected.remember_left_out(storage, left_out.generations)
        reports.save_evaluation(storage, outcome, {}, {})
    return outcome


class DeviceCounts:
    """What a device model makes of images that the other model has predictions for."""

    def __init__(self, classify: Callable[[Iterable[bytes]], Iterator[Classification | None]]):
        self._classify = classify
        self.confusion: Counter[tuple[str, str]] = Counter()
        self.agreeing = 0

    def add(self, prediction: Prediction) -> dict[str, Any]:
        """Counts an image; returns what a line of predictions says of it, nothing where it cannot be decoded."""
        (found,) = self._classify([prediction.image])
        if found is None:
            return {}
        self.confusion[prediction.label, found.label] += 1
        self.agreeing += found.label == prediction.predicted
        return {"device": found.label, "device_confidence": round(found.confidence, 4)}

    def take_back(self, line: Mapping[str, Any]) -> None:
        """Counts an image no longer, of which there is this line of predictions."""
        if "device" in line:
            self.confusion -= Counter([(line["label"], line["device"])])
            self.agreeing -= line["device"] == line["predicted"]


@contextlib.contextmanager
def open_device(releases: Releases, release: Release) -> Iterator[DeviceCounts | None]:
    """Yields the counts of a release's device model, None where it has none. Raises BrokenRelease or UnsafeModel."""
    if release.device is None:
        yield None
        return
    with here.device_classifier(releases, release) as classify:
        yield DeviceCounts(classify)


def new_images(storage: Storage, left_out: LeftOut) -> Iterator[LabelledImage]:
    """Yields the usable collected images that are in no span, each content once; counts the others in `left_out`.

    Of an image under two labels the first file may be yielded before the second is read: it is `contested` then.
    """
    known = Known(storage, published(storage))
    yielded: list[tuple[str, str]] = []  # name and generation
    others: dict[int, str] = {}  # position in `yielded`: another label of the same bytes
    for source in collected.sources(storage):
        try:
            label = collected.examine(source)
        except BadImage as bad:
            left_out.add(source)
            left_out.skip(source.name, str(bad))
            continue
        digest, original = hashlib.sha256(source.data).digest(), original_of(source.data)
        holder = known.holder(digest, original)
        if holder is None:
            known.add(digest, label, original)
            yielded.append((source.name, source.generation))
            yield LabelledImage(source.name, label, source.data)
            continue
        left_out.add(source)
        if holder.withdrawn:
            left_out.skip(source.name, holder.reason)
        elif holder.span is not None:
            left_out.in_spans += 1
            if label != holder.label:
                left_out.conflicts.append(Conflict(source.name, label, holder.span, holder.label))
        elif label == holder.label and holder.position not in others:
            left_out.duplicates += 1
        else:
            if holder.position not in others:
                others[holder.position] = label
                left_out.contest(*yielded[holder.position], holder.label, label)
            there = holder.label if label != holder.label else others[holder.position]
            left_out.conflicts.append(Conflict(source.name, label, None, there))


def evaluate_images(
    images: Iterable[LabelledImage],
    predictor: Predictor,
    file: BinaryIO,
    progress: Callable[[int], None] = lambda done: None,
    undecoded: Callable[[LabelledImage], None] = lambda image: None,
    device: DeviceCounts | None = None,
    contested: Collection[str] = (),
) -> tuple[Evaluation, list[Prediction]]:
    """Evaluates a stream of images; writes each prediction to `file` as a line of JSON. Returns what `score` does.

    Calls `undecoded` with each image that the model cannot decode, which is left out. `device` counts the others too.
    Those whose names are in `contested` once all images are read do not count.
    """

    def written() -> Iterator[Prediction]:
        for done, prediction in enumerate(predictor(images), 1):
            if not isinstance(prediction, Prediction):
                undecoded(prediction)
                continue
            line = {"name": prediction.name, "label": prediction.label, "predicted": prediction.predicted}
            line |= {"confidence": round(prediction.confidence, 4)} | (device.add(prediction) if device else {})
            file.write(json.dumps(line).encode() + b"\n")
            if not done % collected.PROGRESS_EVERY:
                progress(done)
            yield prediction

    evaluation, mistakes = score(written())
    if contested:
        evaluation = _without(contested, evaluation, file, device)
    return evaluation, [mistake for mistake in mistakes if mistake.name not in contested]


def _without(names: Collection[str], evaluation: Evaluation, file: BinaryIO, device: DeviceCounts | None) -> Evaluation:
    """Takes the predictions of these images back."""
    file.seek(0)
    lines = file.readlines()
    file.seek(0)
    file.truncate()
    counted: Counter[tuple[str, str]] = Counter(evaluation.confusion)
    for line in lines:
        prediction = json.loads(line)
        if prediction["name"] not in names:
            file.write(line)
            continue
        counted -= Counter([(prediction["label"], prediction["predicted"])])
        if device:
            device.take_back(prediction)
    return Evaluation(counted)


def span_images(span: Span, split: str) -> Iterator[LabelledImage]:
    """Yields the images of a published span's split."""
    for example in span.examples(split):
        yield LabelledImage(example.source, example.label, example.image)


def _outcome(
    release: Release, evaluation: Evaluation, threshold: float, left_out: LeftOut, waiting: Waiting
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
        collected=waiting.images,
        waiting=waiting.digest,
        unusable=left_out.unusable,
        skipped=tuple(left_out.skipped),
        duplicates=left_out.duplicates,
        in_spans=left_out.in_spans,
        conflicts=tuple(left_out.conflicts),
        unknown_labels={label: scores[label].images for label in sorted(set(scores).difference(release.labels))},
    )


def _with_device(outcome: EvaluationOutcome, counts: DeviceCounts, threshold: float) -> EvaluationOutcome:
    evaluation = Evaluation(counts.confusion)
    device = DeviceEvaluation(
        accuracy=evaluation.accuracy,
        interval=evaluation.interval,
        per_label={label: score.accuracy for label, score in evaluation.per_label.items()},
        agreement=counts.agreeing / evaluation.images if evaluation.images else None,
        threshold=threshold,
    )
    return replace(outcome, device=device, should_retrain=outcome.should_retrain or device.below)

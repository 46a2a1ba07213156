"""What becomes of trained models: a verdict, a release where it is good, and a report with a page either way."""

import dataclasses
import datetime
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from pipeline.data import reports
from pipeline.data.spans import Span
from pipeline.outcomes import CurrentModel, DeviceOutcome, Rejected, SpanState, TrainingOutcome
from pipeline.quality.pair_gate import Agreement
from pipeline.quality.release_gate import Requirements, Tallies, decide
from pipeline.quality.scores import Evaluation, Prediction
from pipeline.quality.tally import Tally
from pipeline.releases import given_tags
from pipeline.releases.base import Releases
from pipeline.releases.record import DEVICE_MODEL, DeviceModel
from pipeline.reporting import model_card
from pipeline.reporting.pair import Pair
from pipeline.reporting.training_page import TrainingPage, training_page
from pipeline.storage.base import Storage


@dataclass(frozen=True)
class Candidate:
    """Trained models, and what was counted on the images that were kept out of training."""

    identity: str
    commit: str
    modules_digest: str  # "" without modules
    image: str  # in which they were trained, by digest, or ""
    spans: Sequence[Span]
    data: Mapping[str, SpanState]
    labels: Sequence[str]  # of the spans
    current: str  # tag of the release that it was compared with, or ""
    tallies: Tallies
    device: DeviceOutcome | None = None  # None where one model was trained
    agreement: Agreement | None = None
    left_out: tuple[Rejected, ...] = ()
    curves: Sequence[Mapping[str, float]] = ()
    blessed: bool = True  # by what evaluated it


def conclude(
    candidate: Candidate,
    requirements: Requirements,
    storage: Storage,
    catalog: Releases,
    models: Callable[[], AbstractContextManager[Mapping[str, Any]]],
) -> TrainingOutcome:
    """Decides about a candidate, releases it or not, and saves the report about it.

    `models` yields those arguments of `catalog.publish` that say where the models lie. Publishing the same identity
    again returns the existing release.
    """
    tallies, device = candidate.tallies, candidate.device
    verdict = decide(tallies, requirements, candidate.current)
    learned = sorted(set(candidate.labels).difference(tallies.unlearned))
    compared = None
    if candidate.current:
        new_labels = set(learned).difference(catalog.get(candidate.current).labels)
        compared = CurrentModel(candidate.current, tallies.metrics(current=True), tuple(sorted(new_labels)))
    outcome = TrainingOutcome(
        spans=tuple(span.number for span in candidate.spans),
        data=candidate.data,
        blessed=candidate.blessed and verdict.blessed and (device is None or device.blessed),
        metrics=tallies.metrics(),
        reasons=(*verdict.reasons, *(device.reasons if device else ())),
        current=compared,
        slices=verdict.slices,
        unlearned=tallies.unlearned,
        device=device,
        left_out=candidate.left_out,
    )
    images = _images(candidate.spans, tallies.overall, candidate.agreement)
    shown = Pair(outcome.metrics, device, candidate.agreement, images) if device else None
    if outcome.blessed:
        with models() as places:
            release = catalog.publish(
                **places,
                identity=candidate.identity,
                commit=candidate.commit,
                modules_digest=candidate.modules_digest,
                spans=outcome.spans,
                data=outcome.data,
                labels=learned,
                metrics=outcome.metrics,
                previous=candidate.current or None,
                image=candidate.image,
                device=_released(device) if device else None,
                given=given_tags.given(storage),
                attach=lambda release: model_card.card(release, compared, shown),
                describe=model_card.notes,
            )
        given_tags.keep(storage, [release.tag, *catalog.tags()])
        outcome = dataclasses.replace(outcome, release=release.tag)
    page = TrainingPage(
        outcome=outcome,
        requirements=requirements,
        created=datetime.datetime.now(datetime.timezone.utc),
        evaluation=Evaluation(tallies.overall.confusion),
        mistakes=_mistakes(tallies.overall, images),
        pair=shown,
        curves=candidate.curves,
        lineage={
            "commit": candidate.commit,
            "modules": candidate.modules_digest or "none",
            "image": candidate.image or "none",
            "identity": candidate.identity,
        },
    )
    report = reports.save_training(
        storage,
        outcome,
        identity=candidate.identity,
        modules_digest=candidate.modules_digest,
        commit=candidate.commit,
        page=training_page(page),
    )
    return dataclasses.replace(outcome, page=f"{report}/{reports.PAGE}")


def _released(device: DeviceOutcome) -> DeviceModel:
    """Returns the fields of a device model that its release records."""
    names = [field.name for field in dataclasses.fields(DeviceModel) if field.name != "file"]
    return DeviceModel(DEVICE_MODEL, **{name: getattr(device, name) for name in names})


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

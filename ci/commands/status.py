"""Shows the state of the loop and the next step."""

from dataclasses import asdict
from typing import Any

from ci.commands import promote
from ci.formatting import labels
from ci.outcome import Outcome, command
from pipeline.config import Config
from pipeline.data import reports, spans
from pipeline.data.incoming import collected, unlabelled
from pipeline.data.reports import EvaluationReport, TrainingReport
from pipeline.data.status import next_step
from pipeline.formatting import counted, device_percent, percent
from pipeline.outcomes import Served
from pipeline.releases import lineage
from pipeline.releases.factory import releases_of
from pipeline.serving import rollout
from pipeline.storage.factory import open_storage

GROUP = "models"
HISTORY = f"{reports.FOLDER}/history.html"  # as `python -m ci history` writes it


@command
def status(config: Config) -> Outcome:
    """Shows the state of the loop: spans, releases, collected images, the last evaluation, and what to do next."""
    storage = open_storage(config.workspace)
    published = spans.published(storage)
    releases = releases_of(config)
    tags = releases.tags()
    waiting = collected.waiting(storage)
    hard = unlabelled.kept(storage).pictures
    training = reports.newest_training(storage)
    evaluation = reports.newest_evaluation(storage)
    numbers, digests = [span.number for span in published], reports.trained_digests(storage)
    corrected = [span.number for span in published if span.number in digests and not reports.is_trained(span, digests)]
    withdrawn = lineage.saw_withdrawn(published, releases)
    history = storage.address(HISTORY) if storage.exists(HISTORY) else None
    serving = rollout.served(config)
    following = next_step(
        numbers,
        digests,
        tags,
        waiting,
        evaluation.outcome if evaluation else None,
        training.outcome if training else None,
        corrected,
    )
    typed = following.command(config.in_cloud)
    return Outcome(
        "\n".join(
            [
                *map(span_line, published),
                f"releases: {', '.join(tags) or 'none yet'}",
                *(
                    f"  {tag} was trained or evaluated with {counted(count, 'withdrawn image')}"
                    for tag, count in withdrawn.items()
                ),
                f"collected: {counted(waiting.images, 'image')}",
                *(
                    [f"unlabelled: {counted(hard, 'picture')}, see docs/devices.md#how-hard-cases-come-back"]
                    * bool(hard)
                ),
                f"last training: {trained_as(training) if training else 'none yet'}",
                f"last evaluation: {evaluated(evaluation) if evaluation else 'none yet'}",
                *([f"history: {history}"] if history else []),
                *serving_lines(serving),
                f"next: {typed}, because {following.why}",
            ]
        ),
        spans=[{"span": span.number, "images": span.images, "labels": span.labels} for span in published],
        corrected=corrected,
        saw_withdrawn=withdrawn,
        releases=tags,
        collected=waiting.images,
        unlabelled=hard,
        last_training=training and summary(training),
        last_evaluation=evaluation.to_json() if evaluation else None,
        history=history,
        serving=serving.to_json(),
        next={**asdict(following), "command": typed},
        action=following.action,  # again, for workflows, whose conditions look at single outputs
    )


def serving_lines(serving: Served) -> list[str]:
    """Returns lines about the endpoint, devices and `serve`, where they are configured."""
    lines = []
    if serving.endpoint is not None:
        lines.append(f"endpoint: {promote.traffic_text(serving.endpoint) or 'nothing yet'}")
    if serving.devices is not None:
        lines.append(f"devices: {promote.channels_text(serving.devices) or 'nothing yet'}")
    if serving.server is not None:
        lines.append(f"server: {promote.traffic_text(serving.server)}")
    return [*lines, *serving.problems]


def span_line(span: spans.Span) -> str:
    """'span 1: 20 images: cat 12, dog 8, 1 relabelled, 2 withdrawn'."""
    changed = span.corrections.images.values()
    withdrawn = sum(bool(image.withdrawn) for image in changed)
    relabelled = sum(not image.withdrawn and image.label != image.published.label for image in changed)
    counts = [f"{relabelled:,} relabelled"] * bool(relabelled) + [f"{withdrawn:,} withdrawn"] * bool(withdrawn)
    return ", ".join([f"span {span.number}: {counted(span.images, 'image')}: {labels(span.labels)}", *counts])


def summary(report: TrainingReport) -> dict[str, Any]:
    """Returns how the last training ended, in the keys of `train`."""
    found = report.outcome.to_json()
    return {name: found[name] for name in ("spans", "blessed", "release", "reasons", "page")}


def trained_as(report: TrainingReport) -> str:
    """Returns 'released as model-1, page ...', or why the model was not released."""
    outcome = report.outcome
    ended = f"released as {outcome.release}" if outcome.release else f"not released: {'; '.join(outcome.reasons[:3])}"
    return f"{ended}, page {outcome.page}" if outcome.page else ended


def evaluated(report: EvaluationReport) -> str:
    """Returns 'model-1 got 93.2 % of 250 images right, report in ...'."""
    outcome = report.outcome
    if not outcome.images:
        return f"none of {counted(outcome.collected, 'collected image')} could be evaluated"
    device = device_percent(outcome.device and outcome.device.accuracy)
    right = f"{percent(outcome.accuracy)} of {counted(outcome.images, 'image')} right{device}"
    return f"{outcome.release} got {right}, report in {report.address}"

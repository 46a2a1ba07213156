"""Submits a pipeline to Vertex AI."""

import dataclasses

import click

from ci.commands import prepare_span, train
from ci.outcome import Outcome, command
from pipeline.config import Config
from pipeline.data.reports import TrainingReport
from pipeline.orchestrators import vertex, vertex_job, vertex_request
from pipeline.orchestrators.definitions import OF_TFX
from pipeline.orchestrators.job_difference import differences
from pipeline.outcomes import RetrainingSubmitted, Submission
from pipeline.progress import logs

GROUP = "Google Cloud"


@command
@click.option("--pipeline", type=click.Choice(OF_TFX), required=True, help="Which one.")
@click.option("--spans", default="all", show_default=True, help="Spans to train on: 1,2 or all or latest:N.")
@click.option("--wait", is_flag=True, help="Show its nodes as they end, and fail if it fails.")
@click.option("--dry-run", is_flag=True, help="Show what would be submitted, and how it differs from the last run.")
def submit(config: Config, pipeline: str, spans: str, wait: bool, dry_run: bool) -> Outcome:
    """Submits a pipeline to Vertex AI once: a run that was submitted before is not repeated, unless it failed."""
    request = vertex_request.prepare(config, pipeline, spans)
    if request is None:
        text = "Nothing to do: no new image is collected, and the newest span was trained on already."
        return Outcome(text, job=None, state=None, submitted=False)
    if dry_run:
        return preview(config, request)
    done = vertex.send(config, request)
    if wait:
        print(started(request.about, done), file=logs.terminal(), flush=True)
        done = dataclasses.replace(done, state=vertex_job.follow(config, done.job))
        outcome = vertex.outcome(config, request, done.job)
        return Outcome(ended(outcome), **(outcome.to_json() if outcome else {}) | done.to_json())
    return Outcome(started(request.about, done), **done.to_json())


def started(about: str, done: Submission) -> str:
    """Returns text that says whether a run was started, with its address."""
    how = "submitted" if done.submitted else f"is there already, {done.state}"
    return f"{about[0].upper()}{about[1:]} {how}: {done.link}"


def ended(outcome: TrainingReport | RetrainingSubmitted | None) -> str:
    """Returns the outcome of a run as text."""
    if outcome is None:
        return "Done, but its report was deleted."
    if isinstance(outcome, TrainingReport):
        return train.summary(outcome.outcome)
    training = outcome.training
    if training is None:
        line = "No training: the newest span was trained on already."
    else:
        line = f"The training {'was submitted' if training.submitted else 'is there already'}: {training.link}"
    return f"{prepare_span.summary(outcome.prepared)}\n{line}"


def preview(config: Config, request: vertex_request.Request) -> Outcome:
    """Shows the run that would be submitted."""
    wanted = vertex_request.described(config, request)
    before = vertex.last(config, request.pipeline.name)
    changed = differences(before, wanted) if before else []
    lines = [f"Would submit {request.about} as {request.name}, compiled: {request.pipeline.digest}."]
    if before is None:
        lines.append(f"It would be the first run of {request.pipeline.name}; its parameters:")
        lines += [f"  {name}: {value}" for name, value in request.values.items()]
    elif changed:
        lines += [f"Since the last run, {before['name'].rpartition('/')[2]}:", *(f"  {line}" for line in changed)]
    else:
        lines.append(f"It is what the last run was, {before['name'].rpartition('/')[2]}.")
    return Outcome(
        "\n".join(lines),
        job=request.name,
        state=None,
        submitted=False,
        digest=request.pipeline.digest,
        last=before and before["name"],
        changed=changed,
    )

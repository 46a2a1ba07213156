"""Submits a pipeline to Vertex AI."""

import dataclasses

import click

from ci import run_preview
from ci.commands import prepare_span, train
from ci.outcome import Outcome, command
from pipeline.config import Config
from pipeline.data.reports import TrainingReport
from pipeline.orchestrators import preview, vertex, vertex_job, vertex_request
from pipeline.orchestrators.definitions import NAMES
from pipeline.outcomes import RetrainingSubmitted, Submission
from pipeline.progress import logs

GROUP = "Google Cloud"
NOTHING = "Nothing to do: no new image is collected, and the newest span was trained on already."


@command
@click.option("--pipeline", type=click.Choice(NAMES), required=True, help="Which one.")
@click.option("--spans", default="all", show_default=True, help="Spans to train on: 1,2 or all or latest:N.")
@click.option("--wait", is_flag=True, help="Show its nodes as they end, and fail if it fails.")
@click.option("--dry-run", is_flag=True, help="Show what would run and what it costs; write, copy and build nothing.")
@click.option("--verbose", is_flag=True, help="With --dry-run: also show digests and all parameters.")
@click.option("--yes", is_flag=True, help="Start it although AutoML may cost more than AUTOML_MOST_DOLLARS.")
def submit(config: Config, pipeline: str, spans: str, wait: bool, dry_run: bool, verbose: bool, yes: bool) -> Outcome:
    """Submits a pipeline to Vertex AI once: a run that was submitted before is not repeated, unless it failed."""
    if dry_run:
        return show(config, pipeline, spans, verbose)
    request = vertex_request.prepare(config, pipeline, spans, accepted=yes)
    if request is None:
        return Outcome(NOTHING, job=None, state=None, submitted=False)
    done = vertex.send(config, request)
    if wait:
        print(started(request.about, done), file=logs.terminal(), flush=True)
        done = dataclasses.replace(done, state=vertex_job.follow(config, done.job))
        outcome = vertex.outcome(config, request, done.job)
        return Outcome(ended(outcome), **(outcome.to_json() if outcome else {}) | done.to_json())
    return Outcome(started(request.about, done), **done.to_json())


def show(config: Config, pipeline: str, spans: str, verbose: bool) -> Outcome:
    """Shows what would be submitted."""
    found = preview.preview(config, pipeline, spans)
    if found is None:
        return Outcome(NOTHING, job=None, state=None, submitted=False)
    return Outcome(run_preview.text(config, found, verbose), **run_preview.fields(found))


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

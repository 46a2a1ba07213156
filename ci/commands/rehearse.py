"""Trains the changed code on small real images and compares the model with that of the base commit."""

import dataclasses
import glob
import os
import time

import click

from ci import own_workspace
from ci.github import baseline, clone, routing
from ci.github.baseline import Baselines, NoBaseline
from ci.github.routing import Route
from ci.outcome import Outcome, command
from ci.progress import log
from pipeline.config import Config
from pipeline.data import digits, reports, spans
from pipeline.errors import UsageError
from pipeline.formatting import counted
from pipeline.orchestrators import local
from pipeline.releases.archive import ARCHIVE
from pipeline.releases.factory import open_releases
from pipeline.releases.record import Release
from pipeline.reporting import run_markdown, run_report
from pipeline.reporting.run_report import RunReport
from pipeline.storage.factory import open_storage

GROUP = "workflows"

BASELINES = "baseline"  # in the folder, all that a cache has to keep


@command
@click.option("--base", metavar="SHA", default="", help="Commit whose model this one is compared with.")
@click.option(
    "--limit",
    type=click.IntRange(100, digits.COUNTS[digits.FIRST]),
    default=600,
    show_default=True,
    help="Images to train and evaluate on.",
)
@click.option("--output", metavar="FILE", help="Where the report is written.  [default: report.json in the folder]")
@click.option(
    "--folder",
    default="./workspace-rehearsal",
    show_default=True,
    help="The rehearsal's workspace; it is emptied first.",
)
def rehearse(config: Config, base: str, limit: int, output: str | None, folder: str) -> Outcome:
    """Trains on small real images on this machine, and compares the model with that of the base commit's code.

    The images are handwritten digits. It releases only inside the folder; a model that is not good enough is no error,
    but is shown in the report. The code that is trained sees no credentials in its environment, and no file by which a
    step of a workflow speaks to the next ones.
    """
    began = time.monotonic()
    folder = os.path.abspath(folder)
    with own_workspace.afresh(folder, "rehearsal", keep=[BASELINES]), own_workspace.scrubbed():
        images = os.path.join(folder, "images")
        log(f"Writing {counted(digits.write(images, digits.FIRST, limit=limit), 'image')}")
        here = of_its_own(config, folder)
        baselines = Baselines(here, images, os.path.join(folder, BASELINES), os.path.join(folder, "base"))
        current, uncompared, push = compare(here, base, baselines)
        report = train(here, images, current, uncompared, push, config.training_machines)
        path = os.path.abspath(output or os.path.join(folder, "report.json"))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(report.to_json())
        archive = archive_of(here, report)
        if report.commit and report.commit == clone.commit(".", "HEAD"):  # and the working tree has no changes
            baselines.keep(report.commit, os.path.dirname(archive))
    compared = report.current and {"commit": report.current.commit, "accuracy": report.current.metrics.accuracy}
    return Outcome(
        f"{run_markdown.text(report)}\nReport: {path}",
        summary=run_markdown.markdown(report),
        accuracy=report.metrics.accuracy,
        blessed=report.blessed,
        reasons=list(report.reasons),
        release=report.release,
        base=compared,
        seconds=round(time.monotonic() - began, 1),
        report=path,
        archive=archive,
    )


def of_its_own(config: Config, folder: str) -> Config:
    """Returns the settings that affect a model, with `folder` as workspace and without a cloud."""
    return Config(
        workspace=folder,
        accuracy_threshold=config.accuracy_threshold,
        accuracy_margin=config.accuracy_margin,
        label_floor=config.label_floor,
        modules=config.modules,
        seed=config.seed,
        tune=config.tune,
        device_model=config.device_model,
        device_quantization=config.device_quantization,
        device_accuracy_threshold=config.device_accuracy_threshold,
        device_agreement=config.device_agreement,
        escalation_loss=config.escalation_loss,
        device_megabytes=config.device_megabytes,
        device_milliseconds=config.device_milliseconds,
    )


def compare(config: Config, base: str, baselines: Baselines) -> tuple[Release | None, str, Route]:
    """Releases the base's model in this workspace, so that the new one is compared with it.

    Returns it, or None and the reason; and the branch that a push of the differences takes, "" if unknown.
    """
    push = Route("", "")
    try:
        commit, push = differing(base)
        log(f"Looking for the model of the base {commit}")
        os.makedirs(baselines.scratch)
        return baseline.adopt(*baselines.release(commit), config.releases), "", push
    except NoBaseline as why:
        log(f"Not compared: {why}.")
        return None, str(why), push


def differing(base: str) -> tuple[str, Route]:
    """Returns the base's full name, and the branch that a push takes of what differs. Raises NoBaseline."""
    if not base.strip("0"):
        raise NoBaseline("no base was named")
    try:
        commit = clone.commit(".", base)
        if commit is None:
            raise NoBaseline(f"the base {base} is not in this clone")
        changed = clone.changed_here(".", commit)
    except UsageError as error:
        raise NoBaseline(str(error).rstrip(".")) from None
    if all(map(routing.is_documentation, changed)):
        raise NoBaseline(f"{'only documentation' if changed else 'nothing'} differs from the base {commit[:7]}")
    return commit, routing.decide(changed)


def train(
    config: Config, images: str, current: Release | None, uncompared: str, push: Route, machines: str
) -> RunReport:
    """Makes a span of the images, trains on it, and returns the report."""
    storage = open_storage(config.workspace)
    spans.import_folder(storage, images)
    began = time.monotonic()
    durations = local.train(config, "all").durations
    training = reports.newest_training(storage)
    if current:
        reasons = tuple(reason.replace(f", {current.tag} ", ", the base ") for reason in training.outcome.reasons)
        training = dataclasses.replace(training, outcome=dataclasses.replace(training.outcome, reasons=reasons))
    return run_report.of_training(
        training,
        durations,
        current,
        kind=run_report.REHEARSAL,
        uncompared=uncompared,
        threshold=config.accuracy_threshold,
        seconds=round(time.monotonic() - began, 1),
        branch=push.branch,
        why=push.why[: run_report.LONGEST_REASON],
        machines=machines[:300],
    )


def archive_of(config: Config, report: RunReport) -> str:
    """Returns the path of the trained model's archive, also for a model that was not good enough."""
    if report.release:
        return os.path.join(config.releases, report.release, ARCHIVE)
    unreleased = os.path.join(config.workspace, "unreleased")
    root = local.pipeline_root(config, "training")
    (model,) = glob.glob(os.path.join(glob.escape(root), "Trainer", "model", "*", "Format-Serving"))
    packed = open_releases(unreleased).publish(
        model,
        identity=report.identity,
        commit=report.commit,
        modules_digest=report.modules_digest,
        spans=report.spans,
        labels=report.metrics.per_label,
        metrics=report.metrics,
        previous=report.current.release if report.current else None,
    )
    return os.path.join(unreleased, packed.tag, ARCHIVE)

"""Errors that people read: one line that says what is wrong, which value, and what to do next."""

import os
from collections.abc import Iterable, Mapping


class SpanloopError(Exception):
    """Something failed. `exit_code` is what a command ends with."""

    exit_code = 1


class UsageError(SpanloopError):
    """What was asked for cannot be: a wrong argument, or something named that is not there."""

    exit_code = 2


class ConfigError(UsageError):
    """A setting in the environment cannot be used."""

    def __init__(self, variable: str, value: str, expected: str):
        super().__init__(f"{variable} is {value!r}, but has to be {expected}. See `python -m ci config`.")


class MisspelledSetting(UsageError):
    """A variable of the environment has nearly the name of a setting, which therefore keeps its default."""

    def __init__(self, variable: str, meant: str):
        self.variable, self.meant = variable, meant
        super().__init__(
            f"{variable} is set but is no setting; did you mean {meant}? Rename or unset it: see `python -m ci config`."
        )


class MissingSettings(UsageError):
    """Settings are not there that what was asked for needs."""

    def __init__(self, missing: Mapping[str, str]):
        wanted = "; ".join(f"{variable} ({meaning})" for variable, meaning in missing.items())
        super().__init__(f"Not set: {wanted}. Set them as docs/google-cloud.md shows, or try `make emulators`.")


class NotAFolder(UsageError):
    """The workspace, or another place that has to be a folder, is a file."""

    def __init__(self, place: str, file: str):
        self.place, self.file = place, file
        inside = f" is in {file}, which" if file != os.path.abspath(place) else ""
        super().__init__(f"{place}{inside} is a file: set WORKSPACE, and RELEASES if you use it, to a folder.")


class ImagesTooDeep(UsageError):
    """A folder was named whose folders hold the labels' folders."""

    def __init__(self, folder: str, meant: str):
        self.folder, self.meant = folder, f"{folder.rstrip('/')}/{meant}"
        super().__init__(f"{folder} holds no <label>/<image>, but {self.meant} does: did you mean {self.meant}?")


class SpanNotFound(UsageError):
    """Spans were named that the workspace does not have."""

    def __init__(self, wanted: Iterable[int], present: Iterable[int]):
        there = numbers(present)
        has = f"the workspace has {there}" if there else "the workspace has none yet"
        super().__init__(f"Span {numbers(wanted)} does not exist, {has}: see `python -m ci status`.")


class NoSpans(SpanloopError):
    """There is nothing to train on yet."""

    def __init__(self, workspace: str):
        super().__init__(f"There are no spans in {workspace} yet: make one with `python -m ci import-images DIR`.")


class NoTraining(SpanloopError):
    """There is no training to tell of yet."""

    def __init__(self, workspace: str):
        super().__init__(f"No training has ended in {workspace} yet: run `python -m ci train` first.")


class NoRelease(SpanloopError):
    """No model was released yet."""

    def __init__(self, releases: str):
        super().__init__(f"No model was released to {releases} yet: run `python -m ci train` first.")


class ReleaseNotFound(UsageError):
    """The named release does not exist."""

    def __init__(self, tag: str, releases: str):
        self.tag, self.releases = tag, releases
        super().__init__(f"There is no release {tag!r} in {releases}: see `python -m ci status`.")


class ReleaseGone(SpanloopError):
    """The release of a finished training no longer exists."""

    def __init__(self, tag: str, releases: str, root: str):
        self.tag, self.releases, self.root = tag, releases, root
        super().__init__(
            f"This training released {tag}, which is gone from {releases}:"
            f" restore it, or delete {root} to train again."
        )


class BrokenRelease(SpanloopError):
    """A release differs from what its model.json says, so its model is not used."""

    def __init__(self, tag: str, reason: str):
        self.tag, self.reason = tag, reason
        super().__init__(f"Release {tag} cannot be trusted: {reason}. Delete it or restore its files, then retry.")


class BrokenSpan(SpanloopError):
    """A published span is not what its span.json says."""

    def __init__(self, span: str, what: str):
        super().__init__(f"{span} cannot be used: {what}. Restore it from a backup or move its folder away.")


class StorageError(SpanloopError):
    """A folder, a file or an object cannot be read or written; `remedy` is the sentence that says what to do."""

    def __init__(self, place: str, reason: str, remedy: str):
        self.place, self.reason, self.remedy = place, _one_line(reason), remedy
        super().__init__(f"{place}: {self.reason}. {remedy}")


class ObjectNotFound(StorageError):
    """The bucket has no object of this name, gs://BUCKET/NAME."""

    def __init__(self, name: str):
        self.name = name
        super().__init__(name, "No such object", "See what there is with `gcloud storage ls`.")


class TooFewImages(SpanloopError):
    """The chosen spans cannot teach or judge a model."""

    def __init__(self, what: str):
        super().__init__(f"The chosen spans hold {what}. Import more images, or choose more spans with --spans.")


class ModulesNotFound(UsageError):
    """The task's package is not there."""

    def __init__(self, package: str):
        folder = package.replace(".", "/")
        super().__init__(f"MODULES is {package!r}, but there is no folder {folder}/: run from the repository's root.")


class BrokenModules(SpanloopError):
    """Python cannot read a file of the task's package."""

    def __init__(self, name: str, line: int, what: str):
        super().__init__(f"{name} line {line}: {what}. Mend that, then try again.")


class ModulesNeedAnImage(SpanloopError):
    """The task's package needs what the image does not have."""

    def __init__(self, problems: Iterable[str]):
        super().__init__(
            f"This push needs the full branch, for the image lacks what modules need: {'; '.join(problems)}."
            " Add what is missing to pyproject.toml, then run `make requirements` and `python -m ci build-image`."
        )


class NotInstalled(SpanloopError):
    """A package of requirements.txt is not installed here."""

    def __init__(self, name: str):
        super().__init__(f"{name} of requirements.txt is not installed here: run `make install`, with everything.")


class NotARepository(UsageError):
    """What git tracks is not known."""

    def __init__(self, root: str):
        super().__init__(f"{root} is no clone of a git repository, but the image is made of what git tracks: clone it.")


class BrokenBuildFile(SpanloopError):
    """A file that says how the image is built cannot be used."""

    def __init__(self, name: str, what: str):
        super().__init__(f"{name} cannot be used: {' '.join(what.split())}. Mend that, then try again.")


class ImageBuildFailed(SpanloopError):
    """Cloud Build did not make the image."""

    def __init__(self, build: str, state: str, steps: Iterable[str], why: str, log: str):
        step = "".join(f" in step {name!r}" for name in steps)
        told = f": {' '.join(why.split()).rstrip('.')}" if why else ""
        super().__init__(f"Build {build} of the image ended as {state}{step}{told}. Its log: {log}")


class DataAnomalies(SpanloopError):
    """The data of a run do not fit its schema."""

    def __init__(self, found: Mapping[str, str], spans: Iterable[int]):
        features = "; ".join(f"feature {name!r}: {what}" for name, what in sorted(found.items()))
        super().__init__(
            f"The data of span {numbers(spans)} do not fit the schema: {features}."
            " Leave that span out with --spans, or change the schema if the data are right."
        )


class PipelineFailed(SpanloopError):
    """A node of a pipeline failed with an error that is not ours."""

    def __init__(self, node: str, error: Exception, log: str):
        super().__init__(f"{node} failed: {type(error).__name__}: {error}. What led to it: {log}")


class CloudRefused(SpanloopError):
    """Google Cloud refused a call, or cannot be reached."""

    def __init__(self, doing: str, reason: str):
        self.doing, self.reason = doing, _one_line(reason)
        super().__init__(f"{doing} failed: {self.reason}. `python -m ci doctor` shows what is missing.")


class GitHubRefused(SpanloopError):
    """GitHub refused a call, or cannot be reached; `status` is that of HTTP, 0 without a response.

    The reason ends with what to do next.
    """

    def __init__(self, doing: str, reason: str, status: int = 0):
        self.doing, self.reason, self.status = doing, _one_line(reason), status
        super().__init__(f"{doing} failed: {self.reason}.")


class NothingToRollBack(SpanloopError):
    """An endpoint has no previous model."""

    def __init__(self, endpoint: str, promoted: str):
        self.endpoint, self.promoted = endpoint, promoted
        serves = f"{promoted} is the first that was promoted" if promoted else "no model was promoted yet"
        super().__init__(
            f"There is nothing to roll back to on {endpoint}: {serves}. See `python -m ci promote --help`."
        )


class WrongModelServed(SpanloopError):
    """The model deployed under a release's tag is another one."""

    def __init__(self, tag: str, endpoint: str, served: str, released: str):
        self.tag, self.endpoint, self.served, self.released = tag, endpoint, served, released
        super().__init__(
            f"{endpoint} serves a {tag} (version {served}) that is not the release {tag} (version {released}): releases"
            " count from model-1 again. Undeploy it, or set VERTEX_ENDPOINT to another name."
        )


class BatchPredictionFailed(SpanloopError):
    """Vertex AI did not predict all that it was asked for."""

    def __init__(self, job: str, why: str, page: str):
        told = " ".join(why.split()).rstrip(".")
        super().__init__(f"The batch prediction {job} failed: {told}. Mend that, then evaluate again: {page}")


class SecretUnreadable(SpanloopError):
    """A secret cannot be read from Secret Manager."""

    def __init__(self, name: str, reason: str):
        self.name, self.reason = name, _one_line(reason)
        super().__init__(f"The secret {name} cannot be read: {self.reason}. `python -m ci doctor` shows how to fix it.")


class JobFailed(SpanloopError):
    """Work on Vertex AI ended without success."""

    def __init__(self, node: str, state: str, why: str, link: str):
        told = f": {' '.join(why.split()).rstrip('.')}" if why else ""
        super().__init__(f"{node} {state} on Vertex AI{told}. What led to it: {link}")


class NoMachine(SpanloopError):
    """None of the machine types of TRAINING_MACHINES has capacity; `refusals` are Vertex AI's reasons."""

    def __init__(self, node: str, refusals: Iterable[str]):
        self.node, self.refusals = node, tuple(refusals)
        super().__init__(
            f"No machine for {node}: {'; '.join(self.refusals)}. Ask for more quota, name others in TRAINING_MACHINES,"
            " or try later."
        )


class InvalidSpec(SpanloopError):
    """What a pipeline was compiled to would not run on Vertex AI, or says what it must not."""

    def __init__(self, pipeline: str, wrong: Iterable[str]):
        super().__init__(f"The compiled pipeline {pipeline} is not fit for Vertex AI: {'; '.join(wrong)}.")


class IncompatibleImage(SpanloopError):
    """The image cannot run what is compiled here."""

    def __init__(self, image: str, what: str):
        super().__init__(f"PIPELINE_IMAGE ({image}) {what}: build one with `python -m ci build-image`.")


class UnsetParameters(SpanloopError):
    """A compiled pipeline asks for values that nobody gives."""

    def __init__(self, pipeline: str, names: Iterable[str]):
        super().__init__(
            f"The pipeline {pipeline} has parameters without a value: {', '.join(names)}. Give them in"
            f" pipeline/{pipeline}.py, `values`."
        )


class UnreadableReport(UsageError):
    """A file that shall hold the report of a run holds something else."""

    def __init__(self, what: str):
        super().__init__(f"This is no report of a run: {what}. `python -m ci rehearse --output FILE` writes one.")


def _one_line(text: str) -> str:
    """Returns a service's message without line breaks and without its last full stop."""
    return " ".join(text.split()).rstrip(".")


def numbers(values: Iterable[int]) -> str:
    """Returns '1-3, 11' for 3, 1, 2, 11; '' for nothing."""
    runs: list[list[int]] = []
    for value in sorted(set(values)):
        if runs and value == runs[-1][1] + 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    return ", ".join(f"{first}-{last}" if last > first else f"{first}" for first, last in runs)

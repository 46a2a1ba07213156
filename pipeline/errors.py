"""Errors that people read: one line that says what is wrong, which value, and what to do next."""

import os
from collections.abc import Iterable, Mapping, Sequence


class SpanloopError(Exception):
    """Something failed. `exit_code` is what a command ends with."""

    exit_code = 1


class UsageError(SpanloopError):
    """What was asked for cannot be: a wrong argument, or something named that is not there."""

    exit_code = 2


class ConfigError(UsageError):
    """A setting in the environment cannot be used."""

    def __init__(self, variable: str, value: str, expected: str):
        self.variable, self.value, self.expected = variable, value, expected
        super().__init__(f"{variable} is {value!r}, but has to be {expected}. See `python -m ci config`.")


class TaskInVariable(UsageError):
    """A variable of the repository names the task: pull requests of forks, which get none, would train another one."""

    # https://docs.github.com/en/actions/reference/security/secrets: neither secrets nor variables reach forks
    def __init__(self, package: str, repository: str):
        self.package, self.repository = package, repository
        super().__init__(
            f"MODULES is a variable of {repository}, which pull requests of forks do not get. Write "
            f'modules = "{package}" below [tool.spanloop] in pyproject.toml, then delete the variable: '
            f"gh variable delete MODULES --repo {repository}"
        )


class MisspelledSetting(UsageError):
    """A variable of the environment has nearly the name of a setting, which therefore keeps its default."""

    def __init__(self, variable: str, meant: str):
        self.variable, self.meant = variable, meant
        super().__init__(
            f"{variable} is set but is no setting; did you mean {meant}? Rename or unset it: see `python -m ci config`."
        )


class MissingSettings(UsageError):
    """The command needs settings that are not set; `missing` holds them, by name, with their meaning."""

    def __init__(self, missing: Mapping[str, str]):
        self.missing = missing
        wanted = "; ".join(f"{variable} ({meaning})" for variable, meaning in missing.items())
        super().__init__(f"Not set: {wanted}. Set them as docs/google-cloud.md shows, or try `make emulators`.")


class NotAFolder(UsageError):
    """The workspace, or another place that has to be a folder, is a file."""

    def __init__(self, place: str, file: str):
        self.place, self.file = place, file
        inside = f" is in {file}, which" if file != os.path.abspath(place) else ""
        super().__init__(f"{place}{inside} is a file: set WORKSPACE, and RELEASES if you use it, to a folder.")


class ForeignReleases(UsageError):
    """RELEASES does not hold the models that trainings of the workspace have released."""

    def __init__(self, releases: str, workspace: str, tags: Sequence[str]):
        self.releases, self.workspace, self.tags = releases, workspace, tags
        super().__init__(
            f"RELEASES is {releases}, which has none of the models that trainings of {workspace} released"
            f" ({', '.join(tags[-3:])}): nothing was deleted. Set RELEASES as the workflows have it."
        )


class ImagesTooDeep(UsageError):
    """A folder was named whose folders hold the labels' folders."""

    def __init__(self, folder: str, meant: str):
        self.folder, self.meant = folder, f"{folder.rstrip('/')}/{meant}"
        super().__init__(f"{folder} holds no <label>/<image>, but {self.meant} does: did you mean {self.meant}?")


class SplitForLabel(UsageError):
    """All images of a folder lie in one that is called like a part of a data set, which would be their label."""

    def __init__(self, folder: str, name: str):
        label, _, _ = name.partition("/")
        self.folder, self.label, self.meant = folder, label, f"{folder.rstrip('/')}/{label}"
        super().__init__(
            f"{label!r} would be the label of all images in {folder}, such as {name}: did you mean {self.meant}? If it"
            " is the label, add --label-separator first."
        )


class SpanNotFound(UsageError):
    """Named spans do not exist in the workspace; `wanted` are those that are missing."""

    def __init__(self, wanted: Iterable[int], present: Iterable[int]):
        self.wanted, self.present = tuple(sorted(wanted)), tuple(sorted(present))
        has = f"the workspace has {numbers(self.present)}" if self.present else "the workspace has none yet"
        super().__init__(f"Span {numbers(self.wanted)} does not exist, {has}: see `python -m ci status`.")


class NoSpans(SpanloopError):
    """The workspace has no span to train on."""

    def __init__(self, workspace: str):
        self.workspace = workspace
        super().__init__(f"There are no spans in {workspace} yet: make one with `python -m ci import-images DIR`.")


class NoTraining(SpanloopError):
    """The workspace has no report of a training."""

    def __init__(self, workspace: str):
        self.workspace = workspace
        super().__init__(f"No training has ended in {workspace} yet: run `python -m ci train` first.")


class NoRelease(SpanloopError):
    """No model was released yet."""

    def __init__(self, releases: str):
        self.releases = releases
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


class NoServingImage(UsageError):
    """No image is known that serves a release on Vertex AI."""

    def __init__(self, tag: str):
        self.tag = tag
        super().__init__(
            f"No image is known that serves {tag}, which was not trained in an image of IMAGE_REPOSITORY: set"
            " PIPELINE_IMAGE, which `python -m ci build-image` prints, or SERVING_IMAGE."
        )


class BrokenTraffic(SpanloopError):
    """The file that says which releases `serve` serves cannot be read."""

    def __init__(self, place: str, reason: str):
        super().__init__(f"{place} cannot be read: {reason}. Delete it; `serve` then begins with the newest release.")


class BrokenRelease(SpanloopError):
    """A release differs from what its model.json says, so its model is not used."""

    def __init__(self, tag: str, reason: str):
        self.tag, self.reason = tag, reason
        super().__init__(f"Release {tag} cannot be trusted: {reason}. Delete it or restore its files, then retry.")


class NotAttested(SpanloopError):
    """No workflow of the repository vouches for a released file."""

    def __init__(self, tag: str, name: str, reason: str):
        self.tag, self.name, self.reason = tag, name, reason
        super().__init__(
            f"{name} of release {tag} has no valid attestation: {reason}. Do not use it; where the release "
            "is new, run the workflow attest.yml first."
        )


class BrokenSpan(SpanloopError):
    """A published span is not what its span.json says."""

    def __init__(self, span: str, what: str):
        super().__init__(f"{span} cannot be used: {what}. Restore it from a backup or move its folder away.")


class StorageError(SpanloopError):
    """A folder, a file or an object cannot be read or written; `remedy` is the sentence that says what to do."""

    def __init__(self, place: str, reason: str, remedy: str):
        self.place, self.reason, self.remedy = place, _one_line(reason), remedy
        super().__init__(f"{self.problem}. {remedy}")

    @property
    def problem(self) -> str:
        """What is wrong, without what to do."""
        return f"{self.place}: {self.reason}"


class NoCredentials(StorageError):
    """There are no credentials of Google Cloud, or they are not valid: the same message for every service."""

    def __init__(self, reason: str):
        super().__init__(
            "Credentials of Google Cloud",
            reason.rstrip("."),
            "Run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS to a valid file.",
        )


class NoNetwork(StorageError):
    """Google Cloud cannot be reached: the same message for every service."""

    def __init__(self):
        remedy = "Check the network and HTTPS_PROXY, then run it again: nothing was lost."
        super().__init__("Google Cloud", "it cannot be reached", remedy)


class ApiDisabled(StorageError):
    """The project has not enabled an API; `place` is its host name."""

    def __init__(self, api: str):
        super().__init__(
            api,
            "the project has not enabled this API",
            "`python -m ci doctor` prints the command that enables it, `python -m ci setup` enables all.",
        )


class ObjectNotFound(StorageError):
    """A place has no file of this name: a path, or gs://BUCKET/NAME."""

    def __init__(self, name: str):
        self.name = name
        kind, command = ("object", "gcloud storage ls") if name.startswith("gs://") else ("file", "ls")
        super().__init__(name, f"No such {kind}", f"See what there is with `{command}`.")


class TooFewImages(SpanloopError):
    """The chosen spans do not have enough images to train or to evaluate a model."""

    def __init__(self, spans: Iterable[int], what: str):
        self.spans, self.what = tuple(spans), what
        super().__init__(f"The chosen spans hold {what}. Import more images, or choose more spans with --spans.")


class InvalidDataset(SpanloopError):
    """AutoML would refuse a dataset of the chosen spans."""

    def __init__(self, what: str):
        self.what = what
        super().__init__(
            f"AutoML cannot train on the chosen spans: {what}. Import more images, choose spans with --spans, or train"
            " with `--pipeline training`."
        )


class OnlyOnVertex(UsageError):
    """The cloud model of a release by AutoML cannot be downloaded."""

    def __init__(self, tag: str, model: str):
        self.tag, self.model = tag, model
        super().__init__(
            f"The cloud model of {tag} is AutoML's and runs on Vertex AI alone ({model}): use `evaluate --on vertex`,"
            " the endpoint, or the release's model for devices."
        )


class TooExpensive(UsageError):
    """A run may cost more than the settings allow."""

    def __init__(self, dollars: float, most: float):
        self.dollars, self.most = dollars, most
        super().__init__(
            f"Both trainings may cost up to ${dollars:,.2f}, more than AUTOML_MOST_DOLLARS (${most:,.2f}). Lower"
            " AUTOML_CLOUD_BUDGET or AUTOML_EDGE_BUDGET, raise the limit, or start this run with `submit --yes`."
        )


class NoTask(UsageError):
    """Nothing names the task's package."""

    def __init__(self):
        super().__init__("No task is named: set MODULES, or `modules` below [tool.spanloop] in pyproject.toml.")


class ModulesNotFound(UsageError):
    """The task's package does not exist."""

    def __init__(self, package: str):
        self.package = package
        folder = package.replace(".", "/")
        super().__init__(f"MODULES is {package!r}, but there is no folder {folder}/: run from the repository's root.")


class BrokenModules(SpanloopError):
    """The task's package cannot be read, imported or run; `name` and `line` say where."""

    def __init__(self, name: str, line: int, what: str):
        self.name, self.line = name, line
        super().__init__(f"{name} line {line}: {what.rstrip('.')}. Fix it, then retry.")


class ImportOfAnotherTask(UsageError):
    """The task's package imports from another task's, so that changes of its own files do not count."""

    def __init__(self, name: str, line: int, module: str, package: str):
        self.name, self.line, self.module, self.package = name, line, module, package
        super().__init__(
            f"{name} line {line} imports {module}, which is not in {package}, the package that MODULES names: changes"
            f" in {package.replace('.', '/')}/ would not count. Import from {package}; `python -m ci new-task` makes a"
            " copy whose imports are right."
        )


class ModulesNeedAnImage(SpanloopError):
    """The task's package needs packages that the image does not have."""

    def __init__(self, problems: Iterable[str]):
        self.problems = tuple(problems)
        super().__init__(
            f"This push needs the full branch: the image lacks what modules need: {'; '.join(self.problems)}."
            " Add what is missing to pyproject.toml, then run `make requirements` and `python -m ci build-image`."
        )


class NotInstalled(SpanloopError):
    """A package of requirements.txt is not installed here."""

    def __init__(self, name: str):
        self.name = name
        super().__init__(f"{name} of requirements.txt is not installed here: run `make install`.")


class NotARepository(UsageError):
    """A folder is not a clone of a git repository."""

    def __init__(self, root: str):
        self.root = root
        super().__init__(f"{root} is no clone of a git repository, but the image is made of what git tracks: clone it.")


class BrokenBuildFile(SpanloopError):
    """A file that defines the build of the image cannot be used."""

    def __init__(self, name: str, what: str):
        self.name, self.what = name, _one_line(what)
        super().__init__(f"{name} cannot be used: {self.what}. Fix it, then retry.")


class ImageBuildFailed(SpanloopError):
    """A build of the image on Cloud Build failed; `steps` are those that failed."""

    def __init__(self, build: str, state: str, steps: Iterable[str], reason: str, log: str):
        self.build, self.state, self.steps = build, state, tuple(steps)
        self.reason, self.log = _one_line(reason), log
        step = "".join(f" in step {name!r}" for name in self.steps)
        because = f": {self.reason}" if self.reason else ""
        super().__init__(f"Build {build} of the image ended as {state}{step}{because}. Its log: {log}")


class DataAnomalies(SpanloopError):
    """The data of a run do not fit its schema; `features` has a description for each of those that do not."""

    def __init__(self, features: Mapping[str, str], spans: Iterable[int]):
        self.features, self.spans = dict(features), tuple(spans)
        described = "; ".join(f"feature {name!r}: {what}" for name, what in sorted(features.items()))
        super().__init__(
            f"The data of span {numbers(self.spans)} do not fit the schema: {described}."
            " Leave that span out with --spans, or change the schema if the data are right."
        )


class PipelineFailed(SpanloopError):
    """A node of a pipeline on this machine failed with an error of a library."""

    def __init__(self, node: str, error: Exception, log: str):
        self.node, self.error, self.log = node, error, log
        super().__init__(f"{node} failed: {type(error).__name__}: {_one_line(str(error))}. Full log: {log}")


class CloudRefused(SpanloopError):
    """Google Cloud refused a call, or cannot be reached."""

    def __init__(self, doing: str, reason: str):
        self.doing, self.reason = doing, _one_line(reason)
        super().__init__(f"{doing} failed: {self.reason}. `python -m ci doctor` shows what is missing.")


class RegionRefused(SpanloopError):
    """Cloud Build runs no builds of the project in a region."""

    # https://cloud.google.com/build/docs/locations: regions that projects with restrictions may use
    ALLOWED = "us-central1, us-west2, europe-west1, asia-east1, australia-southeast1, southamerica-east1".split(", ")

    def __init__(self, region: str, reason: str):
        self.region, self.reason = region, _one_line(reason)
        super().__init__(
            f"Cloud Build refuses builds in {region}: {self.reason}. New projects may build in some regions only: set"
            f" BUILD_REGION to one of {', '.join(self.ALLOWED)}, or ask Google for the quota."
        )


class GitHubRefused(SpanloopError):
    """GitHub refused a call, or cannot be reached; `status` is that of HTTP, 0 without a response.

    The reason ends with what to do next.
    """

    def __init__(self, doing: str, reason: str, status: int = 0):
        self.doing, self.reason, self.status = doing, _one_line(reason), status
        super().__init__(f"{doing} failed: {self.reason}.")


class UnsafeModel(SpanloopError):
    """A model could do more than compute, so it is neither released nor loaded; `model` says which one it is."""

    def __init__(self, model: str, reason: str):
        self.model, self.reason = model, reason
        super().__init__(
            f"{model} is refused: {reason}. A model may only compute, with the operations in"
            " pipeline/releases/model_ops.py. Find out where it comes from; train it again without this."
        )


class ModelFailed(SpanloopError):
    """The process that ran a release's model has ended; `reason` is the last line that it wrote."""

    def __init__(self, tag: str, reason: str):
        self.tag, self.reason = tag, _one_line(reason)
        super().__init__(
            f"The model of release {tag} cannot be run: {self.reason}. Train another one, or delete the release."
        )


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


class NoDeviceModel(UsageError):
    """A release has no model for devices."""

    def __init__(self, tag: str):
        self.tag = tag
        super().__init__(
            f"Release {tag} has no model for devices: train with DEVICE_MODEL=true, or run"
            f" `python -m ci promote {tag} --only endpoint`."
        )


class BrokenChannel(SpanloopError):
    """What is published for devices cannot be built upon."""

    def __init__(self, place: str, reason: str):
        self.place, self.reason = place, _one_line(reason)
        super().__init__(
            f"{place} cannot be trusted: {self.reason}. Restore it, or if DEVICE_SIGNING_KEY is a new key see"
            " docs/devices.md#change-the-key."
        )


class OtherModelPublished(SpanloopError):
    """The model that is published for devices under a release's tag is another one."""

    def __init__(self, tag: str, place: str):
        self.tag, self.place = tag, place
        super().__init__(
            f"{place} has another {tag} than RELEASES: releases count from model-1 again. Set DEVICE_CHANNEL to another"
            " place."
        )


class SigningKeyUnusable(UsageError):
    """The file of a key cannot be read, or holds no key for Ed25519; `option` named it."""

    def __init__(self, name: str, reason: str, option: str = "DEVICE_SIGNING_KEY"):
        self.name, self.reason, self.option = name, _one_line(reason), option
        super().__init__(f"{option} ({name}): {self.reason}. See docs/devices.md#make-a-key.")


class BatchPredictionFailed(SpanloopError):
    """A batch prediction on Vertex AI failed, or left images without a prediction; `page` is in the console."""

    def __init__(self, job: str, reason: str, page: str):
        self.job, self.reason, self.page = job, _one_line(reason), page
        super().__init__(f"The batch prediction {job} failed: {self.reason}. Fix it, then evaluate again: {page}")


class SecretUnreadable(SpanloopError):
    """A secret cannot be read from Secret Manager."""

    def __init__(self, name: str, reason: str):
        self.name, self.reason = name, _one_line(reason)
        super().__init__(f"The secret {name} cannot be read: {self.reason}. `python -m ci doctor` shows how to fix it.")


class JobFailed(SpanloopError):
    """A node or a job on Vertex AI failed or was cancelled; `link` is its page in the console."""

    def __init__(self, node: str, state: str, reason: str, link: str):
        self.node, self.state, self.reason, self.link = node, state, _one_line(reason), link
        because = f": {self.reason}" if self.reason else ""
        super().__init__(f"{node} {state} on Vertex AI{because}. Details: {link}")


class NoMachine(SpanloopError):
    """None of the machine types of TRAINING_MACHINES has capacity; `refusals` are Vertex AI's reasons."""

    def __init__(self, node: str, refusals: Iterable[str]):
        self.node, self.refusals = node, tuple(refusals)
        super().__init__(
            f"No machine for {node}: {'; '.join(self.refusals)}. Ask for more quota, name others in TRAINING_MACHINES,"
            " or try later."
        )


class InvalidSpec(SpanloopError):
    """A compiled pipeline would not run on Vertex AI, or holds a secret; `mistakes` is a sentence for each."""

    def __init__(self, pipeline: str, mistakes: Iterable[str]):
        self.pipeline, self.mistakes = pipeline, tuple(mistakes)
        super().__init__(f"The compiled pipeline {pipeline} cannot run on Vertex AI: {'; '.join(self.mistakes)}.")


class IncompatibleImage(SpanloopError):
    """The image cannot run a pipeline that is compiled here, or none is known that can."""

    def __init__(self, image: str, what: str):
        self.image, self.what = image, what
        super().__init__(f"PIPELINE_IMAGE ({image}) {what}: build one with `python -m ci build-image`.")


class UnsetParameters(SpanloopError):
    """A compiled pipeline has root parameters without a value."""

    def __init__(self, pipeline: str, names: Iterable[str]):
        self.pipeline, self.names = pipeline, tuple(names)
        super().__init__(
            f"The pipeline {pipeline} has parameters without a value: {', '.join(self.names)}. Add them to `Parameters`"
            f" in pipeline/{pipeline}.py."
        )


class UndecodedImages(SpanloopError):
    """So many images cannot be decoded that something is wrong with the data, or the model, as a whole."""

    @staticmethod
    def too_many(undecoded: int, images: int) -> bool:
        """True for more than one in a hundred."""
        return undecoded * 100 > images

    def __init__(self, names: Sequence[str], images: int, remedy: str):
        self.names = tuple(names)
        super().__init__(
            f"{len(self.names):,} of {images:,} images cannot be decoded, more than 1 %:"
            f" {', '.join(self.names[:5])}{' ...' if len(self.names) > 5 else ''}. {remedy}"
        )


class UnreadableReport(UsageError):
    """A file is not the report of a run."""

    def __init__(self, reason: str):
        self.reason = reason
        super().__init__(f"This is no report of a run: {reason}. `python -m ci rehearse --output FILE` writes one.")


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

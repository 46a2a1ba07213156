"""The only configuration: one frozen dataclass, built from the environment."""

import dataclasses
import functools
import json
import keyword
import os
import pathlib
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from pipeline.errors import ConfigError, MissingSettings, MisspelledSetting

SERVER = "Server (`serve`, also on Google Cloud)"  # group of settings


class Unusable(ValueError):
    """A value cannot be read; the message says what is expected instead."""


def _place(text: str) -> str:
    if text.startswith("gs://"):
        if not _BUCKET.fullmatch(text):
            raise Unusable("a folder, or gs://bucket/prefix in letters, digits and ._-/")
        return text.rstrip("/")
    if "://" in text or text.startswith("github:"):
        raise Unusable("a folder, or gs://bucket/prefix")
    return text


def _place_or_github(text: str) -> str:
    if text.startswith("github:"):
        if not re.fullmatch(r"github:[A-Za-z0-9-]+/(?!\.{1,2}$)[\w.-]+", text, re.ASCII):
            raise Unusable("github:owner/name")
        return text
    try:
        return _place(text)
    except Unusable as places:
        raise Unusable(f"{places}, or github:owner/name") from None


# https://cloud.google.com/storage/docs/buckets#naming; the prefix may hold nothing that a URL would have to escape
_BUCKET = re.compile(r"gs://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9](/(?!\.{1,2}(/|$))[\w.-]+)*/*", re.ASCII)


def _matching(pattern: str, expected: str) -> Callable[[str], str]:
    """Returns what reads text that matches `pattern`, and says `expected` of any other."""

    def read(text: str) -> str:
        if not re.fullmatch(pattern, text, re.ASCII):
            raise Unusable(expected)
        return text

    return read


def is_kms_key(name: str) -> bool:
    """True for the resource name of a key's version in Cloud KMS, false for a file's path."""
    return re.fullmatch(rf"{_KMS_KEY}/cryptoKeyVersions/[1-9]\d*", name, re.ASCII) is not None


_KMS_KEY = r"projects/[\w-]+/locations/[\w-]+/keyRings/[\w-]+/cryptoKeys/[\w-]+"


_PRIVATE_KEY = "PRIVATE KEY-----"  # in PEM


def _signing_key(text: str) -> str:
    if text.startswith("projects/") and "/locations/" in text and not is_kms_key(text):
        raise Unusable(
            "a file, or projects/PROJECT/locations/.../keyRings/RING/cryptoKeys/KEY/cryptoKeyVersions/NUMBER"
        )
    if _PRIVATE_KEY in text:
        raise Unusable("the name of a file with the key, not the key itself")
    return text


def _public_key(text: str) -> str:
    if "PUBLIC KEY-----" in text or _PRIVATE_KEY in text:
        raise Unusable("the name of a file with the public key, not the key itself")
    return text


class Machine(NamedTuple):
    """What a Vertex Training job may run on."""

    type: str  # such as n1-standard-8
    accelerator: str = ""  # such as NVIDIA_TESLA_T4
    accelerators: int = 0


def _machines(text: str) -> str:
    if not re.fullmatch(rf"{_MACHINE}(\s*,\s*{_MACHINE})*", text, re.ASCII):
        raise Unusable("machine types such as n1-standard-8:NVIDIA_TESLA_T4:1,n1-standard-8, the first choice first")
    return text


_MACHINE = r"[a-z]\w*(-\w+)+(:[A-Z][A-Z0-9_]+:[1-9]\d?)?"


def _machine(text: str) -> Machine:
    kind, *accelerator = text.split(":")
    return Machine(kind, accelerator[0], int(accelerator[1])) if accelerator else Machine(kind)


def _machine_list(text: str) -> list[Machine]:
    return [_machine(choice.strip()) for choice in text.split(",")]


class Replicas(NamedTuple):
    """How many machines serve a model: between the two by their load."""

    least: int  # 0: none while no request comes
    most: int


def _replicas(text: str) -> str:
    """Reads `2` or `1:3`."""
    match = re.fullmatch(r"(\d{1,4})(?::(\d{1,4}))?", text, re.ASCII)
    if not match or not int(match[1]) <= int(match[2] or match[1]) <= MOST_REPLICAS or text.strip("0:") == "":
        raise Unusable(f"a number of machines such as 2, or a range such as 1:3, up to {MOST_REPLICAS}")
    return text


# https://cloud.google.com/vertex-ai/docs/reference/rest/v1/DedicatedResources
MOST_REPLICAS = 1000


def _number(text: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 12 and least <= int(text) <= most):
        raise Unusable(f"a whole number from {least} to {most}")
    return int(text)


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise Unusable("a number from 0 to 1, such as 0.8")
    return value


def _positive(text: str) -> float:
    if not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text, re.ASCII):
        raise Unusable("a number such as 20 or 0.5")
    return float(text)


_ROUTE = r"/[\w/.:-]*"
_HOST = r"[A-Za-z0-9][\w.-]*|\[[0-9A-Fa-f:.]+\]"


def _arguments(text: str) -> str:
    try:
        shlex.split(text)
    except ValueError:
        raise Unusable("arguments as in a shell, with closed quotes") from None
    return text


_EMAIL = "a service account: NAME@PROJECT.iam.gserviceaccount.com"


def _switch(text: str) -> bool:
    try:
        return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[text.lower()]
    except KeyError:
        raise Unusable("true or false") from None


def _package(text: str) -> str:
    if not all(part.isidentifier() and not keyword.iskeyword(part) for part in text.split(".")):
        raise Unusable("the dotted name of a package, such as modules.classification")
    return text


PROJECT = pathlib.Path(__file__).parents[1] / "pyproject.toml"
_TASK = "`modules` under [tool.spanloop] in pyproject.toml"


def task_of_repository() -> str:
    """Returns the package that pyproject.toml names; "" in the image, which has no such file. Raises ConfigError."""
    return _task_in(PROJECT)


@functools.cache
def _task_in(path: pathlib.Path) -> str:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        value = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {}).get("spanloop", {}).get("modules")
        return _package(value if isinstance(value, str) else "")
    except FileNotFoundError:
        return ""
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError("pyproject.toml", str(error), "a file of TOML") from None
    except Unusable as expected:
        raise ConfigError(_TASK, str(value), str(expected)) from None


def _setting(
    variable: str, default: Any, read: Callable[[str], Any], meaning: str, secret: bool = False, group: str = ""
) -> Any:
    metadata = {"variable": variable, "read": read, "meaning": meaning, "secret": secret, "group": group}
    return dataclasses.field(default=default, metadata=metadata, repr=not secret)


class Setting(NamedTuple):
    """One line of `python -m ci config`; a secret's value is hidden."""

    variable: str
    value: str
    origin: str  # "environment", "pyproject.toml" or "default"
    meaning: str
    group: str  # what it is for


@dataclasses.dataclass(frozen=True)
class Config:
    """Every setting, read and checked. Immutable: what a run started with is what it ends with.

    A setting that names no group belongs to that of the one before it.
    """

    workspace: str = _setting(
        "WORKSPACE",
        "./workspace",
        _place,
        "folder of all images, spans and reports, or gs://bucket/prefix",
        group="Images and releases",
    )
    releases: str = _setting(
        "RELEASES",
        "",
        _place_or_github,
        "where models are released, also github:owner/name; WORKSPACE/releases unless set",
    )
    accuracy_threshold: float = _setting(
        "ACCURACY_THRESHOLD",
        0.8,
        _share,
        "accuracy that a model needs to be released, and below which collected data call for retraining",
        group="Model and its quality",
    )
    accuracy_margin: float = _setting(
        "ACCURACY_MARGIN",
        0.02,
        _share,
        "how much worse than the current model a new one may be, overall and on each span and label",
    )
    label_floor: float = _setting(
        "LABEL_FLOOR",
        0.01,
        _share,
        "share of each label that a model must get right; 0 switches it off, which also lets a label be never right",
    )
    modules: str = dataclasses.field(
        default_factory=task_of_repository,
        metadata={
            "variable": "MODULES",
            "read": _package,
            "meaning": "package of the task's features and model",
            "secret": False,
            "group": "",
            "origin": "pyproject.toml",
        },
    )
    seed: int = _setting("SEED", 0, lambda text: _number(text, 0, 2**31 - 1), "start of all random numbers in training")
    tune: bool = _setting("TUNE", False, _switch, "whether a search for hyperparameters precedes training")
    device_model: bool = _setting(
        "DEVICE_MODEL",
        False,
        _switch,
        "whether a model for devices is trained, evaluated and released together with the model for the cloud",
        group="Model for devices",
    )
    device_quantization: str = _setting(
        "DEVICE_QUANTIZATION",
        "",
        _matching("fp32|fp16|dynamic|int8", "fp32, fp16, dynamic or int8"),
        "how the device model's numbers are stored: fp32, fp16, dynamic or int8; what the modules name unless set",
    )
    device_accuracy_threshold: float | None = _setting(
        "DEVICE_ACCURACY_THRESHOLD", None, _share, "ACCURACY_THRESHOLD of the device model; the same unless set"
    )
    device_agreement: float | None = _setting(
        "DEVICE_AGREEMENT",
        None,
        _share,
        "share of images on which both models must give the same label, or a pair that certainly has less is refused;"
        " as many as unrelated models of the same accuracies unless set",
    )
    escalation_loss: float | None = _setting(
        "ESCALATION_LOSS",
        None,
        _share,
        "accuracy that a device which asks the cloud when unsure may lose against it; ACCURACY_MARGIN unless set",
    )
    device_megabytes: float = _setting(
        "DEVICE_MEGABYTES", 20.0, _positive, "most megabytes of a device model's file; 0 switches the limit off"
    )
    device_milliseconds: float = _setting(
        "DEVICE_MILLISECONDS",
        100.0,
        _positive,
        "most milliseconds that a device model takes for an image, on one thread where it is evaluated; 0: no limit",
    )

    pipeline: str = _setting(
        "PIPELINE",
        "training",
        _matching("training|automl", "training or automl"),
        "which pipeline a retraining starts: training, or automl, where Vertex AI trains both models",
        group="AutoML",
    )
    automl_edge_model: str = _setting(
        "AUTOML_EDGE_MODEL",
        "MOBILE_TF_VERSATILE_1",
        _matching(
            "MOBILE_TF_(LOW_LATENCY|VERSATILE|HIGH_ACCURACY)_1",
            "MOBILE_TF_LOW_LATENCY_1, MOBILE_TF_VERSATILE_1 or MOBILE_TF_HIGH_ACCURACY_1",
        ),
        "type of the model for devices: MOBILE_TF_LOW_LATENCY_1, MOBILE_TF_VERSATILE_1 or MOBILE_TF_HIGH_ACCURACY_1",
    )
    # the limits of both budgets:
    # https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.trainingPipelines
    automl_cloud_budget: int = _setting(
        "AUTOML_CLOUD_BUDGET",
        8_000,
        lambda text: _number(text, 8_000, 800_000),
        "milli node hours that the training of the cloud model may take, from 8,000 to 800,000",
    )
    automl_edge_budget: int = _setting(
        "AUTOML_EDGE_BUDGET",
        1_000,
        lambda text: _number(text, 1_000, 100_000),
        "milli node hours that the training of the device model may take, from 1,000 to 100,000",
    )
    automl_most_dollars: float = _setting(
        "AUTOML_MOST_DOLLARS",
        50.0,
        _positive,
        "US dollars that both trainings may cost at most; `submit --yes` starts a run that may cost more",
    )

    project: str = _setting(
        "GCP_PROJECT",
        "",
        _matching(r"[a-z][a-z0-9-]{4,28}[a-z0-9]", "a project's ID, such as my-project-123"),
        "Google Cloud project that runs everything",
        group="Google Cloud",
    )
    region: str = _setting(
        "GCP_REGION",
        "",
        _matching(r"[a-z]+-[a-z]+\d+", "a region such as europe-west1"),
        "region of Vertex AI, Dataflow and, unless BUILD_REGION is set, Cloud Build",
    )
    build_region: str = _setting(
        "BUILD_REGION",
        "",
        _matching(r"[a-z]+-[a-z]+\d+", "a region such as europe-west1"),
        "region of Cloud Build, which refuses some regions to new projects; GCP_REGION unless set",
    )
    image: str = _setting(
        "PIPELINE_IMAGE",
        "",
        _matching(r"[a-z0-9.-]+(:\d+)?(/[\w.-]+)+@sha256:[0-9a-f]{64}", "an image by digest: NAME@sha256:..."),
        "image of the pipelines, by digest; unless set, the one that `build-image` made of this code",
    )
    image_repository: str = _setting(
        "IMAGE_REPOSITORY",
        "",
        _matching(r"[a-z0-9.-]+(:\d+)?(/[\w.-]+)+", "an image's name without tag: REGION-docker.pkg.dev/PROJECT/..."),
        "where `build-image` pushes: REGION-docker.pkg.dev/PROJECT/REPOSITORY/NAME",
    )
    service_account: str = _setting(
        "PIPELINE_SERVICE_ACCOUNT", "", _matching(r"[^@\s]+@[^@\s]+", _EMAIL), "who the pipelines are on Vertex AI"
    )
    build_service_account: str = _setting(
        "BUILD_SERVICE_ACCOUNT", "", _matching(r"[^@\s]+@[^@\s]+", _EMAIL), "who builds the image on Cloud Build"
    )
    network: str = _setting(
        "VERTEX_NETWORK",
        "",
        _matching(r"projects/[\w-]+/global/networks/[\w-]+", "projects/NUMBER/global/networks/NAME"),
        "network that jobs on Vertex AI are peered with; none unless set",
    )
    encryption_key: str = _setting(
        "ENCRYPTION_KEY",
        "",
        _matching(_KMS_KEY, "projects/PROJECT/locations/REGION/keyRings/RING/cryptoKeys/KEY"),
        "key that encrypts what Vertex AI keeps; Google's own unless set",
    )
    caching: bool = _setting("CACHING", True, _switch, "whether a node on Vertex AI may reuse an equal run's outputs")
    training_machines: str = _setting(
        "TRAINING_MACHINES",
        "n1-standard-4",
        _machines,
        "machines to train on, such as n1-standard-8:NVIDIA_TESLA_T4:1,n1-standard-8; the next where quota refuses one",
        group="Machines on Google Cloud",
    )
    device_training_machines: str = _setting(
        "DEVICE_TRAINING_MACHINES", "", _machines, "the same for the device model; TRAINING_MACHINES unless set"
    )
    parallel_trials: int = _setting(
        "PARALLEL_TRIALS",
        1,
        lambda text: _number(text, 1, 100),
        "trials of a search for hyperparameters at a time; from 2 on by Vertex AI",
    )
    dataflow_workers: int = _setting(
        "DATAFLOW_WORKERS",
        0,
        lambda text: _number(text, 0, 1000),
        "most workers for Beam on Dataflow; with 0 it runs on the node's own machine",
    )
    endpoint: str = _setting(
        "VERTEX_ENDPOINT",
        "",
        _matching(r"[\w][\w -]{0,127}", "an endpoint's display name"),
        "endpoint that new models are deployed to; none unless set",
        group="Serving on Google Cloud",
    )
    serving_image: str = _setting(
        "SERVING_IMAGE",
        "",
        _matching(r"\S+", "an image"),
        "container that serves models on the endpoint; unless set, the pipelines' image in which a model was trained",
    )
    serving_port: int = _setting(
        "SERVING_PORT", 8080, lambda text: _number(text, 1, 65535), "port on which SERVING_IMAGE listens"
    )
    serving_health_route: str = _setting(
        "SERVING_HEALTH_ROUTE",
        "",
        _matching(_ROUTE, "a path such as /v1/models/model"),
        "path of SERVING_IMAGE that answers 200 while it is healthy; the one that Vertex AI chooses unless set",
    )
    serving_predict_route: str = _setting(
        "SERVING_PREDICT_ROUTE",
        "",
        _matching(_ROUTE, "a path such as /v1/models/model:predict"),
        "path of SERVING_IMAGE that takes predictions; the one that Vertex AI chooses unless set",
    )
    serving_arguments: str = _setting(
        "SERVING_ARGUMENTS",
        "",
        _arguments,
        "arguments of SERVING_IMAGE, as in a shell; Vertex AI puts in $(AIP_STORAGE_URI) and its other variables",
    )
    serving_machine: str = _setting(
        "SERVING_MACHINE", "n1-standard-2", _matching(_MACHINE, "a machine type"), "machine type of the endpoint"
    )
    serving_replicas: str = _setting(
        "SERVING_REPLICAS",
        "1",
        _replicas,
        "machines that serve a model: 2, or 1:3 for one to three by their load; 0:3 stops them while no request comes",
    )
    serving_log: float | None = _setting(
        "SERVING_LOG",
        None,
        _share,
        "share of the endpoint's requests that BigQuery keeps, images and answers; 0: none; left as it is unless set",
    )
    canary_traffic: int = _setting(
        "CANARY_TRAFFIC",
        10,
        lambda text: _number(text, 0, 100),
        "percent of the endpoint's traffic, and of the devices on beta, that a new model gets until it is promoted",
    )
    serving_batch: int = _setting(
        "SERVING_BATCH",
        32,
        lambda text: _number(text, 1, 4096),
        "most instances that the server has a model compute at once",
        group=SERVER,
    )
    serving_batch_milliseconds: float = _setting(
        "SERVING_BATCH_MILLISECONDS",
        0.0,
        _positive,
        "how long the server waits for a batch to fill while the model is idle; 0: it computes what there is",
    )
    serving_queue: int = _setting(
        "SERVING_QUEUE",
        256,
        lambda text: _number(text, 1, 1_000_000),
        "instances that may wait for a model; the server refuses more with 429 and Retry-After",
    )
    serving_instances: int = _setting(
        "SERVING_INSTANCES", 128, lambda text: _number(text, 1, 1_000_000), "most instances of a request"
    )
    serving_body_megabytes: float = _setting(
        "SERVING_BODY_MEGABYTES", 10.0, _positive, "most megabytes of a request's body"
    )
    serving_megapixels: float = _setting(
        "SERVING_MEGAPIXELS", 50.0, _positive, "most megapixels of all images of a request"
    )
    serving_seconds: float = _setting(
        "SERVING_SECONDS",
        30.0,
        _positive,
        "seconds in which a request has to arrive, a model to answer it, and a server that is stopped to end",
    )
    serving_hosts: str = _setting(
        "SERVING_HOSTS",
        "",
        _matching(rf"({_HOST})(\s*,\s*({_HOST}))*", "host names without ports, such as app.example.com,10.0.0.7"),
        "host names by which clients ask the server, such as app.example.com; unless set, localhost on a loopback"
        " address, and any elsewhere",
    )
    serving_uploads: int = _setting(
        "SERVING_UPLOADS",
        0,
        lambda text: _number(text, 0, 1_000_000),
        "most pictures that clients of the server may keep in WORKSPACE/unlabelled, to be labelled; 0: it takes none",
    )
    serving_upload_megabytes: float = _setting(
        "SERVING_UPLOAD_MEGABYTES", 1000.0, _positive, "most megabytes of the files in WORKSPACE/unlabelled"
    )
    device_channel: str = _setting(
        "DEVICE_CHANNEL",
        "",
        _place_or_github,
        "where models are published for devices, also github:owner/name; nowhere unless set",
        group="Publishing to devices",
    )
    device_signing_key: str = _setting(
        "DEVICE_SIGNING_KEY",
        "",
        _signing_key,
        "file with the private Ed25519 key that signs for devices, or resource name of a key's version in Cloud KMS",
    )
    device_public_key: str = _setting(
        "DEVICE_PUBLIC_KEY",
        "",
        _public_key,
        "file with the public half of DEVICE_SIGNING_KEY, PEM, for what only checks signatures: `serve`, `predict`",
    )
    device_min_app_version: str = _setting(
        "DEVICE_MIN_APP_VERSION",
        "",
        _matching(r"\d{1,9}(\.\d{1,9}){0,3}", "a version such as 2.1.0"),
        "smallest version of the app that a device model is published for; any unless set",
    )
    device_valid_days: int = _setting(
        "DEVICE_VALID_DAYS",
        90,
        lambda text: _number(text, 2, 3650),
        "days after which devices no longer follow a channel, unless it was signed again",
    )
    firebase_model: str = _setting(
        "FIREBASE_MODEL",
        "",
        # https://firebase.google.com/docs/reference/ml/rest/v1beta2/projects.models
        _matching(r"[A-Za-z]\w{0,31}", "a name of up to 32 letters, digits and _, such as digits"),
        "name of the model in Firebase ML that device models are published as, too; nowhere unless set",
    )
    release_token_secret: str = _setting(
        "RELEASE_TOKEN_SECRET",
        "",
        _matching(
            r"projects/[\w-]+/secrets/[\w-]+/versions/(latest|\d+)", "projects/PROJECT/secrets/NAME/versions/latest"
        ),
        "resource name of the token in Secret Manager by which pipelines publish on GitHub",
        group="GitHub",
    )
    github_token: str = _setting("GITHUB_TOKEN", "", str, "GitHub token of a workflow", secret=True)

    def __post_init__(self):
        path = os.path.abspath(self.workspace) if not self.in_cloud else ""
        if patterns := sorted(set("*?[]").intersection(path)):
            expected = f"a folder without {' '.join(patterns)} in its path, which TFX takes for a pattern"
            raise ConfigError("WORKSPACE", path, expected)
        if not self.releases:
            object.__setattr__(self, "releases", os.path.join(self.workspace, "releases"))
        if not self.build_region:
            object.__setattr__(self, "build_region", self.region)
        if self.device_accuracy_threshold is None:
            object.__setattr__(self, "device_accuracy_threshold", self.accuracy_threshold)
        if self.escalation_loss is None:
            object.__setattr__(self, "escalation_loss", self.accuracy_margin)

    @property
    def machines(self) -> list[Machine]:
        """The machines to train on, the first choice first."""
        return _machine_list(self.training_machines)

    @property
    def device_machines(self) -> list[Machine]:
        """The machines of DEVICE_TRAINING_MACHINES, none where that is not set."""
        return _machine_list(self.device_training_machines) if self.device_training_machines else []

    @property
    def accelerated(self) -> bool:
        """True when a machine to train on has an accelerator, so that the image needs CUDA."""
        return any(machine.accelerator for machine in [*self.machines, *self.device_machines])

    @property
    def server(self) -> Machine:
        """The machine that serves models on the endpoint."""
        return _machine(self.serving_machine)

    @property
    def replicas(self) -> Replicas:
        """The least and the most machines that serve a model on the endpoint."""
        least, _, most = self.serving_replicas.partition(":")
        return Replicas(int(least), int(most or least))

    @property
    def in_cloud(self) -> bool:
        """True when the workspace lies in a bucket."""
        return self.workspace.startswith("gs://")

    def require(self, *names: str) -> None:
        """Raises MissingSettings that names every one of these fields that is not set; a workspace must be a bucket."""
        missing = [name for name in names if not (self.in_cloud if name == "workspace" else getattr(self, name))]
        if missing:
            fields = {field.name: field.metadata for field in dataclasses.fields(self)}
            raise MissingSettings({fields[name]["variable"]: fields[name]["meaning"] for name in missing})

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "Config":
        """Reads every setting from `environ`, where empty means not set. Raises ConfigError or MisspelledSetting."""
        values = {}
        for variable, meant in near_misses(environ).items():
            if variable not in OF_OTHERS:
                raise MisspelledSetting(variable, meant)
        for field in dataclasses.fields(cls):
            variable, text = field.metadata["variable"], environ.get(field.metadata["variable"], "")
            if not text:
                continue
            try:
                values[field.name] = field.metadata["read"](text)
            except Unusable as expected:
                shown = "(hidden)" if field.metadata["secret"] or _PRIVATE_KEY in text else text
                raise ConfigError(variable, shown, str(expected)) from None
        return cls(**values)

    def to_json(self) -> str:
        """Returns what `from_json` reads: every setting but secrets, which are read where they are used."""
        fields = (field for field in dataclasses.fields(self) if not field.metadata["secret"])
        return json.dumps({field.name: getattr(self, field.name) for field in fields})

    @classmethod
    def from_json(cls, text: str) -> "Config":
        """Returns the configuration that `to_json` wrote."""
        return cls(**json.loads(text))

    def settings(self, environ: Mapping[str, str]) -> Iterator[Setting]:
        """Yields every setting with its value, where it came from and what it means."""
        group = ""
        for field in dataclasses.fields(self):
            variable, secret = field.metadata["variable"], field.metadata["secret"]
            group = field.metadata["group"] or group
            value = getattr(self, field.name)
            shown = str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)
            yield Setting(
                variable,
                "(hidden)" if secret and shown else shown,
                "environment" if environ.get(variable) else field.metadata.get("origin", "default"),
                field.metadata["meaning"],
                group,
            )


# Names that other programs are known to read; each is near one of a setting.
OF_OTHERS = frozenset({"GCE_PROJECT", "GCE_REGION", "MODULE", "RELEASE", "WORKSPACES"})
_SHORTEST = 6  # letters of a name that can be taken for a misspelling


def near_misses(environ: Mapping[str, str]) -> dict[str, str]:
    """Returns variables that are set and nearly have the name of a setting that is not set: {variable: that name}.

    Nearly: at most two letters are missing, too many, wrong or swapped, or the name is in small letters.
    """
    known = {field.metadata["variable"] for field in dataclasses.fields(Config)}
    unset = [name for name in known if len(name) >= _SHORTEST and not environ.get(name)]
    found = {}
    for variable in sorted(name for name, value in environ.items() if value and name not in known):
        # many programs have variables such as `workspace`; two words in small letters are meant for this one
        written = variable.upper() if "_" in variable else variable
        near = [(_distance(written, name), name) for name in unset if _similar(written, name)]
        distance, name = min(near, default=(_FAR, ""))
        if distance < _FAR:
            found[variable] = name
    return found


_FAR = 3


def _similar(one: str, other: str) -> bool:
    """False when two names have a distance of `_FAR` or more for certain: a hundred times faster than counting it."""
    return len(one) >= _SHORTEST and abs(len(one) - len(other)) < _FAR and len(set(one) ^ set(other)) < 2 * _FAR


def _distance(one: str, other: str) -> int:
    """Returns how many letters have to be inserted, deleted, replaced or swapped to make one name of the other."""
    before: list[int] = []
    last = list(range(len(other) + 1))
    for row, letter in enumerate(one, 1):
        following = [row]
        for column, wanted in enumerate(other, 1):
            best = min(last[column] + 1, following[-1] + 1, last[column - 1] + (letter != wanted))
            if row > 1 and column > 1 and (letter, one[row - 2]) == (other[column - 2], wanted):
                best = min(best, before[column - 2] + 1)
            following.append(best)
        before, last = last, following
    return last[-1]

"""Released models in Vertex AI's Model Registry: RELEASES is one model, each of its releases a version."""

import dataclasses
import hashlib
import os
import shlex
import tempfile
from collections.abc import Iterator
from typing import Any

from pipeline.cloud.calls import cloud_errors, converge, read_retry, wait_for_operation, wait_for_pending
from pipeline.cloud.vertex import client, encryption, label_value, location
from pipeline.config import SERVER, Config
from pipeline.errors import NoServingImage, numbers
from pipeline.progress import Log, no_log
from pipeline.releases.factory import releases_of
from pipeline.releases.record import Release
from pipeline.storage.factory import open_storage

SERVING = "serving"  # folder of the workspace: released models, unpacked as Vertex AI reads them
DEFAULT = "default"  # alias of the promoted version; Vertex AI also gives it to a model's first version


@dataclasses.dataclass(frozen=True)
class Version:
    """A release in the registry."""

    tag: str
    model: str  # projects/PROJECT/locations/REGION/models/MODEL
    number: str  # counted by Vertex AI
    of_automl: bool = False  # trained by AutoML, which made a model of its own of it

    @property
    def name(self) -> str:
        """Returns the resource name of the version, MODEL@NUMBER."""
        return f"{self.model}@{self.number}"


class Registry:
    """The model whose versions are the releases of RELEASES."""

    def __init__(self, config: Config, log: Log = no_log):
        config.require("workspace", "project", "region")
        self._config, self._log = config, log
        self._models = client(config, "ModelService")
        # Tags count from 1 in every RELEASES, so each has its own model.
        self.model_id = f"spanloop-{hashlib.sha256(config.releases.encode()).hexdigest()[:12]}"
        self._model = f"{location(config)}/models/{self.model_id}"

    def find(self, tag: str) -> Version | None:
        """Returns the version with the alias `tag`, or None."""
        with cloud_errors(f"Looking for {tag} in the Model Registry"):
            found = self._get(tag)
        return found and Version(tag, self._model, found.version_id)

    def upload(self, release: Release) -> Version:
        """Uploads a release as a version of the model unless it is one. Raises BrokenRelease or CloudRefused.

        The cloud model of AutoML is in the registry as it was trained.
        """
        if release.cloud_model:
            model, _, number = release.cloud_model.partition("@")
            return Version(release.tag, model, number, of_automl=True)
        doing = f"Uploading {release.tag} to the Model Registry"

        def step() -> Version | None:
            wait_for_pending(self._models, self._model, doing, self._log)
            if version := self._uploaded(release):
                return version
            self._log(f"{doing} ...")
            started = self._models.upload_model(self._request(release))
            wait_for_operation(self._models, started.operation.name, doing, self._log)
            return None  # its number is looked up by the alias

        with cloud_errors(doing):
            if version := self._uploaded(release):
                return version
        # Vertex AI chooses the version's ID, so two processes that upload at once would make two versions.
        with open_storage(self._config.workspace).exclusive("uploading a model"):
            return converge(doing, step)

    def _uploaded(self, release: Release) -> Version | None:
        found = self._get(release.tag)
        same = found and found.labels.get("archive") == label_value(release.archive)
        return Version(release.tag, self._model, found.version_id) if same else None

    def make_default(self, version: Version) -> None:
        """Makes a version the default."""
        if version.of_automl:  # the only version of its model
            return
        with cloud_errors(f"Making {version.tag} the default version"):
            if DEFAULT not in self._get(version.number).version_aliases:
                self._models.merge_version_aliases(name=version.name, version_aliases=[DEFAULT], retry=read_retry())

    def _get(self, version: str) -> Any:
        """Returns a version by alias or number, None without one."""
        from google.api_core.exceptions import NotFound

        try:
            return self._models.get_model(name=f"{self._model}@{version}", retry=read_retry())
        except NotFound:
            return None

    def _request(self, release: Release) -> dict[str, Any]:
        first = self._get(DEFAULT) is None
        model = {
            "display_name": self.model_id,  # Vertex AI names folders of batch predictions after it
            "description": f"Releases of {self._config.releases}",
            "version_aliases": [release.tag],
            "version_description": f"Release {release.tag} of {release.created}, trained on span"
            f" {numbers(release.spans)}",
            "labels": labels(release),
            "artifact_uri": serving_copy(self._config, release),
            "container_spec": container(self._config, release),
            "encryption_spec": encryption(self._config),
        }
        which = {"model_id": self.model_id} if first else {"parent_model": self._model}
        return {"parent": location(self._config), "model": model, **which}


def container(config: Config, release: Release) -> dict[str, Any]:
    """Returns the container that serves a release: SERVING_IMAGE, or the server of the image that it was trained in.

    The TensorFlow that wrote a model then also serves it. Raises NoServingImage where no image is known.
    """
    if config.serving_image:
        chosen = {
            "ports": [{"container_port": config.serving_port}],
            "health_route": config.serving_health_route,
            "predict_route": config.serving_predict_route,
            "args": shlex.split(config.serving_arguments),
        }
        return {"image_uri": config.serving_image} | {name: value for name, value in chosen.items() if value}
    # A record may name any image, which would run as ours: one that did not come from our repository does not count.
    repository = config.image_repository or _repository(config.image)
    trusted = repository and _repository(release.image) == repository
    image = release.image if trusted else config.image
    if not image:
        raise NoServingImage(release.tag)
    variables = {"MODULES": config.modules} | dict(server_settings(config))
    return {
        "image_uri": image,
        "command": ["python", "-m", "ci", "serve"],
        "ports": [{"container_port": config.serving_port}],
        "env": [{"name": name, "value": value} for name, value in variables.items()],
    }


def server_settings(config: Config) -> Iterator[tuple[str, str]]:
    """Yields the server's settings, variable and value, that differ from their defaults."""
    defaults = {setting.variable: setting.value for setting in Config().settings({})}
    for setting in config.settings({}):
        if setting.group == SERVER and setting.value != defaults[setting.variable]:
            yield setting.variable, setting.value


def _repository(image: str) -> str:
    return image.partition("@")[0]


def labels(release: Release) -> dict[str, str]:
    """Returns the labels of a version: its release, commit, modules, spans and archive."""
    values = {
        "release": release.tag,
        "commit": release.commit,
        "modules": release.modules_digest,
        "spans": numbers(release.spans),
        "archive": release.archive,
    }
    return {name: label_value(text) for name, text in values.items() if text}


def serving_copy(config: Config, release: Release) -> str:
    """Unpacks a release's SavedModel below WORKSPACE/serving/ and returns its address; skips files that exist.

    The folder's name has the archive's checksum, so an existing file is never another one.
    """
    storage = open_storage(config.workspace)
    folder = f"{SERVING}/{release.tag}/{release.archive[:12]}"
    with tempfile.TemporaryDirectory(prefix="spanloop-") as unpacked:
        releases_of(config).fetch(release, unpacked)
        for name in _files(unpacked):
            with open(os.path.join(unpacked, name), "rb") as file:
                storage.write(f"{folder}/{name}", file, create_only=True)
    return storage.address(folder)


def _files(folder: str) -> Iterator[str]:
    """Yields the names of all files of a folder and its folders, relative to it."""
    for root, _, names in os.walk(folder):
        for name in names:
            yield os.path.relpath(os.path.join(root, name), folder)

"""Publishes device models to Firebase ML, under the name FIREBASE_MODEL, for apps that download them from there.

Firebase ML ends on 2027-06-15 (https://firebase.google.com/docs/ml); the channels of device_channel.py replace it.
https://firebase.google.com/docs/ml/manage-hosted-models
"""

import contextlib
import importlib.util
import os
import tempfile
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline import google_errors
from pipeline.config import Config
from pipeline.errors import CloudRefused, NoDeviceModel, UsageError
from pipeline.progress import Log, no_log
from pipeline.releases.factory import releases_of
from pipeline.releases.record import DEVICE_MODEL, Release
from pipeline.serving import canary
from pipeline.storage.factory import open_storage

if TYPE_CHECKING:
    from firebase_admin.ml import Model
    from google.auth.credentials import Credentials

NOTICE = "Firebase ML ends on 2027-06-15: DEVICE_CHANNEL replaces it, see docs/devices.md."
FOLDER = "firebase"  # of a workspace: the files that Firebase ML copies
SCOPES = ("https://www.googleapis.com/auth/cloud-platform", "https://www.googleapis.com/auth/firebase")
SECONDS = 300  # that Firebase ML may take to copy and check a file


def check_settings(config: Config) -> None:
    """Raises MissingSettings or UsageError where a release could not be published."""
    config.require("workspace", "project", "firebase_model")
    if importlib.util.find_spec("firebase_admin") is None:
        raise UsageError(
            "FIREBASE_MODEL needs the package firebase-admin, which is not installed. In pyproject.toml, add"
            ' {include-group = "firebase"} to the group pipeline, then run `make requirements` and `make install`.'
        )


def publish(config: Config, release: Release, log: Log = no_log) -> str:
    """Makes the device model of a release the one that all apps download; returns its ID in Firebase ML.

    Changes nothing where this release or a newer one is published: its tag is a tag of the model. Raises NoDeviceModel
    or CloudRefused.
    """
    check_settings(config)
    if release.device is None:
        raise NoDeviceModel(release.tag)
    log(NOTICE)
    source = _copy(config, release)
    with _firebase(config, f"Publishing {release.tag} to Firebase ML as {config.firebase_model}") as ml:
        name = config.firebase_model
        named = ml.list_models(f"display_name = '{name}'").iterate_all()
        model = next((found for found in named if found.display_name == name), None)
        if model:
            model.wait_for_unlocked(SECONDS)
            if _is_published(model, release):
                return model.model_id
        log(f"Publishing {release.tag} to Firebase ML as {name} ...")
        changed = model or ml.Model(display_name=name)
        changed.tags = [release.tag]
        changed.model_format = ml.TFLiteFormat(ml.TFLiteGCSModelSource(source))
        changed = ml.update_model(changed) if model else ml.create_model(changed)
        changed.wait_for_unlocked(SECONDS)
        if changed.validation_error:
            raise CloudRefused(f"Publishing {release.tag} to Firebase ML", changed.validation_error)
        ml.publish_model(changed.model_id).wait_for_unlocked(SECONDS)
    return changed.model_id


def _is_published(model: "Model", release: Release) -> bool:
    tags = [tag for tag in model.tags or () if canary.is_release(tag)]
    newest = max(map(canary.number, tags), default=0)
    return newest > canary.number(release.tag) or (release.tag in tags and model.published)


def _copy(config: Config, release: Release) -> str:
    """Copies the file of a release, which may lie on GitHub, to the workspace's bucket; returns its address."""
    name = f"{FOLDER}/{release.tag}/{DEVICE_MODEL}"
    with tempfile.TemporaryDirectory(prefix="spanloop-") as folder:
        path = os.path.join(folder, DEVICE_MODEL)
        releases_of(config).fetch_device_model(release, path)
        with open(path, "rb") as file:
            open_storage(config.workspace).write(name, file, create_only=True)
    return f"{config.workspace}/{name}"


@contextlib.contextmanager
def _firebase(config: Config, doing: str) -> Iterator:
    """Yields the module firebase_admin.ml, signed in to the project. Raises CloudRefused for its errors."""
    from google.auth.exceptions import GoogleAuthError

    with warnings.catch_warnings():
        # From 7.7 on each call of the package warns that the service ends, which NOTICE says once.
        warnings.simplefilter("ignore", DeprecationWarning)
        import firebase_admin
        from firebase_admin import ml
        from firebase_admin.exceptions import FirebaseError

        # It has to be the default app: firebase-admin asks for the state of a model with no other.
        app = firebase_admin.initialize_app(_credentials(config), {"projectId": config.project})
        try:
            yield ml
        except (FirebaseError, GoogleAuthError) as error:
            raise google_errors.explain(error) or CloudRefused(doing, google_errors.message(error)) from error
        finally:
            firebase_admin.delete_app(app)


def _credentials(config: Config) -> "Credentials":
    """Returns credentials that can sign: firebase-admin hands Firebase ML a signed URL of the file."""
    import google.auth
    from google.auth import credentials, impersonated_credentials

    found, _ = google.auth.default(scopes=SCOPES)
    if isinstance(found, credentials.Signing):
        return found
    # Machines of Google Cloud have no key. IAM signs for their account: roles/iam.serviceAccountTokenCreator on itself.
    config.require("service_account")
    return impersonated_credentials.Credentials(found, config.service_account, SCOPES)

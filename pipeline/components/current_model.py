"""The released models that new ones are compared with, by their tag."""

from tfx.utils import path_utils

from pipeline.components import local_copies
from pipeline.components import tfx_api as tfx
from pipeline.device import released
from pipeline.releases.factory import open_releases


@tfx.component
def CurrentModel(
    releases: tfx.Parameter[str],
    token_secret: tfx.Parameter[str],
    tag: tfx.Parameter[str],
    model: tfx.OutputArtifact[tfx.artifacts.Model],
):
    """Fetches the release `tag` and verifies it; its output is the Evaluator's baseline model.

    `token_secret` is the resource name of the secret that holds the token for `releases`, or empty.
    """
    catalog = open_releases(releases, token_secret)
    with local_copies.to_write(path_utils.serving_model_dir(model.uri)) as folder:
        catalog.fetch(catalog.get(tag), folder)
    model.set_string_custom_property("release", tag)


@tfx.component
def CurrentDeviceModel(
    releases: tfx.Parameter[str],
    token_secret: tfx.Parameter[str],
    tag: tfx.Parameter[str],
    model: tfx.OutputArtifact[tfx.artifacts.Model],
):
    """Fetches the device model of the release `tag`, which has one; its output is DeviceEvaluator's baseline model."""
    catalog = open_releases(releases, token_secret)
    with local_copies.to_write(path_utils.serving_model_dir(model.uri)) as folder:
        released.fetch(catalog, catalog.get(tag), folder)
    model.set_string_custom_property("release", tag)

import re

import pytest

from tests.ci.conftest import ROOT


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="the image is made of what git tracks")
def test_the_image_is_printed_by_digest(ci, cloud, gs_workspace):
    cloud.registry.add("spanloop")

    done = ci("build-image", "--json", **cloud.environment | {"WORKSPACE": gs_workspace})

    assert done.code == 0, done.err
    assert set(done.json) == {"image", "built"} and done.json["built"]
    assert re.fullmatch(re.escape(cloud.image_repository) + "@sha256:[0-9a-f]{64}", done.json["image"])
    folder = cloud.builds.layout(done.json["image"])
    assert (folder / "pipeline" / "training.py").exists() and not (folder / "modules").exists()
    assert "dependencies: success" in done.err


def test_what_is_not_set_is_named(ci):
    done = ci("build-image")
    assert done.code == 2 and "IMAGE_REPOSITORY" in done.err and "BUILD_SERVICE_ACCOUNT" in done.err

"""The device model of a release as a folder, with records that only who publishes could have written."""

import json

import pytest

from apps.client import released as on_client
from pipeline.device import released
from pipeline.errors import BrokenRelease
from pipeline.releases.factory import open_releases


@pytest.mark.parametrize("changed", [{"shape": [2, 8, 8, 3]}, {"dtype": "int8"}, {"resize": "nearest"}], ids=str)
def test_an_input_that_no_app_can_make_is_a_broken_release(pair_of_hand, tmp_path, changed):
    releases = open_releases(str(tmp_path / "releases"))
    release = pair_of_hand(releases)
    path = tmp_path / "releases" / release.tag / "model.json"
    record = json.loads(path.read_text())
    record["device"]["input"] |= changed
    path.write_text(json.dumps(record))

    with pytest.raises(BrokenRelease, match="that no app can use"):
        released.fetch(releases, releases.get(release.tag), str(tmp_path / "model"))
    with pytest.raises(BrokenRelease, match="cannot be used"):
        with on_client.device_model(releases, releases.get(release.tag)):
            pytest.fail("it was loaded")

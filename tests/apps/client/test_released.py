"""The models of the newest release answer on this machine."""

import pytest

from apps.client import released
from apps.client.answers import Unanswered
from pipeline.errors import NoRelease
from pipeline.releases.factory import open_releases
from tests.pipeline.conftest import plain


def test_both_models_of_a_release_answer(pair_of_hand, tmp_path):
    releases = open_releases(str(tmp_path / "releases"))
    with pytest.raises(NoRelease):
        released.newest(releases)
    release = pair_of_hand(releases)

    with released.device_model(releases, released.newest(releases)) as device:
        assert device.answer(plain(250)).label == "bright" and (device.model, device.threshold) == (release.tag, 0.8)
    cloud = released.ConfinedModel(releases, release)
    try:
        bright, dark = [asked.result() for asked in [cloud.ask(plain(250)), cloud.ask(plain(10))]]
        assert (bright.label, dark.label, bright.model, bright.sent) == ("bright", "dark", release.tag, 0)
        with pytest.raises(Unanswered, match="decoded"):
            cloud.ask(b"no picture").result()
    finally:
        cloud.close()

"""The page follows its channel, and keeps the model that it has whenever anything about the next one is wrong."""

import datetime
import re

import pytest
from playwright.sync_api import expect

from pipeline.serving.device_channel import DeviceChannel
from pipeline.serving.device_manifest import position
from tests.apps.web.test_answers import BRIGHT

STABLE = "/devices/classification/channels/stable.json"
NEXT = "/devices/classification/model-2/model.tflite"


def refusal(app, words: str | re.Pattern) -> None:
    """The look at the channel was refused with these words, and model-1 still answers."""
    expect(app.part("look")).to_have_attribute("data-kind", "refused")
    expect(app.part("look")).to_contain_text(words)
    expect(app.part("look")).to_contain_text("The device keeps model-1.")
    app.has_model("model-1")
    app.choose(BRIGHT)
    app.says("bright", by="device")


def test_a_new_model_is_installed_while_the_page_is_open_and_answers_at_once(app, publisher):
    app.choose(BRIGHT)
    app.says("bright", by="device")
    publisher.release(2, labels=("night", "day"))

    app.look()

    app.has_model("model-2")
    app.says("day", by="device")
    expect(app.part("look")).to_have_text("Installed just now.")


def test_the_page_looks_at_the_channel_by_itself(site, publisher, new_tab):
    site.config["checkSeconds"] = 0.5
    app = new_tab().open()
    publisher.release(2)

    app.has_model("model-2")


def test_a_roll_back_by_a_newer_pointer_brings_the_older_model_back(app, publisher):
    publisher.release(2, labels=("night", "day"))
    app.look()
    app.has_model("model-2")
    publisher.roll_back()

    app.look()

    app.has_model("model-1")
    app.choose(BRIGHT)
    app.says("bright", by="device")


def test_an_older_pointer_is_refused(app, site, publisher):
    older = publisher.pointer
    publisher.release(2)
    app.look()
    app.has_model("model-2")
    site.replaced[STABLE] = older

    app.look()

    expect(app.part("look")).to_contain_text(re.compile(r"^The channel is refused: its serial is \d+, older than \d+"))
    app.has_model("model-2")


@pytest.mark.parametrize("part", ["channels/stable.json", "model-2/manifest.json"])
def test_a_document_with_a_bad_signature_is_refused(app, site, publisher, part):
    publisher.release(2)
    content = (publisher.devices / "classification" / part).read_bytes()
    site.replaced[f"/devices/classification/{part}"] = content.replace(b'"model-2"', b'"model-3"')

    app.look()

    refusal(app, "it was altered, or signed with another key")


def test_a_channel_that_expired_is_not_followed(app, site, publisher):
    publisher.release(2)
    a_year_ago = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=365)
    pointer = DeviceChannel(publisher.config).pointers()["stable"]
    site.replaced[STABLE] = publisher.sign(pointer, expires=f"{a_year_ago:%Y-%m-%dT%H:%M:%SZ}")

    app.look()

    refusal(app, "it expired at")


def test_a_model_that_was_altered_or_cut_is_refused_and_the_whole_one_installed_later(app, site, publisher):
    publisher.release(2)
    whole = (publisher.devices / "classification" / "model-2" / "model.tflite").read_bytes()
    for broken in (whole[:-100], bytes(len(whole)), whole + b"more"):
        site.replaced[NEXT] = broken
        app.look()
        refusal(app, re.compile("is not the one that its manifest describes|is larger than"))

    del site.replaced[NEXT]
    app.look()
    app.has_model("model-2")


@pytest.mark.parametrize("data", [b"no model, but signed", None], ids=["no-model", "of-other-labels"])
def test_a_signed_model_that_does_not_run_is_refused(app, publisher, data):
    labels = ("dark", "bright") if data else ("dark", "grey", "bright")
    publisher.release(2, labels=labels, data=data)

    app.look()

    refusal(app, "The model of model-2 does not run here")


def test_a_channel_that_cannot_be_reached_leaves_everything_as_it_is(app, site):
    site.is_down = True
    app.look()

    expect(app.part("look")).to_have_text("The channel cannot be reached. The device keeps model-1.")
    app.choose(BRIGHT)
    app.says("bright", by="device")


def test_a_download_that_was_cut_is_repeated_by_the_next_look(app, site, publisher):
    publisher.release(2)
    site.cut.add(NEXT)
    app.look()
    expect(app.part("look")).to_have_attribute("data-kind", "unreachable")
    app.has_model("model-1")

    site.cut.clear()
    app.look()
    app.has_model("model-2")


def test_two_tabs_share_one_installation(site, publisher, new_tab):
    first, second = new_tab().open(), new_tab().open()
    publisher.release(2, labels=("night", "day"))
    site.requests.clear()

    first.look()

    for tab in (first, second):
        tab.has_model("model-2")
        tab.choose(BRIGHT)
        tab.says("day", by="device")
    second.look()
    assert site.requests.count(NEXT) == 1


def test_two_tabs_that_look_at_once_download_once(site, publisher, new_tab):
    first, second = new_tab().open(), new_tab().open()
    publisher.release(2)
    site.requests.clear()

    first.part("check").click()
    second.part("check").click()

    first.has_model("model-2")
    second.has_model("model-2")
    assert site.requests.count(NEXT) == 1


def test_a_staged_rollout_reaches_the_devices_whose_turn_it_is(app, publisher):
    device = app.tab.evaluate("""() => new Promise((resolve) => {
          indexedDB.open("spanloop", 1).onsuccess = ({ target }) => {
            const all = target.result.transaction("models").objectStore("models").getAll();
            all.onsuccess = () => resolve(all.result.find((value) => value.device).device);
          };
        })""")
    place = position(device, "model-2")
    publisher.release(2, percent=int(place))
    app.look()
    app.has_model("model-1")

    publisher.rollout(2, int(place) + 1)
    app.look()
    app.has_model("model-2")


def test_a_second_tab_opens_while_the_first_one_downloads(site, publisher, new_tab):
    first = new_tab().open()
    publisher.release(2)
    site.hanging.add(NEXT)
    first.part("check").click()

    second = new_tab().open()

    second.choose(BRIGHT)
    second.says("bright", by="device")


def test_a_bad_model_is_not_downloaded_again_and_again(site, publisher, new_tab):
    site.config["checkSeconds"] = 0.2
    site.replaced[NEXT] = b"bad"
    app = new_tab().open()
    publisher.release(2)

    expect(app.part("look")).to_have_attribute("data-kind", "refused")
    app.tab.wait_for_timeout(3000)

    assert 2 <= site.requests.count(NEXT) <= 5

"""Who answers in each mode, and that the device does when the server is slow, busy, broken or away."""

import re
import time
from collections.abc import Iterator

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.apps.client.faulty import answers, hangs_up, never, trickles
from tests.apps.web.conftest import App, first_release, profile, serving
from tests.apps.web.site import Site
from tests.conftest import encoded


def grey(level: int) -> bytes:
    """A picture of one grey, of 255: the model is sure of 255, and of 0, and unsure of 135."""
    return encoded(Image.new("RGB", (40, 30), (level, level, level)), "PNG")


BRIGHT, DARK, UNSURE = grey(255), grey(0), grey(135)


@pytest.fixture(scope="module")
def opened(tmp_path_factory, bright_or_dark, browser) -> Iterator[tuple[Site, App]]:
    """One installation for all tests of this file, each of which opens the page again."""
    publisher = first_release(tmp_path_factory.mktemp("answers"), bright_or_dark)
    with serving(publisher) as site, profile(browser) as context:
        app = App(context.new_page(), site.url).open()
        yield site, app
        assert app.problems == []


@pytest.fixture
def site(opened) -> Site:
    site, _ = opened
    site.fault, site.label = None, "bright"
    site.pictures.clear()
    return site


@pytest.fixture
def app(opened, site) -> App:
    """The page without what the last test has chosen and counted."""
    _, app = opened
    app.tab.evaluate("() => localStorage.clear()")
    return app.open()


def test_a_sure_device_answers_alone(app, site):
    app.choose(BRIGHT)

    app.says("bright", by="device", reason="sure")
    assert site.pictures == []
    expect(app.part("total-saved")).to_have_text("1 (100 %)")
    expect(app.part("answer-facts")).to_contain_text("nothing")
    expect(app.part("answer-facts")).to_contain_text("model-1")


def test_an_unsure_device_asks_the_server_and_shows_both_answers_and_the_costs(app, site):
    site.label = "dark"
    app.choose(UNSURE)

    app.says("dark", by="server", reason="asked")
    assert site.pictures == [UNSURE]
    other = re.compile(r"differs The device says bright, \d\d % sure, in .* \(model-1\)")
    expect(app.part("answer-other")).to_have_text(other)
    expect(app.part("answer-facts")).to_contain_text("model-9")
    expect(app.part("total-calls")).to_have_text("1")
    expect(app.part("total-bytes")).to_have_text(re.compile(r"\d+ B"))


def test_the_device_alone_never_asks(app, site):
    app.mode("device")
    app.choose(UNSURE)

    app.says("bright", by="device", reason="only")
    assert site.pictures == []


def test_the_server_alone_answers_all_and_the_device_comments(app, site):
    app.mode("cloud")
    app.choose(DARK)

    app.says("bright", by="server", reason="asked")
    expect(app.part("answer-other")).to_contain_text("The device says dark")
    assert site.pictures == [DARK]


def test_layered_asks_the_server_only_for_a_yes(app, site):
    app.mode("layered")
    app.tab.get_by_label("bright").check()
    app.tab.get_by_label("dark").uncheck()
    app.choose(DARK)
    app.says("Not bright", by="device", reason="no")
    assert site.pictures == []

    site.label = "very bright"
    app.choose(BRIGHT)
    app.says("very bright", by="server", reason="asked")
    assert site.pictures == [BRIGHT]


def test_the_server_can_be_asked_for_its_opinion(app, site):
    app.choose(BRIGHT)
    app.says("bright", by="device")
    site.label = "dark"

    app.tab.get_by_role("button", name="Ask the server, too").click()

    expect(app.part("answer-other")).to_contain_text("The server says dark")
    app.says("bright", by="device")
    expect(app.part("total-calls")).to_have_text("1")


@pytest.mark.parametrize(
    "fault, words",
    [
        (never, "did not answer in time"),
        (trickles, "did not answer in time"),
        (hangs_up, "cannot be reached"),
        (answers(500, '{"error": "out of memory"}'), "HTTP 500 (out of memory)"),
        (answers(200, "<html>"), "cannot be read"),
        (answers(200, '{"predictions": [[0.5, 0.5]]}'), "cannot be read"),
        (answers(413, '{"error": {"message": "too large"}}'), "HTTP 413 (too large)"),
        (answers(429, Retry_After="30"), "it is busy"),
        (answers(429, Retry_After="Fri, 01 Jan 2100 00:00:00 GMT"), "it is busy"),
    ],
    ids=["slow", "trickles", "hangs-up", "broken", "no-json", "no-label", "refused", "busy", "busy-until"],
)
def test_the_device_answers_when_the_server_does_not(app, site, fault, words):
    site.fault = fault
    app.choose(UNSURE)

    app.says("bright", by="device", reason="failed")
    expect(app.part("answer-why")).to_contain_text(words)
    assert set(site.pictures) == {UNSURE}  # Chromium repeats a request itself whose connection is reset


def test_the_answer_comes_within_the_budget(app, site):
    site.fault = never
    began = time.monotonic()
    app.choose(UNSURE)
    app.says("bright", by="device", reason="failed")
    assert 1.5 <= time.monotonic() - began < 15  # the budget is 1.5 s, the fault lasts a minute


def test_a_busy_server_is_asked_again_when_it_says_so_in_time(app, site):
    async def busy_once(request):
        site.fault = None
        return await answers(429, Retry_After="1")(request)

    site.fault = busy_once
    app.choose(UNSURE)

    app.says("bright", by="server", reason="asked")
    assert len(site.pictures) == 2
    expect(app.part("total-calls")).to_have_text("2")


def test_a_server_that_failed_is_left_alone_for_a_while(app, site):
    site.fault = answers(429, Retry_After="30")
    app.choose(UNSURE)
    app.says("bright", by="device", reason="failed")
    site.fault = None

    app.choose(UNSURE)

    expect(app.part("answer-why")).to_contain_text(re.compile(r"not asked again for (30|29|28) s"))
    assert len(site.pictures) == 1


def test_the_server_alone_has_no_answer_without_a_server(app, site):
    site.fault = answers(503)
    app.mode("cloud")
    app.choose(BRIGHT)

    expect(app.part("answer-who")).to_have_text("No answer")
    expect(app.part("answer-why")).to_contain_text("HTTP 503")


def test_a_large_photograph_is_made_smaller_for_the_server(app, site):
    noise = Image.effect_noise((1600, 1200), 90).convert("RGB")
    picture = encoded(noise, "JPEG", quality=98)
    assert len(picture) > 1_000_000
    app.mode("cloud")
    app.choose(picture, "image/jpeg")

    app.says("bright", by="server")
    assert len(site.pictures[0]) < 1_000_000 and site.pictures[0].startswith(b"\xff\xd8")


def test_what_is_no_picture_is_said(app):
    app.choose(b"no picture at all")

    expect(app.part("answer-why")).to_have_text("This is no picture that the browser can read.")

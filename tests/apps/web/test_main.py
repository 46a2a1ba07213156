"""What users do with the page: camera, samples, keyboard, screen reader, small and large screens."""

import asyncio

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.apps.client.faulty import answers
from tests.apps.web.test_answers import BRIGHT, UNSURE
from tests.conftest import encoded


def test_the_camera_is_shown_and_a_picture_taken(app):
    app.mode("device")
    app.part("camera").click()
    expect(app.part("view")).to_be_visible()
    expect(app.part("camera")).to_have_text("Take the picture")

    app.part("camera").click()

    expect(app.part("picture")).to_be_visible()
    expect(app.part("view")).to_be_hidden()
    expect(app.part("answer")).to_have_attribute("data-by", "device")
    assert app.tab.evaluate("() => document.getElementById('view').srcObject") is None


def test_samples_are_answered(app):
    samples = app.part("samples").get_by_role("button")
    assert samples.count() >= 5

    samples.first.click()

    app.says("dark", by="device", reason="sure")
    expect(app.part("picture")).to_be_visible()


def test_a_late_answer_is_not_shown_for_the_next_picture(app, site):
    async def slow(request):
        await asyncio.sleep(1.4)  # the budget is 1.5 s
        return await answers(500)(request)

    site.fault = slow
    app.choose(UNSURE)
    expect(app.part("answer-who")).to_contain_text("asks the server")
    app.choose(BRIGHT)
    app.says("bright", by="device", reason="sure")

    app.tab.wait_for_timeout(1500)

    app.says("bright", by="device", reason="sure")


def test_the_mode_is_remembered_and_another_mode_answers_again(app, site):
    app.choose(UNSURE)
    app.says("bright", by="server")
    app.mode("device")
    app.says("bright", by="device", reason="only")

    app.tab.reload()

    expect(app.tab.locator("input[name=mode][value=device]")).to_be_checked()


def test_everything_is_reached_by_the_keyboard(app):
    reached = []
    for _ in range(40):
        app.tab.keyboard.press("Tab")
        reached.append(app.tab.evaluate("() => document.activeElement.id || document.activeElement.ariaLabel || ''"))
        outlined = "() => getComputedStyle(document.activeElement).outlineStyle"
        if reached[-1] == "camera":
            assert app.tab.evaluate(outlined) != "none"

    assert {"camera", "file", "Sample 1", "check", "keep", "reset"} <= set(reached)


def test_a_screen_reader_finds_names_and_hears_the_answer(app):
    app.choose(BRIGHT)
    app.says("bright", by="device")

    nameless = app.tab.evaluate("""() => [...document.querySelectorAll("button, input, meter, video, img")]
          .filter((element) => element.checkVisibility())
          .filter(({ ariaLabel, labels, textContent }) => !(ariaLabel || labels?.length || textContent.trim()))
          .filter((element) => !element.hasAttribute("alt"))
          .map((element) => element.outerHTML)""")
    assert nameless == []
    expect(app.part("answer")).to_have_attribute("aria-live", "polite")
    expect(app.tab.get_by_role("region", name="Answer", exact=True)).to_contain_text("Answered by the device")
    expect(app.tab.get_by_role("radio", name="No picture leaves this device")).to_be_visible()


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_nothing_is_cut_off_on_small_and_large_screens(app, width):
    app.tab.set_viewport_size({"width": width, "height": 844})
    app.choose(encoded(Image.new("RGB", (3000, 200), "white"), "PNG"))
    app.says("bright", by="device")

    wide = app.tab.evaluate("""() => [...document.querySelectorAll("body *:not(#samples *)")]
          .filter((element) => element.getBoundingClientRect().right > innerWidth + 1)
          .map((element) => element.outerHTML.slice(0, 80))""")
    assert wide == []
    assert app.tab.evaluate("() => document.documentElement.scrollWidth <= innerWidth")

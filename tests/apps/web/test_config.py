"""The page finds all that it needs on `python -m ci serve`, and works with less."""

from playwright.sync_api import expect

from tests.apps.web.test_answers import BRIGHT, DARK
from tests.served import Served


def test_the_page_runs_on_the_server_of_models(publisher, bright_or_dark, new_tab):
    variables = {"DEVICE_CHANNEL": publisher.config.device_channel, "DEVICE_SIGNING_KEY": publisher.key.file}
    with Served(bright_or_dark, **variables) as served:
        app = new_tab(f"http://localhost:{served.port}/").open()
        app.choose(BRIGHT)
        app.says("bright", by="device", reason="sure")

        app.mode("cloud")
        app.says("bright", by="server", reason="asked")
        app.choose(DARK)
        app.says("dark", by="server", reason="asked")
        expect(app.part("answer-other")).to_contain_text("agrees")


def test_without_a_key_no_channel_is_followed(site, new_tab):
    site.config["publicKey"] = None
    app = new_tab().open(model=None)

    app.has_model("no model on this device")
    app.mode("cloud")
    app.choose(BRIGHT)
    app.says("bright", by="server")
    assert not any(path.startswith("/devices/") for path in site.requests)


def test_without_a_server_the_device_answers_all(site, new_tab):
    site.config["predict"] = None
    app = new_tab().open()

    app.choose(DARK)
    app.says("dark", by="device", reason="sure")
    expect(app.part("ask-server")).to_be_hidden()
    app.mode("cloud")
    expect(app.part("answer-why")).to_contain_text("config.json names no server")


def test_without_any_configuration_the_page_says_what_is_missing(site, new_tab):
    site.config.clear()
    app = new_tab().open(model=None)

    app.has_model("no model on this device")
    app.choose(BRIGHT)
    expect(app.part("answer-who")).to_have_text("No answer")
    expect(app.part("look")).to_contain_text("No channel is followed")

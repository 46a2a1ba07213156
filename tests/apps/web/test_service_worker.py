"""The page opens and answers without a network, updates itself, and asks no other host."""

import json
from urllib.parse import urlparse

from playwright.sync_api import expect

from tests.apps.client.faulty import answers
from tests.apps.web.site import DIST
from tests.apps.web.test_answers import BRIGHT, UNSURE


def test_offline_from_the_start_the_page_opens_and_the_device_answers(context, site, app, new_tab):
    app.tab.close()
    site.is_down = True
    context.set_offline(True)

    app = new_tab().open()

    expect(app.part("network")).to_have_text("Offline")
    expect(app.part("look")).to_have_text("The channel cannot be reached. The device keeps model-1.")
    app.choose(UNSURE)
    app.says("bright", by="device", reason="failed")
    expect(app.part("answer-why")).to_have_text("The server was to be asked, but there is no network.")
    app.tab.get_by_role("button", name="Sample 1", exact=True).click()
    app.says("dark", by="device", reason="sure")


def test_a_server_that_is_away_is_no_reason_not_to_open(site, app, new_tab):
    app.tab.close()
    site.is_down = True  # while the browser believes that it is online

    app = new_tab().open()

    app.choose(UNSURE)
    app.says("bright", by="device", reason="failed")
    expect(app.part("answer-why")).to_contain_text("it cannot be reached")


def test_the_network_is_cut_in_the_middle_and_comes_back(context, site, app):
    app.choose(UNSURE)
    app.says("bright", by="server", reason="asked")

    context.set_offline(True)
    expect(app.part("network")).to_have_text("Offline")
    app.choose(UNSURE)
    app.says("bright", by="device", reason="failed")

    context.set_offline(False)
    expect(app.part("network")).to_have_text("Online")
    app.choose(UNSURE)
    app.says("bright", by="server", reason="asked")


def test_the_network_is_cut_while_the_server_thinks(site, app):
    async def cut(request):
        site.is_down = True
        request.transport.abort()
        return await answers(500)(request)

    site.fault = cut
    app.choose(UNSURE)

    app.says("bright", by="device", reason="failed")
    expect(app.part("answer-why")).to_contain_text("it cannot be reached")


def test_without_a_network_at_the_first_visit_the_server_answers_until_the_model_is_there(site, new_tab):
    path = "/devices/classification/model-1/model.tflite"
    site.cut.add(path)
    app = new_tab().open(model=None)
    app.has_model("no model on this device")
    app.choose(BRIGHT)
    app.says("bright", by="server", reason="asked")

    site.cut.clear()
    app.look()

    app.has_model("model-1")
    app.says("bright", by="device", reason="sure")


def test_a_newer_version_of_the_page_is_offered_and_taken(site, app, new_tab):
    other = new_tab().open()
    worker = (DIST / "service-worker.js").read_text()
    (build,) = {word for word in worker.split('"') if len(word) == 16 and set(word) <= set("0123456789abcdef")}
    site.replaced["/service-worker.js"] = worker.replace(build, "0123456789abcdef").encode()
    site.replaced["/index.html"] = site.replaced["/"] = (
        (DIST / "index.html").read_bytes().replace(b"What it cost", b"What it has cost")
    )

    app.tab.evaluate("() => navigator.serviceWorker.getRegistration().then((found) => found.update())")
    expect(app.part("update")).to_be_visible()
    expect(app.part("cost-title")).to_have_text("What it cost")
    app.part("update-now").click()

    expect(app.part("cost-title")).to_have_text("What it has cost")
    app.has_model("model-1")
    other.choose(BRIGHT)  # the other tab goes on with what it has loaded
    other.says("bright", by="device")
    assert app.tab.evaluate("() => caches.keys()") == ["spanloop-page-0123456789abcdef"]


def test_no_other_host_is_asked_and_the_policy_forbids_it(site, context, new_tab):
    hosts = set()
    context.on("request", lambda request: hosts.add(urlparse(request.url).netloc))
    app = new_tab().open()
    app.choose(UNSURE)
    app.says("bright", by="server")

    assert {host for host in hosts if host} == {urlparse(site.url).netloc}
    refused = app.tab.evaluate("""() => new Promise((resolve) => {
          document.addEventListener("securitypolicyviolation", ({ violatedDirective }) => resolve(violatedDirective));
          fetch("https://example.com/").catch(() => undefined);
        })""")
    assert refused == "connect-src"
    app.problems.clear()  # it was refused on purpose


def test_the_runtime_is_sent_compressed_and_only_in_one_variant(site, context, new_tab):
    tab = new_tab()
    encodings = {}
    tab.tab.on(
        "response", lambda of: encodings.setdefault(urlparse(of.url).path, of.headers.get("content-encoding", ""))
    )
    tab.open()

    wasm = {path: encoding for path, encoding in encodings.items() if path.endswith(".wasm")}
    assert list(wasm.values()) == ["br"] and "compat" not in "".join(wasm)
    assert encodings["/main.js"] == "br"


def test_the_page_can_be_installed(app):
    manifest = json.loads((DIST / "manifest.webmanifest").read_text())
    session = app.tab.context.new_cdp_session(app.tab)

    found = session.send("Page.getAppManifest")

    assert found["errors"] == []
    assert json.loads(found["data"]) == manifest
    errors = session.send("Page.getInstallabilityErrors")["installabilityErrors"]
    assert {error["errorId"] for error in errors} <= {"in-incognito"}  # as the profiles of tests are

"""Hard pictures are kept only if the user agrees, and leave the device as files that can be labelled and collected."""

import hashlib
import io
import json
import pathlib
import zipfile

from PIL import Image
from playwright.sync_api import expect

from tests.apps.client.faulty import answers
from tests.apps.web.test_answers import BRIGHT, UNSURE, grey
from tests.ci.conftest import ci
from tests.conftest import encoded
from tests.served import Served

__all__ = ["ci"]

NAME = hashlib.sha256(UNSURE).hexdigest()


def exported(app) -> dict[str, bytes]:
    with app.tab.expect_download() as waiting:
        app.part("kept-export").click()
    with zipfile.ZipFile(waiting.value.path()) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_nothing_is_kept_unless_the_user_agrees(app):
    app.choose(UNSURE)
    app.says("bright", by="server")

    expect(app.part("kept-empty")).to_be_visible()


def test_hard_pictures_are_kept_once_and_exported_as_they_came(app, site):
    app.part("keep").check()
    site.label = "dark"
    for picture in (UNSURE, BRIGHT, UNSURE):
        app.choose(picture)
        app.says("bright" if picture == BRIGHT else "dark", by="device" if picture == BRIGHT else "server")
    expect(app.part("kept-count")).to_have_text("1")
    app.tab.reload()
    expect(app.part("keep")).to_be_checked()
    expect(app.part("kept-count")).to_have_text("1")
    app.mode("device")
    app.choose(UNSURE)  # without the server, whose answer of before stays
    app.says("bright", by="device")

    files = exported(app)

    assert set(files) == {f"unlabelled/{NAME}.png", f"unlabelled/{NAME}.json"}
    assert files[f"unlabelled/{NAME}.png"] == UNSURE
    note = json.loads(files[f"unlabelled/{NAME}.json"])
    assert note["why"] == ["disagreement", "low confidence"]
    assert note["device"]["label"] == "bright" and note["device"]["model"] == "model-1"
    assert note["cloud"] == {"label": "dark", "confidence": 0.9, "model": "model-9"}


def test_what_is_neither_jpeg_nor_png_is_kept_and_sent_as_jpeg(app, site):
    app.part("keep").check()
    app.choose(encoded(Image.new("RGB", (40, 30), (135, 135, 135)), "WEBP"), "image/webp")
    app.says("bright", by="server")

    kept = next(content for name, content in exported(app).items() if name.endswith(".jpg"))

    for picture in (kept, *site.pictures):
        assert Image.open(io.BytesIO(picture)).format == "JPEG"


def test_pictures_can_be_deleted(app, site):
    app.part("keep").check()
    site.fault = answers(500)
    app.choose(UNSURE)
    expect(app.part("kept-count")).to_have_text("1")

    app.tab.get_by_role("button", name="Delete the picture").click()

    expect(app.part("kept-empty")).to_be_visible()
    expect(app.part("kept-export")).to_be_hidden()


def test_pictures_are_sent_to_a_server_that_takes_them_and_stay_until_then(site, new_tab):
    site.config["unlabelled"] = "/unlabelled/"
    app = new_tab().open()
    app.part("keep").check()
    app.choose(UNSURE)
    expect(app.part("kept-count")).to_have_text("1")
    site.is_down = True
    app.part("kept-upload").click()
    expect(app.part("kept-words")).to_contain_text("Not all were sent")
    expect(app.part("kept-count")).to_have_text("1")

    site.is_down = False
    app.part("kept-upload").click()

    expect(app.part("kept-words")).to_contain_text("1 sent")
    expect(app.part("kept-empty")).to_be_visible()
    assert site.uploaded[f"{NAME}.png"] == UNSURE
    assert json.loads(site.uploaded[f"{NAME}.json"])["why"] == ["low confidence"]


def test_hard_pictures_reach_a_workspace_and_come_back_with_a_label(publisher, new_tab, bright_or_dark, ci, tmp_path):
    """From the page through `serve` to `import-images --collect`."""
    (tmp_path / "public.pem").write_text(publisher.key.public)
    variables = {
        "WORKSPACE": publisher.config.workspace,
        "DEVICE_CHANNEL": str(publisher.folder),
        "DEVICE_PUBLIC_KEY": str(tmp_path / "public.pem"),
        "SERVING_UPLOADS": "10",
    }
    with Served(bright_or_dark, **variables) as server:
        app = new_tab(f"http://localhost:{server.port}/").open()
        app.part("keep").check()
        for picture in (UNSURE, UNSURE, grey(136)):
            app.choose(picture)
            app.says("bright", by="server")
        app.part("kept-upload").click()
        expect(app.part("kept-words")).to_contain_text("2 sent")

    unlabelled = pathlib.Path(publisher.config.workspace, "unlabelled")
    assert (unlabelled / f"{NAME}.png").read_bytes() == UNSURE
    assert json.loads((unlabelled / f"{NAME}.json").read_text())["why"] == ["low confidence"]
    assert ci("status", "--json").json["unlabelled"] == 2
    (unlabelled / "list.csv").write_text(f"{NAME}.png,dark\n")
    done = ci("import-images", unlabelled / "list.csv", "--collect", "--json")
    assert done.json["imported"] == 1 and done.json["labels"] == {"dark": 1}

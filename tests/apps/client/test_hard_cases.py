"""Pictures that are hard for the models are kept once, with what was said of them, and come back by import-images."""

import json

import pytest
from aiohttp import web

from apps.client.answers import Answer
from apps.client.hard_cases import HardCases, UploadRefused, open_place, why_hard
from apps.client.policy import Result
from pipeline.data.incoming import collected
from pipeline.storage.factory import open_storage
from tests.conftest import jpeg
from tests.served import Served


def test_disagreement_and_low_confidence_are_hard():
    sure, unsure, other = Answer("cat", 0.95), Answer("cat", 0.6), Answer("dog", 0.9)

    assert why_hard(Result(sure, other), 0.8) == ["disagreement"]
    assert why_hard(Result(unsure, other), 0.8) == ["disagreement", "low confidence"]
    assert why_hard(Result(unsure), 0.8) == ["low confidence"]
    assert why_hard(Result(sure), 0.8) == why_hard(Result(unsure), None) == []
    assert why_hard(Result(cloud=Answer("cat", 0.4)), None) == ["low confidence"]
    assert why_hard(Result(problem="no picture"), 0.8) == []


def test_a_hard_case_is_kept_once_and_an_easy_one_never(tmp_path):
    hard = HardCases(open_place(str(tmp_path / "unlabelled")), 0.8)

    for picture, confidence in ((jpeg(1), 0.5), (jpeg(1), 0.5), (jpeg(2), 0.9)):
        hard.offer(picture, Result(Answer("cat", confidence, model="model-1")))

    (note,), (image,) = (list((tmp_path / "unlabelled").glob(f"*.{kind}")) for kind in ("json", "jpg"))
    assert hard.kept == 1 and image.read_bytes() == jpeg(1) and note.stem == image.stem
    noted = json.loads(note.read_text())
    assert noted.pop("kept").endswith("Z") and noted == {
        "why": ["low confidence"],
        "device": {"label": "cat", "confidence": 0.5, "model": "model-1"},
        "cloud": None,
    }


def test_a_list_of_labels_brings_hard_cases_back(tmp_path):
    folder = tmp_path / "unlabelled"
    hard = HardCases(open_place(str(folder)), 0.8)
    for number in range(3):
        hard.offer(jpeg(number), Result(Answer("cat", 0.5)))
    pictures = sorted(path.name for path in folder.glob("*.jpg"))
    (folder / "list.csv").write_text("".join(f"{name},dog\n" for name in pictures[:2]))
    workspace = open_storage(str(tmp_path / "workspace"))

    found = collected.add(workspace, f"{folder}/list.csv")

    assert found.labels == {"dog": 2} and not found.rejected


def test_a_server_keeps_hard_cases_until_it_has_no_room(bright_or_dark, tmp_path):
    unsure = Result(Answer("cat", 0.5, model="model-1"))
    with Served(bright_or_dark, WORKSPACE=str(tmp_path), SERVING_UPLOADS="1") as server:
        hard = HardCases(open_place(f"http://127.0.0.1:{server.port}/unlabelled/"), 0.8)
        for _ in range(2):
            hard.offer(jpeg(1), unsure)

        (note,), (image,) = ([*(tmp_path / "unlabelled").glob(f"*.{kind}")] for kind in ("json", "jpg"))
        assert hard.kept == 1 and image.read_bytes() == jpeg(1) and note.stem == image.stem
        assert json.loads(note.read_text())["device"] == {"label": "cat", "confidence": 0.5, "model": "model-1"}
        with pytest.raises(UploadRefused, match="507.*no room.*docs/devices.md"):
            hard.offer(jpeg(2), unsure)
    with pytest.raises(UploadRefused, match="cannot be reached"):
        hard.offer(jpeg(3), unsure)


def test_a_server_that_is_busy_is_asked_again(server):
    busy: list[str] = []

    async def fault(request: web.Request) -> web.Response:
        busy.append(request.path)
        server.fault = fault if len(busy) < 2 else None
        return web.Response(status=429, headers={"Retry-After": "0"})

    server.fault = fault
    hard = HardCases(open_place(f"{server.url}/unlabelled"), 0.8)
    hard.offer(jpeg(1), Result(Answer("cat", 0.5)))

    image, note = server.uploaded
    assert hard.kept == 1 and server.uploaded[image] == jpeg(1) and note.endswith(".json")
    assert busy == [f"/unlabelled/{image}"] * 2

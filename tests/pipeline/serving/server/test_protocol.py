"""The `:predict` protocol, asked by HTTP: what TensorFlow Serving and Vertex AI take, and what they refuse."""

import base64
import json

import pytest

from tests.pipeline.conftest import plain
from tests.served import instance

BRIGHT, DARK = instance(plain(250)), instance(plain(20))


def labels(answer) -> list[str]:
    return [row["label"] for row in answer.json["predictions"]]


def test_images_are_predicted_in_their_order_in_each_way_to_write_them(saved_model_server):
    for instances in ([BRIGHT, DARK, DARK], [{"image": each} for each in (BRIGHT, DARK, DARK)]):
        answer = saved_model_server.post({"instances": instances, "parameters": {}})
        assert answer.status == 200 and labels(answer) == ["bright", "dark", "dark"]
        assert answer.headers["content-type"] == "application/json" and answer.headers["x-model-release"] == "model"
    row = answer.json["predictions"][0]
    assert row["all_classes"] == ["dark", "bright"] and row["probabilities"][1] == pytest.approx(250 / 255)
    assert row["confidence"] == row["probabilities"][1]


def test_columns_are_answered_in_columns(saved_model_server):
    for inputs in ([BRIGHT, DARK], {"image": [BRIGHT, DARK]}):
        answer = saved_model_server.post({"inputs": inputs, "signature_name": "serving_default"})
        assert answer.status == 200 and answer.json["outputs"]["label"] == ["bright", "dark"]
        assert [len(row) for row in answer.json["outputs"]["probabilities"]] == [2, 2]


def test_a_device_model_takes_images_or_their_pixels(device_model_server):
    answer = device_model_server.post({"instances": [BRIGHT, DARK]})
    assert answer.status == 200, answer.body
    assert labels(answer) == ["bright", "dark"]
    pixels = [[[[0.98, 0.98, 0.98]] * 8] * 8, [[[0, 0, 0]] * 8] * 8]
    assert labels(device_model_server.post({"instances": pixels})) == ["bright", "dark"]
    for wrong, words in (
        ([[[[0.5] * 3] * 8] * 7], "shape [8,8,3]"),
        ([[["0.5"]]], "expected type: float32"),
        ([[[[0.5] * 3] * 8] * 8, 3], "shapes"),
        ([None], "expected type"),
    ):
        answer = device_model_server.post({"instances": wrong})
        assert answer.status == 400 and words in answer.json["error"], answer.body


@pytest.mark.parametrize(
    "body, words",
    [
        (b"", "JSON Parse error"),
        (b"{", "JSON Parse error"),
        (b"\xff\xfe\x00", "JSON Parse error"),
        (b"[" * 500_000, "nested too deeply"),
        (b'{"instances": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        (b'{"instances": [' + b"9" * 20_000 + b"]}", "JSON Parse error"),
        (b"[]", "Is not object"),
        (b"{}", "Missing 'inputs' or 'instances' key"),
        (b'{"instances": [1], "inputs": [1]}', "only one of"),
        (b'{"instances": 4}', "list/array"),
        (b'{"instances": []}', "No values"),
        (b'{"instances": [null]}', "expected type: string"),
        (b'{"instances": [[["a"]]]}', "shape"),
        (b'{"instances": ["a", {"image": "a"}]}', "got object"),
        (b'{"instances": [{"picture": "a"}]}', "keys must be equal to: image"),
        (b'{"inputs": {"picture": ["a"]}}', "Missing named input: image"),
        (b'{"inputs": {"image": "a"}}', "has to be a list"),
        (b'{"instances": ["a"], "signature_name": "predict"}', "predict"),
        (b'{"instances": [{"b64": "a*b="}]}', "base64"),
        (b'{"instances": [{"b64": "abcd"}]}', "JPEG"),
    ],
)
def test_what_is_no_request_is_refused_as_tensorflow_serving_does(saved_model_server, body, words):
    answer = saved_model_server.post(body)
    assert answer.status == 400 and list(answer.json) == ["error"] and words in answer.json["error"], answer.body
    assert answer.headers["content-type"] == "application/json"


def test_an_image_that_is_refused_spoils_no_other_request(saved_model_server):
    """Requests that arrive together are computed together."""
    connections = [saved_model_server.connection() for _ in range(12)]
    for number, connection in enumerate(connections):
        bad = number % 3 == 1
        body = json.dumps({"instances": [{"b64": base64.b64encode(b"no image").decode()} if bad else BRIGHT]})
        connection.request("POST", saved_model_server.path, body)
    statuses = [connection.getresponse().status for connection in connections]
    assert statuses == [200, 400, 200] * 4


def test_too_many_instances_are_refused(saved_model_server):
    assert saved_model_server.post({"instances": [BRIGHT] * 64}).status == 200
    answer = saved_model_server.post({"instances": [BRIGHT] * 65})
    assert answer.status == 400 and "65 instances are more than 64" in answer.json["error"]


def test_paths_name_models_and_versions(saved_model_server):
    body = {"instances": [BRIGHT]}
    assert saved_model_server.post(body, "/v1/endpoints/1/deployedModels/2:predict").status == 200
    for path, words in (
        ("/v1/models/other:predict", "Servable not found"),
        ("/v1/models/classification/versions/7:predict", "Servable not found"),
        ("/v1/models/classification:explain", "Malformed request"),
        ("/v2", "Malformed request"),
    ):
        answer = saved_model_server.post(body, path)
        assert answer.status == 404 and words in answer.json["error"]
    (version,) = saved_model_server.get("/v1/models/classification").json["model_version_status"]
    assert version == {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    assert saved_model_server.get("/v1/models/classification/versions/7").status == 404

"""Endpoints, used by Google's own client: deployed models, traffic split and predictions."""

import base64
import collections

import pytest
from google.protobuf import json_format, struct_pb2

from tests.emulators.vertex.conftest import MACHINE


@pytest.fixture
def served(vertex):
    """An endpoint with two versions of a model, of which the first has all of the traffic."""
    first = vertex.upload()
    second = vertex.upload(parent_model=first.partition("@")[0])
    endpoint = vertex.create()
    ids = [vertex.deploy(endpoint, first, {"0": 100}), vertex.deploy(endpoint, second)]
    return endpoint, ids, (first, second)


def split(vertex, endpoint):
    return dict(vertex.endpoints.get_endpoint(name=endpoint).traffic_split)


def test_traffic_goes_to_deployed_models_and_adds_up(vertex, served, refused):
    endpoint, (first, second), (model, _) = served
    assert split(vertex, endpoint) == {first: 100}
    third = vertex.deploy(endpoint, model, {first: 70, second: 20, "0": 10}, id="33", display_name="third")
    assert third == "33" and split(vertex, endpoint) == {first: 70, second: 20, "33": 10}

    for wanted in ({first: 99}, {first: 90, "77": 10}, {first: 150, second: -50}, {"0": 100}):
        with refused("bad", "raffic split"):
            vertex.endpoints.update_endpoint(
                endpoint={"name": endpoint, "traffic_split": wanted}, update_mask={"paths": ["traffic_split"]}
            )
    for wanted in ({"0": 50}, {"77": 50, "0": 50}):
        with refused("bad", "raffic split"):
            vertex.deploy(endpoint, model, wanted)
    with refused("not now", "traffic"):
        vertex.endpoints.undeploy_model(endpoint=endpoint, deployed_model_id=second)
    vertex.endpoints.undeploy_model(endpoint=endpoint, deployed_model_id=second, traffic_split={first: 100}).result(
        timeout=60
    )
    assert split(vertex, endpoint) == {first: 100}


def test_the_last_model_goes_with_its_traffic_and_only_then_the_endpoint(vertex, served, refused):
    endpoint, (first, second), _ = served
    vertex.endpoints.undeploy_model(endpoint=endpoint, deployed_model_id=second).result(timeout=60)
    with refused("not now", "deployed"):
        vertex.endpoints.delete_endpoint(name=endpoint)
    with refused("missing"):
        vertex.endpoints.undeploy_model(endpoint=endpoint, deployed_model_id=second)
    vertex.endpoints.undeploy_model(endpoint=endpoint, deployed_model_id=first).result(timeout=60)
    assert split(vertex, endpoint) == {}
    vertex.endpoints.delete_endpoint(name=endpoint).result(timeout=60)
    with refused("missing"):
        vertex.endpoints.get_endpoint(name=endpoint)


def test_an_invalid_deployment_is_refused(vertex, served, refused):
    endpoint, (first, _), (model, _) = served
    for kind, words, changes in (
        ("bad", "prediction_resources", {"dedicated_resources": None}),
        ("bad", "machine_type", {"dedicated_resources": MACHINE | {"machine_spec": {}}}),
        ("bad", "min_replica_count", {"dedicated_resources": MACHINE | {"min_replica_count": 0}}),
        ("bad", "min_replica_count", {"dedicated_resources": MACHINE | {"min_replica_count": 3}}),
        ("missing", "@7", {"model": f"{model.partition('@')[0]}@7"}),
        ("missing", "@best", {"model": f"{model.partition('@')[0]}@best"}),
        ("bad", "id", {"id": "first"}),
        ("taken", first, {"id": first}),
    ):
        with refused(kind, words):
            vertex.deploy(endpoint, **{"model": model, **changes})
    vertex.cloud.vertex.quota["n1-standard-2"] = 0
    with refused("full", "quota"):
        vertex.deploy(endpoint, model)
    with refused("missing"):
        vertex.deploy(f"{vertex.parent}/endpoints/1", model)


def test_an_update_with_an_old_etag_is_refused(vertex, refused):
    endpoint = vertex.create(endpoint_id="pets-1")
    seen = vertex.endpoints.get_endpoint(name=endpoint)
    mask = {"paths": ["labels"]}
    changed = vertex.endpoints.update_endpoint(
        endpoint={"name": endpoint, "etag": seen.etag, "labels": {"kind": "cat"}}, update_mask=mask
    )
    assert dict(changed.labels) == {"kind": "cat"} and changed.etag != seen.etag
    with refused("changed", "Etag"):
        vertex.endpoints.update_endpoint(endpoint=seen, update_mask=mask)
    with refused("taken"):
        vertex.create(endpoint_id="pets-1")
    with refused("bad"):
        vertex.create(endpoint={"display_name": ""})
    vertex.create(endpoint={"display_name": "others", "labels": {"kind": "dog"}})
    for wanted in ('display_name="pets"', 'labels.kind="cat"'):
        (found,) = vertex.endpoints.list_endpoints({"parent": vertex.parent, "filter": wanted})
        assert found.name == endpoint


def predicted(vertex, endpoint, *instances):
    values = [json_format.ParseDict(instance, struct_pb2.Value()) for instance in instances]
    answer = vertex.predictions.predict(endpoint=endpoint, instances=values)
    return answer, [json_format.MessageToDict(row) for row in type(answer).pb(answer).predictions]


def test_each_model_serves_its_share_of_predictions(vertex, doubling, refused):
    vertex.put(doubling)
    first = vertex.upload()
    second = vertex.upload(parent_model=first.partition("@")[0])
    endpoint = vertex.create()
    instance = {"number": 4, "image": {"b64": base64.b64encode(b"\xff\x01").decode()}}
    with refused("not now", "traffic"):
        predicted(vertex, endpoint, instance)
    one = vertex.deploy(endpoint, first, {"0": 100})
    two = vertex.deploy(endpoint, second, {one: 75, "0": 25})

    answer, rows = predicted(vertex, endpoint, instance, instance | {"number": 0.5})
    turned = {"b64": base64.b64encode(b"\x01\xff").decode()}
    assert rows == [
        {"twice": 8.0, "text": "4", "turned_bytes": turned},
        {"twice": 1.0, "text": "0", "turned_bytes": turned},
    ]
    assert answer.model == first.partition("@")[0] and answer.deployed_model_id in (one, two)
    served = [answer, *(predicted(vertex, endpoint, instance)[0] for _ in range(11))]
    assert collections.Counter(each.model_version_id for each in served) == {"1": 9, "2": 3}
    for wrong in ({"number": 4}, {**instance, "number": 1000}, {**instance, "number": "four"}, 4):
        with refused("bad", "error"):
            predicted(vertex, endpoint, instance, wrong)

"""The Model Registry, used by Google's own client."""

import pytest


def aliases(vertex, model):
    """Aliases of every version, oldest first."""
    versions = vertex.models.list_model_versions({"name": model.partition("@")[0], "order_by": "create_time"})
    return [(version.version_id, sorted(version.version_aliases)) for version in versions]


def test_versions_are_counted_and_an_alias_names_one_of_them(vertex, refused):
    first = vertex.upload(vertex.model(version_aliases=["model-1", "best"]), model_id="pets")
    name = first.partition("@")[0]
    second = vertex.upload(vertex.model(version_aliases=["best"]), parent_model=name)

    assert (first, second) == (f"{name}@1", f"{name}@2")
    assert name == f"projects/{vertex.cloud.project_number}/locations/{vertex.cloud.region}/models/pets"
    assert aliases(vertex, name) == [("1", ["default", "model-1"]), ("2", ["best"])]
    for asked in (name, f"{name}@1", f"{name}@model-1", f"{vertex.parent}/models/pets@default"):
        assert vertex.models.get_model(name=asked).version_id == "1"

    vertex.models.merge_version_aliases(name=second, version_aliases=["default", "-best"])
    assert aliases(vertex, name) == [("1", ["model-1"]), ("2", ["default"])]
    (listed,) = vertex.models.list_models({"parent": vertex.parent})
    assert listed.version_id == "2"
    with refused("missing"):
        vertex.models.get_model(name=f"{name}@best")
    with refused("bad", "default"):
        vertex.models.merge_version_aliases(name=second, version_aliases=["-default"])
    with refused("bad"):
        vertex.models.merge_version_aliases(name=name, version_aliases=["new"])


@pytest.mark.parametrize(
    ("kind", "words", "model"),
    [
        ("bad", "display_name", {"display_name": ""}),
        ("bad", "container_spec", {"container_spec": None}),
        ("bad", "label", {"labels": {"commit": "ABC"}}),
        ("bad", "label", {"labels": {"1st": "abc"}}),
        ("bad", "alias", {"version_aliases": ["Model 1"]}),
        ("bad", "alias", {"version_aliases": ["1"]}),
        ("bad", "kms_key_name", {"encryption_spec": {"kms_key_name": "my-key"}}),
        ("bad", "artifact_uri", {"artifact_uri": "/models/one"}),
        ("missing", "bucket", {"artifact_uri": "gs://another-bucket/models/one"}),
        ("not now", "saved_model.pb", {"artifact_uri": "gs://spanloop-local/models/two"}),
    ],
)
def test_an_invalid_model_is_refused(vertex, refused, kind, words, model):
    with refused(kind, words):
        vertex.upload(vertex.model(**model))
    assert not list(vertex.models.list_models({"parent": vertex.parent}))


def test_names_and_places_are_checked(vertex, refused):
    name = vertex.upload(model_id="pets").partition("@")[0]
    for kind, request in (
        ("taken", {"model_id": "pets"}),
        ("bad", {"model_id": "Pets"}),
        ("missing", {"parent_model": f"{vertex.parent}/models/dogs"}),
        ("bad", {"parent_model": "pets"}),
        ("bad", {"parent": "projects/spanloop-local"}),
        ("bad", {"parent": vertex.parent.replace(vertex.cloud.region, "us-central1")}),
        ("denied", {"parent": vertex.parent.replace(vertex.cloud.project, "another")}),
    ):
        with refused(kind):
            vertex.upload(**request)
    with refused("bad", "not served by us-central1"):
        vertex.service("Model", "us-central1").get_model(name=name)
    vertex.cloud.policies.revoke(f"projects/{vertex.cloud.project}", "roles/aiplatform.user", vertex.cloud.account)
    with refused("denied", "aiplatform.models.upload"):
        vertex.upload()


def test_lists_are_filtered_ordered_and_paged(vertex, refused):
    for number in range(5):
        kind = ("cat", "dog")[number % 2]
        vertex.upload(vertex.model(display_name=f"m-{number}", labels={"kind": kind}))

    def listed(**asked):
        return [model.display_name for model in vertex.models.list_models({"parent": vertex.parent, **asked})]

    assert listed(order_by="display_name desc", page_size=2) == ["m-4", "m-3", "m-2", "m-1", "m-0"]
    assert len(vertex.cloud.asked(method="ListModels")) == 3
    assert listed(filter='display_name="m-3"') == ["m-3"]
    assert listed(filter='labels.kind="dog" AND display_name!="m-1"') == ["m-3"]
    for asked in ({"filter": "everything"}, {"filter": 'colour="red"'}, {"order_by": "display_name up"}):
        with refused("bad"):
            listed(**asked)


def test_updates_name_their_fields_and_deployed_models_are_not_deleted(vertex, refused):
    first = vertex.upload()
    second = vertex.upload(parent_model=first.partition("@")[0])
    model = vertex.models.get_model(name=second)
    model.labels["kind"] = "cat"
    changed = vertex.models.update_model(
        model=dict(name=second, etag=model.etag, labels=model.labels), update_mask={"paths": ["labels"]}
    )
    assert dict(changed.labels) == {"kind": "cat"} and changed.etag != model.etag
    with refused("changed"):
        vertex.models.update_model(model=model, update_mask={"paths": ["labels"]})
    for paths in ([], ["artifact_uri"]):
        with refused("bad", "update_mask"):
            vertex.models.update_model(model={"name": second}, update_mask={"paths": paths})

    with refused("not now", "default"):
        vertex.models.delete_model_version(name=first)
    endpoint = vertex.create()
    vertex.deploy(endpoint, second)
    with refused("not now", "deployed"):
        vertex.models.delete_model_version(name=second)
    third = vertex.upload(parent_model=first.partition("@")[0])
    vertex.models.delete_model_version(name=third).result(timeout=60)
    assert [version for version, _ in aliases(vertex, first)] == ["1", "2"]
    assert vertex.upload(parent_model=first.partition("@")[0]).endswith("@3")


def test_an_operation_ends_after_enough_requests(vertex, refused):
    vertex.cloud.vertex.operations.looks = 3
    asked = {"parent": vertex.parent, "model": vertex.model(), "model_id": "pets"}
    started = vertex.models.upload_model(asked).operation
    name = f"{vertex.parent}/models/pets"

    assert not started.done
    with refused("missing"):
        vertex.models.get_model(name=name)
    (listed,) = vertex.models.list_operations({"name": name}).operations
    assert listed.name == started.name and not listed.done
    assert vertex.models.get_operation({"name": started.name}).done
    assert vertex.models.get_model(name=name).version_id == "1"

    vertex.cloud.vertex.operations.hold()
    vertex.models.upload_model({**asked, "model_id": "dogs"})
    with refused("not now", "other operations"):
        vertex.models.upload_model({**asked, "model_id": "dogs"})
    with refused("missing"):
        vertex.models.get_operation({"name": f"{name}/operations/7000"})

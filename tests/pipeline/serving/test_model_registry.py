"""Releases in the Model Registry, by Vertex AI's own client."""

import dataclasses

import pytest

from pipeline.config import Config
from pipeline.errors import BrokenRelease, CloudRefused, MissingSettings, NoServingImage
from pipeline.outcomes import Metrics
from pipeline.releases.record import Release
from pipeline.serving.model_registry import Registry, container, labels, serving_copy
from tests.serving import IMAGE


def test_a_release_becomes_a_version_with_its_origin_in_labels(serving):
    release = serving.release()

    version = Registry(serving.config).upload(release)

    (found,) = serving.versions()
    assert version.number == found.version_id == "1"
    assert version.model.rpartition("/")[2] == found.name.rpartition("/")[2].partition("@")[0]
    assert "model-1" in found.version_aliases
    assert found.container_spec.image_uri == IMAGE
    assert list(found.container_spec.command) == ["python", "-m", "ci", "serve"]
    assert dict(found.labels) == labels(release)
    assert found.labels["spans"] == "1-3_11" and found.labels["commit"].endswith("-dirty")
    assert all(len(value) <= 63 for value in found.labels.values())
    names = serving.cloud.gcs.names(f"{found.artifact_uri}/")
    assert any(name.endswith("/saved_model.pb") for name in names)
    assert any("/variables/" in name for name in names)


def test_releases_are_versions_of_one_model_and_the_first_stays_the_default(serving):
    registry = Registry(serving.config)
    for number in (1, 2, 3):
        registry.upload(serving.release(number))

    assert [version.version_id for version in serving.versions()] == ["1", "2", "3"]
    assert serving.default == ["model-1"]
    assert registry.find("model-2").number == "2" and registry.find("model-7") is None


def test_an_uploaded_release_is_not_uploaded_again(serving):
    release = serving.release()
    first = Registry(serving.config).upload(release)

    serving.cloud.requests.clear()
    assert Registry(serving.config).upload(release) == first

    assert not serving.cloud.asked(method="UploadModel")
    assert not serving.cloud.asked(service="storage")


def test_a_promoted_version_becomes_the_default_once(serving):
    registry = Registry(serving.config)
    registry.upload(serving.release(1))
    version = registry.upload(serving.release(2))
    for _ in range(2):
        registry.make_default(version)

    assert serving.default == ["model-2"]
    assert len(serving.cloud.asked(method="MergeVersionAliases")) == 1


def test_a_release_with_a_wrong_checksum_is_not_uploaded(serving):
    release = dataclasses.replace(serving.release(), files={"model.tar.gz": "f" * 64})

    with pytest.raises(BrokenRelease, match="checksum") as error:
        Registry(serving.config).upload(release)
    assert error.value.tag == "model-1"

    assert not serving.cloud.asked(method="UploadModel")


@pytest.mark.parametrize("kind", ["503", "429", "lose"])
def test_a_transient_failure_neither_loses_nor_doubles_a_version(serving, kind):
    release = serving.release()
    for method in ("UploadModel", "GetModel", "ListOperations", "GetOperation"):
        serving.cloud.faults.add("aiplatform", method, kind=kind)

    Registry(serving.config).upload(release)

    assert [list(version.version_aliases) for version in serving.versions()] in (
        [["default", "model-1"]],
        [["model-1", "default"]],
    )


def test_encryption_key_and_container_come_from_the_configuration(serving):
    key = f"projects/{serving.cloud.project}/locations/europe-west1/keyRings/r/cryptoKeys/k"
    config = serving.settings(
        encryption_key=key, serving_image="europe-docker.pkg.dev/vertex-ai/prediction/tf2-gpu.2-15"
    )

    Registry(config).upload(serving.release())

    (found,) = serving.versions()
    assert found.encryption_spec.kms_key_name == key
    assert found.container_spec.image_uri == config.serving_image


OTHER = IMAGE.replace("2b", "3c")


def release(image: str) -> Release:
    """A release whose record names an image."""
    files = {"model.tar.gz": "0" * 64}
    return Release("model-3", "", "", "", (1,), ("cat",), Metrics(), files, "2026-11-22T12:04:05Z", None, image=image)


def test_a_model_is_served_by_the_image_that_it_was_trained_in():
    config = Config(image=IMAGE, serving_batch=8, modules="modules.nuclei")

    spec = container(config, release(image=OTHER))

    assert spec["image_uri"] == OTHER and spec["ports"] == [{"container_port": 8080}]
    assert {each["name"]: each["value"] for each in spec["env"]} == {"MODULES": "modules.nuclei", "SERVING_BATCH": "8"}
    assert container(config, release(image=""))["image_uri"] == IMAGE


def test_an_image_of_another_repository_that_a_record_names_is_not_run():
    foreign = f"evil.example/images/pipelines@sha256:{'0' * 64}"
    assert container(Config(image=IMAGE), release(image=foreign))["image_uri"] == IMAGE
    for config in (Config(), Config(image_repository="europe-docker.pkg.dev/p/r/images")):
        with pytest.raises(NoServingImage, match="model-3.*PIPELINE_IMAGE") as error:
            container(config, release(image=foreign))
        assert error.value.exit_code == 2


def test_another_container_has_its_port_routes_and_arguments():
    config = Config(
        serving_image="tensorflow/serving:2.16.1",
        serving_port=8501,
        serving_health_route="/v1/models/model",
        serving_predict_route="/v1/models/model:predict",
        serving_arguments="--rest_api_port=8501 '--model_base_path=$(AIP_STORAGE_URI)'",
    )
    assert container(config, release(image=IMAGE)) == {
        "image_uri": "tensorflow/serving:2.16.1",
        "ports": [{"container_port": 8501}],
        "health_route": "/v1/models/model",
        "predict_route": "/v1/models/model:predict",
        "args": ["--rest_api_port=8501", "--model_base_path=$(AIP_STORAGE_URI)"],
    }


def test_the_copy_for_serving_is_written_once(serving):
    release = serving.release()
    address = serving_copy(serving.config, release)
    names = serving.cloud.gcs.names(address)
    before = [serving.cloud.gcs.find(f"gs://{serving.cloud.bucket}/{name}").generation for name in names]

    assert serving_copy(serving.config, release) == address

    after = [serving.cloud.gcs.find(f"gs://{serving.cloud.bucket}/{name}").generation for name in names]
    assert names and before == after


def test_refusals_and_missing_settings_are_named(serving):
    with pytest.raises(MissingSettings, match="GCP_PROJECT"):
        Registry(serving.settings(project=""))
    with pytest.raises(CloudRefused, match="ci doctor") as refused:
        Registry(serving.settings(project="foreign")).upload(serving.release())
    assert refused.value.doing == "Uploading model-1 to the Model Registry" and "denied" in refused.value.reason

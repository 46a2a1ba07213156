"""Google's clients for the local Vertex AI, and a small SavedModel."""

from typing import Any

import pytest
from google.api_core import exceptions

MACHINE = {"machine_spec": {"machine_type": "n1-standard-2"}, "min_replica_count": 1, "max_replica_count": 1}
IMAGE = "europe-docker.pkg.dev/vertex-ai/prediction/tf2-cpu.2-15:latest"
KINDS = {
    "bad": exceptions.InvalidArgument,
    "missing": exceptions.NotFound,
    "taken": exceptions.AlreadyExists,
    "not now": exceptions.FailedPrecondition,
    "changed": exceptions.Aborted,
    "denied": exceptions.PermissionDenied,
    "full": exceptions.ResourceExhausted,
}


@pytest.fixture(scope="session")
def doubling(tmp_path_factory) -> dict[str, bytes]:
    """Files of a SavedModel that returns twice a number, the number as text, and the input's bytes reversed."""
    import tensorflow as tf

    class Doubling(tf.Module):
        @tf.function(
            input_signature=[
                tf.TensorSpec([None], tf.float32, "number"),
                tf.TensorSpec([None], tf.string, "image"),
            ]
        )
        def serve(self, number, image):
            tf.debugging.assert_less(number, 1000.0, "too large")
            turned = tf.strings.reduce_join(tf.strings.bytes_split(image).to_tensor()[:, ::-1], axis=1)
            return {
                "twice": number * 2,
                "text": tf.strings.as_string(tf.cast(number, tf.int32)),
                "turned_bytes": turned,
            }

    folder, model = tmp_path_factory.mktemp("doubling"), Doubling()
    tf.saved_model.save(model, str(folder), signatures={"serving_default": model.serve})
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Client:
    """Google's clients, and calls that most tests make."""

    def __init__(self, cloud: Any, made: dict[tuple[str, str], Any]):
        self.cloud, self._made = cloud, made
        self.parent = f"projects/{cloud.project}/locations/{cloud.region}"
        self.folder = f"gs://{cloud.bucket}/models/one"
        for name in ("Model", "Endpoint", "Prediction", "Job"):
            setattr(self, name.lower() + "s", self.service(name))

    def service(self, name: str, region: str | None = None) -> Any:
        from google.cloud import aiplatform_v1

        host = f"{region or self.cloud.region}-aiplatform.googleapis.com"
        if (name, host) not in self._made:
            kind = getattr(aiplatform_v1, f"{name}ServiceClient")
            self._made[name, host] = kind(client_options={"api_endpoint": host})
        return self._made[name, host]

    def put(self, files: dict[str, bytes]) -> None:
        for name, data in files.items():
            self.cloud.gcs.put(f"{self.folder}/{name}", data)

    def model(self, **changes: Any) -> dict[str, Any]:
        made = {"display_name": "one", "artifact_uri": self.folder, "container_spec": {"image_uri": IMAGE}}
        return made | changes

    def upload(self, model: dict[str, Any] | None = None, **request: Any) -> str:
        """Uploads a model; returns MODEL@VERSION."""
        whole = {"parent": self.parent, "model": model or self.model(), **request}
        done = self.models.upload_model(whole).result(timeout=60)
        return f"{done.model}@{done.model_version_id}"

    def create(self, **request: Any) -> Any:
        whole = {"parent": self.parent, "endpoint": {"display_name": "pets"}, **request}
        return self.endpoints.create_endpoint(whole).result(timeout=60).name

    def deploy(self, endpoint: str, model: str, split: dict[str, int] | None = None, **changes: Any) -> str:
        """Deploys a model; returns the deployed model's ID."""
        deployed = {"model": model, "dedicated_resources": MACHINE, **changes}
        request = {"endpoint": endpoint, "deployed_model": deployed, "traffic_split": split or {}}
        return self.endpoints.deploy_model(request).result(timeout=60).deployed_model.id


@pytest.fixture(scope="session")
def made() -> dict[tuple[str, str], Any]:
    """Clients by service and host, shared by all tests because creating them is slow; they hold no state."""
    return {}


@pytest.fixture
def vertex(cloud_environment, made) -> Client:
    """Clients, and a bucket with a folder in the layout of a SavedModel."""
    client = Client(cloud_environment, made)
    client.put({"saved_model.pb": b"a model"})
    return client


@pytest.fixture
def refused():
    """`with refused("bad", "display_name"):` expects an error of that kind whose message has these words."""
    return lambda kind, words="": pytest.raises(KINDS[kind], match=words or None)

"""KFP components of the AutoML pipeline's own nodes: what each takes and gives, and the command of its container.

Apart from the programs, because what these import takes ten seconds.
"""

from typing import Any


def import_file(image: str) -> Any:
    """Returns the component of import_file.py, to be run in `image`."""
    from kfp import dsl

    @dsl.container_component
    def import_file(settings: str, run: str, import_file: dsl.OutputPath(str), instances: dsl.OutputPath(list)):
        return dsl.ContainerSpec(
            image=image,
            command=["python", "-m", "pipeline.nodes.import_file"],
            args=["--settings", settings, "--run", run, "--import-file", import_file, "--instances", instances],
        )

    return import_file


def release(image: str) -> Any:
    """Returns the component of release.py, to be run in `image`."""
    from google_cloud_pipeline_components.types.artifact_types import VertexModel
    from kfp import dsl

    @dsl.container_component
    def release(
        settings: str,
        run: str,
        commit: str,
        cloud_model: dsl.Input[VertexModel],
        predictions: dsl.Input[dsl.Artifact],
        export: dict,
        released: dsl.OutputPath(str),
    ):
        options = {
            "settings": settings,
            "run": run,
            "commit": commit,
            "cloud-model": cloud_model.metadata["resourceName"],
            "predictions": predictions.uri,
            "export": export,
            "released": released,
        }
        return dsl.ContainerSpec(
            image=image,
            command=["python", "-m", "pipeline.nodes.release"],
            args=[part for name, value in options.items() for part in (f"--{name}", value)],
        )

    return release


def after_release(image: str, name: str) -> Any:
    """Returns the component of deploy.py, publish.py or firebase.py, to be run in `image`."""
    from kfp import dsl

    def component(settings: str, released: str):
        return dsl.ContainerSpec(
            image=image,
            command=["python", "-m", f"pipeline.nodes.{name}"],
            args=["--settings", settings, "--released", released],
        )

    component.__name__ = name  # KFP names the component after the function
    return dsl.container_component(component)

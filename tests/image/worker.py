"""Program: runs a Beam pipeline whose workers are containers of an image, which Beam's own program starts.

python worker.py IMAGE WHEEL    installs WHEEL in the workers as `--extra_package` does on Dataflow
"""

import sys

import apache_beam
from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.transforms.environments import DockerEnvironment


def check(number: int) -> int:
    """Raises an error unless it runs as the image's user and imports the wheel that the job has brought."""
    import importlib.metadata
    import os

    import modules.classification.preprocessing as preprocessing

    assert os.getuid() == 1000, f"the worker runs as uid {os.getuid()}"
    assert preprocessing.__file__.startswith("/tmp/"), preprocessing.__file__
    assert "/opt/venv/" in apache_beam.__file__, apache_beam.__file__  # the image's own, no other was installed
    importlib.metadata.version("tfx")
    return number + 1


def main() -> None:
    image, wheel = sys.argv[1:]
    options = PipelineOptions(
        [
            "--environment_type=DOCKER",
            f"--environment_config={image}",
            f"--extra_package={wheel}",
            "--sdk_location=container",
        ]
    )
    environment = DockerEnvironment.from_options(options.view_as(PortableOptions))
    with apache_beam.Pipeline(FnApiRunner(default_environment=environment), options=options) as pipeline:
        pipeline | apache_beam.Create([1, 2, 3]) | apache_beam.Map(check)


if __name__ == "__main__":
    main()

"""Compiles a pipeline to a Vertex AI job."""

import pathlib
import sys

import click

from ci.outcome import Outcome, command
from pipeline.config import Config
from pipeline.orchestrators import compiled, vertex_request
from pipeline.orchestrators.definitions import NAMES
from pipeline.packaging import modules
from pipeline.plan import Shape

GROUP = "Google Cloud"


@command
@click.option("--pipeline", type=click.Choice(NAMES), required=True, help="Which one.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, writable=True, path_type=pathlib.Path),
    required=True,
    help="File for the job, as JSON.",
)
@click.option("--first", is_flag=True, help="For the first training, without a released model to compare with.")
def compile(config: Config, pipeline: str, output: pathlib.Path, first: bool) -> Outcome:
    """Compiles a pipeline for Vertex AI and writes the job to a file.

    Makes no call if PIPELINE_IMAGE names the image; otherwise it looks up the image built from this code. Values that
    differ between runs are parameters of the job, which `submit` sets.
    """
    shape = Shape(
        baseline=not first,
        curated=bool(modules.find(config.modules, sys.path).schema),
        tune=config.tune,
        device=config.device_model,
        device_baseline=config.device_model and not first,
    )
    made = compiled.compile_pipeline(vertex_request.with_image(config), pipeline, shape)
    output.write_text(made.text, encoding="utf-8")
    return Outcome(
        f"{output} is the pipeline {pipeline}, compiled: {made.digest}.",
        output=str(output),
        digest=made.digest,
        parameters=made.parameters,
    )

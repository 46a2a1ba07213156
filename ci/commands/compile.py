"""A pipeline as Vertex AI takes it."""

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
@click.option("--first", is_flag=True, help="As long as no model was released that a new one has to stand up to.")
def compile(config: Config, pipeline: str, output: pathlib.Path, first: bool) -> Outcome:
    """Compiles a pipeline for Vertex AI and writes the job to a file.

    Calls nobody if PIPELINE_IMAGE names the image; else it is the one that was built of this code. What differs from
    run to run are the job's parameters; `submit` gives them.
    """
    shape = Shape(baseline=not first, curated=bool(modules.find(config.modules, sys.path).schema), tune=config.tune)
    made = compiled.compile_pipeline(vertex_request.with_image(config), pipeline, shape)
    output.write_text(made.text, encoding="utf-8")
    return Outcome(
        f"{output} is the pipeline {pipeline}, compiled: {made.digest}.",
        output=str(output),
        digest=made.digest,
        parameters=made.parameters,
    )

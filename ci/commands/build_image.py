"""Builds the pipelines' image with Cloud Build."""

import click

from ci.outcome import Outcome, command
from ci.progress import log
from pipeline.config import Config
from pipeline.packaging import image

GROUP = "Google Cloud"


@command
@click.option("--gpu", is_flag=True, help="With CUDA, also if TRAINING_MACHINES names no GPU.")
def build_image(config: Config, gpu: bool) -> Outcome:
    """Builds the image with Cloud Build unless one with the same content exists; prints it by digest.

    It contains the tracked files of the working tree except modules/, which `copy-modules` provides.
    """
    made, built = image.build(config, gpu, log)
    how = "built" if built else "already built from the same content"
    return Outcome(f"{made.image}: TFX {made.tfx}, {how}.\nPIPELINE_IMAGE={made.image}", image=made.image, built=built)

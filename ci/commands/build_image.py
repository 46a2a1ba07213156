"""The image of the pipelines, built by Cloud Build."""

import click

from ci.outcome import Outcome, command
from ci.progress import log
from pipeline.config import Config
from pipeline.packaging import image

GROUP = "Google Cloud"


@command
@click.option("--gpu", is_flag=True, help="With CUDA, also if TRAINING_MACHINES names no GPU.")
def build_image(config: Config, gpu: bool) -> Outcome:
    """Has Cloud Build make the image, unless it was made of the same already; prints it by digest.

    It holds what git tracks of the code, as it is now, but modules/: those come by `copy-modules`.
    """
    made, built = image.build(config, gpu, log)
    how = "built" if built else "of this very content, was there already"
    return Outcome(f"{made.image}: TFX {made.tfx}, {how}.\nPIPELINE_IMAGE={made.image}", image=made.image, built=built)

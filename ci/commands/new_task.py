"""A copy of a task's package, to be changed into another task."""

import sys

import click

from ci.outcome import Outcome, command
from pipeline.config import Config
from pipeline.formatting import counted
from pipeline.packaging import new_task as packages

GROUP = "models"


@command
@click.argument("name")
def new_task(config: Config, name: str) -> Outcome:
    """Copies the package that MODULES names, and its tests, to a task NAME, with imports that are right.

    The new package is modules/NAME, for MODULES=modules.classification. Nothing that exists is overwritten.
    """
    files = packages.create(name, config.modules, sys.path)
    package = ".".join([*config.modules.split(".")[:-1], name])
    text = f"{package} is a copy of {config.modules}: {counted(len(files), 'file')}. Change it, then train it:"
    text += f"\nMODULES={package} python -m ci train\n"
    text += f'To make it the task of the repository: modules = "{package}" below [tool.spanloop] in pyproject.toml.'
    return Outcome(text, package=package, copied=config.modules, files=files)

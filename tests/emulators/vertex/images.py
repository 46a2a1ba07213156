"""Container images as folders on this machine."""

import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tests.emulators.vertex import components
from tests.emulators.vertex.processes import PROGRAMS, NoSuchImage

if TYPE_CHECKING:
    from tests.emulators.cloud import Cloud


class Images:
    """Images that Cloud Build has pushed or a test has added."""

    def __init__(self, cloud: "Cloud"):
        self._cloud = cloud
        self.reset()

    def reset(self) -> None:
        self._added: dict[str, pathlib.Path] = {}

    def add(self, image: str, folder: pathlib.Path) -> str:
        """Adds an image (NAME@sha256:...) whose working directory is `folder`; returns its name."""
        self._added[image] = folder
        return image

    def find(self, image: str) -> tuple[pathlib.Path, Mapping[str, str]]:
        """Working directory and environment of an image; raises NoSuchImage."""
        if image == components.IMAGE:
            return PROGRAMS, {"PYTHONUNBUFFERED": "1"}
        if image in self._added:
            return self._added[image], {"PYTHONPATH": str(self._added[image]), "PYTHONUNBUFFERED": "1"}
        try:
            return self._cloud.builds.layout(image), self._cloud.builds.environment(image)
        except KeyError:
            raise NoSuchImage(f"Failed to pull image {image}: manifest unknown.") from None

"""Groups that the task's package names: images of one group, such as a patient, are on one side of the split."""

import importlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable

from pipeline.errors import BrokenModules, NoTask
from pipeline.storage.factory import open_storage

MODULE, FUNCTION = "groups", "group_of"


def add_wheel(address: str) -> None:
    """Makes the package that a wheel holds importable; Python imports it from the wheel as it is."""
    folder, _, name = address.rpartition("/")
    path = os.path.join(tempfile.mkdtemp(prefix="spanloop-"), name)
    with open(path, "wb") as file:
        open_storage(folder).copy_to(name, file)
    sys.path.insert(0, path)
    importlib.invalidate_caches()


def none(name: str) -> str:
    """Returns "": no image has a group."""
    del name
    return ""


def group_of(package: str) -> Callable[[str], str]:
    """Returns `group_of` of the package's module `groups`, by name; where there is none, no image has a group.

    It takes an image's name, such as cat/1.jpg, and returns its group, or None or "" for none. Raises NoTask where no
    package is named.
    """
    if not package:
        raise NoTask()
    name = f"{package}.{MODULE}"
    try:
        if importlib.util.find_spec(name) is None:
            return none
    except ModuleNotFoundError:  # the package itself is not there
        return none
    try:
        function = getattr(importlib.import_module(name), FUNCTION)
    except Exception as error:
        raise BrokenModules(f"{name.replace('.', '/')}.py", 1, f"{FUNCTION} cannot be imported ({error!r})") from error

    def named(image: str) -> str:
        try:
            group = function(image)
        except Exception as error:
            what = f"{FUNCTION}({image!r}) raised {error!r}"
            raise BrokenModules(f"{name.replace('.', '/')}.py", function.__code__.co_firstlineno, what) from error
        return "" if group is None else str(group)

    return named

"""Groups that the task's package names: images of one group, such as a patient, are on one side of the split."""

import importlib
import importlib.util
from collections.abc import Callable

from pipeline.errors import BrokenModules

MODULE, FUNCTION = "groups", "group_of"


def group_of(package: str) -> Callable[[str], str]:
    """Returns `group_of` of the package's module `groups`, by name; where there is none, no image has a group.

    It takes an image's name, such as cat/1.jpg, and returns its group, or None or "" for none.
    """
    name = f"{package}.{MODULE}"
    try:
        if importlib.util.find_spec(name) is None:
            return lambda name: ""
    except ModuleNotFoundError:  # the package itself is not there
        return lambda name: ""
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

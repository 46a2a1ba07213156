"""Beam in this process without work that it repeats for each step of a pipeline, with the same result each time.

On few images a pipeline of Beam takes longer to build than to run: half of that time goes into the four things below.
They are alike in the versions of Beam that both TFX lines have, 2.74 and 2.77.
"""

import sys
import types
import weakref
from collections.abc import Iterable
from typing import Any

from apache_beam.internal.cloudpickle import cloudpickle
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from apache_beam.transforms import userstate
from apache_beam.transforms.core import DoFn


def reduce() -> None:
    """Replaces functions of Beam in this process by others with the same results."""
    userstate.get_dofn_specs = specs
    PipelineOptions.view_as = view
    cloudpickle._find_imported_submodules = imported_submodules
    # Side inputs are read from memory. A cache of them weighs each by a walk over all modules.
    worker_handlers.STATE_CACHE_SIZE_MB = 0


_get_dofn_specs = userstate.get_dofn_specs
_specs: weakref.WeakKeyDictionary[type[DoFn], tuple[set, set]] = weakref.WeakKeyDictionary()


def specs(function: DoFn) -> tuple[set[userstate.StateSpec], set[userstate.TimerSpec]]:
    """Returns the state and timers that a DoFn's methods ask for: Beam inspects all methods, nine times an instance."""
    if any(isinstance(attribute, types.MethodType) for attribute in vars(function).values()):
        return _get_dofn_specs(function)  # this instance has methods that its class does not have
    of_class = type(function)
    if of_class not in _specs:
        _specs[of_class] = _get_dofn_specs(function)
    states, timers = _specs[of_class]
    return set(states), set(timers)


_view_as = PipelineOptions.view_as
_views: weakref.WeakKeyDictionary[PipelineOptions, dict[type, PipelineOptions]] = weakref.WeakKeyDictionary()


def view(options: PipelineOptions, kind: type[PipelineOptions]) -> PipelineOptions:
    """Returns a view of options, which has no values of its own: Beam builds an argument parser for each, 600 times."""
    views = _views.setdefault(options, {})
    if kind not in views:
        views[kind] = _view_as(options, kind)
    return views[kind]


def imported_submodules(code: types.CodeType, packages: Iterable[Any]) -> list[types.ModuleType]:
    """Returns the submodules that a function may name: Beam compares the names of all modules for each function."""
    found = []
    modules = [module for module in packages if isinstance(module, types.ModuleType)]
    names = [module.__name__ for module in modules if getattr(module, "__package__", None)]
    while names:
        parent = names.pop()
        inside = [f"{parent}.{name}" for name in dict.fromkeys(code.co_names)]
        inside = [name for name in inside if name in sys.modules]
        found += [sys.modules[name] for name in inside]
        names += inside
    return found

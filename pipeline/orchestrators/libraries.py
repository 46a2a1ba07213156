"""Imports TFX and what it brings in less time: without what no pipeline here uses, and without garbage collection."""

import contextlib
import gc
import importlib.util
import sys
import threading
from collections.abc import Iterator
from types import ModuleType
from typing import Any

# Imported by TFX, Beam or Keras, but only for what no pipeline here does: together a fifth of the time of `import tfx`.
# TFX 1.21 needs them while it is imported: without them TensorFlow Model Analysis hides an error and lacks EvalConfig.
UNUSED = (
    (
        "google.cloud.bigquery",  # Beam: reads and writes BigQuery
        "google.cloud.bigquery_storage_v1",
        "google.cloud.pubsub",  # Beam: reads and writes Pub/Sub
        "kubernetes",  # TFX: InfraValidator
        "tfx.components",  # imports every component; components/tfx_api.py names the files of those that are used
    )
    if sys.version_info < (3, 11)
    else ()
)


@contextlib.contextmanager
def imported() -> Iterator[None]:
    """What is imported within takes less CPU time, unless TFX was imported before.

    Garbage collection is off meanwhile: it walks a million new objects a dozen times and finds that all are used. They
    are frozen afterwards, so that it never walks them again (https://docs.python.org/3/library/gc.html#gc.freeze).
    """
    if "apache_beam" in sys.modules or not gc.isenabled():
        yield
        return
    for name in UNUSED:
        postpone(name)
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


class Postponed:
    """The `__getattr__` of a module that is not loaded yet (https://peps.python.org/pep-0562/)."""

    def __init__(self, module: ModuleType):
        self._module, self._lock = module, threading.RLock()

    def __call__(self, attribute: str) -> Any:
        with self._lock:
            if vars(self._module).get("__getattr__") is self:
                del self._module.__getattr__
                self._module.__spec__.loader.exec_module(self._module)
        return getattr(self._module, attribute)


def postpone(name: str) -> None:
    """Makes `import NAME` load the module only when something in it is asked for, and its submodules without it.

    Does nothing where the module is not installed or was imported before. Unlike importlib.util.LazyLoader it leaves a
    package postponed while its submodules are imported.
    """
    try:
        spec = importlib.util.find_spec(name) if name not in sys.modules else None
    except ModuleNotFoundError:  # of the package that it is in
        spec = None
    if spec is not None:
        module = importlib.util.module_from_spec(spec)
        module.__getattr__ = Postponed(module)
        sys.modules[name] = module
        package, _, last = name.rpartition(".")
        if package:
            setattr(sys.modules[package], last, module)  # as an import does

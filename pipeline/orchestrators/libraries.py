"""Imports TFX and what it brings in less time: without what no pipeline here uses, and without garbage collection."""

import contextlib
import gc
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import threading
from collections.abc import Collection, Iterator, Sequence
from types import ModuleType
from typing import Any

# Imported by what is named behind each, but only for what no pipeline here does: with OPTIONAL a third of all imports.
# TFX 1.21 needs them while it is imported: without them TensorFlow Model Analysis hides an error and lacks EvalConfig.
UNUSED = (
    (
        "IPython",  # Keras and TensorFlow Data Validation: notebooks
        "docker",  # TFX: components that are containers
        "googleapiclient.discovery",  # TensorFlow: clusters of Compute Engine
        "h5py",  # Keras: files of models, which are SavedModels here
        "keras.wrappers",  # Keras: models for scikit-learn
        "keras_tuner",  # TFX: the Tuner; the modules, for `tuner_fn`
        "keras_tuner.src",
        "keras_tuner.src.utils",
        "kubernetes",  # TFX: InfraValidator
        "nltk",  # TensorFlow Model Analysis: metrics of texts
        "nltk.stem",
        "scipy.linalg",  # Keras 2: changes to images
        "scipy.ndimage",
        "scipy.stats",  # TensorFlow Model Analysis: intervals of confidence
        "tensorflow._api.v2.compat.v1.compat",  # TensorFlow: all its names once more
        "tensorflow._api.v2.compat.v2.compat.v2",
        "tensorflow.python.keras",  # TensorFlow: Keras as it was in 2020
        # TensorFlow Data Validation: columns of dates and texts; it compiles regular expressions for most of a second
        "tensorflow_data_validation.statistics.generators.natural_language_stats_generator",
        "tensorflow_data_validation.statistics.generators.time_stats_generator",
        "tensorflow_model_analysis.view",  # widgets of notebooks
        "tf_keras.src.engine.training_v1",  # Keras 2: training as in TensorFlow 1
        "tfx.components",  # imports every component; components/tfx_api.py names the files of those that are used
    )
    if sys.version_info < (3, 11)
    else ()
)

# Extras, which the libraries that import them do without where they are not installed.
OPTIONAL = (
    (
        "apache_beam.io.aws",  # Beam; so are the others: pipelines on this machine read and write local files
        "apache_beam.io.azure",
        "apache_beam.io.gcp",
        "apitools",
        "oauth2client",  # TensorFlow: clusters of Compute Engine
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
    finder = Finder(UNUSED, OPTIONAL)
    sys.meta_path.insert(0, finder)
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
        sys.meta_path.remove(finder)


class Finder(importlib.abc.MetaPathFinder):
    """Postpones the modules `unused`, and hides those that are `optional`, from who imports them.

    It has no effect on modules that were imported before, and none on those that are imported later.
    """

    def __init__(self, unused: Collection[str], optional: Collection[str]):
        self._unused, self._optional = frozenset(unused), frozenset(optional)

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Returns None for any other module, which leaves it to the finders that Python has."""
        if name in self._optional:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        if name not in self._unused:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = Loader(spec.loader)
        return spec


class Loader(importlib.abc.Loader):
    """Makes a module and leaves its code to Postponed."""

    def __init__(self, loader: importlib.abc.Loader):
        self._loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        """Returns what the module's own loader does."""
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Gives the module its own loader back, and runs none of its code."""
        module.__spec__.loader = module.__loader__ = self._loader
        module.__getattr__ = Postponed(module)


class Postponed:
    """The `__getattr__` of a module whose code did not run yet (https://peps.python.org/pep-0562/).

    Unlike importlib.util.LazyLoader it leaves a package postponed while its submodules are imported.
    """

    def __init__(self, module: ModuleType):
        self._module, self._lock = module, threading.RLock()

    def __call__(self, attribute: str) -> Any:
        """Returns a submodule of that name; otherwise runs the module's code and returns its attribute."""
        if attribute in ("__module__", "__wrapped__"):  # autograph and inspect ask any object; no module has them
            raise AttributeError(f"module {self._module.__name__!r} has no attribute {attribute!r}")
        with self._lock:
            if vars(self._module).get("__getattr__") is self:
                submodule = f"{self._module.__name__}.{attribute}"
                if "__path__" in vars(self._module) and importlib.util.find_spec(submodule):
                    return importlib.import_module(submodule)
                del self._module.__getattr__
                try:
                    self._module.__spec__.loader.exec_module(self._module)
                except BaseException:
                    self._module.__getattr__ = self  # the next access raises the same again
                    raise
        return getattr(self._module, attribute)

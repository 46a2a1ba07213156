"""A dry run of the task's package before the first node: a mistake in it costs seconds, and names file and line."""

import contextlib
import functools
import importlib
import io
import os
import traceback
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from pipeline.errors import BrokenModules
from pipeline.packaging.modules import Modules

if TYPE_CHECKING:
    import tensorflow as tf

T = TypeVar("T")


@functools.cache  # a pipeline in a node of another one need not do it again
def dry_run(modules: Modules, tune: bool = False, device: bool = False) -> None:
    """Imports the package as TFX will, traces its `preprocessing_fn`, and has its models take two images.

    The latter are the package's own functions, `model.dry_run(images)` and `device.dry_run(images)`, where it has them.
    Imports TensorFlow, which the nodes need anyway. Raises BrokenModules.
    """
    functions = ["preprocessing.preprocessing_fn", "model.run_fn"] + ["model.tuner_fn"] * tune
    functions += ["device.run_fn"] * device
    found = {name: _function(modules, name) for name in functions}
    _named(modules, lambda: _trace(found["preprocessing.preprocessing_fn"]))
    images = _pictures()
    for name in ["model", *["device"] * device]:
        module = importlib.import_module(modules.module(name))
        if hasattr(module, "dry_run"):
            with _unoptimized():
                _named(modules, functools.partial(module.dry_run, images))


def _pictures() -> list[bytes]:
    """Draws a grey and a colored PNG, of two sizes."""
    from PIL import Image

    encoded = []
    for picture in (Image.new("L", (32, 32), 128), Image.new("RGB", (48, 32), (255, 128, 0))):
        file = io.BytesIO()
        picture.save(file, "PNG")
        encoded.append(file.getvalue())
    return encoded


@contextlib.contextmanager
def _unoptimized() -> Iterator[None]:
    """TensorFlow runs graphs as they are: to optimize one takes half a second, and two images save nothing by it."""
    import tensorflow as tf

    option = "disable_meta_optimizer"
    before = tf.config.optimizer.get_experimental_options().get(option, False)
    tf.config.optimizer.set_experimental_options({option: True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({option: before})


def _function(modules: Modules, name: str) -> Callable[..., Any]:
    """Imports `module.function`."""
    module, _, function = name.rpartition(".")
    path = f"{modules.module(module).replace('.', '/')}.py"
    imported = _named(modules, lambda: importlib.import_module(modules.module(module)), path)
    if not callable(getattr(imported, function, None)):
        raise BrokenModules(path, 1, f"it has no function {function}, which TFX calls")
    return getattr(imported, function)


def _trace(preprocessing_fn: "Callable[[dict[str, tf.Tensor]], dict[str, tf.Tensor]]") -> None:
    """Calls the function with the features of an example, as symbols without values: TFX does the same first."""
    import tensorflow as tf
    import tensorflow_transform as tft

    types = {"image": tf.string, "label": tf.string, "source": tf.string, "span": tf.int64}
    tft.get_transform_input_columns(
        preprocessing_fn, {name: tf.TensorSpec([None, 1], dtype) for name, dtype in types.items()}
    )


def _named(modules: Modules, work: Callable[[], T], path: str = "") -> T:
    """Returns what `work` does; makes BrokenModules of an error, with the last line of the package on its way.

    `path` is the file to name where no line of the package was reached.
    """
    package = f"{os.sep}{modules.package.replace('.', os.sep)}{os.sep}"
    try:
        return work()
    except Exception as error:
        steps = [step for step in traceback.extract_tb(error.__traceback__) if package in step.filename]
        if isinstance(error, SyntaxError) and package in (error.filename or ""):
            file, line = error.filename, error.lineno or 1
        elif steps:
            file, line = steps[-1].filename, steps[-1].lineno or 1
        else:
            file, line = path or f"{modules.package.replace('.', '/')}/model.py", 1
        name = f"{modules.package.replace('.', '/')}/{file.rpartition(package)[2]}" if package in file else file
        raise BrokenModules(name, line, f"{type(error).__name__}: {_short(str(error))}") from error


def _short(text: str) -> str:
    """Returns the first line of a message, of which TensorFlow's have many."""
    first = next(iter(text.strip().splitlines()), "")
    return first if len(first) <= 300 else f"{first[:300]}..."

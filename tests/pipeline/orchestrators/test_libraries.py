"""The import of TFX without what no pipeline uses. What is imported stays imported, so a process of its own does it."""

import inspect
import subprocess
import sys

import pytest

from pipeline.orchestrators import libraries

# The training pipeline is imported, then compiled for Vertex AI. Then every postponed module has to load all the same.
IMPORT_TFX = """
import gc, importlib, sys
from pipeline.config import Config
from pipeline.orchestrators import compiled, definitions, libraries
from pipeline.plan import Shape

def postponed():
    loaders = {name: vars(sys.modules[name]).get("__getattr__") for name in libraries.UNUSED if name in sys.modules}
    return {name for name, loader in loaders.items() if isinstance(loader, libraries.Postponed)}

definitions.load(definitions.TRAINING)
assert gc.isenabled() and gc.get_freeze_count() > 100_000
early = set(libraries.UNUSED) - {"kubernetes"} - postponed()  # only a compilation imports kubernetes
assert not early, f"imported although they are named as unused: {early}"
optional = {*libraries.OPTIONAL, "google.api_core", "sklearn"} if libraries.OPTIONAL else set()
assert not optional & set(sys.modules), f"imported: {optional & set(sys.modules)}"

compiled.compile_pipeline(Config(image=f"name@sha256:{'0' * 64}"), definitions.TRAINING, Shape())
for name in libraries.UNUSED:
    module = importlib.import_module(name)
    assert getattr(module, "not_there", None) is None and name not in postponed(), f"{name} does not load"
for name in libraries.OPTIONAL:
    importlib.import_module(name)

import keras_tuner
import scipy.stats
import tensorflow as tf
import tensorflow_data_validation
import tensorflow_model_analysis
import tfx.components
from apache_beam.io import filesystems
from apache_beam.io.gcp import gcsfilesystem
from google.cloud import bigquery
from pipeline.components import tfx_api

assert tfx.components.Trainer is tfx_api.Trainer and tfx.components.Pusher
assert keras_tuner.BayesianOptimization and keras_tuner.HyperParameters().Float("rate", 0, 1) == 0
assert scipy.stats.norm.cdf(0) == 0.5
assert tf.compat.v1.compat.v1.placeholder and tf.compat.v2.compat.v2.function
assert tensorflow_model_analysis.EvalConfig and tensorflow_model_analysis.view.render_slicing_metrics
assert tensorflow_data_validation.StatsOptions(enable_semantic_domain_stats=True)
assert isinstance(filesystems.FileSystems.get_filesystem("gs://bucket/name"), gcsfilesystem.GCSFileSystem)
assert bigquery.Client
"""


def test_tfx_is_imported_without_what_no_pipeline_uses_which_is_there_when_it_is_asked_for():
    subprocess.run([sys.executable, "-W", "ignore", "-c", IMPORT_TFX], check=True)


@pytest.fixture
def package(tmp_path, monkeypatch) -> str:
    """The name of a package, and a finder that postpones the package and its part `other`, and hides `extra`."""
    folder = tmp_path / "slowly"
    folder.mkdir()
    (folder / "__init__.py").write_text("import slowly.part\nVALUE = slowly.part.PART + 1\n")
    (folder / "part.py").write_text("PART = 1\n")
    (folder / "other.py").write_text("OTHER = 3\n")
    (folder / "extra.py").write_text("EXTRA = 4\n")
    (folder / "broken.py").write_text("raise ImportError('needs more')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    postponed = ["slowly", "slowly.other", "slowly.broken", "not_installed_anywhere"]
    monkeypatch.setattr(sys, "meta_path", [libraries.Finder(postponed, ["slowly.extra"]), *sys.meta_path])
    yield "slowly"
    for name in ("slowly", "slowly.part", "slowly.other", "slowly.broken", "slowly.extra"):
        sys.modules.pop(name, None)


def test_a_postponed_package_is_loaded_when_something_in_it_is_asked_for(package):
    import slowly
    import slowly.other
    import slowly.part

    assert slowly.part.PART == 1 and "VALUE" not in vars(slowly)
    assert "OTHER" not in vars(slowly.other) and slowly.other.OTHER == 3
    assert slowly.VALUE == 2
    from slowly import VALUE

    assert VALUE == 2
    with pytest.raises(AttributeError, match="slowly.*missing"):
        slowly.missing  # noqa: B018


def test_an_inspection_of_a_postponed_package_does_not_load_it(package):
    import slowly

    assert not hasattr(slowly, "__module__") and inspect.unwrap(slowly) is slowly
    assert "VALUE" not in vars(slowly)


def test_a_submodule_is_imported_without_its_postponed_package(package):
    from slowly import other, part

    assert part.PART == 1 and other.OTHER == 3
    assert "VALUE" not in vars(sys.modules["slowly"])


def test_the_error_of_a_postponed_module_is_raised_each_time_it_is_asked_for(package):
    import slowly.broken

    for _ in range(2):
        with pytest.raises(ImportError, match="needs more"):
            slowly.broken.VALUE  # noqa: B018


def test_what_is_optional_is_missing_until_the_import_of_tfx_has_ended(package):
    with pytest.raises(ModuleNotFoundError, match="slowly.extra"):
        import slowly.extra
    del sys.meta_path[0]
    import slowly.extra

    assert slowly.extra.EXTRA == 4


def test_what_is_not_installed_stays_so(package):
    with pytest.raises(ModuleNotFoundError):
        import not_installed_anywhere  # noqa: F401

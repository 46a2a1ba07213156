"""The import of TFX without what no pipeline uses. What is imported stays imported, so a process of its own does it."""

import subprocess
import sys

import pytest

from pipeline.orchestrators import libraries

IMPORT_TFX = """
import gc, sys
from pipeline.config import Config
from pipeline.orchestrators import compiled, definitions, libraries
from pipeline.plan import Shape

compiled.compile_pipeline(Config(image=f"name@sha256:{'0' * 64}"), definitions.TRAINING, Shape())
assert gc.isenabled() and gc.get_freeze_count() > 100_000
loaders = {name: vars(sys.modules[name]).get("__getattr__") for name in libraries.UNUSED}
early = [name for name, loader in loaders.items() if not isinstance(loader, libraries.Postponed)]
runner = {"kubernetes", "tfx.components"}  # of pipelines on Vertex AI, which only a compilation imports
assert set(early) <= runner, f"imported although they are named as unused: {early}"

import tfx.components
from google.cloud import bigquery
from pipeline.components import tfx_api

assert tfx.components.Trainer is tfx_api.Trainer and tfx.components.Pusher
assert bigquery.Client
"""


def test_tfx_is_imported_without_what_no_pipeline_uses_which_is_there_when_it_is_asked_for():
    subprocess.run([sys.executable, "-W", "ignore", "-c", IMPORT_TFX], check=True)


@pytest.fixture
def package(tmp_path, monkeypatch) -> str:
    """The name of a package that notes when it is loaded."""
    folder = tmp_path / "slowly"
    folder.mkdir()
    (folder / "__init__.py").write_text("import slowly.part\nVALUE = slowly.part.PART + 1\n")
    (folder / "part.py").write_text("PART = 1\n")
    (folder / "other.py").write_text("OTHER = 3\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "slowly"
    for name in ("slowly", "slowly.part", "slowly.other"):
        sys.modules.pop(name, None)


def test_a_postponed_package_is_loaded_when_something_in_it_is_asked_for(package):
    libraries.postpone(package)
    libraries.postpone(f"{package}.other")

    import slowly
    import slowly.other
    import slowly.part

    assert slowly.part.PART == 1 and "VALUE" not in vars(slowly)
    assert slowly.other.OTHER == 3 and "VALUE" not in vars(slowly)
    assert slowly.VALUE == 2
    from slowly import VALUE

    assert VALUE == 2
    with pytest.raises(AttributeError, match="slowly.*missing"):
        slowly.missing  # noqa: B018


def test_what_is_not_installed_stays_so():
    libraries.postpone("not_installed_anywhere")
    libraries.postpone("not_installed_anywhere.part")

    with pytest.raises(ModuleNotFoundError):
        import not_installed_anywhere  # noqa: F401

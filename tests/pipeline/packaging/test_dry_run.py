"""The dry run of a task's package; that a mistake in one ends a command is shown beside the commands."""

import io
import sys

import pytest

from pipeline.errors import BrokenModules
from pipeline.packaging import modules
from pipeline.packaging.dry_run import dry_run
from tests.conftest import put

PREPROCESSING = "def preprocessing_fn(inputs):\n    return inputs\n"
MODEL = """
import tensorflow as tf

run_fn = print
TAKEN, OPTIONS = [], []


def dry_run(images):
    TAKEN.extend(images)
    OPTIONS.append(tf.config.optimizer.get_experimental_options())
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Writes a package, given what its model.py holds, and returns it as Modules."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(model: str) -> modules.Modules:
        (tmp_path / "trial").mkdir()
        (tmp_path / "trial" / "preprocessing.py").write_text(PREPROCESSING)
        (tmp_path / "trial" / "model.py").write_text(model)
        return modules.find("trial", [str(tmp_path)])

    yield write
    for name in ("trial", "trial.model", "trial.preprocessing"):
        sys.modules.pop(name, None)


def test_a_model_takes_a_grey_and_a_colored_image_without_an_optimizer_of_graphs(package):
    import tensorflow as tf
    from PIL import Image

    dry_run(package(MODEL))

    from trial.model import OPTIONS, TAKEN

    shown = [Image.open(io.BytesIO(image)) for image in TAKEN]
    assert [(image.format, image.mode, image.size) for image in shown] == [
        ("PNG", "L", (32, 32)),
        ("PNG", "RGB", (48, 32)),
    ]
    assert OPTIONS[0]["disable_meta_optimizer"]
    assert not tf.config.optimizer.get_experimental_options()["disable_meta_optimizer"]


def test_a_mistake_is_named_with_file_and_line_and_the_optimizer_comes_back(package):
    import tensorflow as tf

    broken = package("def run_fn(fn_args): ...\n\n\ndef dry_run(images):\n    images.shape\n")
    with pytest.raises(BrokenModules, match=r"trial/model.py.*5.*no attribute 'shape'"):
        dry_run(broken)
    assert not tf.config.optimizer.get_experimental_options()["disable_meta_optimizer"]


OF_ANOTHER_FEATURE = 'def preprocessing_fn(inputs):\n    return {"label": inputs["labels"]}\n'


@pytest.mark.parametrize(
    "name, files, line, what",
    [
        ("other_feature", {"preprocessing": OF_ANOTHER_FEATURE, "model": "run_fn = print"}, 2, "labels"),
        ("no_run_fn", {"model": "def train(): ..."}, 1, "it has no function run_fn, which"),
        ("no_import", {"model": "import sys\nfrom sys import nothing"}, 2, "ImportError: .*nothing"),
    ],
)
def test_a_mistake_in_each_module_is_named(tmp_path, monkeypatch, name, files, line, what):
    package, file = f"trial_of_{name}", next(iter(files))
    put(
        tmp_path / package,
        {f"{of}.py": text.encode() for of, text in {"preprocessing": PREPROCESSING, **files}.items()},
    )
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(BrokenModules, match=rf"^{package}/{file}\.py line {line}: .*{what}"):
        dry_run(modules.Modules(package, digest="", schema=""))

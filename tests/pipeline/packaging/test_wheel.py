import os
import pathlib
import subprocess
import sys
import time

import pytest

from pipeline.config import Config
from pipeline.errors import BrokenModules, ModulesNeedAnImage
from pipeline.packaging import modules, wheel

ROOT = pathlib.Path(__file__).resolve().parents[3]
FILES = {
    "tasks/__init__.py": b"",
    "tasks/cats/__init__.py": b"NAMES = 1\n",
    "tasks/cats/model.py": b"import numpy\nfrom tasks.cats.more import deep\n\ndef run_fn():\n    return deep.VALUE\n",
    "tasks/cats/more/deep.py": b"VALUE = 'from the wheel'\n",
    "tasks/cats/names, all.csv": b"a,b\n",
    "tasks/cats/schema.pbtxt": b"feature {}\n",
}


def put(root, files=FILES):
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return [str(root)]


def refused(text):
    with pytest.raises(ModulesNeedAnImage) as error:
        wheel.check(FILES | {"tasks/cats/model.py": text.encode()})
    assert "push needs the full branch" in str(error.value)
    return str(error.value)


def test_the_same_files_give_the_same_wheel_on_another_day_in_another_folder(tmp_path):
    here, there = put(tmp_path / "here"), put(tmp_path / "there", dict(reversed(FILES.items())))
    for path in (tmp_path / "there").rglob("*"):
        os.utime(path, (time.time() - 1e8,) * 2)
        path.chmod(0o700)

    first, second = (modules.contents("tasks.cats", search) for search in (here, there))

    assert wheel.build(first) == wheel.build(second)
    assert modules.digest(first) == modules.find("tasks.cats", there).digest


def test_a_wheel_is_copied_once_with_its_schema_beside_it(tmp_path):
    search, config = put(tmp_path / "here"), Config(workspace=str(tmp_path / "workspace"), modules="tasks.cats")

    copied = wheel.copy(config, search)
    before = os.stat(copied.wheel).st_mtime_ns
    again = wheel.copy(config, search)

    assert copied == again and os.stat(copied.wheel).st_mtime_ns == before
    assert copied.digest == modules.find("tasks.cats", search).digest and copied.digest in copied.wheel
    assert pathlib.Path(copied.schema).read_bytes() == FILES["tasks/cats/schema.pbtxt"]

    (tmp_path / "here" / "tasks" / "cats" / "schema.pbtxt").unlink()
    other = wheel.copy(config, search)
    assert other.schema == "" and other.digest != copied.digest and os.path.exists(copied.wheel)


def test_pip_installs_it_without_network_and_tfx_finds_its_functions(tmp_path):
    config = Config(workspace=str(tmp_path / "workspace"), modules="tasks.cats")
    copied = wheel.copy(config, put(tmp_path / "here"))
    target = tmp_path / "installed"

    pip = [sys.executable, "-m", "pip", "install", "--no-index", "--quiet", "--target", target, copied.wheel]
    subprocess.run(pip, check=True)
    program = "from tasks.cats import model; print(model.run_fn())"
    done = subprocess.run([sys.executable, "-c", program], cwd=target, capture_output=True, text=True, check=True)

    assert done.stdout == "from the wheel\n"
    installed = {name: (target / name).read_bytes() for name in FILES}
    assert installed == FILES
    # TFX splits at the last dot, then at the @
    place, _, function = copied.function("model.run_fn").rpartition(".")
    assert (place.split("@", 1), function) == (["tasks.cats.model", copied.wheel], "run_fn")


def test_the_modules_of_this_repository_fit_its_image(tmp_path):
    copied = wheel.copy(Config(workspace=str(tmp_path)), [str(ROOT)])
    assert copied.package == "modules.classification" and copied.wheel.endswith("-py3-none-any.whl")


@pytest.mark.parametrize(
    "text",
    [
        "import os, numpy.linalg, tensorflow as tf\nfrom tensorflow.keras import layers",
        "from google.cloud import storage\nfrom google.protobuf import text_format",
        "from .more import deep\nfrom . import model, NAMES\nfrom tasks import cats",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch\nelse:\n    import json",
        "import importlib\nimportlib.import_module('keras')",
    ],
)
def test_what_the_image_has_may_be_imported(text):
    wheel.check(FILES | {"tasks/cats/model.py": text.encode()})


@pytest.mark.parametrize(
    "text, named",
    [
        ("import os\nimport torch", "tasks/cats/model.py line 2 imports torch"),
        ("def run_fn():\n    from torch import nn", "line 2 imports torch.nn"),
        ("try:\n    import torch\nexcept ImportError:\n    torch = None", "line 2 imports torch"),
        ("import importlib\nimportlib.import_module('torch')", "line 2 imports torch"),
        ("from google.cloud import translate_v9", "line 1 imports google.cloud.translate_v9"),
        ("from pipeline import plan", "line 1 imports pipeline.plan"),
        ("import tests.conftest", "line 1 imports tests.conftest"),
        ("import pytest", "line 1 imports pytest"),  # is installed here, but not in the image
        ("import clang.cindex", "line 1 imports clang.cindex"),  # left out of the image
        ("from tasks.dogs import model", "line 1 imports tasks.dogs.model"),
        ("from tasks import dogs", "line 1 imports tasks.dogs"),
        ("from .. import dogs", "line 1 imports tasks.dogs"),
    ],
)
def test_what_the_image_does_not_have_is_named_with_its_line(text, named):
    assert named in refused(text)


def test_everything_that_is_missing_is_named_at_once():
    message = refused("import torch\nimport jax")
    assert "line 1 imports torch; " in message and "line 2 imports jax" in message


def test_a_package_may_not_have_the_name_of_one_in_the_image():
    with pytest.raises(ModulesNeedAnImage, match="'keras' is taken"):
        wheel.check({"keras/model.py": b""})


@pytest.mark.parametrize("data", [b"ok = 1\ndef run_fn(:\n", b"ok = 1\nx = '\xff'"])
def test_a_file_that_python_cannot_read_is_refused_with_its_line(data):
    with pytest.raises(BrokenModules, match=r"tasks/cats/model.py line 2: "):
        wheel.check(FILES | {"tasks/cats/model.py": data})


def test_nothing_is_copied_of_modules_that_are_refused(tmp_path):
    search = put(tmp_path / "here", FILES | {"tasks/cats/model.py": b"import torch"})
    with pytest.raises(ModulesNeedAnImage):
        wheel.copy(Config(workspace=str(tmp_path / "workspace"), modules="tasks.cats"), search)
    assert not (tmp_path / "workspace").exists()


def test_the_wheel_goes_into_a_bucket(cloud_environment, gs_workspace, tmp_path):
    config = Config(workspace=gs_workspace, modules="tasks.cats")
    search = put(tmp_path)

    copied = wheel.copy(config, search)

    assert wheel.copy(config, search) == copied
    assert copied.wheel.startswith(f"{gs_workspace}/modules/{copied.digest}/")
    files = modules.contents("tasks.cats", search)
    assert cloud_environment.gcs.read(copied.wheel) == wheel.build(files)[1]
    assert cloud_environment.gcs.read(copied.schema) == FILES["tasks/cats/schema.pbtxt"]

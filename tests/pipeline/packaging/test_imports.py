import pytest

from pipeline.errors import BrokenModules, ImportOfAnotherTask
from pipeline.packaging import imports

FILES = {
    "tasks/__init__.py": b"NAMES = ['cats']\n",
    "tasks/cats/__init__.py": b"",
    "tasks/cats/model.py": b"run_fn = 1\n",
    "tasks/cats/deep/layers.py": b"",
}


def check(text: str) -> None:
    imports.check("tasks.cats", FILES | {"tasks/cats/other.py": text.encode()})


@pytest.mark.parametrize(
    "text",
    [
        "from tasks.cats.model import run_fn\nfrom tasks.cats import model\nimport tasks.cats.deep.layers",
        "from . import model\nfrom .deep import layers\nfrom .model import *",
        "from tasks import NAMES, cats",
        "import tasks_of_others, os, torch",
    ],
)
def test_a_task_may_import_its_own_files_and_packages_from_elsewhere(text):
    check(text)


@pytest.mark.parametrize(
    "text, module",
    [
        ("import os\nfrom tasks.dogs.model import run_fn", "tasks.dogs.model.run_fn"),
        ("import os\nimport tasks.dogs", "tasks.dogs"),
        ("import os\nfrom tasks import dogs", "tasks.dogs"),
        ("import os\nfrom ..dogs import model", "tasks.dogs.model"),
        ("def f():\n    import tasks.dogs_and_cats", "tasks.dogs_and_cats"),
        ("import importlib\nimportlib.import_module('tasks.dogs.model')", "tasks.dogs.model"),
        ("import os\nfrom tasks.catsanddogs import model", "tasks.catsanddogs.model"),
    ],
)
def test_an_import_of_another_task_is_refused_with_its_file_and_line(text, module):
    with pytest.raises(ImportOfAnotherTask) as error:
        check(text)

    assert (error.value.name, error.value.line, error.value.module) == ("tasks/cats/other.py", 2, module)
    assert error.value.exit_code == 2 and "tasks/cats/other.py line 2" in str(error.value)


@pytest.mark.parametrize(
    "text, line, what",
    [
        ("x = 1\ny = (", 2, "never closed"),
        ("\nfrom tasks.cats.absent import f", 2, "there is no tasks.cats.absent.f to import"),
        ("from . import absent", 1, "there is no tasks.cats.absent to import"),
    ],
)
def test_what_python_cannot_read_or_find_is_named(text, line, what):
    with pytest.raises(BrokenModules, match=what) as error:
        check(text)

    assert (error.value.name, error.value.line) == ("tasks/cats/other.py", line)


def test_a_package_that_is_not_installed_is_named_unless_the_import_may_fail():
    optional = "try:\n    import torch_of_a_test\nexcept ImportError:\n    torch_of_a_test = None\n"
    lazy = "def f():\n    import torch_of_a_test\n"
    for text in (optional, lazy, "import os, numpy\nfrom google.protobuf import text_format"):
        imports.check_installed("tasks.cats", {"tasks/cats/model.py": text.encode()})

    with pytest.raises(BrokenModules, match="line 2: the package torch_of_a_test is not installed.*pyproject.toml"):
        imports.check_installed("tasks.cats", {"tasks/cats/model.py": b"import os\nfrom torch_of_a_test import nn"})

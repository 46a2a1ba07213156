import pytest

from pipeline.errors import ModulesNotFound, NoTask
from pipeline.packaging import modules


@pytest.fixture
def package(tmp_path):
    folder = tmp_path / "here" / "tasks" / "cats"
    folder.mkdir(parents=True)
    (folder / "model.py").write_text("run_fn = 1")
    (folder / "preprocessing.py").write_text("preprocessing_fn = 1")
    return folder


def digest(package):
    return modules.find("tasks.cats", [str(package.parents[1])]).digest


def test_functions_are_named_in_their_package(package):
    found = modules.find("tasks.cats", ["/nowhere", str(package.parents[1])])

    assert found.function("model.run_fn") == "tasks.cats.model.run_fn"
    assert found.schema == ""


def test_a_schema_beside_the_model_is_found(package):
    (package / "schema.pbtxt").write_text("")

    assert modules.find("tasks.cats", [str(package.parents[1])]).schema == str(package / "schema.pbtxt")


def test_the_digest_is_that_of_names_and_contents_alone(package, tmp_path):
    before = digest(package)
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "model.pyc").write_bytes(b"compiled")
    elsewhere = package.parents[1].rename(tmp_path / "there") / "tasks" / "cats"
    assert digest(elsewhere) == before

    (elsewhere / "model.py").write_text("run_fn = 2")
    changed = digest(elsewhere)
    assert changed != before

    (elsewhere / "model.py").rename(elsewhere / "network.py")
    assert digest(elsewhere) not in (before, changed)


def test_a_package_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ModulesNotFound, match="tasks/dogs"):
        modules.find("tasks.dogs", [str(tmp_path)])
    with pytest.raises(NoTask, match=r"set MODULES, or `modules` below \[tool.spanloop\] in pyproject.toml"):
        modules.find("", [str(tmp_path)])


def test_the_packages_around_a_task_belong_to_it_and_other_tasks_do_not(package):
    before = digest(package)
    (package.parent / "dogs").mkdir()
    (package.parent / "dogs" / "model.py").write_text("run_fn = 3")
    (package / ".model.py.swp").write_bytes(b"an editor's")
    assert digest(package) == before

    (package.parent / "__init__.py").write_text("")
    assert digest(package) != before
    found = modules.contents("tasks.cats", [str(package.parents[1])])
    assert list(found) == ["tasks/__init__.py", "tasks/cats/model.py", "tasks/cats/preprocessing.py"]

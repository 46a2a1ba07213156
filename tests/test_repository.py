"""Rules for the repository as a whole, checked by reading its files."""

import ast
import functools
import json
import pathlib
import re
import shlex
import subprocess
import sys
import warnings
from collections.abc import Iterator

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[1]
OURS = ("ci", "apps", "pipeline", "modules", "tests", "benchmarks", "install")
HEAVY = (
    "tensorflow",
    "tfx",
    "tensorflow_data_validation",
    "tensorflow_model_analysis",
    "tensorflow_transform",
    "keras",
)
# Addresses of package registries and paths of one machine: both would make a clone depend on the author's machine.
REGISTRY = re.compile(
    r"pypi\.org|pythonhosted\.org|registry\.npmjs\.org|crates\.io|proxy\.golang\.org|deb\.debian\.org"
)
MACHINE = re.compile(r"(?<![\w.$}/-])/(work|root)\b")


@functools.cache
def files() -> tuple[pathlib.Path, ...]:
    """All files of the repository: those that git tracks or would add; without git, those outside hidden folders."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        names = subprocess.run(command, capture_output=True, check=True, text=True).stdout.split("\0")
        found = [ROOT / name for name in names if name]
    except (OSError, subprocess.CalledProcessError):
        found = [
            path for path in ROOT.rglob("*") if not any(part[0] == "." for part in path.relative_to(ROOT).parts[:-1])
        ]
    return tuple(path for path in found if path.is_file())


def sources(*folders: str) -> list[pathlib.Path]:
    """The Python files below these folders."""
    paths = [path.relative_to(ROOT) for path in files() if path.suffix == ".py"]
    return [path for path in paths if path.parts[0] in folders]


def name_of(path: pathlib.Path) -> str:
    """`pipeline/data/spans.py` as pipeline.data.spans."""
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


@functools.cache
def tree(path: pathlib.Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"), str(path))


def imports(path: pathlib.Path, only_at_once: bool = False) -> Iterator[str]:
    """Full names of a file's imports: all of them, or with `only_at_once` those executed when it is imported."""
    waiting: list[ast.AST] = [tree(path)]
    package = path.parent.parts
    while waiting:
        node = waiting.pop()
        later = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for_checkers = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if only_at_once and (later or for_checkers):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = ".".join(package[: len(package) + 1 - node.level]) if node.level else ""
            module = ".".join(filter(None, (start, node.module)))
            yield from (f"{module}.{alias.name}" for alias in node.names)
        waiting.extend(ast.iter_child_nodes(node))


def belongs(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


@pytest.mark.parametrize(
    "folder, may",
    [
        ("benchmarks", ("benchmarks", "ci", "pipeline")),
        ("tests", OURS),
    ],
)
def test_imports_point_one_way(folder, may):
    forbidden = tuple(set(OURS) - set(may))
    wrong = [f"{path} imports {name}" for path in sources(folder) for name in imports(path) if belongs(name, forbidden)]
    assert not wrong


def test_a_task_of_modules_imports_only_its_siblings_from_this_repository():
    wrong = []
    for path in sources("modules"):
        siblings = (".".join(path.parts[:2]),)
        found = [name for name in imports(path) if belongs(name, OURS) and not belongs(name, siblings)]
        wrong += [f"{path} imports {name}" for name in found]
    assert not wrong


def way_to(heavy: tuple[str, ...], start: pathlib.Path) -> str:
    """The chain of imports by which importing a file imports TensorFlow; "" if it does not."""
    by_name = {name_of(path): path for path in sources("ci", "pipeline")}
    seen, waiting = {start}, [(start,)]
    while waiting:
        way = waiting.pop()
        for name in imports(way[-1], only_at_once=True):
            if belongs(name, heavy):
                return " -> ".join([*map(str, way), name])
            parts = name.split(".")
            for path in filter(None, (by_name.get(".".join(parts[:length])) for length in range(1, len(parts) + 1))):
                if path not in seen:
                    seen.add(path)
                    waiting.append((*way, path))
    return ""


def is_command(path: pathlib.Path) -> bool:
    """True when a file of ci/ is a command, recognised by its decorator."""
    functions = [node for node in tree(path).body if isinstance(node, ast.FunctionDef)]
    return any(ast.unparse(decorator) == "command" for node in functions for decorator in node.decorator_list)


def test_data_and_the_framework_of_commands_do_not_import_tensorflow():
    data = [path for path in sources("pipeline") if path.parts[1] == "data"]
    framework = [path for path in sources("ci") if not is_command(path)]
    assert data and framework
    assert not list(filter(None, (way_to(HEAVY, path) for path in data + framework)))


def twin(test: pathlib.Path) -> pathlib.Path:
    """The file that a test file tests: tests/ci/test_main.py tests ci/__main__.py."""
    name = test.stem.removeprefix("test_")
    if test.parts[1:3] == ("apps", "web"):  # in TypeScript
        return pathlib.Path("apps", "web", "src", f"{name.replace('_', '-')}.ts")
    return pathlib.Path(*test.parts[1:-1], f"{'__main__' if name == 'main' else name}.py")


def is_module(path: pathlib.Path) -> bool:
    """True for a file, and where a package of that name is."""
    return path.is_file() or (path.with_suffix("") / "__init__.py").is_file()


def test_every_test_file_has_its_twin():
    tests = [path for path in sources("tests") if path.name.startswith("test_")]
    about_all = [pathlib.Path("tests", f"test_{name}.py") for name in ("repository", "language", "documentation")]
    mirrored = [
        path
        for path in tests
        if path not in about_all
        and path.parts[1] not in ("emulators", "workflows")
        and path.name != "test_notebooks.py"
    ]
    alone = [f"{test} without {twin(test)}" for test in mirrored if not is_module(ROOT / twin(test))]
    assert mirrored and not alone


def test_every_file_has_a_docstring():
    paths = [path for path in sources(*OURS, "install.py") if not path.name.startswith(("__init__", "test_"))]
    silent = [str(path) for path in paths if not ast.get_docstring(tree(path))]
    assert not silent


def test_no_file_names_a_registry_or_a_folder_of_one_machine():
    found = []
    for path in files():
        text = path.read_bytes().decode("utf-8", "replace")
        patterns = [MACHINE] if path.name == "uv.lock" else [MACHINE, REGISTRY]  # uv writes where it downloads from
        found += [
            f"{path.relative_to(ROOT)}: {match.group()}" for pattern in patterns for match in pattern.finditer(text)
        ]
    assert not found


def uv(*arguments: str) -> str:
    """Output of the locked uv, which runs offline."""
    command = [sys.executable, "-m", "uv", *arguments, "--offline", "--python", sys.executable]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_lock_is_made_from_pyproject():
    uv("lock", "--check")


@pytest.mark.parametrize(
    "file, groups",
    [
        ("requirements.txt", ("--no-default-groups", "--group", "pipeline")),
        ("cloudbuild/cpu.txt", ("--only-group", "image-cpu")),
        ("cloudbuild/gpu.txt", ("--only-group", "image-gpu")),
    ],
)
def test_requirements_are_exported_from_the_lock(file, groups):
    exported = uv("export", "--quiet", "--frozen", *groups, "--no-annotate", "--no-header")
    written = (ROOT / file).read_text().splitlines()
    is_equal = [line for line in written if not line.startswith("#")] == exported.splitlines()
    assert is_equal, f"{file} does not match uv.lock: run `make requirements`"


def test_the_changelog_has_the_form_of_keep_a_changelog_and_begins_with_this_version():
    changes = (ROOT / "CHANGELOG.md").read_text()
    versions = re.findall(r"^## \[(.+?)\]( - \d{4}-\d\d-\d\d)?$", changes, re.M)
    numbers = [tuple(map(int, version.split("."))) for version, _ in versions[1:]]
    project = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.M)[1]
    assert versions[0] == ("Unreleased", "") and versions[1][0] == project
    assert numbers == sorted(numbers, reverse=True) and len(versions) == changes.count("\n## ")
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.+)$", changes, re.M)) <= kinds


def test_code_owners_are_asked_about_files_that_exist():
    rules = re.findall(r"^# (/\S+) @OWNER$", (ROOT / ".github" / "CODEOWNERS").read_text(), re.M)
    assert len(rules) == 5 and all((ROOT / path.strip("/")).exists() for path in rules)


def test_hooks_of_pre_commit_pass_on_this_repository():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    example = {"python": "tests/places.py", "shell": "cloudbuild/entrypoint.sh", "yaml": ".github/dependabot.yml"}
    for hook in hooks:
        files = [example[kind] for kind in hook["types"] if hook.get("pass_filenames", True)]
        done = subprocess.run([*shlex.split(hook["entry"]), *files], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, f"{hook['id']}: {done.stdout}{done.stderr}"


def test_a_new_dev_container_is_set_up_by_make():
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    assert container["updateContentCommand"] == "make install"  # a prebuild runs it, too


def test_the_bill_of_materials_lists_what_the_image_installs(tmp_path):
    (recipe,) = re.findall(
        r"^sbom:.*\n\t@\$\(PYTHON\) -m uv (export .*) --output-file", (ROOT / "Makefile").read_text(), re.M
    )
    listed = {(of["name"], of["version"]) for of in json.loads(uv(*recipe.split()))["components"]}
    pinned = "".join((ROOT / name).read_text() for name in ("requirements.txt", "cloudbuild/cpu.txt"))
    installed = set(re.findall(r"^([\w.-]+)==([^ ;]+)", pinned, re.M))
    assert len(installed) > 200 and installed <= listed


def test_every_target_of_make_explains_itself():
    output = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    phony = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.M).group(1).split()
    assert {"demo", "test", "lint", "bench", "install", "test-modern"} <= set(phony)
    assert [target for target in phony if not re.search(rf"^ +make {target} +\w", output, re.M)] == []


def test_a_warning_in_our_own_code_is_an_error():
    for module in ("pipeline", "pipeline.data.spans", "ci.outcome", "modules.classification.model"):
        with pytest.raises(DeprecationWarning):
            warnings.warn_explicit("old", DeprecationWarning, "file.py", 1, module)
    with pytest.warns(DeprecationWarning):
        warnings.warn_explicit("old", DeprecationWarning, "file.py", 1, "pipelines_of_others")

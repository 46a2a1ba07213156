"""Program: prints, as JSON, which imports TFX and its libraries try and go on without, by whether they work here.

It is handed to `python -c`, since the image has no tests, and needs only the standard library.
"""

import ast
import importlib
import importlib.util
import json
import pathlib
from collections.abc import Iterator

PACKAGES = (
    "apache_beam keras_tuner ml_metadata tensorflow_data_validation tensorflow_model_analysis tensorflow_transform"
    " tfx tfx_bsl"
).split()
TESTS = {"testdata", "testing", "tests"}


def optional(package: str) -> Iterator[tuple[str, str]]:
    """Yields module and name ("" for a module itself) of the package's imports in a `try` that catches ImportError."""
    (folder,) = importlib.util.find_spec(package).submodule_search_locations
    for path in sorted(pathlib.Path(folder).rglob("*.py")):
        if path.name.endswith(("_test.py", "_test_it.py")) or TESTS.intersection(path.parts):
            continue
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Try) and any(map(_catches, node.handlers)):
                for inner in (inner for statement in node.body for inner in ast.walk(statement)):
                    if isinstance(inner, ast.Import):
                        yield from ((alias.name, "") for alias in inner.names)
                    elif isinstance(inner, ast.ImportFrom) and not inner.level:
                        yield from ((inner.module, alias.name.strip("*")) for alias in inner.names)


def _catches(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return not {"ImportError", "ModuleNotFoundError", "Exception"}.isdisjoint(map(ast.unparse, caught))


def works(module: str, name: str) -> bool:
    """True when `from module import name`, or `import module` where there is no name, raises no error."""
    try:
        loaded = importlib.import_module(module)
        if name and not hasattr(loaded, name):
            importlib.import_module(f"{module}.{name}")
    except Exception:  # a package may raise anything while it is imported
        return False
    return True


if __name__ == "__main__":
    found: dict[str, list[str]] = {"works": [], "fails": []}
    for module, name in sorted({wanted for package in PACKAGES for wanted in optional(package)}):
        found["works" if works(module, name) else "fails"].append(f"{module} {name}".rstrip())
    print(json.dumps(found))

"""Excludes the tests that execute whole notebooks from `make test`; `make test-notebooks` names them."""

collect_ignore = ["test_notebooks.py"]

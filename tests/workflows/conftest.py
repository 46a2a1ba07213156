"""Excludes tests that need Go or Node.js from `make test`; `make test-workflows` names them."""

collect_ignore = ["executed", "test_openapi.py"]

"""What needs Go or Node.js: `make test-workflows` names it, `make test` needs nothing but Python."""

collect_ignore = ["executed", "test_openapi.py"]

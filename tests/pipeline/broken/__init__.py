"""A task whose preprocessing cannot run."""

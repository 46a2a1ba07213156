"""Functions that only workflows need; pipeline/ does not import them."""

"""A mistake of a user's."""


def preprocessing_fn(inputs):
    """Fails."""
    raise RuntimeError("broken on purpose")

"""As in modules/classification."""

from modules.classification.model import run_fn

__all__ = ["run_fn"]

"""As in modules/classification."""

from modules.classification.preprocessing import preprocessing_fn

__all__ = ["preprocessing_fn"]

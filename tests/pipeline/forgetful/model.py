"""Exports the network as it is before the first epoch."""

from modules.classification import model
from modules.classification.settings import SETTINGS


def run_fn(fn_args):
    """Trains on nothing."""
    preprocessing = model.Preprocessing(fn_args.transform_output)
    network = model.build_model(SETTINGS, classes=len(preprocessing.labels))
    model.export(network, preprocessing, fn_args.serving_model_dir)

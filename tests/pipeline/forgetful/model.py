"""Exports the network as it is before the first epoch, also after a search for hyperparameters."""

import dataclasses

from modules.classification import model
from modules.classification.settings import SETTINGS

NOTHING = dataclasses.replace(SETTINGS, epochs=0)


def run_fn(fn_args):
    """Trains on nothing."""
    model.run_fn(fn_args, NOTHING)


def tuner_fn(fn_args):
    """Tries one set of values for one epoch."""
    search = model.tuner_fn(fn_args, NOTHING)
    search.tuner.oracle.max_trials = 1
    return search

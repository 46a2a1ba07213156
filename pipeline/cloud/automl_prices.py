"""What a run of the AutoML pipeline costs at most for training, by Google's prices.

ADDRESS, "Image data", column "classification", read in November 2026. Training is the larger part: batch prediction
takes $2.222 a node hour.
"""

from pipeline.config import Config
from pipeline.errors import TooExpensive

ADDRESS = "https://cloud.google.com/vertex-ai/pricing"
CLOUD, EDGE = 3.465, 18.00  # US dollars for a node hour of training, of a cloud model and of a device model
DEPLOYED = 1.375  # US dollars for each hour that a node serves the cloud model


def most_dollars(config: Config) -> float:
    """Returns what both trainings cost at most, in US dollars: AutoML stops earlier when it makes no progress."""
    return (config.automl_cloud_budget * CLOUD + config.automl_edge_budget * EDGE) / 1000


def check(config: Config, accepted: bool = False) -> None:
    """Raises TooExpensive for trainings that may cost more than AUTOML_MOST_DOLLARS, unless that was `accepted`."""
    dollars = most_dollars(config)
    if dollars > config.automl_most_dollars and not accepted:
        raise TooExpensive(dollars, config.automl_most_dollars)

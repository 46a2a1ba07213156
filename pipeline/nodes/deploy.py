"""The node Deploy: a released cloud model with a share of the endpoint's traffic."""

import argparse

from pipeline.config import Config
from pipeline.nodes import node
from pipeline.releases.factory import releases_of
from pipeline.serving import endpoint


def main(given: argparse.Namespace) -> None:
    """Deploys the release with CANARY_TRAFFIC percent; does nothing where nothing was released.

    A release that was promoted or rolled back already is left as it is.
    """
    if given.released:
        config = Config.from_json(given.settings)
        endpoint.deploy(config, releases_of(config).get(given.released), node.log)


if __name__ == "__main__":
    node.run(main, "settings", "released")

"""The node Publish: a released device model for the devices on beta."""

import argparse

from pipeline.config import Config
from pipeline.nodes import node
from pipeline.releases.factory import releases_of
from pipeline.serving import device_channel


def main(given: argparse.Namespace) -> None:
    """Publishes the release for CANARY_TRAFFIC percent of the devices on beta; does nothing where nothing was released.

    A release that was promoted or rolled back already is left as it is.
    """
    if given.released:
        config = Config.from_json(given.settings)
        device_channel.publish(config, releases_of(config).get(given.released), node.log)


if __name__ == "__main__":
    node.run(main, "settings", "released")

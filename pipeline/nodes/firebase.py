"""The node Firebase: a released device model in Firebase ML."""

import argparse

from pipeline.config import Config
from pipeline.nodes import node
from pipeline.releases.factory import releases_of
from pipeline.serving import firebase


def main(given: argparse.Namespace) -> None:
    """Makes the release the one of FIREBASE_MODEL; does nothing where nothing was released."""
    if given.released:
        config = Config.from_json(given.settings)
        firebase.publish(config, releases_of(config).get(given.released), node.log)


if __name__ == "__main__":
    node.run(main, "settings", "released")

"""The node ImportFile: the images of the run's spans as a dataset in the workspace."""

import argparse
import json

from pipeline.config import Config
from pipeline.data import automl_dataset
from pipeline.nodes import node
from pipeline.plan import AutomlPlan
from pipeline.storage.factory import open_storage


def main(given: argparse.Namespace) -> None:
    """Writes the dataset of a run's spans; `import-file` gets its address, `instances` a list of the other file's."""
    config, plan = Config.from_json(given.settings), AutomlPlan.from_json(given.run)
    workspace = open_storage(config.workspace)
    to = open_storage(workspace.address(automl_dataset.FOLDER))
    dataset = automl_dataset.export(plan.chosen(workspace), to, lambda done: node.log(f"{done:,} images so far"))
    node.log(f"{dataset.images:,} images, listed in {dataset.import_file}: {json.dumps(dataset.uses)}")
    node.write(given.import_file, dataset.import_file)
    node.write(given.instances, json.dumps([dataset.instances]))


if __name__ == "__main__":
    node.run(main, "settings", "run", "import-file", "instances")

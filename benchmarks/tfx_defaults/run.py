"""Runs the training pipeline's nodes with TFX's defaults on a workspace's span 1."""

import os
import sys

from tfx import v1 as tfx

from pipeline.config import Config
from pipeline.quality import evaluator_config


def main(workspace: str, steps: int, eval_steps: int) -> None:
    """Trains with `steps` batches per epoch."""
    root = os.path.join(workspace, "defaults")
    module = os.path.join(os.path.dirname(os.path.abspath(__file__)), "model.py")
    splits = [tfx.proto.Input.Split(name=split, pattern=f"{split}/*") for split in ("train", "eval")]
    span = os.path.join(workspace, "spans", "span-0001")
    examples = tfx.components.ImportExampleGen(input_base=span, input_config=tfx.proto.Input(splits=splits))
    statistics = tfx.components.StatisticsGen(examples=examples.outputs["examples"])
    schema = tfx.components.SchemaGen(statistics=statistics.outputs["statistics"], infer_feature_shape=True)
    validator = tfx.components.ExampleValidator(
        statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"]
    )
    transform = tfx.components.Transform(
        examples=examples.outputs["examples"], schema=schema.outputs["schema"], module_file=module
    )
    trainer = tfx.components.Trainer(
        module_file=module,
        examples=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        schema=schema.outputs["schema"],
        train_args=tfx.proto.TrainArgs(num_steps=steps),
        eval_args=tfx.proto.EvalArgs(num_steps=eval_steps),
    )
    evaluator = tfx.components.Evaluator(
        examples=examples.outputs["examples"],
        model=trainer.outputs["model"],
        schema=schema.outputs["schema"],
        eval_config=evaluator_config.eval_config(Config(accuracy_threshold=0.0), current=False),
    )
    destination = tfx.proto.PushDestination.Filesystem(base_directory=os.path.join(root, "serving"))
    pusher = tfx.components.Pusher(
        model=trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        push_destination=tfx.proto.PushDestination(filesystem=destination),
    )
    store = tfx.orchestration.metadata.sqlite_metadata_connection_config(os.path.join(root, "metadata.sqlite"))
    nodes = [examples, statistics, schema, validator, transform, trainer, evaluator, pusher]
    tfx.orchestration.LocalDagRunner().run(
        tfx.dsl.Pipeline("defaults", root, components=nodes, metadata_connection_config=store)
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))

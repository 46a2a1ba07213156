"""The training pipeline: from spans to a released model."""

import json
import os

from pipeline import beam, verdict
from pipeline import tfx_api as tfx
from pipeline.components.anomaly_gate import AnomalyGate
from pipeline.components.current_model import CurrentModel
from pipeline.components.endpoint_deployer import EndpointDeployer
from pipeline.components.model_uploader import ModelUploader
from pipeline.components.release_pusher import ReleasePusher
from pipeline.components.span_example_gen import SpanExampleGen
from pipeline.config import Config
from pipeline.plan import Plan


def create_pipeline(config: Config, plan: Plan, pipeline_root: str) -> tfx.Pipeline:
    """Trains on the spans; releases the model if it reaches the threshold and does not fall behind the current one.

    Where an endpoint is configured, a released model gets a share of its traffic.
    """
    modules = plan.modules
    spans = json.dumps(plan.spans)

    examples = SpanExampleGen(workspace=config.workspace, spans=spans, fingerprint=plan.fingerprint)
    statistics = tfx.StatisticsGen(examples=examples.outputs["examples"])
    if modules.schema:
        schema = tfx.ImportSchemaGen(schema_file=modules.schema)
    else:
        schema = tfx.SchemaGen(statistics=statistics.outputs["statistics"], infer_feature_shape=True)
    validator = tfx.ExampleValidator(statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"])
    gate = AnomalyGate(
        anomalies=validator.outputs["anomalies"],
        examples=examples.outputs["examples"],
        schema=schema.outputs["schema"],
    )
    transform = tfx.Transform(
        examples=examples.outputs["examples"],
        schema=schema.outputs["schema"],
        preprocessing_fn=modules.function("preprocessing.preprocessing_fn"),
        custom_config={"modules": modules.digest},  # a function is cached by its name: this makes it by its text
        disable_statistics=True,  # StatisticsGen has told all of the examples; these would describe single pixels
        materialize=False,  # decoded images are a hundred times larger than their files
    )
    transform.add_upstream_node(gate)
    nodes = [examples, statistics, schema, validator, gate, transform]

    custom_config = {
        "modules": modules.digest,
        "seed": plan.seed,
        "checkpoints": os.path.join(pipeline_root, "checkpoints", plan.identity),
    }
    data = {
        "examples": examples.outputs["examples"],
        "transform_graph": transform.outputs["transform_graph"],
        "train_args": tfx.TrainArgs(splits=["train"]),
        "eval_args": tfx.EvalArgs(splits=["eval"]),
        "custom_config": custom_config,
    }
    hyperparameters = {}
    if plan.tune:
        tuner = tfx.Tuner(tuner_fn=modules.function("model.tuner_fn"), **data)
        hyperparameters = {"hyperparameters": tuner.outputs["best_hyperparameters"]}
        nodes.append(tuner)
    trainer = tfx.Trainer(run_fn=modules.function("model.run_fn"), **data, **hyperparameters)
    nodes.append(trainer)

    baseline = {}
    if plan.current:
        current = CurrentModel(releases=config.releases, tag=plan.current)
        baseline = {"baseline_model": current.outputs["model"]}
        nodes.append(current)
    evaluator = tfx.Evaluator(
        examples=examples.outputs["examples"],
        model=trainer.outputs["model"],
        schema=schema.outputs["schema"],
        eval_config=verdict.eval_config(config, bool(plan.current)),
        **baseline,
    )
    pusher = ReleasePusher(
        model=trainer.outputs["model"],
        blessing=evaluator.outputs["blessing"],
        evaluation=evaluator.outputs["evaluation"],
        releases=config.releases,
        spans=spans,
        labels=json.dumps(plan.labels),
        modules_digest=modules.digest,
        commit=plan.commit,
        current=plan.current,
        identity=plan.identity,
    )
    nodes += [evaluator, pusher]
    if config.endpoint and config.in_cloud:
        settings = config.to_json()
        uploader = ModelUploader(pushed_model=pusher.outputs["pushed_model"], settings=settings)
        nodes += [uploader, EndpointDeployer(uploaded=uploader.outputs["uploaded"], settings=settings)]
    return tfx.Pipeline(
        pipeline_name="training",
        pipeline_root=pipeline_root,
        components=nodes,
        enable_cache=True,
        beam_pipeline_args=beam.ON_THIS_MACHINE,
    )

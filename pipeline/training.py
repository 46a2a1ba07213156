"""The training pipeline: takes spans, releases a model."""

import dataclasses
import functools
import json
import os
from dataclasses import dataclass

from google.protobuf import json_format

from pipeline.cloud import custom_job
from pipeline.components import beam, current_predictions
from pipeline.components import tfx_api as tfx
from pipeline.components.anomaly_gate import STATISTICS, AnomalyGate
from pipeline.components.current_model import CurrentDeviceModel, CurrentModel
from pipeline.components.device_converter import DeviceConverter
from pipeline.components.device_evaluator import DeviceEvaluator, code_digest
from pipeline.components.device_publisher import DevicePublisher
from pipeline.components.endpoint_deployer import EndpointDeployer
from pipeline.components.firebase_publisher import FirebasePublisher
from pipeline.components.model_uploader import ModelUploader
from pipeline.components.pair_gate import PairGate
from pipeline.components.release_pusher import ReleasePusher
from pipeline.components.span_example_gen import SpanExampleGen
from pipeline.components.vertex_trainer import VertexDeviceTrainer, VertexTrainer
from pipeline.components.vertex_tuner import VertexTuner
from pipeline.config import Config
from pipeline.plan import Plan, Shape
from pipeline.quality import evaluator_config
from pipeline.quality.pair_gate import PairRequirements
from pipeline.quality.release_gate import Requirements
from pipeline.serving import device_channel, firebase


@dataclass(frozen=True)
class Parameters:
    """What differs from run to run: text, or the RuntimeParameter that stands for it in a compiled pipeline."""

    workspace: tfx.Text
    releases: tfx.Text
    token_secret: tfx.Text  # resource name of the secret with the token for `releases`, or ""
    spans: tfx.Text  # JSON list of numbers
    fingerprint: tfx.Text  # sha256 of the contents of the spans
    data: tfx.Text  # JSON: what each span holds
    labels: tfx.Text  # JSON list
    schema: tfx.Text  # address of the schema that the modules bring, or ""
    preprocessing_fn: tfx.Text  # path of the function; so are run_fn and tuner_fn
    preprocessing_module: tfx.Text
    preprocessing_config: tfx.Text  # JSON
    run_fn: tfx.Text
    tuner_fn: tfx.Text
    training_config: tfx.Text  # JSON
    eval_config: tfx.Text  # JSON of an EvalConfig
    requirements: tfx.Text  # Requirements as JSON
    device_run_fn: tfx.Text
    device_training_config: tfx.Text  # JSON
    device_quantization: tfx.Text  # or "" for the one that the modules name
    device_eval_config: tfx.Text  # JSON of an EvalConfig
    device_code: tfx.Text  # sha256 of what evaluates device models
    pair_requirements: tfx.Text  # JSON: what the device model and the pair need
    modules_digest: tfx.Text
    commit: tfx.Text
    current: tfx.Text  # tag of the release that the new model is compared with, or ""
    identity: tfx.Text
    image: tfx.Text  # by digest, or "" on this machine
    settings: tfx.Text  # a Config as JSON


def create_pipeline(config: Config, shape: Shape, run: Parameters, pipeline_root: str) -> tfx.Pipeline:
    """Trains on the spans; releases the model if it is good enough (see quality/release_gate.py).

    With DEVICE_MODEL a model for devices is trained on the same data, and both are released or neither. Where an
    endpoint is configured, a released model gets a share of its traffic; where a channel is, a pair gets the same share
    of the devices on beta. `shape` and the settings decide which nodes there are.
    """
    examples = SpanExampleGen(workspace=run.workspace, spans=run.spans, fingerprint=run.fingerprint, data=run.data)
    statistics = tfx.StatisticsGen(
        examples=examples.outputs["examples"],
        stats_options=STATISTICS,
    )
    if shape.curated:
        schema = tfx.ImportSchemaGen(schema_file=run.schema)
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
        preprocessing_fn=run.preprocessing_fn,
        disable_statistics=True,  # StatisticsGen describes the examples; these would describe single pixels
        materialize=False,  # decoded images are a hundred times larger than their files
        disable_analyzer_cache=True,  # no run reads what it would write
    )
    # TFX caches by the function's name; the digest in this property makes the text of the modules count
    tfx.set_properties(transform, custom_config=run.preprocessing_config)
    if beam.on_dataflow(config, shape):
        # TFX passes only a `module_path` on to Dataflow's workers, at the price of installing the wheel twice more
        tfx.set_properties(transform, module_path=run.preprocessing_module, preprocessing_fn=None)
    transform.add_upstream_node(gate)
    nodes = [examples, statistics, schema, validator, gate, transform]

    data = {
        "examples": examples.outputs["examples"],
        "transform_graph": transform.outputs["transform_graph"],
        "train_args": tfx.TrainArgs(splits=["train"]),
        "eval_args": tfx.EvalArgs(splits=["eval"]),
    }
    hyperparameters = {}
    if shape.tune:
        tuner_node = tfx.Tuner
        if shape.on_vertex:
            tuner_node = functools.partial(VertexTuner, parallel_trials=config.parallel_trials)
        tuner = tuner_node(tuner_fn=run.tuner_fn, **data).with_id("Tuner")
        tfx.set_properties(tuner, custom_config=run.training_config)
        hyperparameters = {"hyperparameters": tuner.outputs["best_hyperparameters"]}
        nodes.append(tuner)
    trainer_node = VertexTrainer if shape.on_vertex else tfx.Trainer
    trainer = trainer_node(run_fn=run.run_fn, **data, **hyperparameters).with_id("Trainer")
    tfx.set_properties(trainer, custom_config=run.training_config)
    nodes.append(trainer)

    baseline = {}
    if shape.baseline:
        current = CurrentModel(releases=run.releases, token_secret=run.token_secret, tag=run.current)
        baseline = {"baseline_model": current.outputs["model"], "module_path": current_predictions.__name__}
        nodes.append(current)
    evaluator = tfx.Evaluator(
        examples=examples.outputs["examples"],
        model=trainer.outputs["model"],
        schema=schema.outputs["schema"],
        eval_config=run.eval_config,
        **baseline,
    )
    nodes.append(evaluator)

    pair = {}
    if shape.device:
        device_trainer_node = VertexDeviceTrainer if shape.on_vertex else tfx.Trainer
        device_trainer = device_trainer_node(run_fn=run.device_run_fn, **data).with_id("DeviceTrainer")
        tfx.set_properties(device_trainer, custom_config=run.device_training_config)
        converter = DeviceConverter(
            model=device_trainer.outputs["model"],
            examples=examples.outputs["examples"],
            quantization=run.device_quantization,
        )
        nodes += [device_trainer, converter]

        device_baseline = {}
        if shape.device_baseline:
            current_device = CurrentDeviceModel(releases=run.releases, token_secret=run.token_secret, tag=run.current)
            device_baseline = {"baseline_model": current_device.outputs["model"]}
            nodes.append(current_device)
        device_evaluator = DeviceEvaluator(
            code=run.device_code,
            examples=examples.outputs["examples"],
            model=converter.outputs["device_model"],
            schema=schema.outputs["schema"],
            eval_config=run.device_eval_config,
            **device_baseline,
        )
        pair_gate = PairGate(
            examples=examples.outputs["examples"],
            cloud_model=trainer.outputs["model"],
            trained_model=device_trainer.outputs["model"],
            device_model=converter.outputs["device_model"],
            evaluation=device_evaluator.outputs["evaluation"],
            blessing=device_evaluator.outputs["blessing"],
            requirements=run.pair_requirements,
            current=run.current if shape.device_baseline else "",
        )
        pair = {"device_model": converter.outputs["device_model"], "pair": pair_gate.outputs["pair"]}
        nodes += [device_evaluator, pair_gate]

    pusher = ReleasePusher(
        examples=examples.outputs["examples"],
        model=trainer.outputs["model"],
        blessing=evaluator.outputs["blessing"],
        evaluation=evaluator.outputs["evaluation"],
        model_run=trainer.outputs["model_run"],
        requirements=run.requirements,
        workspace=run.workspace,
        releases=run.releases,
        token_secret=run.token_secret,
        spans=run.spans,
        data=run.data,
        labels=run.labels,
        modules_digest=run.modules_digest,
        commit=run.commit,
        current=run.current,
        identity=run.identity,
        image=run.image,
        **pair,
    )
    nodes.append(pusher)
    if config.endpoint and (config.in_cloud or shape.on_vertex):
        uploader = ModelUploader(pushed_model=pusher.outputs["pushed_model"], settings=run.settings)
        nodes += [uploader, EndpointDeployer(uploaded=uploader.outputs["uploaded"], settings=run.settings)]
    if config.device_channel and shape.device:
        device_channel.check_settings(config, shape.on_vertex)
        nodes.append(DevicePublisher(pushed_model=pusher.outputs["pushed_model"], settings=run.settings))
    if config.firebase_model and shape.device:
        firebase.check_settings(config)
        nodes.append(FirebasePublisher(pushed_model=pusher.outputs["pushed_model"], settings=run.settings))
    return tfx.Pipeline(
        pipeline_name="training",
        pipeline_root=pipeline_root,
        components=nodes,
        enable_cache=config.caching or not shape.on_vertex,
        beam_pipeline_args=beam.arguments(config, shape),
    )


def parameters(config: Config, plan: Plan, pipeline_root: str) -> Parameters:
    """Returns the parameters of a planned run."""
    modules = plan.modules
    training_config = {
        "modules": modules.digest,
        "seed": plan.seed,
        "checkpoints": os.path.join(pipeline_root, "checkpoints", plan.weights),
        custom_job.KEY: custom_job.settings(config) if modules.wheel else {},
    }
    device_machines = {"training_machines": config.device_training_machines or config.training_machines}
    device_job = {custom_job.KEY: custom_job.settings(config) | device_machines if modules.wheel else {}}
    pair_requirements = {
        "device": dataclasses.asdict(Requirements.of_device(config)),
        "pair": dataclasses.asdict(PairRequirements.of(config)),
    }
    return Parameters(
        workspace=config.workspace,
        releases=config.releases,
        token_secret=config.release_token_secret,
        spans=json.dumps(plan.spans),
        fingerprint=plan.fingerprint,
        data=json.dumps({number: state.to_json() for number, state in plan.data.items()}),
        labels=json.dumps(plan.labels),
        schema=modules.schema,
        preprocessing_fn=modules.function("preprocessing.preprocessing_fn"),
        preprocessing_module=modules.module("preprocessing"),
        preprocessing_config=json.dumps({"modules": modules.digest}),
        run_fn=modules.function("model.run_fn"),
        tuner_fn=modules.function("model.tuner_fn"),
        training_config=json.dumps(training_config),
        eval_config=json.dumps(json_format.MessageToDict(evaluator_config.eval_config(config, bool(plan.current)))),
        requirements=Requirements.of(config).to_json(),
        device_run_fn=modules.function("device.run_fn"),
        device_training_config=json.dumps(training_config | device_job),
        device_quantization=config.device_quantization,
        device_eval_config=json.dumps(
            json_format.MessageToDict(evaluator_config.device_eval_config(config, plan.current_device))
        ),
        device_code=code_digest() if plan.device else "",
        pair_requirements=json.dumps(pair_requirements),
        modules_digest=modules.digest,
        commit=plan.commit,
        current=plan.current,
        identity=plan.identity,
        image=config.image if modules.wheel else "",  # a run on this machine uses no image
        settings=config.to_json(),
    )

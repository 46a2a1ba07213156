"""Runs the pipelines on this machine, node after node.

TFX takes ten seconds to import, so that happens only after every check that does not need it.
"""

import contextlib
import ctypes
import dataclasses
import datetime
import json
import logging
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from pipeline import plan
from pipeline.config import Config
from pipeline.data import reports
from pipeline.errors import ConfigError, PipelineFailed, ReleaseGone, SpanloopError
from pipeline.orchestrators import definitions, libraries
from pipeline.orchestrators.definitions import AUTOML, RETRAINING, TRAINING
from pipeline.outcomes import NodeDuration, RetrainingOutcome, TrainingOutcome
from pipeline.packaging import modules
from pipeline.packaging.dry_run import dry_run
from pipeline.packaging.modules import Modules
from pipeline.plan import Shape
from pipeline.progress import logs
from pipeline.progress.nodes import NodeProgress
from pipeline.releases.factory import releases_of
from pipeline.storage.factory import open_storage
from pipeline.storage.files import full_disk

if TYPE_CHECKING:
    from pipeline.components.tfx_api import Pipeline


def train(config: Config, selection: str) -> TrainingOutcome:
    """Runs the training pipeline on the spans that `selection` ("1,2 | all | latest:N") names, and keeps a report."""
    storage = open_storage(config.workspace)
    with storage.exclusive("training"):
        return _train(config, selection)


def train_once(config: Config, selection: str) -> TrainingOutcome | None:
    """Trains as `train` does; returns None when the newest span was trained on already, or there is no span."""
    storage = open_storage(config.workspace)
    with storage.exclusive("training"):
        return _train(config, selection) if plan.newest_is_untrained(storage) else None


def retrain(config: Config, selection: str) -> RetrainingOutcome:
    """Runs the retraining pipeline: prepares a span of the collected images, then trains on `selection`."""
    if config.pipeline == AUTOML:
        expected = (
            "training on this machine: AutoML trains on Vertex AI, see `python -m ci submit --pipeline retraining`"
        )
        raise ConfigError("PIPELINE", config.pipeline, expected)
    storage = open_storage(config.workspace)
    with storage.exclusive("retraining"):
        if plan.span_to_retrain(storage) is None:
            return RetrainingOutcome()
        found = modules.find(config.modules, sys.path)

        def build(root: str) -> "Pipeline":
            definition = definitions.load(RETRAINING)
            return definition.create_pipeline(config, Shape(), definition.parameters(config, selection, None, ""), root)

        ended = run(config, RETRAINING, found, build, "outcome")
    with open(ended.address, encoding="utf-8") as file:
        return RetrainingOutcome.from_json(json.load(file))


def _train(config: Config, selection: str) -> TrainingOutcome:
    planned = plan.training(config, selection)

    def build(root: str) -> "Pipeline":
        definition = definitions.load(TRAINING)
        return definition.create_pipeline(config, planned.shape, definition.parameters(config, planned, root), root)

    ended = run(config, TRAINING, planned.modules, build, "pushed_model")
    with open(os.path.join(ended.address, "outcome.json"), encoding="utf-8") as file:
        outcome = dataclasses.replace(TrainingOutcome.from_json(json.load(file)), durations=ended.durations)
    if outcome.release and outcome.release not in releases_of(config).tags():
        # ReleasePusher, which would have released it, did not run again
        raise ReleaseGone(outcome.release, config.releases, pipeline_root(config, TRAINING))
    storage = open_storage(config.workspace)
    newest = reports.newest_training(storage)
    if newest is None or newest.identity != planned.identity:  # ReleasePusher did not run again
        reports.save_training(
            storage,
            outcome,
            identity=planned.identity,
            modules_digest=planned.modules.digest,
            commit=planned.commit,
        )
    else:  # ReleasePusher wrote its report before the last node ended
        reports.add_durations(storage, newest, outcome.durations)
    return outcome


class Ended(NamedTuple):
    """A run that succeeded."""

    address: str  # of the artifact that it was run for
    durations: tuple[NodeDuration, ...]


def run(config: Config, name: str, task: Modules, build: Callable[[str], "Pipeline"], result: str) -> Ended:
    """Runs the pipeline that `build(pipeline_root)` returns; returns the address of its output `result`.

    People see a line a node; the output of libraries goes to a log file. A node whose inputs did not change does not
    run again. Raises BrokenModules before the first node, PipelineFailed for an error of a library; a SpanloopError
    passes unchanged.
    """
    root = pipeline_root(config, name)
    started = datetime.datetime.now(datetime.timezone.utc)
    log = os.path.join(folder_of_runs(config), "logs", f"{name}-{started:%Y%m%dT%H%M%S.%fZ}.log")
    os.makedirs(root, exist_ok=True)
    print(f"{name}: full log in {log}", file=logs.terminal())
    with logs.into_file(log), NodeTimes() as progress:
        try:
            with libraries.imported():
                import absl.logging

                from pipeline.components import beam, beam_overhead
                from pipeline.components import tfx_api as tfx
            progress.node = "modules"
            dry_run(task, config.tune, config.device_model)
            pipeline = build(root)
            # a metadata store for each pipeline, so that none finds the artifacts of another one
            store = os.path.join(root, "metadata.sqlite")
            pipeline.metadata_connection_config = tfx.sqlite_metadata_connection_config(store)
            # absl's own setter, because TFX parses flags again in each node and would reset the logger's level
            absl.logging.set_verbosity(absl.logging.INFO)
            beam.batch_by_bytes()
            beam_overhead.reduce()
            tfx.LocalDagRunner().run(pipeline)
            return Ended(newest_output(pipeline, result), tuple(progress.durations))
        except SpanloopError:
            raise
        except Exception as error:
            logging.getLogger("absl").exception("The run failed.")
            if full := full_disk(error, root, tempfile.gettempdir()):
                raise full from error
            raise PipelineFailed(progress.node, error, log) from error


def pipeline_root(config: Config, name: str) -> str:
    """Returns the local folder for artifacts and metadata of the pipeline `name`."""
    return os.path.join(folder_of_runs(config), "pipeline_root", name)


def folder_of_runs(config: Config) -> str:
    """Returns the local folder for artifacts and logs of runs: the workspace, or for a bucket a cache folder.

    TFX keeps the metadata of artifacts in a database file, which has to be local; artifacts without their metadata are
    of no use to another machine. Spans, releases and reports go to the bucket.
    """
    if not config.in_cloud:
        return os.path.abspath(config.workspace)
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(cache, "spanloop", config.workspace.removeprefix("gs://"))


def newest_output(pipeline: "Pipeline", key: str) -> str:
    """Returns the address of the output `key` of the newest run of `pipeline`, cached or not."""
    from pipeline.components import tfx_api as tfx

    with tfx.Metadata(pipeline.metadata_connection_config) as handle:
        store = handle.store
        newest = max(store.get_contexts_by_type("pipeline_run"), key=lambda context: context.id)
        executions = [execution.id for execution in store.get_executions_by_context(newest.id)]
        written = [
            event.artifact_id
            for event in store.get_events_by_execution_ids(executions)
            if any(step.key == key for step in event.path.steps)
        ]
        return store.get_artifacts_by_id([max(written)])[0].uri


class NodeTimes(logging.Handler):
    """Shows and keeps the time of each node in a running pipeline, read from the log of LocalDagRunner.

    The log is the only place where LocalDagRunner reports nodes. `durations` are those of nodes that ended.
    """

    def __init__(self):
        super().__init__(logging.INFO)
        self.node = "TFX"  # during its import
        self.durations: list[NodeDuration] = []
        self._thread = threading.get_ident()
        self._lines = NodeProgress()
        self._started, self._cached = time.monotonic(), False

    def __enter__(self):
        logging.getLogger("absl").addHandler(self)
        self._lines.__enter__()
        self._lines.running(["starting TFX"])
        return self

    def __exit__(self, kind, error, traceback):
        logging.getLogger("absl").removeHandler(self)
        self._lines.__exit__()
        if error and not _interrupted(error):
            self._line("failed")

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread != self._thread:
            return  # from a pipeline that PipelineTrigger runs
        if record.msg == "Component %s is running.":
            (self.node,) = record.args
            self._started, self._cached = time.monotonic(), False
            self._lines.running([self.node])
        elif record.msg == "A cached execution %d is used.":
            self._cached = True
        elif record.msg == "Component %s is finished.":
            self._line("unchanged" if self._cached else "done")
            _release_memory()

    def _line(self, state: str) -> None:
        seconds = time.monotonic() - self._started
        self.durations.append(NodeDuration(self.node, state, round(seconds, 3)))
        self._lines.ended(self.node, state, seconds)


def _release_memory() -> None:
    """Gives freed memory back to the system: glibc keeps hundreds of megabytes after a node that read photographs."""
    with contextlib.suppress(AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _interrupted(error: BaseException | None) -> bool:
    """True for a KeyboardInterrupt, and for what a library raised while it handled one."""
    while error and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None

"""The Tuner on machines of its own, one for each trial at a time."""

from typing import Any

from tfx.components.tuner import executor

from pipeline.components import tfx_api as tfx
from pipeline.components.remote_executor import RemoteExecutor


class Executor(RemoteExecutor):
    """Runs TFX's executor of a Tuner as a job of Vertex Training, the distributed one on several machines."""

    node = "Tuner"

    def work(self, exec_properties):
        arguments = executor.get_tune_args(exec_properties)
        if not arguments:
            return executor.Executor, 1
        # its first machine also assigns trials to the others
        from tfx.extensions.google_cloud_ai_platform.tuner import executor as parallel  # takes a second

        return parallel._WorkerExecutor, arguments.num_parallel_trials


class VertexTuner(tfx.Tuner):
    """TFX's Tuner; its custom_config holds the machine types to try under `custom_job.KEY`."""

    EXECUTOR_SPEC = tfx.ExecutorClassSpec(Executor)

    def __init__(self, parallel_trials: int, **given: Any):
        # TFX's plain executor refuses any number, even 1
        arguments = tfx.TuneArgs(num_parallel_trials=parallel_trials) if parallel_trials > 1 else None
        super().__init__(tune_args=arguments, **given)

"""The Trainers, each on a machine of its own."""

from tfx.components.trainer import executor

from pipeline.components import tfx_api as tfx
from pipeline.components.remote_executor import RemoteExecutor


class Executor(RemoteExecutor):
    """Runs TFX's executor of a Trainer as a job of Vertex Training."""

    node = "Trainer"

    def work(self, exec_properties):
        return executor.GenericExecutor, 1


class VertexTrainer(tfx.Trainer):
    """TFX's Trainer; its custom_config holds the machine types to try under `custom_job.KEY`."""

    EXECUTOR_SPEC = tfx.ExecutorClassSpec(Executor)


class DeviceExecutor(Executor):
    """The same for the device model's Trainer, whose job has a name of its own."""

    node = "DeviceTrainer"


class VertexDeviceTrainer(tfx.Trainer):
    """A VertexTrainer of the device model."""

    EXECUTOR_SPEC = tfx.ExecutorClassSpec(DeviceExecutor)

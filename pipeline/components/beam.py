"""Arguments of Beam: in the process of its node, or on Dataflow."""

from absl import flags
from tfx_bsl.coders import batch_util  # defines the flag below

from pipeline.config import Config
from pipeline.plan import Shape

# Without an explicit runner Beam tries to download one (Prism). Without an image name TFX packs a source distribution
# of itself for workers that do not exist here.
# The type check of TFX's own transforms takes a tenth of the time of a run on few images.
ON_THIS_MACHINE = ["--runner=FnApiRunner", "--sdk_container_image=local", "--no_pipeline_type_check"]


def on_dataflow(config: Config, shape: Shape) -> bool:
    """True when Beam runs on Dataflow."""
    return shape.on_vertex and config.dataflow_workers > 0


def batch_by_bytes() -> None:
    """Lets Beam's batches of examples in this process hold 20 MB, in place of up to 1,000 images of any size."""
    if hasattr(batch_util, "_USE_BYTE_SIZE_BATCHING"):  # experimental: later versions may always do so
        flags.FLAGS.set_default("tfxio_use_byte_size_batching", True)


def arguments(config: Config, shape: Shape) -> list[str]:
    """Returns Beam's arguments for all nodes of a pipeline. Raises MissingSettings for Dataflow."""
    if not on_dataflow(config, shape):
        return ON_THIS_MACHINE
    config.require("workspace", "project", "region", "image", "service_account")
    options = {
        "runner": "DataflowRunner",
        "project": config.project,
        "region": config.region,
        "temp_location": f"{config.workspace}/dataflow/temp",
        "staging_location": f"{config.workspace}/dataflow/staging",
        "service_account_email": config.service_account,
        # the workers use the image of the node, which has TFX
        "sdk_container_image": config.image,
        "autoscaling_algorithm": "THROUGHPUT_BASED",
        "max_num_workers": config.dataflow_workers,
        "network": config.network.rpartition("/")[2],  # Dataflow takes the name alone
        "dataflow_kms_key": config.encryption_key,
    }
    return [f"--{name}={value}" for name, value in options.items() if value]

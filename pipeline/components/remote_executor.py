"""Runs a node's executor on machines of its own: as a job of Vertex Training."""

import json
from typing import Any

from tfx.types import artifact_utils
from tfx.utils import name_utils

from pipeline.cloud import custom_job
from pipeline.components import tfx_api as tfx
from pipeline.progress import logs


class RemoteExecutor(tfx.BaseExecutor):
    """Starts the job and waits for it.

    TFX has such an executor (extensions/google_cloud_ai_platform). It knows no second choice of machine, starts another
    job when the node starts again, and says of a failed job nothing but its whole description.
    """

    node: str

    def Do(self, input_dict: dict[str, list], output_dict: dict[str, list], exec_properties: dict[str, Any]) -> None:
        self._log_startup(input_dict, output_dict, exec_properties)
        executor, machines = self.work(exec_properties)
        invocation = {
            "inputs": artifact_utils.jsonify_artifact_dict(input_dict),
            "outputs": artifact_utils.jsonify_artifact_dict(output_dict),
            "exec-properties": json.dumps(exec_properties, sort_keys=True),
        }
        custom_job.run(self.node, name_utils.get_full_name(executor), invocation, machines, log)

    def work(self, exec_properties: dict[str, Any]) -> tuple[type[tfx.BaseExecutor], int]:
        """Returns the executor that does the work, and on how many machines."""
        raise NotImplementedError


def log(line: str) -> None:
    """Tells in the node's log how the job goes."""
    print(line, file=logs.terminal(), flush=True)

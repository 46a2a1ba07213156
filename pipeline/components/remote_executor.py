"""Runs a node's executor as a job of Vertex Training, on machines of its own."""

import json
from typing import Any

from tfx.types import artifact_utils
from tfx.utils import name_utils

from pipeline.cloud import custom_job
from pipeline.components import tfx_api as tfx
from pipeline.progress import logs


class RemoteExecutor(tfx.BaseExecutor):
    """Starts the job and waits for it.

    TFX has such an executor (extensions/google_cloud_ai_platform), but that one takes one machine type only, starts
    another job when the node starts again, and reports a failed job by its whole description.
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
        """Returns the executor that does the work, and the number of machines."""
        raise NotImplementedError


def log(line: str) -> None:
    """Prints a line about the job's progress on the terminal."""
    print(line, file=logs.terminal(), flush=True)

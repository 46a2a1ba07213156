"""Program of a node's container on Vertex AI: TFX's own, which here writes output files by the API of Cloud Storage.

Vertex AI names output files by paths below /gcs, where gcsfuse mounts buckets:
https://cloud.google.com/vertex-ai/docs/training/cloud-storage-file-system. A mount of gcsfuse is closed to all users
but the one who mounted it, unless it has the option `allow_other`, and Vertex AI does not document its options:
https://github.com/GoogleCloudPlatform/gcsfuse/blob/master/docs/mounting.md. By its gs:// address the same file is
written as the pipelines' service account, so the image needs no root and works with either kind of mount.
"""

import json
import runpy
import sys
from collections.abc import Sequence
from typing import Any

COMMAND = ("python", "-m", "pipeline.orchestrators.vertex_node")
TFX_PROGRAM = "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor"
INVOCATION = "--json_serialized_invocation_args"  # its option for the ExecutorInput
MOUNT = "/gcs/"


def with_addresses(arguments: Sequence[str]) -> list[str]:
    """Returns the arguments of TFX's program with gs:// addresses in place of the paths of outputs below /gcs."""
    changed = list(arguments)
    if INVOCATION in changed[:-1]:
        place = changed.index(INVOCATION) + 1
        executor_input = json.loads(changed[place])
        executor_input["outputs"] = _with_addresses(executor_input.get("outputs", {}))
        changed[place] = json.dumps(executor_input)
    return changed


def _with_addresses(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _with_addresses(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_with_addresses(inner) for inner in value]
    if isinstance(value, str) and value.startswith(MOUNT):
        return f"gs://{value.removeprefix(MOUNT)}"
    return value


def main() -> None:
    """Runs TFX's program, as `python -m` would, with the arguments of this one."""
    sys.argv[1:] = with_addresses(sys.argv[1:])
    runpy.run_module(TFX_PROGRAM, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()

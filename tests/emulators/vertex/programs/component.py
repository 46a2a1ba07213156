"""Program of a component's container: runs a module of google_cloud_pipeline_components with a shorter interval.

    python component.py MODULE ARGUMENT...

The components ask for the state of what they have started every 20 seconds; local jobs end within seconds.
"""

import importlib
import runpy
import sys

from google.auth.compute_engine import _metadata
from google_cloud_pipeline_components.container.v1.gcp_launcher import (
    job_remote_runner,
    lro_remote_runner,
    pipeline_remote_runner,
)

INTERVAL = 0.2  # seconds

if __name__ == "__main__":
    importlib.reload(
        _metadata
    )  # reads the address of the metadata server, unset in the process that this one forks from
    for runner in (job_remote_runner, lro_remote_runner, pipeline_remote_runner):
        runner._POLLING_INTERVAL_IN_SECONDS = INTERVAL
    sys.argv = sys.argv[1:]
    sys.path.pop(0)
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)

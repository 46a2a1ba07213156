"""Client programs in separate processes, connected to the local servers."""

import os
import subprocess
import sys
import textwrap

import pytest


@pytest.fixture
def run_client(cloud):
    """Runs a program in a separate process, connected to the local servers; returns its standard output."""

    def run(program: str, *arguments: str) -> str:
        inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program), *arguments],
            env={**inherited, "TF_CPP_MIN_LOG_LEVEL": "2", **cloud.environment},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return done.stdout

    return run

"""`make emulators`: servers for manual use, and commands that use them."""

import json
import os
import shlex
import signal
import subprocess
import sys

import pytest

from tests.clone import ROOT
from tests.conftest import photographs
from tests.documentation import commands

END = "# Running: paste these lines into another terminal. Stop with Ctrl-C.\n"
PUT = """
import sys
from google.cloud import storage
bucket = storage.Client().bucket(sys.argv[1])
for name in sys.argv[2:]:
    bucket.blob(name).upload_from_string(sys.stdin.buffer.read(0) + name.encode(), if_generation_match=0)
print(*(blob.name for blob in bucket.list_blobs()))
"""


OPTIONS = ["-W", "ignore", "-m", "tests.emulators"]


@pytest.fixture
def emulators():
    """The process that `make emulators` starts, and its lines on stdout."""
    command = [sys.executable, *OPTIONS, "--calls"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        yield process, list(iter(process.stdout.readline, END))
        if process.poll() is None:
            process.kill()


def exported(lines):
    """Variables that these lines export in a shell."""
    words = [shlex.split(line) for line in lines]
    assert all(word[0] == "export" for word in words)
    return dict(word[1].split("=", 1) for word in words)


def test_make_runs_the_command_of_these_tests():
    (script,) = commands("docs/develop.md#local-servers")

    outside = {name: value for name, value in os.environ.items() if "MAKE" not in name}  # this may run in `make test`
    done = subprocess.run(
        [*script.split(), "--dry-run"], cwd=ROOT, env=outside, check=True, capture_output=True, text=True
    )

    assert done.stdout.splitlines()[-1].split() == [".venv/bin/python", *OPTIONS]


def test_commands_work_with_what_the_emulators_print(emulators):
    process, lines = emulators
    environment = {"PATH": os.environ["PATH"], **exported(lines)}
    bucket, _, prefix = environment["WORKSPACE"].removeprefix("gs://").partition("/")

    def run(*command):
        done = subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    names = [f"{prefix}/collected/{name}" for name in photographs(range(3))]
    assert run("-c", PUT, bucket, *names).split() == sorted(names)
    counted = json.loads(run("-m", "ci", "count-collected", "--threshold", "2", "--json"))
    assert (counted["counted"], counted["enough"]) == (2, True)

    environment["RELEASES"] = "github:acme/widget"
    assert json.loads(run("-m", "ci", "status", "--json"))["releases"] == []

    process.send_signal(signal.SIGINT)
    _, log = process.communicate(timeout=120)
    assert process.returncode == 0
    assert "200 storage objects.insert" in log and "200 github repos/list-releases" in log and "Traceback" not in log

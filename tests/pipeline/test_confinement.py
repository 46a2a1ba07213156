"""What a confined process cannot do; the assertions run in one, on this machine's kernel."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
PROGRAM = """
import ctypes, json, os, socket, subprocess, sys, threading
from pipeline import confinement

readable, writable, secret = sys.argv[1:]
missing = confinement.confine([readable, sys.prefix, sys.base_prefix], [writable])

def outcome(action):
    try:
        action()
        return "done"
    except Exception as error:
        return type(error).__name__

def read(*path):
    with open(os.path.join(*path), "rb") as file:
        file.read()

def write(folder):
    with open(os.path.join(folder, "written"), "w") as file:
        file.write("written")

def call(number, *arguments):
    if ctypes.CDLL(None, use_errno=True).syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "refused")

def in_a_thread(action):
    outcomes = []
    thread = threading.Thread(target=lambda: outcomes.append(outcome(action)))
    thread.start()
    thread.join()
    if outcomes != ["done"]:
        raise PermissionError

parent = f"/proc/{os.getppid()}/environ"
print(json.dumps({
    "missing": missing,
    "reads what it is given": outcome(lambda: read(readable, "model")),
    "writes what it is given": outcome(lambda: write(writable)),
    "starts a program of the system": outcome(lambda: subprocess.run(["/bin/true"], check=True)),
    "reads a secret": outcome(lambda: read(secret)),
    "reads it in another thread": outcome(lambda: in_a_thread(lambda: read(secret))),
    "reads it by a program": outcome(lambda: subprocess.run(["/bin/cat", secret], check=True, capture_output=True)),
    "lists its folder": outcome(lambda: os.listdir(os.path.dirname(secret))),
    "reads the environment of its parent": outcome(lambda: read(parent)),
    "writes what it may read": outcome(lambda: write(readable)),
    "changes it": outcome(lambda: os.truncate(os.path.join(readable, "model"), 0)),
    "removes it": outcome(lambda: os.unlink(os.path.join(readable, "model"))),
    "reads a link to the secret": outcome(lambda: read(writable, "link")),
    "links to the secret": outcome(lambda: os.link(secret, os.path.join(writable, "hard"))),
    "makes a socket": outcome(lambda: socket.socket()),
    "makes a socket of the machine": outcome(lambda: socket.socket(socket.AF_UNIX)),
    "makes a ring": outcome(lambda: call(425, 1, None)),
    "is freed": outcome(lambda: confinement.confine([os.path.dirname(secret)], []) and read(secret) or read(secret)),
}))
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("confined")
    for name in ("readable", "writable", "home"):
        (folder / name).mkdir()
    (folder / "readable" / "model").write_text("a model")
    (folder / "home" / "secret").write_text("a secret")
    (folder / "writable" / "link").symlink_to(folder / "home" / "secret")
    paths = [str(folder / name) for name in ("readable", "writable", "home/secret")]
    command = [sys.executable, "-c", PROGRAM, *paths]
    done = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT), "PATH": os.defpath})
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    if missing := found.pop("missing"):
        pytest.skip(f"this system cannot deny {', '.join(missing)}")
    assert (folder / "readable" / "model").read_text() == "a model"
    return found


def test_a_confined_process_does_what_it_is_for(outcomes):
    meant = ("reads what it is given", "writes what it is given", "starts a program of the system")
    assert [name for name in meant if outcomes[name] != "done"] == []


def test_a_confined_process_reaches_nothing_else(outcomes):
    refused = dict(list(outcomes.items())[3:])
    assert len(refused) == 14 and [name for name, outcome in refused.items() if outcome == "done"] == []
    assert {outcomes[name] for name in ("reads a secret", "makes a socket", "makes a ring")} == {"PermissionError"}

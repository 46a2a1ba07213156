"""Folders are copied between this machine and a bucket, whole."""

import json
import subprocess
import sys

import pytest

from tests.conftest import files_in, put

TREE = {"saved_model.pb": b"graph", "variables/variables.index": b"index", "assets/a/labels.txt": b"cat\n"}

# In a process of its own, because TensorFlow reads the environment only once.
THERE_AND_BACK = """
    import json, os, sys
    from pipeline.components import local_copies

    bucket, folder = sys.argv[1:]
    with local_copies.to_write(f"{bucket}/model") as place:
        local_copies.copy(f"{folder}/mine", place)
    with local_copies.to_read(f"{bucket}/model") as place:
        local_copies.copy(place, f"{folder}/back")
    with local_copies.to_read(f"{folder}/mine") as place:
        print(json.dumps(place == f"{folder}/mine"))
"""


@pytest.mark.timeout(120)
def test_a_folder_goes_to_a_bucket_and_back(cloud, gs_workspace, tmp_path, monkeypatch):
    put(tmp_path / "mine", TREE)
    for name, value in cloud.environment.items():
        monkeypatch.setenv(name, value)
    program = "\n".join(line[4:] for line in THERE_AND_BACK.splitlines())

    done = subprocess.run([sys.executable, "-c", program, gs_workspace, tmp_path], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)  # what is here already is not copied
    assert files_in(tmp_path / "back") == TREE
    prefix = f"{gs_workspace}/model/"
    there = {
        name.partition("/model/")[2]: cloud.gcs.read(f"gs://{cloud.bucket}/{name}") for name in cloud.gcs.names(prefix)
    }
    assert {name: data for name, data in there.items() if name[-1:] not in ("", "/")} == TREE

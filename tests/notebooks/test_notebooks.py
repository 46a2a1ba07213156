"""Each notebook, executed from start to end in a kernel of its own, as a reader would run it for the first time."""

import os
import pathlib

import nbclient
import nbformat
import pytest

from tests.clone import ROOT

pytestmark = pytest.mark.timeout(1800)

# What an executed notebook shows, by its name.
SHOWN = {
    "dual_deployment_automl": (
        "Released as model-1.",
        "Released as model-2.",
        "devices: stable model-2 100 %, beta model-2 100 %.",
    ),
    "explore_spans": (
        "8/mistaken-digit-0023.png",
        "neither JPEG nor PNG",
        "3 images of span 1 labelled 3 from now on.",
        "Released as model-1.",
    ),
    "dual_deployment_tfx": (
        "Released as model-1.",
        "DevicePublisher      done",
        "Released as model-2.",
        "devices: stable model-2 100 %, beta model-2 100 %.",
    ),
}


def shown(notebook: nbformat.NotebookNode) -> str:
    """Returns all output of a notebook's cells as text; of rich output its HTML."""
    found = []
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            found.append(output.get("text") or output.get("data", {}).get("text/html", ""))
    return "\n".join(found)


def test_each_notebook_is_executed():
    assert {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")} == set(SHOWN)


@pytest.mark.parametrize("name", SHOWN)
def test_a_notebook_runs_from_start_to_end(name: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch):
    # A kernel of a reader who has set nothing; what it writes goes into the test's folder.
    for setting in [
        key for key in os.environ if key.startswith(("GCP_", "GITHUB_")) or key in ("WORKSPACE", "RELEASES")
    ]:
        monkeypatch.delenv(setting)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)

    folder = {"metadata": {"path": str(ROOT / "notebooks")}}
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3", resources=folder).execute()

    # Whoever debugs a failure, or wants to look at the pages, finds the executed notebook here.
    nbformat.write(notebook, tmp_path / f"{name}.ipynb")
    found = shown(notebook)
    assert not [text for text in SHOWN[name] if text not in found], found[-5000:]
    assert "\x1b" not in found, "a spinner or a colour is in the output of a cell"

"""Checks of the notebooks without executing them, and of the functions that their cells share."""

import ast
import json
import os
import pathlib
import re
import sys
from typing import Any

import pytest

from tests.clone import ROOT

sys.path.insert(0, str(ROOT / "notebooks"))
import cells  # noqa: E402  as a notebook imports it

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MOST_BYTES = 200_000  # of a notebook that a reader opens on GitHub


def read(path: pathlib.Path) -> Any:
    import nbformat  # three seconds

    return nbformat.read(path, as_version=4)


def code(path: pathlib.Path) -> list[str]:
    return [cell.source for cell in read(path).cells if cell.cell_type == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_valid_small_and_says_nothing_of_the_machine_that_executed_it(path):
    import nbformat

    notebook = read(path)
    nbformat.validate(notebook)
    text = path.read_text()
    assert len(text) < MOST_BYTES
    assert not re.search(r"/(work|root|home|tmp)/", text)
    for cell in notebook.cells:
        assert cell.cell_type == "markdown" or cell.execution_count is None
        assert "execution" not in cell.metadata, "times of an execution"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_cells_import_the_standard_library_and_call_the_product(path):
    trees = [ast.parse(source) for source in code(path)]
    imported = {
        name.split(".")[0]
        for tree in trees
        for node in ast.walk(tree)
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        )
    }
    assert imported <= sys.stdlib_module_names | {"cells"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_of_a_notebook_lead_to_files_and_to_itself(path):
    notebook = read(path)
    links = [
        link
        for cell in notebook.cells
        if cell.cell_type == "markdown"
        for link in re.findall(r"\]\(([^)\s]+)\)", cell.source)
    ]
    local = [link.partition("#")[0] for link in links if "://" not in link]
    assert local and not [link for link in local if not (path.parent / link).exists()]
    openers = [link for link in links if "colab" in link or "workbench" in link]
    assert len(openers) == 2 and all(link.endswith(f"/main/notebooks/{path.name}") for link in openers)


def test_a_command_returns_its_json_and_shows_what_it_says(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WORKSPACE", str(tmp_path))
    found = cells.ci("status")
    out = capsys.readouterr().out
    assert found["spans"] == [] and out.startswith("$ python -m ci status\n") and "next:" in out
    assert cells.ci("status", shown=False) == found and not capsys.readouterr().out


def test_a_command_that_fails_stops_the_cell_with_its_own_words(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKSPACE", str(tmp_path))
    with pytest.raises(cells.CommandFailed, match="import-images ended with exit code 2.*nowhere"):
        cells.ci("import-images", str(tmp_path / "nowhere"), shown=False)


def test_local_servers_are_started_where_no_project_is_named_and_settings_of_the_reader_win(monkeypatch):
    monkeypatch.delenv("GCP_PROJECT", raising=False)
    monkeypatch.setattr(os, "environ", dict(os.environ, ACCURACY_THRESHOLD="0.95"))
    line = cells.use_google_cloud(ACCURACY_THRESHOLD="0.8", VERTEX_ENDPOINT="digits")
    assert "servers on this machine" in line and os.environ["GCP_PROJECT"] == "spanloop-local"
    assert os.environ["ACCURACY_THRESHOLD"] == "0.95" and os.environ["VERTEX_ENDPOINT"] == "digits"
    assert cells.use_google_cloud().endswith("on the project spanloop-local.")


def test_pages_and_pictures_are_shown_without_access_to_the_notebook(tmp_path):
    cells.write_digits(str(tmp_path / "digits"), "first", 3)
    pictures = cells.show_pictures(str(tmp_path / "digits")).data
    assert pictures.count("data:image/png;base64,") == 3
    (tmp_path / "page.html").write_text('<p class="x">"5 < 6"</p>')
    page = cells.show_page(str(tmp_path / "page.html")).data
    assert 'sandbox="allow-scripts"' in page and 'srcdoc="&lt;p class=&quot;x&quot;&gt;' in page
    table = cells.show_table(["a<b"], [["<script>"]]).data
    assert "<script>" not in table and json.dumps("a&lt;b")[1:-1] in table

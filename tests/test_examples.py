"""The notebooks in examples/: they compile, use only what the library offers, hold no outputs, and run."""

import ast
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import audiotagging

EXAMPLES = Path(__file__).parent.parent / "examples"
# In the order in which they are run: the second one uses the run that the first one makes.
NAMES = ("from_folder_to_report.ipynb", "tag_and_explore.ipynb")


def read(name):
    return nbformat.read(EXAMPLES / name, as_version=nbformat.NO_CONVERT)


def test_there_are_no_others():
    assert {path.name for path in EXAMPLES.iterdir() if path.suffix} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_valid_and_has_no_outputs(name):
    notebook = read(name)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(cells) > 5
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_uses_only_what_the_library_offers(name):
    used = set()
    for cell in read(name).cells:
        if cell.cell_type != "code":
            continue
        for node in ast.walk(compile(cell.source, name, "exec", ast.PyCF_ONLY_AST)):
            if isinstance(node, ast.ImportFrom):
                assert not node.module.startswith("audiotagging"), cell.source
            elif isinstance(node, ast.Import):
                assert not any(alias.name.startswith("audiotagging.") for alias in node.names), cell.source
            elif (
                isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "audiotagging"
            ):
                used.add(node.attr)
    assert used and used <= set(audiotagging.__all__)


@pytest.mark.slow
def test_the_notebooks_run(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    for name in NAMES:
        notebook = read(name)
        resources = {"metadata": {"path": str(tmp_path / "examples")}}
        NotebookClient(notebook, timeout=500, kernel_name="python3", resources=resources).execute()
        pictures = [
            output
            for cell in notebook.cells
            if cell.cell_type == "code"
            for output in cell.outputs
            if "image/png" in output.get("data", {})
        ]
        assert len(pictures) >= 3
    scores = audiotagging.read_scores(tmp_path / "out" / "notebook")
    assert scores["ensemble"]["all"] > 0.7  # chance is .26

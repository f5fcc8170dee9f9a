"""The report in a real notebook: a Jupyter kernel runs the cells, and its outputs are looked at."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

pytest.importorskip("nbclient", reason="needs ipykernel and nbclient: pip install '.[dev]'")
pytest.importorskip("ipykernel", reason="needs ipykernel and nbclient: pip install '.[dev]'")

# A program of its own: the kernel's sockets and event loop stay out of the tests' process.
EXECUTE = """
import json, sys
import nbformat
from nbclient import NotebookClient
cells = [nbformat.v4.new_code_cell(source) for source in json.load(sys.stdin)]
notebook = nbformat.v4.new_notebook(cells=cells)
client = NotebookClient(notebook, timeout=60, kernel_name="python3", allow_errors=True)
client.execute()
json.dump([dict(cell)["outputs"] for cell in notebook.cells], sys.stdout)
"""

BEGIN = "from dvclive_dvc import Live\nlive = Live(report={report!r})"
LOG = """
live.log_param("<script>alert(1)</script>", "<img src=x onerror=alert(2)>")
for step in range(3):
    live.log_metric("loss", 1 / (step + 1))
    live.next_step()
"""


def executed(*cells):
    """The outputs of each cell, as they stand in the notebook's file after the last cell."""
    done = subprocess.run(
        [sys.executable, "-c", EXECUTE],
        input=json.dumps(cells),
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def pages(outputs):
    return [text for one in outputs if (text := one.get("data", {}).get("text/html"))]


@pytest.mark.parametrize("report", ["auto", "notebook"])
def test_the_cell_that_began_the_run_shows_it_and_is_updated_in_place(repos, report):
    repo = repos.make("git_and_dvc")
    began, logged, drawn, ended = executed(
        BEGIN.format(report=report), LOG, "live.make_report()", "live.end()"
    )

    assert len(pages(began)) == 1, began
    assert not pages(logged + drawn + ended), "no other cell has an output of its own"
    page = pages(began)[0]
    assert "completed" in page, "what stands there is the report of the whole run"
    assert "loss" in page
    assert "<svg" in page
    assert "<script" not in page
    assert "<img src=x" not in page
    assert not list((repo.root / "dvclive").glob("report*")), "a display is no file"
    assert len(repo.experiments()) == 1


def test_a_cell_that_fails_is_a_failed_run_and_shows_its_own_exception(repos):
    repo = repos.make("git_and_dvc")
    body = "with live:\n    live.log_metric('loss', 1.0)\n    raise ValueError('mine')"
    began, failed = executed(BEGIN.format(report="auto"), body)

    errors = [one for one in failed if one["output_type"] == "error"]
    assert [(one["ename"], one["evalue"]) for one in errors] == [("ValueError", "mine")]
    assert re.search(r"failed ValueError", pages(began)[0])
    assert len(repo.experiments()) == 1


def test_html_asked_for_in_a_notebook_is_a_file(repos):
    repo = repos.make("git_and_dvc")
    began, ended = executed(BEGIN.format(report="html"), "live.end()")
    assert not pages(began + ended)
    assert (repo.root / "dvclive" / "report.html").exists()

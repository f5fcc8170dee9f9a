"""The report in a notebook: one output, shown at once and updated in place."""

from __future__ import annotations

import re
import sys
import types

import pytest
from report import runs

from dvclive_dvc.report import Reporter, notebook, resolve_mode
from dvclive_dvc.report.reading import Reader


class Handle:
    def __init__(self):
        self.shown = []

    def update(self, what):
        self.shown.append(what.data)


@pytest.fixture
def ipython(monkeypatch):
    """What IPython offers a cell: a shell with a kernel, and displays that can be updated."""
    handles = []

    class HTML:
        def __init__(self, data):
            self.data = data

    def display(what, *, display_id):
        assert display_id is True
        handles.append(Handle())
        return handles[-1]

    main, shows = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    main.get_ipython = lambda: types.SimpleNamespace(kernel=object())
    shows.HTML, shows.display = HTML, display
    main.display = shows
    monkeypatch.setitem(sys.modules, "IPython", main)
    monkeypatch.setitem(sys.modules, "IPython.display", shows)
    return handles


def test_auto_is_the_notebooks_own_display_inside_a_notebook(ipython):
    assert resolve_mode("auto") == "notebook"
    assert resolve_mode("notebook") == "notebook"
    assert resolve_mode("html") == "html"


def test_a_terminals_ipython_is_no_notebook(ipython, monkeypatch):
    monkeypatch.setattr(sys.modules["IPython"], "get_ipython", types.SimpleNamespace)
    assert resolve_mode("auto") == "html"
    monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda: None)
    assert resolve_mode("auto") == "html"


def test_one_output_is_updated_in_place(ipython, tmp_path):
    layout, facts = runs.rich(tmp_path / "dvclive", steps=30, images=20)
    reporter = Reporter(layout, "notebook")
    assert len(ipython) == 1, "the output is there as soon as the run begins"
    reporter.build(facts)
    reporter.build(facts)
    assert len(ipython) == 1
    assert len(ipython[0].shown) == 2
    assert "Embedding" in ipython[0].shown[-1]
    assert not list(layout.root.glob("report*")), "no file is left"


def test_the_output_holds_no_script_and_no_markup_of_the_users(tmp_path):
    layout, facts = runs.rich(tmp_path / "dvclive", steps=30, images=20)
    shown = notebook.fragment(Reader(layout).read(facts))
    assert "<script" not in shown
    assert "<img src=x" not in shown
    assert shown.count("<svg") >= 24
    assert not re.search(r'(src|href)="(?!data:image/)', shown)
    assert len(shown) < 3_000_000


def test_numbers_have_as_many_digits_as_in_the_file_report(tmp_path):
    layout, facts = runs.rich(tmp_path / "dvclive", steps=3, images=12)
    layout.metrics_file.write_text('{"loss": 0.12345678901234}')
    shown = notebook.fragment(Reader(layout).read(facts))
    assert "<td>0.123457</td>" in shown

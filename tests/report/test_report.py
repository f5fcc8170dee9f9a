"""When a report is drawn, in which form, and that its trouble stays its own."""

from __future__ import annotations

import logging
import os
import time
import webbrowser

import pytest
from report import runs

from dvclive_dvc.errors import InvalidReportModeError
from dvclive_dvc.layout import Layout
from dvclive_dvc.report import Reporter, resolve_mode
from dvclive_dvc.settings import Settings


@pytest.fixture
def layout(tmp_path):
    made = Layout.at(tmp_path / "dvclive")
    runs.put_metric(made, "loss", [3.0, 2.0, 1.0])
    return made


def test_a_mode_is_taken_as_it_is_or_found_out():
    assert [resolve_mode(m) for m in (None, False, "html", "md")] == [None, None, "html", "md"]
    assert resolve_mode("auto") == "html", "no notebook here"


@pytest.mark.parametrize("wrong", ["pdf", "", True, 1, object])
def test_an_unknown_mode_is_refused_by_its_name(wrong):
    with pytest.raises(InvalidReportModeError) as refused:
        resolve_mode(wrong)
    assert f"Got {wrong} instead." in str(refused.value)


def test_a_notebook_report_outside_a_notebook_is_warned_about_and_off(caplog):
    with caplog.at_level(logging.WARNING, "dvclive_dvc"):
        assert resolve_mode("notebook") is None
    assert "report='html'" in caplog.text, "says what to do"


def test_a_run_of_half_a_second_is_drawn_at_its_end_alone(layout, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    reporter = Reporter(layout, "html")
    assert not reporter.due(), "nobody can have opened it yet"
    now[0] += 0.6
    assert reporter.due(), "a run that goes on has a report to look at"


def test_a_report_is_due_after_twenty_times_what_the_last_one_took(layout, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    reporter = Reporter(layout, "html")

    def slow(facts):
        now[0] += 0.5
        raise OSError("a slow failure is a build as well")

    monkeypatch.setattr(reporter._reader, "read", slow)
    reporter.build(runs.facts(layout))
    now[0] += 9.9
    assert not reporter.due()
    now[0] += 0.2
    assert reporter.due()


def test_asking_whether_it_is_due_costs_next_to_nothing(layout):
    due = Reporter(layout, "html").due
    begun = time.process_time()
    for _ in range(100_000):
        due()
    assert time.process_time() - begun < 0.25, "2.5 µs a call on a slow machine"


def test_no_report_is_never_due_and_writes_nothing(layout):
    reporter = Reporter(layout, None)
    reporter.build(runs.facts(layout))
    assert not reporter.due()
    assert not list(layout.root.glob("report*"))


def test_trouble_of_drawing_is_one_warning(layout, caplog):
    layout.metrics_file.write_text("{ torn")
    reporter = Reporter(layout, "html")
    with caplog.at_level(logging.WARNING, "dvclive_dvc"):
        reporter.build(runs.facts(layout))
        reporter.build(runs.facts(layout))
    assert len(caplog.records) == 1
    assert "The training goes on" in caplog.text


def test_a_report_that_cannot_be_drawn_leaves_the_former_one_whole(layout):
    reporter = Reporter(layout, "html")
    reporter.build(runs.facts(layout))
    before = layout.report_file("html").read_bytes()
    layout.metrics_file.write_text("{ torn")
    reporter.build(runs.facts(layout))
    assert layout.report_file("html").read_bytes() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_leaves_its_parents_report_alone(layout):
    reporter = Reporter(layout, "html")
    child = os.fork()
    if child == 0:
        try:
            reporter.build(runs.facts(layout))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert not layout.report_file("html").exists()
    reporter.build(runs.facts(layout))
    assert layout.report_file("html").exists()


def test_the_report_is_opened_once_where_that_is_asked_for(layout, monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    Reporter(layout, "html").build(runs.facts(layout))
    assert opened == [], "never unasked"
    settings = Settings.read({"DVCLIVE_OPEN": "True"})
    for _ in range(2):
        reporter = Reporter(layout, "html", opens=settings.opens)
        reporter.build(runs.facts(layout))
        reporter.build(runs.facts(layout))
    assert opened == [layout.report_file("html").as_uri()]


@pytest.mark.parametrize("mode", ["html", "md"])
def test_a_report_follows_the_data(layout, mode):
    reporter = Reporter(layout, mode)
    texts = []
    for value in (41.25, 42.5):
        layout.metrics_file.write_text(f'{{"loss": {value}}}')
        reporter.build(runs.facts(layout))
        texts.append(layout.report_file(mode).read_text(encoding="utf-8"))
    assert "41.25" in texts[0]
    assert "42.5" in texts[1]
    assert "41.25" not in texts[1]

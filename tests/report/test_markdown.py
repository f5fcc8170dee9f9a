"""report.md, as GitHub and CML show it: tables, and pictures that lie beside it."""

from __future__ import annotations

import json
import re
from urllib.parse import unquote

import pytest
from report import runs

from dvclive_dvc.backend import Entries
from dvclive_dvc.layout import Layout
from dvclive_dvc.logs import remains
from dvclive_dvc.report import Reporter, vega
from dvclive_dvc.report.markdown import spec_of
from dvclive_dvc.report.reading import Reader


@pytest.fixture
def layout(tmp_path):
    made = Layout.at(tmp_path / "dvclive")
    made.root.mkdir()
    return made


def links(text):
    return [unquote(link) for link in re.findall(r"!\[.*?\]\((.*?)\)", text)]


def built(layout, reporter=None, **more):
    (reporter or Reporter(layout, "md")).build(runs.facts(layout, **more))
    return layout.report_file("md").read_text(encoding="utf-8")


def test_it_has_tables_and_pictures_that_are_there(layout):
    layout.metrics_file.write_text('{"train": {"loss": 0.25}}')
    layout.params_file.write_text("lr: 0.1\n")
    runs.put_metric(layout, "train/loss", [1.0, 0.5, 0.25])
    runs.put_image(layout, "a b/(1).png", runs.png(8, 8))
    text = built(layout)
    assert "| train/loss | 0.25 |" in text
    assert "| lr | 0.1 |" in text
    found = links(text)
    assert len(found) == 2
    for link in found:
        assert (layout.root / link).read_bytes().startswith(b"\x89PNG"), f"{link} is no picture"


def test_every_kind_of_plot_has_its_picture(layout):
    layout, facts = runs.rich(layout.root, steps=40, images=20)
    Reporter(layout, "md").build(facts)
    text = layout.report_file("md").read_text(encoding="utf-8")
    charts = 12 + 12 + len(runs.MARKUP)
    assert len([link for link in links(text) if link.startswith("report-files/")]) == charts
    for link in links(text):
        assert (layout.root / link).stat().st_size > 100, link


def test_markup_in_names_stays_text(layout):
    layout.params_file.write_text("'<b>|`x`|': '*a* _b_ [c](d) <script>'\n")
    text = built(layout)
    assert "| \\<b\\>\\|\\`x\\`\\| | \\*a\\* \\_b\\_ \\[c\\](d) \\<script\\> |" in text


def test_a_picture_is_drawn_again_only_when_its_data_changed(layout, monkeypatch):
    runs.put_metric(layout, "a", [1, 2])
    runs.put_metric(layout, "b", [1, 2])
    drawn = []
    draw = vega.picture
    monkeypatch.setattr(vega, "picture", lambda spec: drawn.append(spec) or draw(spec))
    reporter = Reporter(layout, "md")
    built(layout, reporter)
    assert len(drawn) == 2
    runs.put_metric(layout, "b", [1, 2, 3])
    built(layout, reporter)
    assert len(drawn) == 3


def test_pictures_of_plots_that_are_no_more_go_and_others_stay(layout):
    one = runs.put_plot(layout, "one", [{"a": 1, "b": 2}], x="a", y="b")
    two = runs.put_plot(layout, "two", [{"a": 1, "b": 2}], x="a", y="b")
    reporter = Reporter(layout, "md")
    built(layout, reporter, entries=Entries(plots=(one, two)))
    mine = layout.report_pictures_dir / "mine.png"
    mine.write_bytes(b"the user's own")
    built(layout, reporter, entries=Entries(plots=(two,)))
    names = sorted(path.name for path in layout.report_pictures_dir.iterdir())
    assert len(names) == 2
    assert "mine.png" in names


def test_a_new_run_takes_the_pictures_away_with_the_report(layout):
    runs.put_metric(layout, "loss", [1, 2])
    built(layout)
    assert layout.report_pictures_dir.is_dir()
    remains.clear(layout)
    assert not layout.report_pictures_dir.exists()
    assert not layout.report_file("md").exists()


def test_without_the_extra_the_pictures_are_plain_drawings(layout, monkeypatch):
    monkeypatch.setattr(vega, "_library", lambda: None)
    runs.put_metric(layout, "loss", [1, 2])
    text = built(layout)
    assert "pip install 'dvclive_dvc[report]'" in text
    (link,) = links(text)
    assert (layout.root / link).read_text(encoding="utf-8").startswith("<svg")


@pytest.mark.parametrize(("last", "half"), [(2, False), (2.5, True)])
def test_a_picture_has_ticks_between_whole_numbers_only_where_there_is_data(layout, last, half):
    vl_convert = pytest.importorskip("vl_convert")
    rows = [{"t": x, "v": 100} for x in (0, 1, last)]
    plot = runs.put_plot(layout, "p", rows, x="t", y="v")
    (chart,) = Reader(layout).read(runs.facts(layout, entries=Entries(plots=(plot,)))).charts
    drawn = vl_convert.vegalite_to_svg(json.dumps(spec_of(chart, None)), vl_version="5.20")
    labels = re.findall(r"<text[^>]*>([^<]*)</text>", drawn)
    assert ("0.5" in labels) is half, f"labels of the axes: {labels}"


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("@team", "`@team`"),
        ("ask @user/team about #12", "ask `@user/team` about `#12`"),
        ("GH-1", "`GH-1`"),
        ("user/repo#1", "`user/repo#1`"),
        ("https://example.com/a?b|c", "`https://example.com/a?b`\\|c"),
        ("www.example.com", "`www.example.com`"),
        ("me@example.com", "`me@example.com`"),
        (":tada:", "`:tada:`"),
        ("`@a`|``@b", "`` `@a` ``\\|``` ``@b ```"),
        ("C #", "C \\#"),
        ("high-5 12:30 a|b", "high-5 12:30 a\\|b"),
    ],
)
def test_what_github_would_link_or_notify_stays_as_typed(layout, given, written):
    layout.params_file.write_text(json.dumps({"note": given}), encoding="utf-8")
    row = next(line for line in built(layout).splitlines() if line.startswith("| note"))
    assert row == f"| note | {written} |", "the word is not kept from becoming a link"


def test_pictures_stand_two_in_a_row_under_their_names_and_over_their_notes(layout):
    for name in ("a", "b", "c"):
        runs.put_metric(layout, name, [1, "nan" if name == "b" else 2])
    text = built(layout)
    table = text.partition("## Plots\n\n")[2].partition("\n\n")[0]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    assert cells[0] == ["a", "b"], "the names of the first two"
    assert [cell[:5] for cell in cells[2]] == ["![a](", "![b]("], "their pictures"
    assert cells[3] == ["", "No finite number: nan at 1"], "what is to be said of them"
    assert cells[4] == ["**c**", ""], "the name of the last"
    assert cells[5][0].startswith("![c]("), "its picture"
    assert {len(row) for row in cells} == {2}, "each row has as many cells"


def test_the_picture_of_a_matrix_names_no_revision_and_writes_its_counts(layout):
    vl_convert = pytest.importorskip("vl_convert")
    rows = [{"actual": "cat", "predicted": "dog"}] * 7
    plot = runs.put_plot(layout, "cm", rows, template="confusion", x="actual", y="predicted")
    (chart,) = Reader(layout).read(runs.facts(layout, entries=Entries(plots=(plot,)))).charts
    drawn = vl_convert.vegalite_to_svg(json.dumps(spec_of(chart, None)), vl_version="5.20")
    labels = re.findall(r"<text[^>]*>([^<]*)</text>", drawn)
    assert "7" in labels, "its one field says how many rows it stands for"
    assert not {"rev", "workspace"} & set(labels), "there is one run, which needs no name"

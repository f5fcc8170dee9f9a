"""report.html in a real browser: from disk, without a network, as people open it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from report import chromium, runs
from situations import PROJECT

from dvclive_dvc.backend import Artifact, Entries
from dvclive_dvc.layout import Layout
from dvclive_dvc.report import Reporter, notebook
from dvclive_dvc.report.reading import Reader

if TYPE_CHECKING:
    from pathlib import Path

REQUIRED = bool(os.environ.get("DVCLIVE_DVC_REQUIRE_BROWSER"))
SCREENSHOTS = PROJECT / "ci-artifacts"
DRAWN = "document.documentElement?.classList.contains('all-drawn')"

pytestmark = [
    pytest.mark.skipif(
        chromium.program() is None and not REQUIRED,
        reason="no Chromium here (Debian: apt-get install chromium); "
        "DVCLIVE_DVC_REQUIRE_BROWSER=1 makes this an error",
    ),
    pytest.mark.xdist_group("browser"),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    assert chromium.program(), "DVCLIVE_DVC_REQUIRE_BROWSER is set, but there is no Chromium"
    opened = chromium.Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def rich_report(tmp_path_factory) -> Path:
    """12 metrics of 100,000 steps, 200 images, every kind of plot, names full of markup."""
    layout, facts = runs.rich(tmp_path_factory.mktemp("rich") / "dvclive")
    Reporter(layout, "html").build(facts)
    return layout.report_file("html")


@pytest.fixture
def opened(browser, rich_report):
    """The rich report with all its plots; the same page as long as nobody has touched it."""
    if browser.shown != rich_report:
        browser.open(rich_report)
    browser.until(DRAWN, within=60)
    return browser


@pytest.fixture
def touched(opened):
    """The same, for tests that leave the page otherwise than they found it."""
    yield opened
    opened.shown = None


def test_the_file_of_a_rich_run_stays_under_5_mb(rich_report):
    assert rich_report.stat().st_size < 5_000_000


def test_a_rich_report_opens_in_under_two_seconds(browser, rich_report):
    # Seconds of the page's own thread, so that a busy machine changes nothing.
    browser.call("Performance.enable", timeDomain="threadTicks")
    browser.open(rich_report)
    browser.until("[...document.querySelectorAll('.drawn')].length >= 3", within=60)
    told = browser.call("Performance.getMetrics")["metrics"]
    spent = next(one["value"] for one in told if one["name"] == "TaskDuration")
    browser.call("Performance.disable")
    assert spent < 2, f"{spent:.2f} s until the first plots stand"


def test_nothing_is_asked_for_and_the_console_stays_silent(opened, rich_report):
    assert opened.complaints() == []
    assert opened.requests() == [rich_report.as_uri()], "the file itself and nothing else"


def test_a_request_would_be_noticed(browser, tmp_path):
    page = tmp_path / "page.html"
    page.write_text("<img src='https://example.com/x.png'><script>nothing()</script>")
    browser.open(page)
    browser.until("document.readyState === 'complete'")
    assert any("example.com" in url for url in browser.requests())
    assert any("nothing is not defined" in told for told in browser.complaints())


def test_no_name_has_become_markup(opened):
    assert opened.run("window.hurt === undefined")
    assert opened.run("document.querySelectorAll('script').length") == 3, "data, Vega, ours"
    assert (
        opened.run(
            "document.querySelectorAll('h4 :not(wbr), th :not(wbr), td :not(small, code)').length"
        )
        == 0
    )
    shown = opened.run("[...document.querySelectorAll('h4')].map(e => e.textContent)")
    for text in runs.MARKUP:
        assert text in shown, "a title reads as it was given"


def test_every_plot_has_a_drawn_mark(opened):
    assert opened.run("report.state.failed") == []
    # Pixels of DVC's purple or of a coloured field, in each canvas.
    counts = opened.run(
        """report.figures.map(figure => {
            const canvas = figure.querySelector("canvas");
            if (!canvas || !canvas.width) return [figure.querySelector("h4").textContent, 0];
            const { width, height } = canvas;
            const data = canvas.getContext("2d").getImageData(0, 0, width, height).data;
            let marks = 0;
            for (let i = 0; i < data.length; i += 4) {
                const [r, g, b, a] = data.subarray(i, i + 4);
                if (a > 60 && b - g > 40) marks += 1;
            }
            return [figure.querySelector("h4").textContent, marks];
        })"""
    )
    assert len(counts) >= 12 + 12 + len(runs.MARKUP)
    assert [title for title, marks in counts if marks < 20] == []


@pytest.mark.parametrize(
    "title", ["train/loss", "Embedding", "Feature importance", "Latency quantiles"]
)
def test_a_tooltip_answers_with_the_values_under_the_mouse(opened, title):
    box = opened.run(
        f"""(() => {{
            const title = {json.dumps(title)};
            const figure = report.figures.find(f => f.querySelector("h4").textContent === title);
            figure.scrollIntoView({{block: "center", behavior: "instant"}});
            const {{x, y, width, height}} = figure.querySelector("canvas").getBoundingClientRect();
            return [x, y, width, height];
        }})()"""
    )
    x, y, width, height = box
    told = ""
    # Somewhere over the plot there is a mark.
    for across in (0.3, 0.25, 0.4, 0.5, 0.6):
        for down in (0.5, 0.3, 0.4, 0.6, 0.7, 0.2, 0.12):
            opened.move(x + width * across, y + height * down)
            told = opened.run(
                "tip.hidden ? '' : [...tip.children].map(e => e.textContent).join(' ')"
            )
            if told:
                break
        if told:
            break
    expected = {
        "train/loss": ("step", "loss"),
        "Embedding": ("pca 1", "pca 2"),
        "Feature importance": ("feature", "gain"),
        "Latency quantiles": ("hour", "p50"),
    }[title]
    assert all(word in told for word in expected), told
    assert "workspace" not in told, "a run's own report has one series, which needs no name"


def test_smoothing_draws_the_lines_anew(touched):
    look = (
        "report.figures.find(f => f.querySelector('h4').textContent === 'train/grad_norm')"
        ".querySelector('canvas').toDataURL()"
    )
    before = touched.run(look)
    touched.run(
        "(() => { const s = document.querySelector('#smooth input'); s.value = 60;"
        " s.dispatchEvent(new Event('input')) })()"
    )
    touched.until(f"{look} !== {json.dumps(before)}")


def test_filtering_leaves_the_metrics_asked_for(touched):
    touched.run(
        "(() => { const s = document.querySelector('#filter'); s.value = 'val';"
        " s.dispatchEvent(new Event('input')) })()"
    )
    shown = touched.run(
        "[...document.querySelectorAll('#metrics [data-chart]')].filter(f => f.offsetParent)"
        ".map(f => f.querySelector('h4').textContent)"
    )
    assert shown == ["val/accuracy", "val/f1", "val/loss"]


def test_a_series_of_images_has_a_slider_over_its_steps(touched):
    told = touched.run(
        """(() => {
            const series = document.querySelector(".series");
            const range = series.querySelector("input");
            const out = [series.querySelector("output").value];
            range.value = 0;
            range.dispatchEvent(new Event("input"));
            return [...out, series.querySelector("output").value,
                series.querySelectorAll("figure.on").length];
        })()"""
    )
    assert told == ["93", "0", 1], "the last step first, then the one asked for"


def test_paper_gets_every_plot_in_dark_ink(browser, rich_report, tmp_path):
    browser.open(rich_report, dark=True)
    browser.until("!!document.querySelector('.drawn')", within=60)
    browser.pdf(tmp_path / "report.pdf")
    assert browser.run("report.waiting.size") == 0, "printing draws what was not looked at yet"
    assert browser.run("report.state.failed") == []
    assert (tmp_path / "report.pdf").stat().st_size > 50_000


@pytest.mark.parametrize(
    ("name", "width", "dark"), [("light", 1280, False), ("dark", 1280, True), ("phone", 390, False)]
)
def test_it_fits_the_window_and_is_kept_as_a_picture(browser, tmp_path_factory, name, width, dark):
    folder = tmp_path_factory.getbasetemp() / "plain" / "dvclive"
    layout, facts = runs.rich(folder, steps=3_000, images=60, markup=False)
    Reporter(layout, "html").build(facts)
    browser.open(layout.report_file("html"), width=width, dark=dark)
    browser.until(DRAWN, within=60)
    assert browser.run("document.documentElement.scrollWidth") <= width, "it scrolls sideways"
    assert browser.run(
        "report.figures.every(f => f.querySelector('canvas').getBoundingClientRect().right"
        " <= f.getBoundingClientRect().right)"
    ), "a plot is wider than its card"
    browser.run(
        "(async () => { for (const i of document.images) i.loading = 'eager';"
        " await Promise.all([...document.images].map(i => i.decode().catch(() => 0))) })()"
    )
    browser.picture(SCREENSHOTS / f"report-{name}.png", whole=True)
    assert (SCREENSHOTS / f"report-{name}.png").stat().st_size > 50_000


def test_without_the_extra_the_plots_are_plain_drawings(browser, tmp_path, monkeypatch):
    from dvclive_dvc.report import vega

    monkeypatch.setattr(vega, "_library", lambda: None)
    layout, facts = runs.rich(tmp_path / "dvclive", steps=500, images=20)
    Reporter(layout, "html").build(facts)
    browser.open(layout.report_file("html"))
    browser.until("document.readyState === 'complete'")
    assert browser.complaints() == []
    assert browser.run("window.vega === undefined && window.hurt === undefined")
    assert browser.run("document.body.textContent.includes(\"pip install 'dvclive_dvc[report]'\")")
    empty = browser.run(
        "report.figures.filter(f => !f.querySelector('svg path, svg rect, svg circle'))"
        ".map(f => f.querySelector('h4').textContent)"
    )
    assert empty == []


def test_a_metric_of_one_step_is_a_point_on_a_true_axis(browser, tmp_path):
    layout = Layout.at(tmp_path / "dvclive")
    runs.put_metric(layout, "loss", [0.5])
    runs.put_metric(layout, "broken", ["nan", 0.25, "nan"])
    runs.put_metric(layout, "never", ["nan"])
    Reporter(layout, "html").build(runs.facts(layout))
    browser.open(layout.report_file("html"))
    browser.until(DRAWN)
    assert browser.run("report.state.failed") == []
    assert browser.complaints() == []
    domain = (
        "[...report.views].find(([f]) => f.querySelector('h4').textContent === 'loss')[1]"
        ".view.scale('y').domain()"
    )
    low, high = browser.run(domain)
    assert low < 0.5 < high


def test_a_long_name_leaves_the_plot_its_room(browser, tmp_path):
    layout = Layout.at(tmp_path / "dvclive")
    runs.put_metric(layout, "a_long_name_" * 16, [1, 2, 3])
    runs.put_metric(layout, "short", [1, 2, 3])
    Reporter(layout, "html").build(runs.facts(layout))
    browser.open(layout.report_file("html"))
    browser.until(DRAWN)
    long, short = browser.run("[...report.views.values()].map(({ view }) => view.height())")
    assert long == short
    assert long > 100


def test_tiny_values_have_labels_that_differ(browser, tmp_path):
    layout = Layout.at(tmp_path / "dvclive")
    runs.put_metric(layout, "lr", [1e-12, 2e-12, 3e-12])
    Reporter(layout, "html").build(runs.facts(layout))
    browser.open(layout.report_file("html"))
    browser.until(DRAWN)
    browser.run("dispatchEvent(new Event('beforeprint'))")  # as SVG, whose text can be read
    labels = browser.run(
        "[...document.querySelectorAll('.plot svg text')].map((text) => text.textContent)"
    )
    assert "1e-12" in labels, labels


def test_a_long_description_leaves_the_artifacts_name_whole(browser, tmp_path):
    layout = Layout.at(tmp_path / "dvclive")
    layout.root.mkdir()
    weights = Artifact(layout.root / "w.bin", type="model", desc="d" * 400)
    facts = runs.facts(layout, entries=Entries(artifacts={"weights": weights}))
    Reporter(layout, "html").build(facts)
    browser.open(layout.report_file("html"))
    browser.until("document.readyState === 'complete'")
    lines = browser.run(
        "(() => { const range = document.createRange();"
        " range.selectNodeContents(document.querySelector('#artifacts tbody th'));"
        " return range.getClientRects().length; })()"
    )
    assert lines == 1, "the name is one line"


def test_a_long_text_for_a_value_leaves_the_metrics_names_whole(browser, tmp_path):
    layout = Layout.at(tmp_path / "dvclive")
    runs.put_metric(layout, "train/grad_norm", [0.975646, 0.1])
    values = {"text": "a long text " * 40, "train/grad_norm": 0.975646, "huge": 10**400}
    layout.metrics_file.write_text(json.dumps(values))
    Reporter(layout, "html").build(runs.facts(layout))
    browser.open(layout.report_file("html"))
    browser.until(DRAWN)
    lines = browser.run(
        "[...document.querySelectorAll('.values tbody th')].map(name => {"
        " const range = document.createRange(); range.selectNodeContents(name);"
        " return new Set([...range.getClientRects()].map(one => one.top)).size; })"
    )
    assert lines == [1, 1, 1], "each name is one line"


@pytest.mark.parametrize("template", ["confusion", "confusion_normalized"])
@pytest.mark.parametrize("classes", [3, 10, 15, 30])
def test_the_numbers_of_a_matrix_stay_in_their_cells(browser, tmp_path, template, classes):
    layout = Layout.at(tmp_path / "dvclive")
    cells = [(i, j) for i in range(classes) for j in range(classes)]
    rows = [{"actual": f"{i:02}", "predicted": f"{j:02}"} for i, j in cells]
    rows += [{"actual": "01", "predicted": "01"}] * 1200
    plots = [
        runs.put_plot(layout, f"cm{i}", rows, template=template, x="actual", y="predicted")
        for i in range(3)
    ]
    Reporter(layout, "html").build(runs.facts(layout, plots=plots))
    browser.open(layout.report_file("html"), width=1300)
    browser.until(DRAWN)
    assert browser.run("report.state.failed") == []
    side, labels = browser.run(
        """(() => {
            const [{ view }] = report.views.values();
            const found = [];
            let side = 0;
            const walk = (item) => {
                if (item.marktype === "text" && item.role === "mark")
                    for (const one of item.items)
                        if (one.text !== undefined && one.opacity !== 0)
                            found.push([one.bounds.x2 - one.bounds.x1, one.fontSize]);
                if (item.marktype === "group")
                    for (const one of item.items) {
                        if (one.mark.role === "scope") side = one.width;
                        one.items.forEach(walk);
                    }
            };
            walk(view.scenegraph().root);
            return [side, found];
        })()"""
    )
    assert side > 100, "the matrix was not found"
    widest = max((width for width, _ in labels), default=0)
    assert widest <= side / classes, f"numbers run into each other: {widest} in {side / classes}"
    assert all(size >= 7 for _, size in labels), "numbers are too small to be read"
    if classes == 3:
        assert labels, "numbers for which there is room are left out"


def test_the_first_plots_stand_as_soon_as_the_page_is_loaded(browser, tmp_path):
    layout = Layout.at(tmp_path / "dvclive")
    for i in range(300):
        runs.put_metric(layout, f"m{i:03}", list(range(200)))
    Reporter(layout, "html").build(runs.facts(layout))
    noted = browser.call(
        "Page.addScriptToEvaluateOnNewDocument",
        source="addEventListener('load', () => {"
        " window.early = document.querySelectorAll('.drawn canvas').length; })",
    )["identifier"]
    browser.call("Performance.enable", timeDomain="threadTicks")
    browser.open(layout.report_file("html"), width=1300, height=3000)
    browser.until("window.early !== undefined", within=60)
    told = browser.call("Performance.getMetrics")["metrics"]
    browser.call("Performance.disable")
    browser.call("Page.removeScriptToEvaluateOnNewDocument", identifier=noted)
    assert browser.run("window.early") >= 8, "a picture of the page would lack its first plots"
    spent = next(one["value"] for one in told if one["name"] == "TaskDuration")
    assert spent < 2, f"{spent:.2f} s until the page is there"


def test_a_short_run_has_no_ticks_between_its_steps(browser, tmp_path):
    layout = Layout.at(tmp_path / "dvclive")
    runs.put_metric(layout, "loss", [0, 100, 200])
    Reporter(layout, "html").build(runs.facts(layout))
    browser.open(layout.report_file("html"))
    browser.until(DRAWN)
    browser.run("dispatchEvent(new Event('beforeprint'))")  # as SVG, whose text can be read
    labels = browser.run(
        "[...document.querySelectorAll('.plot svg text')].map((text) => text.textContent)"
    )
    assert labels[:4] == ["0", "1", "2", "step"], f"one label a step, and none between: {labels}"


def test_numbers_stay_on_one_line_and_names_break_between_their_words(browser, tmp_path):
    layout = Layout.at(tmp_path / "dvclive")
    name = "encoder/layer7/attention/query_key_value_gradient_norm_before_clipping"
    runs.put_metric(layout, name, [4.56309e-05, -0.000997727])
    layout.metrics_file.write_text(json.dumps({name: -0.000997727}))
    Reporter(layout, "html").build(runs.facts(layout))
    for width in (1280, 390):
        browser.open(layout.report_file("html"), width=width)
        browser.until(DRAWN)
        lines = browser.run(
            "[...document.querySelectorAll('.values td.number:nth-child(2)')].map(cell => {"
            " const range = document.createRange(); range.selectNodeContents(cell);"
            " return range.getClientRects().length; })"
        )
        assert lines == [1], f"a number is broken at a width of {width}"
        cut = browser.run(
            "[...document.querySelectorAll('h4, .values tbody th')].flatMap(name =>"
            " [...name.childNodes].filter(node => node.nodeType === 3).filter(node => {"
            " const range = document.createRange(); range.selectNodeContents(node);"
            " return range.getClientRects().length > 1; }).map(node => node.data))"
        )
        assert cut == [], f"words are cut in two at a width of {width}"
        assert browser.run("document.querySelector('h4').textContent") == name, "a copy is whole"


def test_a_notebooks_tables_leave_numbers_and_short_names_whole(browser, tmp_path):
    layout = Layout.at(tmp_path / "dvclive")
    layout.root.mkdir()
    layout.metrics_file.write_text(json.dumps({"a_long_metric_name_" * 4: -0.000997727}))
    layout.params_file.write_text(json.dumps({"name": "x" * 60}))
    page = tmp_path / "cell.html"
    page.write_text(
        f"<!doctype html><body>{notebook.fragment(Reader(layout).read(runs.facts(layout)))}",
        encoding="utf-8",
    )
    browser.open(page, width=700)
    browser.until("document.readyState === 'complete'")
    whole = browser.run(
        "[...document.querySelectorAll('th, td')].filter(cell => {"
        " const range = document.createRange(); range.selectNodeContents(cell);"
        " return range.getClientRects().length === 1; }).map(cell => cell.textContent)"
    )
    assert whole == ["-0.000997727", "name"], "what stands on one line"

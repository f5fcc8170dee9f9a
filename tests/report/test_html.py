"""What stands in report.html; that it is drawn rightly is test_browser's business."""

from __future__ import annotations

import json
import random
import re
from html.parser import HTMLParser

import pytest
from report import runs

from dvclive_dvc.backend import Entries, Outcome, Plot, Status
from dvclive_dvc.layout import Layout
from dvclive_dvc.report import Reporter, vega


@pytest.fixture
def layout(tmp_path):
    made = Layout.at(tmp_path / "dvclive")
    made.root.mkdir()
    return made


def built(layout, **more):
    Reporter(layout, "html").build(runs.facts(layout, **more))
    return layout.report_file("html").read_text(encoding="utf-8")


class Texts(HTMLParser):
    """The text between tags, scripts apart; and every address in an attribute."""

    def __init__(self, source):
        super().__init__()
        self.texts, self.scripts, self.addresses, self._in = [], [], [], []
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self._in.append(tag)
        self.addresses += [v for k, v in attrs if k in {"src", "href"} and v]

    def handle_endtag(self, tag):
        if tag in self._in:
            while self._in.pop() != tag:
                pass

    def handle_data(self, data):
        inside = self._in[-1] if self._in else ""
        (self.scripts if inside in {"script", "style"} else self.texts).append(data.strip())


def data_of(source):
    found = re.search(r'<script type="application/json" id="page-data">(.*?)</script>', source)
    return json.loads(found[1])


def test_it_says_what_the_run_is(layout):
    layout.metrics_file.write_text('{"train": {"loss": 0.25}, "step": 7}')
    layout.params_file.write_text("lr: 0.1\nmodel:\n  layers: [64, 64]\n")
    texts = Texts(built(layout, step=7)).texts
    for text in ("olive-heron", "completed", "4f2a9c0", "7", "1 min 30 s", "train/loss", "0.25",
                 "lr", "0.1", "model.layers", "[64, 64]"):  # fmt: skip
        assert text in texts, f"{text} is not said"


@pytest.mark.parametrize(
    ("outcome", "status", "told"),
    [
        (None, "running", None),
        (Outcome(Status.FAILED, exception="builtins.ValueError", raised_at="train.py:12"),
         "failed", "Failed: ValueError at train.py:12"),
        (Outcome(Status.INTERRUPTED, signal="SIGTERM"), "interrupted", "Interrupted: by SIGTERM"),
        (Outcome(Status.FAILED, exit_code=3), "failed", "Failed: exit code 3"),
    ],
)  # fmt: skip
def test_it_says_how_the_run_stands(layout, outcome, status, told):
    texts = Texts(built(layout, outcome=outcome)).texts
    assert status in texts
    assert told is None or told in texts


def test_nothing_in_it_points_outside(layout):
    runs.put_metric(layout, "loss", [1, 2])
    runs.put_image(layout, "a.png", runs.png(8, 8))
    addresses = Texts(built(layout)).addresses
    assert addresses
    assert all(a.startswith(("#", "data:image/")) for a in addresses)


def test_markup_in_names_stays_text(layout):
    values = dict.fromkeys(runs.MARKUP, 1)
    layout.metrics_file.write_text(json.dumps(values))
    layout.params_file.write_text(json.dumps({text: text for text in runs.MARKUP}))
    plots = list(runs._odd_plots(layout))
    source = built(layout, entries=Entries(plots=tuple(plots)))
    page = Texts(source)
    for text in runs.MARKUP:
        assert text.strip() in page.texts
    assert source.count("</script>") == 3, "data, Vega, ours"
    assert "<!-- <script>" not in source
    assert {c["t"] for c in data_of(source)["charts"]} == set(runs.MARKUP), "and the data is whole"


def test_a_name_that_is_no_unicode_does_not_break_the_file(layout):
    layout.metrics_file.write_text('{"a\\udc80b": 1}')
    assert "a?b" in built(layout)


def test_only_its_own_scripts_may_run(layout):
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', built(layout))[1]
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy.split("script-src")[1].split(";")[0]
    assert "http" not in policy


def test_a_long_metric_is_thinned_and_says_so(layout):
    runs.put_metric(layout, "loss", [i % 501 for i in range(20_000)])
    source = built(layout)
    chart = data_of(source)["charts"][0]
    shown = len(chart["c"][1]["v"])
    assert shown <= 1_000
    assert f"{shown:,} of 20,000 rows drawn; no peak is left out." in Texts(source).texts
    assert (min(chart["c"][1]["v"]), max(chart["c"][1]["v"])) == (0, 500)


def test_a_short_metric_is_whole_and_says_nothing(layout):
    runs.put_metric(layout, "loss", [3.0, 1.0, 2.0], start=5)
    source = built(layout)
    chart = data_of(source)["charts"][0]
    assert chart["c"] == [[5, 3], {"v": [3.0, 1.0, 2.0]}]
    assert "rows drawn" not in "".join(Texts(source).texts)


def test_values_that_are_no_numbers_are_named(layout):
    runs.put_metric(layout, "loss", [1.0, "nan", "inf", 2.0])
    source = built(layout)
    chart = data_of(source)["charts"][0]
    assert chart["c"][1]["v"] == [1.0, None, None, 2.0]
    assert chart["holes"] == [[1, "nan"], [2, "inf"]]
    assert "No finite number: nan at 1, inf at 2" in Texts(source).texts


def test_a_metric_of_words_stands_in_the_summary_and_has_no_plot(layout):
    layout.metrics_file.write_text('{"best": "model-2", "loss": 0.5}')
    runs.put_metric(layout, "best", ["model-1", "model-2"])
    runs.put_metric(layout, "loss", [1.0, 0.5])
    source = built(layout)
    assert "model-2" in Texts(source).texts
    assert [chart["t"] for chart in data_of(source)["charts"]] == ["loss"]
    assert "No finite number" not in source


def test_a_word_among_numbers_is_named_as_it_was_logged(layout):
    runs.put_metric(layout, "loss", [1.0, "warm up", '"""quoted"', 10**400, "nan", "inf"])
    texts = Texts(built(layout)).texts
    assert (
        'No finite number: warm up at 1, "quoted at 2, 1.00000e+400 at 3, nan at 4, \u2026' in texts
    )


def test_long_values_of_metrics_are_short(layout):
    layout.metrics_file.write_text(
        json.dumps({"huge": 10**400, "id": 1234567890, "text": "w" * 500})
    )
    texts = Texts(built(layout)).texts
    assert "1.00000e+400" in texts
    assert "1234567890" in texts, "all digits where they can be read"
    assert max(map(len, texts)) < 150


def test_a_name_that_begins_with_a_quote_is_the_axis_own(layout):
    path = runs.put_metric(layout, '"q"', [1, 2])
    path.write_text(path.read_text().replace('\t"q"\n', '\t"""q"""\n'))
    (chart,) = data_of(built(layout))["charts"]
    assert chart["yl"] == '"q"'


def test_a_metric_whose_last_name_is_step_has_its_own_values(layout):
    runs.put_metric(layout, "val/step", [5.0, 6.0, 8.0])
    (chart,) = data_of(built(layout))["charts"]
    assert chart["c"] == [[0, 3], {"v": [5.0, 6.0, 8.0]}]
    assert chart["x"] != chart["y"][0]


def test_a_confusion_matrix_counts_all_its_rows(layout):
    rows = [{"actual": "a", "predicted": "ab"[i % 2]} for i in range(50_000)]
    plot = runs.put_plot(layout, "cm", rows, template="confusion", x="actual", y="predicted")
    chart = data_of(built(layout, entries=Entries(plots=(plot,))))["charts"][0]
    assert chart["n"] == [25_000, 25_000]


def test_many_metrics_share_one_template_and_stay_small(layout):
    for i in range(1_000):
        runs.put_metric(layout, f"group{i % 10}/m{i}", list(range(100)))
    source = built(layout)
    assert len(data_of(source)["specs"]) == 1
    assert len(data_of(source)["charts"]) == 1_000
    assert len(source) < 5_000_000


def test_a_template_that_is_not_there_is_named_and_another_drawn(layout):
    plot = runs.put_plot(layout, "p", [{"a": 1, "b": 2}], template="nonsense", x="a", y="b")
    source = built(layout, entries=Entries(plots=(plot,)))
    assert "nonsense" in " ".join(Texts(source).texts)
    assert data_of(source)["charts"]


@pytest.mark.parametrize("content", ['"x"', "[]", "{", "3", "\xe4"])
def test_a_file_that_holds_no_template_is_named_and_another_drawn(layout, tmp_path, content):
    (tmp_path / ".dvc" / "plots").mkdir(parents=True)
    (tmp_path / ".dvc" / "plots" / "mine.json").write_bytes(content.encode("latin-1"))
    plot = runs.put_plot(layout, "p", [{"a": 1, "b": 2}], template="mine", x="a", y="b")
    source = built(layout, entries=Entries(plots=(plot,)))
    told = " ".join(Texts(source).texts)
    assert "since 'mine' cannot be used: " in told
    assert ".." not in told
    assert data_of(source)["charts"]


def test_a_file_beside_the_metrics_that_is_no_text_is_named_and_the_rest_drawn(layout):
    runs.put_metric(layout, "loss", [1, 2])
    (layout.metrics_dir / "notes.tsv").write_bytes(b"n\xe4me\tx\n1\t2\n")
    source = built(layout)
    assert "plots/metrics/notes.tsv cannot be read" in " ".join(Texts(source).texts)
    assert [chart["t"] for chart in data_of(source)["charts"]] == ["loss"]


def test_a_plot_whose_file_is_torn_is_named_and_the_rest_drawn(layout):
    runs.put_metric(layout, "loss", [1, 2])
    path = layout.custom_dir / "p.json"
    path.parent.mkdir(parents=True)
    path.write_text("[{")
    source = built(layout, entries=Entries(plots=(Plot(path, {"x": "a", "y": "b"}),)))
    assert "custom/p.json cannot be read" in " ".join(Texts(source).texts)
    assert len(data_of(source)["charts"]) == 1


def test_images_are_shown_by_name_and_series_by_step(layout):
    for name in ("b.png", "a.png", "run/10.png", "run/9.png", "run/2.png"):
        runs.put_image(layout, name, runs.png(8, 8))
    source = built(layout)
    page = Texts(source)
    assert [t for t in page.texts if t in {"a.png", "b.png", "run"}] == ["a.png", "b.png", "run"]
    assert re.findall(r'data-step="(\d+)"', source) == ["2", "9", "10"], "by number, not by letter"


def test_too_many_images_are_capped_and_counted(layout):
    small = runs.png(4, 4)
    for i in range(400):
        runs.put_image(layout, f"pics/{i:03d}x.png", small)
    source = built(layout)
    shown = source.count("<img src=")
    assert 100 <= shown < 400
    assert f"{400 - shown} of them are left out" in " ".join(Texts(source).texts)


def test_large_images_are_scaled_down_to_fit(layout):
    from PIL import Image

    noise = random.Random(1).randbytes(1500 * 1200 * 3)
    for i in range(6):
        path = layout.images_dir / f"{i}-large.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.frombytes("RGB", (1500, 1200), noise).save(path, compress_level=0)
    source = built(layout)
    assert 0 < source.count("data:image/webp") <= 6
    assert len(source) < 5_000_000
    assert "Large ones are scaled down." in " ".join(Texts(source).texts)


def test_without_the_extra_the_numbers_and_drawings_are_there(layout, monkeypatch):
    monkeypatch.setattr(vega, "_library", lambda: None)
    layout.metrics_file.write_text('{"loss": 0.125}')
    runs.put_metric(layout, "loss", [0.5, 0.25, 0.125])
    source = built(layout)
    assert "0.125" in Texts(source).texts
    assert "pip install 'dvclive_dvc[report]'" in Texts(source).texts
    assert "<svg" in source
    assert len(source) < 100_000


def test_the_scripts_are_made_once_and_kept(layout, tmp_path, monkeypatch):
    monkeypatch.setenv("DVCLIVE_DVC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(vega, "_script", {})
    first = vega.script()
    made = {path.name for path in (tmp_path / "cache").iterdir()}
    assert len(made) == 1
    monkeypatch.setattr(vega, "_script", {})
    monkeypatch.setattr(vega, "_bundled", lambda _: pytest.fail("made a second time"))
    assert vega.script() == first
    assert b"vegaLite" in first


def test_of_a_long_parameter_the_beginning_is_shown(layout):
    ids = list(range(5000))
    layout.params_file.write_text(json.dumps({"ids": ids, "short": [1, 2]}))
    source = built(layout)
    assert "[0, 1, 2, 3," in source
    assert "1234, 1235" not in source
    assert f"\u2026 ({len(json.dumps(ids)):,} characters)" in source
    assert "[1, 2]" in source


def test_a_page_without_plots_carries_no_scripts_for_them(layout):
    assert len(built(layout)) < 50_000


def test_a_cache_that_cannot_be_written_costs_time_alone(layout, tmp_path, monkeypatch):
    from dvclive_dvc.report import keep

    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DVCLIVE_DVC_CACHE", str(tmp_path / "file" / "cache"))
    assert keep.kept("x.txt", (tmp_path / "file",), lambda: b"made") == b"made"


def test_the_cache_keeps_what_other_environments_made_and_drops_what_is_old(tmp_path, monkeypatch):
    import os

    from dvclive_dvc.report import keep

    monkeypatch.setenv("DVCLIVE_DVC_CACHE", str(tmp_path / "cache"))
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("1")
    two.write_text("22")
    keep.kept("x.txt", (one,), lambda: b"one")
    keep.kept("x.txt", (two,), lambda: b"two")
    assert keep.kept("x.txt", (one,), lambda: b"again") == b"one"
    for path in (tmp_path / "cache").iterdir():
        os.utime(path, (0, 0))
    one.write_text("333")
    assert keep.kept("x.txt", (one,), lambda: b"new") == b"new"
    assert len(list((tmp_path / "cache").iterdir())) == 1


def wide(layout):
    chance = random.Random(1)
    names = [f"y{k}" for k in range(30)]
    rows = [{"x": i, **{name: chance.random() for name in names}} for i in range(1_000)]
    rows[700]["y29"] = 9.0
    plots = [
        runs.put_plot(layout, f"p{k}", rows, template="simple", x="x", y=names) for k in range(20)
    ]
    return {"entries": Entries(plots=tuple(plots))}


def many(layout):
    values = {}
    for i in range(5_000):
        name = f"group{i % 50}/" + "n" * 60 + f"{i}"
        runs.put_metric(layout, name, [i])
        values[name] = i
    layout.metrics_file.write_text(json.dumps(values))
    return {}


def long_params(layout):
    layout.params_file.write_text("".join(f"p{i}: {'v' * 700}\n" for i in range(8_000)))
    return {}


def long_texts(layout):
    rows = [{"x": i, "y": f"{i} " + "\u00e4" * 3_000} for i in range(2_000)]
    plots = [runs.put_plot(layout, f"t{k}", rows, template="scatter", x="x", y="y") for k in (1, 2)]
    return {"entries": Entries(plots=tuple(plots))}


def many_classes(layout):
    rows = [{"actual": f"label-{i * 7919 % 3_000}", "predicted": i % 2_999} for i in range(60_000)]
    plot = runs.put_plot(layout, "cm", rows, template="confusion", x="actual", y="predicted")
    return {"entries": Entries(plots=(plot,))}


@pytest.mark.parametrize("fill", [wide, many, long_params, long_texts, many_classes])
def test_the_file_stays_under_5_mb_whatever_was_logged(layout, fill):
    noise = random.Random(1).randbytes(40_000)
    for i in range(100):
        runs.put_image(layout, f"{i}-noise.png", noise)
    source = built(layout, **fill(layout))
    assert len(source.encode()) < 5_000_000
    page = Texts(source)
    assert any(text.endswith("are left out to keep this file small.") for text in page.texts)
    charts = data_of(source)["charts"]
    told = " ".join(page.texts)
    if fill is wide:
        assert len(charts) == 20, "each plot is drawn"
        assert all(max(chart["c"][-1]["v"]) == 9.0 for chart in charts), "with its peak"
    elif fill is many:
        assert len(charts) > 1_000
        assert f"{5_000 - len(charts):,} more plots are left out" in told
    elif fill is long_params:
        assert "p7999" in page.texts, "all names are there"
    elif fill is many_classes:
        assert "The 10,000 most frequent pairs, in " in told

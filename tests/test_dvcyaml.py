"""The run's entries in a dvc.yaml, and all that is the user's in the same file."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from dvc.schema import COMPILED_MULTI_STAGE_SCHEMA
from hypothesis import given, settings
from hypothesis import strategies as st
from situations import dvc_inside, python

from dvclive_dvc import Live, dvcyaml, yamltext
from dvclive_dvc.backend import Artifact, Entries, Plot
from dvclive_dvc.dvcyaml import Owned, Writer, merge, without
from dvclive_dvc.errors import DvcyamlSyntaxError, InvalidDataTypeError, RepositoryError
from dvclive_dvc.layout import Layout
from dvclive_dvc.null import NullBackend

ROOT = Path("/repo")
SHARED = ROOT / "dvc.yaml"


def layout(name: str = "dvclive", *, file: Path | None = SHARED) -> Layout:
    root = ROOT / name
    return Layout(name, root, file or root / "dvc.yaml")


def usual(run: Path = ROOT / "dvclive", **more) -> Entries:
    return Entries(
        params=(run / "params.yaml",),
        metrics=(run / "metrics.json",),
        plots=(Plot(run / "plots" / "metrics", {"x": "step"}), Plot(run / "plots" / "images")),
        **more,
    )


def into(text: str | None, entries: Entries | None = None, *, before: Entries | None = None) -> str:
    """The shared file after a run in `dvclive/` has put its entries in."""
    entries = usual() if entries is None else entries
    owned = Owned.by(layout(), before)
    new = merge(text, entries, file=SHARED, owned=owned)
    assert merge(new, entries, file=SHARED, owned=owned) == new, "repeating it changes something"
    return new


def into_own(text: str | None, entries: Entries | None = None) -> str:
    """`{dir}/dvc.yaml` after the run has put its entries in."""
    place = layout(file=None)
    entries = usual() if entries is None else entries
    new = merge(text, entries, file=place.dvcyaml, owned=Owned.by(place))
    assert merge(new, entries, file=place.dvcyaml, owned=Owned.by(place)) == new
    return new


OWN = """\
params:
- params.yaml
metrics:
- metrics.json
plots:
- plots/metrics:
    x: step
- plots/images
"""
IN_ROOT = """\
params:
- dvclive/params.yaml
metrics:
- dvclive/metrics.json
plots:
- dvclive/plots/metrics:
    x: step
- dvclive/plots/images
"""

# -- a fresh file --------------------------------------------------------------------------


def test_a_fresh_file_holds_the_sections_in_their_order():
    assert into_own(None) == OWN
    assert into(None) == IN_ROOT


def test_nothing_logged_is_an_empty_mapping():
    assert into_own(None, Entries()) == "{}\n"
    assert into_own(OWN, Entries()) == "{}\n"
    assert into_own("{}\n") == OWN


def test_a_file_elsewhere_names_the_paths_from_where_it_lies():
    file = ROOT / "deep" / "er" / "dvc.yaml"
    text = merge(None, usual(), file=file, owned=Owned.by(layout(file=file)))
    assert "- ../../dvclive/metrics.json\n" in text


def test_every_kind_of_entry_is_one_dvc_accepts():
    run = ROOT / "dvclive"
    plots = (
        Plot(run / "plots/metrics", {"x": "step"}),
        Plot(run / "plots/images"),
        Plot(run / "plots/custom/a b.json", {"template": "linear", "x": "no", "y": ["1", "b: c"]}),
        Plot(run / "plots/sklearn/ж.json", {"template": "confusion", "title": "Confusion Matrix"}),
    )
    artifact = Artifact(
        ROOT / "model.pt", "model", "it's: big", ("a", "1"), {"lr": 1e-5, "n": None}
    )
    text = into(
        None, Entries((run / "params.yaml",), (run / "metrics.json",), plots, {"m": artifact})
    )
    document = yamltext.load(text)
    assert COMPILED_MULTI_STAGE_SCHEMA(document) == document
    assert document["artifacts"]["m"] == {
        "path": "model.pt", "type": "model", "desc": "it's: big", "labels": ["a", "1"],
        "meta": {"lr": 1e-5, "n": None},
    }  # fmt: skip
    assert [dvcyaml._name(entry) for entry in document["plots"]] == [
        "dvclive/plots/metrics", "dvclive/plots/images", "dvclive/plots/custom/a b.json",
        "dvclive/plots/sklearn/ж.json",
    ]  # fmt: skip


def test_sections_that_come_later_still_stand_in_order():
    run = ROOT / "dvclive"
    text = into_own(None, Entries(plots=(Plot(run / "plots/images"),)))
    text = into_own(
        text, Entries(metrics=(run / "metrics.json",), plots=(Plot(run / "plots/images"),))
    )
    assert into_own(text) == OWN


# -- whose an entry is ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "entry",
    [
        "eval_dvclive/metrics.json", "dvclive2/metrics.json", "dvclive", "../dvclive/metrics.json",
        "sub/dvclive/metrics.json", "s3://bucket/dvclive/metrics.json", "${dir}/metrics.json",
    ],
)  # fmt: skip
def test_an_entry_outside_the_runs_folder_is_someone_elses(entry):
    text = f"metrics:\n- {entry}\n"
    assert into(text, Entries()) == text


@pytest.mark.parametrize(
    "entry",
    ["dvclive/old.json", "./dvclive/old.json", "a/../dvclive/b/old.json", "/repo/dvclive/x"],
)
def test_an_entry_inside_the_runs_folder_that_is_not_logged_goes(entry):
    assert into(f"metrics:\n- a.json\n- {entry}\n", Entries()) == "metrics:\n- a.json\n"


def test_an_entry_spelt_in_another_way_is_the_same_entry():
    text = "metrics:\n- ./dvclive//metrics.json\n"
    assert into(text, Entries(metrics=(ROOT / "dvclive/metrics.json",))) == text


def test_in_its_own_file_all_four_sections_are_the_runs():
    text = (
        "metrics:\n- ../a.json\nplots:\n- loss:\n    y: {a: b}\nartifacts:\n  old: {path: ../m}\n"
    )
    assert into_own(text) == OWN


def test_a_plot_that_the_user_named_stays_though_its_data_are_the_runs():
    text = "plots:\n- Losses:\n    y:\n      dvclive/plots/metrics/a.tsv: a\n"
    assert into(text, Entries()) == text


def test_an_entry_that_is_there_twice_is_left_once():
    text = "metrics:\n- dvclive/metrics.json\n- dvclive/metrics.json\n"
    assert (
        into(text, Entries(metrics=(ROOT / "dvclive/metrics.json",)))
        == "metrics:\n- dvclive/metrics.json\n"
    )


def test_what_this_run_put_outside_its_folder_is_its_own():
    before = Entries(artifacts={"m": Artifact(ROOT / "m.pt"), "b": Artifact(ROOT / "b.pt")})
    text = into("# c\n", before)
    now = Entries(artifacts={"b": Artifact(ROOT / "b.pt")})
    assert into(text, now, before=before) == "# c\nartifacts:\n  b:\n    path: b.pt\n"


# -- keys the user added -------------------------------------------------------------------


def test_what_the_user_wrote_on_a_plot_survives():
    text = "plots:\n- dvclive/plots/metrics:\n    x: timestamp\n    title: Mine\n"
    assert into(text, Entries(plots=usual().plots[:1])) == text
    images = "plots:\n- dvclive/plots/images: {title: Pictures}\n"
    assert into(images, Entries(plots=usual().plots[1:])) == images


def test_what_the_script_asks_of_a_plot_wins_and_the_rest_survives():
    plot = Plot(ROOT / "dvclive/plots/custom/a.json", {"x": "new", "y": "b"})
    text = "plots:\n- dvclive/plots/custom/a.json:\n    x: old\n    title: Mine\n"
    assert yamltext.load(into(text, Entries(plots=(plot,)))) == {
        "plots": [{"dvclive/plots/custom/a.json": {"x": "new", "y": "b", "title": "Mine"}}]
    }


def test_what_the_user_changed_while_the_run_goes_on_survives():
    path = ROOT / "dvclive/plots/custom/a.json"
    before = Entries(plots=(Plot(path, {"x": "a", "y": "b", "title": "T", "template": "linear"}),))
    text = "plots:\n- dvclive/plots/custom/a.json: {x: a, y: b, title: Mine}\n"
    now = Entries(plots=(Plot(path, {"x": "a2", "y": "b", "title": "T", "template": "linear"}),))
    document = yamltext.load(into(text, now, before=before))
    assert document["plots"] == [
        {"dvclive/plots/custom/a.json": {"x": "a2", "y": "b", "title": "Mine"}}
    ], "the changed title and the removed template are the user's, the new x is the script's"


# -- artifacts -----------------------------------------------------------------------------


def test_a_same_named_artifact_is_replaced_altogether():
    text = (
        "artifacts:\n  a: {path: a}  # mine\n  m:\n    path: old\n    desc: gone\n  z: {path: z}\n"
    )
    new = into(text, Entries(artifacts={"m": Artifact(ROOT / "m.pt", type="model")}))
    assert new == (
        "artifacts:\n  a: {path: a}  # mine\n  m:\n    path: m.pt\n    type: model\n"
        "  z: {path: z}\n"
    )


def test_artifacts_in_the_runs_folder_that_are_not_logged_go_and_others_stay():
    text = 'artifacts:\n  a: {path: dvclive/x/a}\n  b: {path: dvclive2/b}\n  c: {path: "${x}"}\n'
    assert into(text, Entries()) == 'artifacts:\n  b: {path: dvclive2/b}\n  c: {path: "${x}"}\n'


def test_a_value_yaml_has_no_form_for_is_refused_before_anything_is_written(tmp_path):
    place = Layout.at(tmp_path / "dvclive")
    artifact = Artifact(tmp_path / "m", meta={"a": object()})
    with pytest.raises(InvalidDataTypeError):
        Writer(place, resume=False).write(Entries(artifacts={"m": artifact}))
    assert not place.dvcyaml.exists()


@pytest.mark.parametrize("dvcyaml", [True, "dvc.yaml"])
def test_a_nan_in_an_artifacts_description_keeps_no_later_entry_out(repos, caplog, dvcyaml):
    repos.make("git_and_dvc")
    Path("dvc.yaml").write_text("# mine\nartifacts:\n  b:\n    path: b.pt\n    meta: {x: .nan}\n")
    Path("a.pt").write_text("weights")

    def log(live: Live) -> tuple[int, int]:
        meta = {"val_loss": float("nan"), "folds": [{"loss": float("nan")}, 0.5]}
        live.log_artifact("a.pt", type="model", meta=meta)
        live.next_step()
        live.make_dvcyaml()
        written = Path(live.dvc_file).stat()
        return written.st_ino, written.st_mtime_ns

    with caplog.at_level("WARNING", "dvclive_dvc"):
        with Live(report=None, dvcyaml=dvcyaml) as live:
            first = log(live)
            assert log(live) == first, "the same, logged again, rewrites the file"
            live.log_metric("loss", 1.0)
            live.log_param("lr", 0.1)
        with Live(report=None, dvcyaml=dvcyaml, resume=True) as live:
            before = log(live)
            assert log(live) == before
    assert not [text for text in caplog.messages if "dvc.yaml" in text]
    text = Path(live.dvc_file).read_text()
    assert text.startswith("# mine\n") == (dvcyaml == "dvc.yaml")
    document = yamltext.load(text)
    assert {"params", "metrics", "plots"} <= document.keys(), "what came after it is missing"
    meta = document["artifacts"]["a"]["meta"]
    assert str(meta) == "{'val_loss': nan, 'folds': [{'loss': nan}, 0.5]}"


# -- what is the user's comes through byte for byte ------------------------------------------

PIPELINE = """\
%YAML 1.1
---
# The pipeline. \t Tabs in a comment.
vars:
  - params.yaml:lr,epochs
  - {dir: data, names: [a,   b]}     # aligned
x-common: &common
    deps:   [train.py]
    desc: >
      Folded
      text

stages:
    train:
        <<: *common
        cmd: >-
            python train.py --lr ${lr} --a-very-long-option-that-goes-on-beyond-eighty 'über' "ü"
        outs:
        -   model.pt:
                cache: true
    "each":
        foreach: [1, 2]
        do: {cmd: 'echo ${item}', wdir: sub}

plots:
    # what the user draws
    -   Losses: {y: {dvclive/plots/metrics/a.tsv: a}}
    - "${dir}/a.json":   # templated
        x: y


    - eval.json
artifacts:
    mine: {path: data, type: 'dataset'}

# the end
...
"""


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("final", [True, False])
def test_the_users_file_comes_through_byte_for_byte(newline, final):
    text = PIPELINE.replace("\n", newline)
    text = text if final else text.removesuffix(newline)
    entries = usual(artifacts={"model": Artifact(ROOT / "model.pt", type="model")})
    new = into(text, entries)
    added = set(new.split(newline)) - set(text.split(newline))
    assert added == {
        "params:", "- dvclive/params.yaml", "metrics:", "- dvclive/metrics.json",
        "    - dvclive/plots/metrics:", "        x: step", "    - dvclive/plots/images",
        "    model:", "      path: model.pt", "      type: model",
    }  # fmt: skip
    assert newline in new
    assert "\n" not in new.replace(newline, ""), "one kind of line end"
    # In one run those entries are its own; taken out again, nothing is left of it.
    assert into(new, Entries(), before=entries) == text


def test_comments_and_places_of_owned_entries_that_stay_are_kept():
    text = """\
metrics:   # a
  # b
  - "dvclive/metrics.json"   # c

  # d
  - dvclive/stale.json   # e
  # f
  - z.json
plots:
- dvclive/plots/metrics:   # g
    x: step   # h
- a.csv
- dvclive/plots/images
params: [ "dvclive/params.yaml" , p.yaml ]   # i
"""
    assert into(text) == text.replace("  - dvclive/stale.json   # e\n", "")


FLOW = [
    ("metrics: []\n", "metrics:\n- dvclive/metrics.json\n"),
    ("metrics:\n", "metrics:\n- dvclive/metrics.json\n"),
    ("metrics: ~   # c\n", "metrics:   # c\n- dvclive/metrics.json\n"),
    ("metrics: [a.json]\n", "metrics: [a.json, dvclive/metrics.json]\n"),
    ("metrics: [a.json,]\n", "metrics: [a.json, dvclive/metrics.json,]\n"),
    ("metrics: [dvclive/a, b, dvclive/c]\n", "metrics: [b, dvclive/metrics.json]\n"),
    ("metrics: [dvclive/a,  # c\n  b]\n", "metrics: [  # c\n  b, dvclive/metrics.json]\n"),
    ("metrics: [dvclive/a]\n", "metrics: [dvclive/metrics.json]\n"),
    ('{"metrics": ["a"], "vars": []}', '{"metrics": ["a", dvclive/metrics.json], "vars": []}'),
    ('{"vars": []}\n', '{"vars": [], metrics: [dvclive/metrics.json]}\n'),
    ("{metrics: , vars: []}\n", "{metrics: [dvclive/metrics.json] , vars: []}\n"),
    ("  metrics:\n    - a\n", "  metrics:\n    - a\n    - dvclive/metrics.json\n"),
    ("  vars: []\n", "  vars: []\n  metrics:\n  - dvclive/metrics.json\n"),
    ("metrics:\n-\n  a\n-   b", "metrics:\n-\n  a\n-   b\n- dvclive/metrics.json\n"),
    ("metrics: &m\n- a\nx: *m\n", None),
    ("\ufeffmetrics:\n- dvclive/a\n", "\ufeffmetrics:\n- dvclive/metrics.json\n"),
    ("\ufeffplots:\n- dvclive/a\n", "\ufeffmetrics:\n- dvclive/metrics.json\n"),
    ("\ufeff# c\n", "\ufeff# c\nmetrics:\n- dvclive/metrics.json\n"),
    ("# a\n", "# a\nmetrics:\n- dvclive/metrics.json\n"),
    ("# a", "# a\nmetrics:\n- dvclive/metrics.json\n"),
    ("---\n", "---\nmetrics:\n- dvclive/metrics.json\n"),
    ("--- {} # c\n# d\n...\n", "---  # c\nmetrics:\n- dvclive/metrics.json\n# d\n...\n"),
    ("# a\n{}\n# b\n", "# a\nmetrics:\n- dvclive/metrics.json\n# b\n"),
    ("a: |+\n  b\n\n", "a: |+\n  b\n\nmetrics:\n- dvclive/metrics.json\n"),
    ("a: |\n  b", "metrics:\n- dvclive/metrics.json\na: |\n  b"),
    ("z: 1\n# c\na: >\n  b", "z: 1\nmetrics:\n- dvclive/metrics.json\n# c\na: >\n  b"),
    ("metrics:\n- x\na: |+\n  b", "metrics:\n- x\n- dvclive/metrics.json\na: |+\n  b"),
    ("a: |-\n  b", "a: |-\n  b\nmetrics:\n- dvclive/metrics.json\n"),
    ("a: 'b'\n...\n", "a: 'b'\nmetrics:\n- dvclive/metrics.json\n...\n"),
    ("? metrics\n: - a\n", None),
    ("metrics: !!seq\n- a\n", "metrics: !!seq\n- a\n- dvclive/metrics.json\n"),
]


@pytest.mark.parametrize(("text", "expected"), FLOW)
def test_each_way_to_write_a_section_is_added_to_in_its_own_way(text, expected):
    entries = Entries(metrics=(ROOT / "dvclive/metrics.json",))
    if expected is None:
        with pytest.raises(RepositoryError, match="left as it is"):
            merge(text, entries, file=SHARED, owned=Owned.by(layout()))
    else:
        assert into(text, entries) == expected


@pytest.mark.parametrize(
    "text",
    [
        "x: &m [a]\nmetrics: *m\n",  # a section that is an alias
        "x: &b\n  metrics: [a]\n<<: *b\n",  # a section that comes from a merge key
        "metrics:\n- &m dvclive/old.json\n- z\nx: *m\n",  # an owned entry that others refer to
        "x: 1\nartifacts: &a {}\ny: *a\n",  # an empty section that others refer to
        "metrics: [z,\n  dvclive/a,  # mine\n  dvclive/b ]\n",  # a comment between stale entries
    ],
)
def test_a_shape_that_cannot_be_edited_in_place_is_left_alone_and_said(text):
    entries = usual(artifacts={"m": Artifact(ROOT / "m")})
    with pytest.raises(RepositoryError, match="without touching yours") as caught:
        merge(text, entries, file=SHARED, owned=Owned.by(layout()))
    assert "Live(dvcyaml=" in str(caught.value), "the text says what to do"


def test_owned_entries_out_of_order_are_put_in_order_after_the_users():
    text = "plots:\n- dvclive/plots/images\n- dvclive/plots/metrics: {x: timestamp}\n- a.json\n"
    assert into(text, Entries(plots=usual().plots)) == (
        "plots:\n- a.json\n- dvclive/plots/metrics:\n    x: timestamp\n- dvclive/plots/images\n"
    )


def test_a_section_left_empty_vanishes_but_for_the_users_comments():
    text = "# a\nmetrics: # b\n# c\n- dvclive/x # d\n# e\nplots: [dvclive/y]\nvars: []\n# f\n"
    assert into(text, Entries()) == "# a\n# c\n# e\nvars: []\n# f\n"
    assert into("# a\nmetrics:\n- dvclive/x\n# b\n", Entries()) == "# a\n{}\n# b\n"
    assert into("\ufeffmetrics:\n- dvclive/x\n", Entries()) == "\ufeff{}\n"


def test_a_section_the_user_left_empty_stays():
    text = "metrics: []\nplots:\nparams: ~\n"
    assert into(text, Entries()) == text


# -- properties ----------------------------------------------------------------------------

FOREIGN_SECTIONS = [
    "stages:\n  train:\n    cmd: python train.py   # c\n    outs: [model.pt]\n",
    "vars:\n- a: &a {b: 1}\n- c: *a\n",
    "desc: |+\n  text\n\n",
    "x-long: 'a very long line that a dumper would fold if it were ever given to one; beyond 80'\n",
    "datasets:\n    -   {type: dvc,   name: ü}\n",
    "\n# a comment\n\n",
    '"quoted": "x\\ty"\n',
]
ENTRIES = {
    "metrics": ["a.json", "'b.json'   # c", "eval_dvclive/m.json", "${x}/y.json", "dvclive/m.json",
                "dvclive/metrics.json", "# comment", "", "./dvclive/metrics.json"],
    "params": ["p.yaml", '"q.yaml"', "dvclive/params.yaml", "dvclive/old.yaml   # c", "# comment"],
    "plots": ["a.csv", "b.csv: {x: y}", "Loss:\n    y: {dvclive/plots/metrics/a.tsv: a}",
              "dvclive/plots/metrics:\n    x: timestamp   # c", "dvclive/plots/images",
              "dvclive/plots/old.json:\n    x: y", "dvclive/plots/sklearn/roc.json: {x: fpr}",
              "# comment", "eval_dvclive/plots/metrics:\n    x: step"],
}  # fmt: skip
IS_RUNS = "dvclive/"


@st.composite
def files(draw, names=("metrics", "params", "plots")):
    """A user's dvc.yaml: its text, and the chunks of it that are not the run's, in order."""
    foreign: list[str] = []
    chunks: list[str] = []
    parts = draw(st.lists(st.sampled_from(FOREIGN_SECTIONS), unique=True, max_size=4))
    sections = draw(st.lists(st.sampled_from(names), unique=True))
    for part in draw(st.permutations([*parts, *sections])):
        if part in parts:
            chunks.append(part)
            foreign.append(part)
            continue
        indent = draw(st.sampled_from(["", "  ", "    "]))
        lines = draw(st.lists(st.sampled_from(ENTRIES[part]), min_size=1, max_size=5, unique=True))
        runs = [line.removeprefix("./").startswith(IS_RUNS) for line in lines]
        if all(run or not line or line[0] == "#" for run, line in zip(runs, lines, strict=True)):
            lines, runs = [*lines, "kept.json"], [*runs, False]
        chunks.append(f"{part}:\n")
        foreign.append(f"{part}:\n")
        for line, run in zip(lines, runs, strict=True):
            dash = "" if not line or line[0] == "#" else "- "
            chunk = "".join(f"{indent}{piece}\n" for piece in (dash + line).split("\n"))
            chunks.append(chunk)
            if not run:
                foreign.append(chunk)
    return "".join(chunks), foreign


def entry_sets(name="dvclive"):
    run = ROOT / name
    plots = [
        Plot(run / "plots/metrics", {"x": "step"}), Plot(run / "plots/images"),
        Plot(run / "plots/sklearn/roc.json", {"x": "fpr", "y": "tpr", "title": "ROC: a"}),
    ]  # fmt: skip
    return st.builds(
        Entries,
        params=st.sampled_from([(), (run / "params.yaml",)]),
        metrics=st.sampled_from([(), (run / "metrics.json",)]),
        plots=st.lists(st.sampled_from(plots), unique_by=lambda p: p.path).map(
            lambda some: tuple(sorted(some, key=plots.index))
        ),
        artifacts=st.sampled_from([{}, {f"{name}-m": Artifact(run / "artifacts/m", type="model")}]),
    )


def owned_in(text: str, name: str) -> dict[str, list]:
    document = yamltext.load(text) or {}
    found = {}
    for section, entries in document.items():
        if section in dvcyaml.SECTIONS:
            items = entries.items() if isinstance(entries, dict) else entries
            found[section] = [
                item for item in items if f"{name}/" in repr(item).replace(f"_{name}/", "")
            ]
    return {section: items for section, items in found.items() if items}


@settings(max_examples=60, deadline=None)
@given(files(), st.lists(entry_sets(), min_size=1, max_size=3))
def test_foreign_entries_come_through_byte_for_byte_and_repeating_changes_nothing(file, writes):
    text, foreign = file
    for entries in writes:
        text = into(text, entries)
        at = 0
        for chunk in foreign:
            place = text.find(chunk, at)
            assert place >= 0, f"lost or moved: {chunk!r} in\n{text}"
            at = place + len(chunk)
        document = yamltext.load(text) or {}
        names = [dvcyaml._name(entry) for entry in document.get("plots") or ()]
        ours = [name for name in names if name.startswith(("dvclive/", "./dvclive/"))]
        assert ours == [
            f"dvclive/{plot.path.relative_to(ROOT / 'dvclive')}" for plot in entries.plots
        ]


@settings(max_examples=60, deadline=None)
@given(
    files(("metrics",)),
    entry_sets("train"),
    entry_sets("eval"),
    st.lists(st.sampled_from(["train", "eval"])),
)
def test_any_order_of_two_runs_gives_the_same_entries(file, train, evaluation, order):
    last = {"train": train, "eval": evaluation}

    def written(sequence):
        text = file[0]
        for name in sequence:
            text = merge(text, last[name], file=SHARED, owned=Owned.by(layout(name)))
        return {name: owned_in(text, name) for name in last}

    assert written([*order, "train", "eval"]) == written(["eval", "train"])


# -- what cannot be read -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "column", "said"),
    [
        ("a: [\n", 2, 1, "expected the node content"),
        ("a: 1\n\nb: c: d\n", 3, 5, "mapping values are not allowed"),
        ("a: 1\nb: 2\na: 3\n", 3, 1, 'duplicate key "a"'),
        ("stages:\n  a: {cmd: b}\n  a: {cmd: c}\n", 3, 3, "duplicate key"),
        ("- a\n", 1, 1, "a mapping of sections is due"),
        ("# c\nartifacts:\n- a\n", 3, 1, "'artifacts' must be a mapping"),
        ("stages: [a]\n", 1, 9, "'stages' must be a mapping"),
        ("metrics: {a: b}\n", 1, 10, "'metrics' must be a list"),
        ("plots: 3\n", 1, 8, "'plots' must be a list"),
        ("plots: {}\n", 1, 8, "'plots' must be a list"),
        ("stages: {}\nplots:\n  a.csv: {x: s}\n", 3, 3, "'plots' must be a list"),
        ("<<<<<<< HEAD\na: 1\n=======\na: 2\n>>>>>>> x\n", 2, 2, "merge conflict"),
        ("a: 1\n---\nb: 2\n", 2, 1, "another document"),
        ("a: \x01\n", 1, 4, "special characters"),
    ],
)
def test_what_dvc_could_not_read_is_refused_with_its_place(
    tmp_path, text, line, column, said, caplog
):
    file = tmp_path / "dvc.yaml"
    file.write_text(text)
    writer = Writer(Layout.at(tmp_path / "dvclive", file), resume=False)
    with pytest.raises(
        DvcyamlSyntaxError, match=f"line {line}, column {column}: .*{said}"
    ) as caught:
        writer.check()
    assert "'dvc.yaml'" in str(caught.value)
    assert "Correct it there" in str(caught.value)

    for _ in range(2):
        writer.write(usual(tmp_path / "dvclive"))
    assert file.read_text() == text, "the user's file is left as it is"
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == 1, "one warning, not one a step"
    assert said in warnings[0]


def test_text_that_is_not_utf_8_is_refused_with_its_place(tmp_path):
    file = tmp_path / "dvc.yaml"
    file.write_bytes(b"# a\n# caf\xe9\n")
    with pytest.raises(DvcyamlSyntaxError, match="line 2, column 6: the text is not UTF-8"):
        Writer(Layout.at("dvclive", file), resume=False).check()


def test_a_file_that_cannot_be_opened_is_refused(tmp_path):
    (tmp_path / "dvc.yaml").mkdir()
    with pytest.raises(RepositoryError, match="cannot be read"):
        Writer(Layout.at("dvclive", tmp_path / "dvc.yaml"), resume=False).check()


@pytest.mark.parametrize(
    "text", ["metrics: &m [a.json]\nplots: *m\n", "x: 1\nartifacts: &a {}\ny: *a\n"]
)
def test_a_file_that_the_entries_cannot_be_put_into_is_refused_at_the_start(tmp_path, text):
    file = tmp_path / "dvc.yaml"
    file.write_text(text)
    with pytest.raises(RepositoryError, match="without touching yours"):
        Writer(Layout("dvclive", tmp_path / "dvclive", file), resume=False).check()
    assert file.read_text() == text


def test_a_check_writes_nothing(tmp_path):
    Writer(Layout.at("dvclive"), resume=False).check()
    assert list(tmp_path.iterdir()) == []


# -- the file ------------------------------------------------------------------------------


def test_an_artifact_of_another_that_is_replaced_is_told_once(tmp_path, caplog):
    file = tmp_path / "dvc.yaml"
    file.write_text("artifacts:\n  model:\n    path: theirs.pt\n  same:\n    path: same.pt\n")
    writer = Writer(Layout("dvclive", tmp_path / "dvclive", file), resume=False)
    logged = {"model": Artifact(tmp_path / "ours.pt"), "same": Artifact(tmp_path / "same.pt")}
    with caplog.at_level("WARNING", "dvclive_dvc"):
        writer.write(usual(tmp_path / "dvclive", artifacts=logged))
        writer.write(
            usual(tmp_path / "dvclive", artifacts={"model": Artifact(tmp_path / "later.pt")})
        )
    (message,) = caplog.messages
    assert "'model'" in message
    assert "'theirs.pt'" in message
    assert "'ours.pt'" in message
    assert "name=" in message
    assert "path: later.pt" in file.read_text()


def test_a_write_that_changes_nothing_leaves_the_file_alone(tmp_path):
    place = Layout.at("dvclive")
    writer = Writer(place, resume=False)
    writer.write(usual(place.root))
    first = place.dvcyaml.stat()
    writer.write(usual(place.root))
    again = place.dvcyaml.stat()
    assert (again.st_ino, again.st_mtime_ns) == (first.st_ino, first.st_mtime_ns)
    assert place.dvcyaml.read_text() == OWN
    assert [path.name for path in place.root.iterdir()] == ["dvc.yaml"], "nothing else is left"


def test_stages_in_the_runs_own_file_are_kept_with_a_warning(tmp_path, caplog):
    place = Layout.at("dvclive")
    place.root.mkdir()
    place.dvcyaml.write_text("stages:\n  a:\n    cmd: b\n")
    writer = Writer(place, resume=False)
    writer.check()
    dvcyaml.clear(place)
    writer.write(usual(place.root))
    assert yamltext.load(place.dvcyaml.read_text())["stages"] == {"a": {"cmd": "b"}}
    (warning,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert "'stages'" in warning
    assert "root of the repository" in warning


def test_the_pipeline_in_the_root_file_needs_no_warning(tmp_path, caplog):
    (tmp_path / "dvc.yaml").write_text("stages:\n  a:\n    cmd: b\n")
    writer = Writer(Layout.at("dvclive", "dvc.yaml"), resume=False)
    writer.check()
    writer.write(Entries())
    assert not caplog.records


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (OWN, None), ("{}\n", None), ("", None), ("---\n" + OWN + "...\n", None),
        ("# mine\n" + OWN, "# mine\n{}\n"),
        ("stages:\n  a: {cmd: b}\n" + OWN, "stages:\n  a: {cmd: b}\n"),
        ("a: [\n", "a: [\n"),
    ],
)  # fmt: skip
def test_a_fresh_run_takes_away_only_what_a_run_wrote(tmp_path, text, left):
    place = Layout.at("dvclive")
    dvcyaml.clear(place)
    place.root.mkdir()
    place.dvcyaml.write_text(text)
    dvcyaml.clear(place)
    assert (place.dvcyaml.read_text() if place.dvcyaml.exists() else None) == left


def test_a_resumed_run_reads_back_what_was_written(tmp_path):
    place = Layout.at("dvclive")
    plots = (
        *usual(place.root).plots,
        Plot(place.root / "plots/custom/a.json", {"x": "b", "y": ["c"]}),
    )
    artifacts = {
        "m": Artifact(tmp_path / "m.pt", "model", "d", ("a",), {"k": {"l": 1}}),
        "n": Artifact(place.root / "artifacts/n"),
    }
    entries = Entries((place.params_file,), (place.metrics_file,), plots, artifacts)
    assert dvcyaml.read_entries(place) == Entries()
    Writer(place, resume=False).write(entries)
    assert dvcyaml.read_entries(place) == entries

    text = place.dvcyaml.read_text()
    Writer(place, resume=True).write(entries)
    assert place.dvcyaml.read_text() == text
    Writer(place, resume=True).write(Entries(entries.params, entries.metrics, entries.plots))
    assert place.dvcyaml.read_text() == text, "artifacts logged before stay"


def test_what_the_user_wrote_on_a_plot_survives_a_resumed_run(tmp_path):
    place = Layout.at("dvclive")
    place.root.mkdir()
    place.dvcyaml.write_text("plots:\n- plots/metrics:\n    x: timestamp\n")
    Writer(place, resume=True).write(Entries(plots=(Plot(place.metrics_dir, {"x": "step"}),)))
    assert "x: timestamp" in place.dvcyaml.read_text()


def test_what_looks_like_a_template_is_text_to_dvc_and_comes_back_in_a_resumed_run():
    from dvc.parsing.context import Context
    from dvc.parsing.interpolate import get_matches

    place = Layout.at("${dir}")
    place.root.mkdir()
    looks = {"x": "${a}", "y": ["$b", "${c"], "title": r"\${loss} and \\${d}"}
    plots = (Plot(place.custom_dir / "${p}.json", looks),)
    artifact = Artifact(place.root / "${m}.pt", "model", "${s}", ("${l}",), {"${k}": ["${v}"]})
    entries = Entries((place.params_file,), (place.metrics_file,), plots, {"m": artifact})
    Writer(place, resume=False).write(entries)
    text = place.dvcyaml.read_text()

    read = Context().resolve(yamltext.load(text))
    assert read["plots"] == [{"plots/custom/${p}.json": looks}]
    assert read["artifacts"]["m"]["meta"] == {"${k}": ["${v}"]}
    assert all(not get_matches(line) for line in text.splitlines())

    assert dvcyaml.read_entries(place) == entries
    Writer(place, resume=True).write(dvcyaml.read_entries(place))
    assert place.dvcyaml.read_text() == text


def test_a_template_that_the_user_wrote_on_a_plot_stays_one_in_a_resumed_run():
    place = Layout.at("dvclive")
    place.custom_dir.mkdir(parents=True)
    text = "plots:\n- plots/custom/p.json:\n    x: a\n    title: ${title}\n"
    place.dvcyaml.write_text(text)
    found = dvcyaml.read_entries(place)
    assert found.plots == (Plot(place.custom_dir / "p.json", {"x": "a"}),)
    Writer(place, resume=True).write(found)
    assert place.dvcyaml.read_text() == text


def test_of_a_shared_file_a_resumed_run_reads_only_what_is_surely_its_own(tmp_path):
    place = Layout.at("dvclive", "dvc.yaml")
    (tmp_path / "dvc.yaml").write_text(
        "metrics: [a.json, dvclive/metrics.json]\nplots: [dvclive/plots/images, b.csv]\n"
        "artifacts:\n  m: {path: m.pt}\n  n: {path: dvclive/artifacts/n, type: data}\n"
    )
    found = dvcyaml.read_entries(place)
    assert found == Entries(
        metrics=(place.metrics_file,),
        plots=(Plot(place.images_dir),),
        artifacts={"n": Artifact(place.root / "artifacts/n", "data")},
    )
    Writer(place, resume=True).write(found)
    assert "m: {path: m.pt}" in (tmp_path / "dvc.yaml").read_text(), "logged before, it stays"


def test_two_processes_that_share_a_file_lose_nothing(tmp_path):
    (tmp_path / "dvc.yaml").write_text("# shared\nstages:\n  a:\n    cmd: b\n")
    source = """
import sys
from dvclive_dvc.backend import Entries, Plot
from dvclive_dvc.dvcyaml import Writer
from dvclive_dvc.layout import Layout
name = sys.argv[1]
place = Layout.at(name, "dvc.yaml")
writer = Writer(place, resume=False)
for n in range(1, 21):
    plots = tuple(Plot(place.root / f"{i}.json", {"x": "a"}) for i in range(n))
    writer.write(Entries(metrics=(place.metrics_file,), plots=plots))
"""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda name: python(source, name, cwd=tmp_path), ["one", "two"]))
    text = (tmp_path / "dvc.yaml").read_text()
    document = yamltext.load(text)
    assert sorted(document["metrics"]) == ["one/metrics.json", "two/metrics.json"]
    assert len(document["plots"]) == 40
    assert text.startswith("# shared\nstages:\n  a:\n    cmd: b\n")


def test_a_run_with_its_own_file_never_loads_a_yaml_parser(tmp_path):
    source = """
import sys
from dvclive_dvc.backend import Artifact, Entries, Plot
from dvclive_dvc import dvcyaml
from dvclive_dvc.layout import Layout
for _ in range(2):
    place = Layout.at("dvclive")
    writer = dvcyaml.Writer(place, resume=False)
    writer.check()
    dvcyaml.clear(place)
    for plots in ((), (Plot(place.metrics_dir, {"x": "step"}),)):
        writer.write(Entries(metrics=(place.metrics_file,), plots=plots,
                             artifacts={"m": Artifact(place.root.parent / "m.pt", "model")}))
print("ruamel" in sys.modules)
"""
    assert python(source).stdout == "False\n"


# -- read by DVC ---------------------------------------------------------------------------


@pytest.mark.parametrize("shared", [False, True])
def test_dvc_reads_what_was_written_as_its_own(repos, shared, monkeypatch):
    import dvc.api

    # Without it `--json` goes round whoever redirects stdout (dvc.ui, `disable_colorama`).
    monkeypatch.setenv("DVC_TEST", "1")

    repo = repos.make("pipeline")
    place = Layout.at("dvclive", "dvc.yaml" if shared else True)
    repo.write("dvclive/metrics.json", '{"loss": 0.5, "step": 1}')
    repo.write("dvclive/params.yaml", "lr: 0.1\n")
    repo.write("dvclive/plots/metrics/val/loss.tsv", "step\tloss\n0\t0.7\n1\t0.5\n")
    repo.write("dvclive/plots/custom/a: b.json", '[{"no": 1, "y": 2}]')
    plots = (
        Plot(place.metrics_dir, {"x": "step"}),
        Plot(
            place.custom_dir / "a: b.json",
            {"template": "linear", "x": "no", "y": ["y"], "title": "T: 1"},
        ),
    )
    artifacts = {"mymodel": Artifact(repo.root / "model.pt", "model", "it's", ("a",), {"k": 1})}
    Writer(place, resume=False).write(
        Entries((place.params_file,), (place.metrics_file,), plots, artifacts)
    )
    assert json.loads(dvc_inside("metrics", "show", "--json"))[""]["data"] == {
        "dvclive/metrics.json": {"data": {"loss": 0.5, "step": 1}}
    }
    shown = json.loads(dvc_inside("plots", "show", "--json"))
    assert not shown.get("errors")
    drawn = {name.rpartition("::")[2]: plot[0] for name, plot in shown["data"].items()}
    assert set(drawn) == {"dvclive/plots/metrics/val/loss.tsv", "dvclive/plots/custom/a: b.json"}
    assert "T: 1" in json.dumps(drawn["dvclive/plots/custom/a: b.json"])
    assert "lr" in dvc_inside("params", "diff", "--all", "--json")
    repo.commit()
    name = "mymodel" if shared else "dvclive:mymodel"
    repo.git("tag", "-a", "-m", "first", name.replace(":", "=") + "@v1.0.0")
    assert dvc.api.artifacts_show(name)["path"] == "model.pt"


@pytest.mark.parametrize("title", ["accuracy #1", "it's #1", 'a "b" #1', "# 1"])
def test_a_hash_in_a_title_is_no_comment(tmp_path, title):
    file = tmp_path / "dvc.yaml"
    file.write_text("plots: [eval.json]\n")
    for _ in range(2):
        with Live(tmp_path / "run", report=None, dvcyaml=file, backend=NullBackend()) as live:
            live.log_plot("one", [{"x": 1, "y": 2}], "x", "y", title=title)
            live.log_metric("m", 1)
    assert title in str(yamltext.load(file.read_text())), "the second run's entry is not there"


# -- an experiment's own version of a shared file ----------------------------------------------

OF_TWO_RUNS = """\
# mine
stages: {a: {cmd: x}}
params:
- run1/params.yaml   # the first
- run2/params.yaml
plots:
- run2/plots/metrics:
    x: step
artifacts:
  one: {path: one.pt}
  two:
    path: two.pt
"""


def test_entries_of_files_an_experiment_lacks_leave_its_version_of_a_shared_file(tmp_path):
    there = {tmp_path / "run1/params.yaml", tmp_path / "one.pt"}
    text = without(
        OF_TWO_RUNS, None, file=tmp_path / "dvc.yaml", lost=lambda path: path not in there
    )
    assert text == (
        "# mine\nstages: {a: {cmd: x}}\nparams:\n- run1/params.yaml   # the first\n"
        "artifacts:\n  one: {path: one.pt}\n"
    )


def test_committed_entries_stay_though_their_files_are_lost(tmp_path):
    text = without(OF_TWO_RUNS, OF_TWO_RUNS, file=tmp_path / "dvc.yaml", lost=lambda _: True)
    assert text == OF_TWO_RUNS, "what the user committed is the user's to take away"


RAN = """\
stages: {a: {cmd: x}}   # as it ran
params:
- run1/params.yaml
- theirs.yaml   # of mine
metrics: [run1/old.json]
"""
ARRIVED = "stages: {b: {cmd: y}}\nparams:\n- run1/params.yaml\n- other.yaml\n"
NOW = (
    ARRIVED
    + """\
- run2/params.yaml
metrics:
- run1/metrics.json
plots:
- run1/plots/metrics:
    x: step
artifacts:
  one: {path: one.pt}
"""
)


def carried_over(tmp_path, ran):
    file, root = tmp_path / "dvc.yaml", tmp_path / "run1"
    return dvcyaml.carried_over(NOW, ARRIVED, ran, file=file, root=root)


def test_what_runs_added_to_another_commits_text_goes_to_the_one_that_ran(tmp_path):
    assert carried_over(tmp_path, RAN) == (
        "stages: {a: {cmd: x}}   # as it ran\n"
        "params:\n- run1/params.yaml\n- theirs.yaml   # of mine\n- run2/params.yaml\n"
        "metrics: [run1/metrics.json]\n"
        "plots:\n- run1/plots/metrics:\n    x: step\n"
        "artifacts:\n  one:\n    path: one.pt\n"
    )
    plain = "params:\n- theirs.yaml\n"
    assert carried_over(tmp_path, plain).startswith(
        "params:\n- theirs.yaml\n- run1/params.yaml\n- run2/params.yaml\nmetrics:\n"
    ), "the text is one that this package writes"


def test_what_cannot_be_carried_over_is_an_error(tmp_path):
    with pytest.raises(DvcyamlSyntaxError, match="'plots' must be a list"):
        carried_over(tmp_path, "plots:\n  a.csv:\n    x: b\n")
    with pytest.raises(DvcyamlSyntaxError):
        carried_over(tmp_path, "params: [\n")


OF_TWO_AND_MINE = """\
stages:
  a: {cmd: x}   # mine
params:
- one/params.yaml
- two/params.yaml
metrics:
- one/metrics.json
- mine.json   # of the evaluation
- two/metrics.json
plots:
- one/plots/metrics:
    x: step
- two/plots/metrics:
    x: step
artifacts:
  m:
    path: one/artifacts/m.pt
  theirs:
    path: t.pt
"""


def test_a_run_that_ends_as_the_one_before_leaves_a_shared_file_as_it_was(tmp_path):
    file = tmp_path / "dvc.yaml"
    file.write_text(OF_TWO_AND_MINE)
    layout = Layout.at("one", "dvc.yaml")
    writer = Writer(layout, resume=False)
    as_before = dvcyaml.read_entries(layout)
    writer.write(Entries(params=as_before.params))
    assert "one/metrics.json" not in file.read_text(), "a summary that is not there yet is named"
    writer.write(Entries(params=as_before.params, metrics=as_before.metrics))
    writer.write(as_before)
    assert file.read_text() == OF_TWO_AND_MINE, "entries changed their places"

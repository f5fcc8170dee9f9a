"""What an earlier run left: told from a user's files, cleared, mended, gone on with."""

from __future__ import annotations

import json
import logging
import math
import os
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from dvclive_dvc import Live
from dvclive_dvc.dvcyaml import Writer
from dvclive_dvc.errors import DvcyamlSyntaxError, InvalidDirError
from dvclive_dvc.layout import Layout
from dvclive_dvc.logs import params, remains
from dvclive_dvc.null import NullBackend


def live(folder="dvclive", **more) -> Live:
    return Live(folder, **{"report": "html", "backend": NullBackend(), **more})


def a_run(folder="dvclive", steps=3, **more) -> Path:
    """A run with one of everything."""
    with live(folder, **more) as run:
        run.log_param("lr", 0.1)
        run.log_sklearn_plot("confusion_matrix", [0, 1], [1, 1])
        run.log_plot("curve", [{"x": 0, "y": 1}], "x", "y")
        for step in range(steps):
            run.log_metric("loss", 1 / (step + 1))
            run.log_metric("train/acc", step, timestamp=True)
            run.log_image("seen/image.png", PIXELS)
            run.next_step()
        run.log_metric("final", 0.5, plot=False)
    return Path(folder)


@pytest.fixture(autouse=True)
def pixels():
    import numpy as np

    global PIXELS  # noqa: PLW0603 - made once NumPy is wanted
    PIXELS = np.zeros((2, 2), np.uint8)


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# -- clearing ------------------------------------------------------------------------------

USERS = ["notes.md", "plots/mine.png", "plots/images/README", "plots/metrics/data.tsv",
         "plots/custom/table.csv", "artifacts/model.pt", "artifacts/model.pt.dvc",
         "plots/images.dvc", "checkpoint/last.pt", "train.py",
         "plots/metrics/a/notes.txt"]  # fmt: skip


def test_a_new_run_removes_what_an_earlier_one_wrote_and_nothing_else():
    folder = a_run()
    for name in USERS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"the user's {name}")
    live().end()
    left = tree(folder)
    assert {name for name in left if name not in USERS} <= {
        "metrics.json", "report.html", "dvc.yaml"
    }  # fmt: skip
    for name in USERS:
        assert left[name] == f"the user's {name}".encode()


def test_folders_are_gone_when_nothing_is_left_in_them():
    folder = a_run()
    run = live(report=None)
    left = sorted(path.name for path in folder.iterdir())
    run.end()
    assert left == [], "nothing was logged yet"


def test_a_report_of_an_earlier_run_goes_whatever_its_mode_was():
    for mode in ("html", "md"):
        a_run(report=mode)
        live(report=None).end()
        assert not Path(f"dvclive/report.{mode}").exists()


@pytest.mark.parametrize("fresh", ["html", None])
def test_a_run_that_goes_on_leaves_no_report_of_its_first_part_in_another_form(fresh):
    folder = a_run(report="md")
    assert list(folder.glob("report-files/*")), "the test no longer has pictures to look at"
    (folder / "report-files" / "mine.png").write_text("a user's own")
    with live(resume=True, report=fresh) as run:
        run.log_metric("loss", 0.1)
        run.next_step()
    assert not (folder / "report.md").exists(), "a report tells of the first part as if it were all"
    assert [p.name for p in folder.glob("report-files/*")] == ["mine.png"], (
        "pictures of a report that is gone stay, or a user's own went"
    )
    assert (folder / "report.html").exists() == (fresh == "html"), "the new report is missing"


def test_a_run_that_goes_on_keeps_what_is_no_report_of_a_run():
    folder = a_run(report=None)
    (folder / "report.md").write_text("my thesis")
    with live(resume=True) as run:
        run.next_step()
    assert (folder / "report.md").read_text() == "my thesis", "a user's file went"


def test_a_report_of_the_public_package_goes():
    folder = a_run(report=None)
    (folder / "report.html").write_text(
        "<!DOCTYPE html>\n<html>\n<head>\n"
        '    <meta http-equiv="refresh" content="5">\n    <title>DVC Plot</title>\n'
    )
    (folder / "report.md").write_text("# DVC Report\n\nparams.yaml\n")
    live(report=None).end()
    assert not list(folder.glob("report.*"))


def test_a_report_of_the_users_stays_and_makes_room_only_where_the_run_writes_one(caplog):
    folder = a_run(report=None)
    for name in ("report.md", "report.html"):
        (folder / name).write_text("my thesis")
    live(report="html").end()
    assert (folder / "report.md").read_text() == "my thesis"
    assert (folder / "report.html.orig").read_text() == "my thesis"
    (said,) = warned(caplog)
    assert "report.html'" in said
    assert "report.html.orig'" in said


def test_a_plot_that_the_earlier_run_did_not_list_is_the_users():
    folder = a_run()
    (folder / "plots/custom/mine.json").write_text('{"my": "spec"}')
    live().end()
    assert tree(folder / "plots") == {"custom/mine.json": b'{"my": "spec"}'}


def test_a_folder_of_pictures_behind_a_link_is_not_emptied(tmp_path):
    folder = a_run()
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "cat.png").write_text("meow")
    for path in sorted((folder / "plots" / "images").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    (folder / "plots" / "images").rmdir()
    (folder / "plots" / "images").symlink_to(photos)
    live().end()
    assert (photos / "cat.png").exists()


@pytest.mark.parametrize("place", ["plots", "plots/metrics", "plots/custom", "report-files"])
def test_nothing_behind_a_link_is_removed(tmp_path, caplog, place):
    folder = a_run(report="md")
    shared = tmp_path / "shared"
    (folder / place).rename(shared)
    (folder / place).symlink_to(shared)
    before = tree(shared)
    live(report=None).end()
    assert tree(shared) == before
    assert not (folder / "params.yaml").exists(), "the rest is not cleared"
    if place != "report-files":
        (said,) = warned(caplog)
        assert "behind a link" in said


def test_half_written_files_of_a_dead_process_are_swept_and_of_a_living_one_kept():
    folder = a_run()
    dead = folder / ".metrics.json.999999999-1.dvclive-tmp"
    alive = folder / f".metrics.json.{os.getpid()}-1.dvclive-tmp"
    dead.write_text("half")
    alive.write_text("half")
    live(resume=True).end()
    assert not dead.exists()
    assert alive.exists()


# -- a folder that is no run's -------------------------------------------------------------


def refused(given, why: str) -> None:
    before = tree(Path(given)) if Path(given).is_dir() else None
    for resume in (False, True):
        with pytest.raises(InvalidDirError, match=why) as caught:
            live(given, resume=resume)
    assert str(given) in str(caught.value)
    assert "Live(dir='dvclive')" in str(caught.value)
    if before is not None:
        assert tree(Path(given)) == before, "something was touched all the same"


def test_the_root_of_a_repository_is_refused(repos):
    made = repos.make("git_and_dvc")
    refused(".", "root of a repository")
    refused(made.root, "root of a repository")
    refused(".git", "keep for themselves")
    refused(".dvc/tmp", "keep for themselves")


def test_a_repository_inside_dvcs_own_folder_is_one_like_any(repos):
    # `dvc exp run --temp` makes them there.
    made = repos.make("git_and_dvc")
    inner = made.root / ".dvc" / "tmp" / "exps" / "standalone" / "tmpx"
    inner.parent.mkdir(parents=True)
    made.git("clone", "-q", str(made.root), str(inner))
    live(inner / "dvclive").end()
    assert (inner / "dvclive" / "metrics.json").exists()


@pytest.mark.parametrize(
    "name",
    ["train.py", "a.ipynb", "__init__.py", "pyproject.toml", "Makefile", "main.C", "dvc.lock"],
)
def test_a_folder_with_source_code_is_refused(tmp_path, name):
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / name).write_text("")
    (tmp_path / "src" / "metrics.json").write_text("{}\n")
    refused("src", "source code")


def test_a_folder_above_the_working_directory_is_refused(tmp_path, monkeypatch):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "deep" / "er")
    refused("..", "above the working directory")
    refused(tmp_path, "above the working directory")


def test_home_and_the_root_of_the_file_system_are_refused(home):
    for folder in (home, "/"):
        with pytest.raises(InvalidDirError, match="home folder"):
            live(folder)


def test_a_file_is_refused(tmp_path):
    (tmp_path / "dvclive").write_text("mine")
    refused("dvclive", "is a file")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("params.yaml", "# how we train\nlr: 0.1\n"),
        ("params.yaml", "lr:    0.1\n"),
        ("params.yaml", "- 1\n"),
        ("metrics.json", '{"auc": 0.9}'),
        ("metrics.json", "[1, 2]"),
        ("metrics.json", "no json"),
    ],
)
def test_a_folder_whose_parameters_or_metrics_no_run_wrote_is_refused(tmp_path, name, text):
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / name).write_text(text)
    refused("config", "that no run wrote")


@pytest.mark.parametrize("summary", [{"größe": 1}, {"loss": math.nan}, {"a": {"b": 1}, "step": 3}])
def test_a_summary_as_the_public_package_writes_it_is_a_runs(summary):
    Path("dvclive").mkdir()
    Path("dvclive/metrics.json").write_text(json.dumps(summary, indent=4) + "\n")
    live().end()
    assert json.loads(Path("dvclive/metrics.json").read_text()) == {}, "its values were left"


@pytest.mark.parametrize("name", ["train.py", "notes.ipynb", "requirements.txt", "Makefile"])
def test_a_runs_folder_may_hold_a_copy_of_the_source(name):
    folder = a_run()
    (folder / name).write_text("a snapshot")
    live().end()
    assert (folder / name).read_text() == "a snapshot"


def test_a_new_empty_or_unrelated_folder_is_fine(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "outputs" / "deep").mkdir(parents=True)
    (tmp_path / "outputs" / "model.pt").write_text("weights")
    for folder in ("empty", "outputs", "outputs/deep", "a/b/c"):
        live(folder).end()
    assert (tmp_path / "outputs" / "model.pt").read_text() == "weights"


def test_the_working_directory_is_fine_when_it_is_a_jobs_own(tmp_path, monkeypatch):
    (tmp_path / "job-17").mkdir()
    monkeypatch.chdir(tmp_path / "job-17")
    (tmp_path / "job-17" / "stdout.log").write_text("")
    with live(".") as run:
        run.log_metric("loss", 1)
    live(".").end()
    assert (tmp_path / "job-17" / "stdout.log").exists()


USERS_ALONE = {
    "report.md": "# my thesis\n",
    "report.html": "<h1>mine</h1>",
    "fig.png": "x",
    "plots/images/cat.png": "meow",
    "plots/custom/spec.json": '{"my": "spec"}',
    "plots/sklearn/a.json": "{}",
    "plots/metrics/a.tsv": "step\tfoo\n0\t1",
    "plots/metrics/b.tsv": "name\tb\n",
    "plots/metrics/c.tsv": "",
    "plots/metrics/d.tsv": "step\td",
    "report-files/loss-01234567.png": "x",
}


def test_nothing_is_removed_where_no_run_was(caplog):
    for name, text in USERS_ALONE.items():
        path = Path("out", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    live("out", report=None, dvcyaml=False).end()
    left = tree(Path("out"))
    assert left.pop("metrics.json") == b"{}\n"
    assert left == {name: text.encode() for name, text in USERS_ALONE.items()}
    assert not warned(caplog), "nothing was in the run's way"


def test_a_users_files_in_the_runs_way_are_set_aside(caplog):
    users = {
        "metrics.json": '{\n    "acc": 0.9\n}\n',
        "params.yaml": "lr: 0.1\n",
        "report.html": "<h1>mine</h1>",
        "dvc.yaml": "plots:\n- curve.csv\nstages:\n  a:\n    cmd: echo\n",
    }
    Path("out").mkdir()
    for name, text in users.items():
        Path("out", name).write_text(text)
    with live("out") as run:
        assert run.read_latest() == {}, "the user's metrics are taken for the run's"
        run.log_param("lr", 5)
        run.log_metric("loss", 1)
    for name, text in users.items():
        assert Path("out", f"{name}.orig").read_text() == text
        (said,) = [one for one in warned(caplog) if f"{name}.orig'" in one]
        assert f"{name}'" in said
    assert "stages:" in Path("out/dvc.yaml").read_text(), "DVC would miss the stages"
    caplog.clear()
    live("out").end()
    assert len(list(Path("out").glob("*.orig*"))) == len(users), "the run's own are set aside"


def test_what_is_set_aside_never_takes_the_place_of_another():
    Path("out").mkdir()
    for count in (1, 2, 2, 3):
        Path("out/metrics.json").write_bytes(b'{\n    "a": %d\n}\n' % count)
        live("out", dvcyaml=False, report=None).end()
    found = {path.name: json.loads(path.read_text())["a"] for path in Path("out").glob("*.orig*")}
    assert found == {"metrics.json.orig": 1, "metrics.json.orig2": 2, "metrics.json.orig3": 3}


def test_parameters_of_the_users_stay_where_the_run_logs_none_or_the_same(caplog):
    Path("out").mkdir()
    text = "lr: 0.1\nlayers:\n- 1\nclip: .nan\n"
    Path("out/params.yaml").write_text(text)
    live("out", dvcyaml=False, report=None).end()
    assert Path("out/params.yaml").read_text() == text
    with live("out", dvcyaml=False, report=None) as run:
        run.log_params(yaml.safe_load(text))
    assert params.read(Path("out/params.yaml")) == {"lr": 0.1, "layers": [1], "clip": math.nan}
    assert not warned(caplog)
    assert not Path("out/params.yaml.orig").exists()


@pytest.mark.parametrize("empty", ["", "\n", "{}\n"])
def test_an_empty_file_needs_no_copy(empty, caplog):
    Path("out").mkdir()
    for name in ("metrics.json", "params.yaml"):
        Path("out", name).write_text(empty)
    with live("out", dvcyaml=False, report=None) as run:
        run.log_param("lr", 1)
    assert set(tree(Path("out"))) == {"metrics.json", "params.yaml"}
    assert not warned(caplog)


def test_a_run_that_was_killed_before_its_first_metric_does_not_block_the_next_one():
    Path("dvclive").mkdir()
    Path("dvclive/params.yaml").write_text("lr: 0.1\nlayers:\n  - 1\n")
    with live() as run:
        run.log_param("lr", 0.2)
    assert params.read(Path("dvclive/params.yaml")) == {"lr": 0.2}


@pytest.mark.parametrize("what", ["params.yaml", "metrics.json", "plots/images"])
def test_what_is_logged_without_a_metrics_file_is_described_at_once(what):
    run = live()
    {
        "params.yaml": lambda: run.log_param("lr", 1),
        "metrics.json": lambda: run.log_metric("best", 1, plot=False),
        "plots/images": lambda: run.log_image("a.png", PIXELS),
    }[what]()
    said = Path("dvclive/dvc.yaml").read_text()
    run.end()
    assert what in said, "after a kill the next run would not know that this is a run's"


HAND_WRITTEN = "stages:\n  a:\n    cmd: echo\nmetrics:\n- metrics.json\nparams:\n- params.yaml\n"


def test_a_dvcyaml_with_stages_is_no_proof_of_a_run():
    Path("src").mkdir()
    Path("src/dvc.yaml").write_text(HAND_WRITTEN)
    Path("src/train.py").write_text("")
    refused("src", "source code")
    Path("src/train.py").unlink()
    Path("src/params.yaml").write_text("# how we train\nlr: 0.1\n")
    refused("src", "that no run wrote")


# What the public package leaves of a run that logged a parameter and one thing more.
PUBLIC = [
    {"plots/metrics/x/y.tsv": "step\ty\n0\t1\n"},
    {"plots/metrics/y.tsv": "timestamp\tstep\ty\n1795693937546\t0\t1\n"},
    {'plots/metrics/q"u.tsv': 'step\t"q""u"\n0\t2\n'},
    {"plots/metrics/a.b.tsv": "step\ta.b\r\n0\t2\r\n"},
    {"dvc.yaml": "params:\n- params.yaml\nmetrics:\n- metrics.json\n"},
    {"dvc.yaml": "plots:\n- plots/images\n", "plots/images/a.png": "x"},
    {"report.md": "# DVC Report\n\nparams.yaml\n\n"},
]


@pytest.mark.parametrize("more", PUBLIC)
def test_what_the_public_package_left_of_a_run_is_removed(tmp_path, more, caplog):
    left = {
        "params.yaml": "epochs: 3\na:\n  b:\n  - 1\nf: 1e-05\nn:\nt: true\n",
        "metrics.json": '{\n    "summary_metric": 1.0\n}\n',
        **more,
    }
    for name, text in left.items():
        path = Path("dvclive", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    run = live(dvcyaml=False, report=None)
    assert [path.name for path in Path("dvclive").iterdir()] == []
    assert not warned(caplog)
    run.end()


# -- going on ------------------------------------------------------------------------------


def load(folder="dvclive", dvcyaml=True) -> remains.Remains:
    return remains.load(Layout.at(folder, dvcyaml))


def test_everything_is_there_again():
    folder = a_run()
    found = load()
    assert found.next_step == 3
    assert found.summary == {"loss": 1 / 3, "train": {"acc": 2}, "final": 0.5, "step": 2}
    assert found.params == {"lr": 0.1}
    assert [plot.path.name for plot in found.plots] == ["confusion_matrix.json", "curve.json"]
    assert found.plots[1].config == {"template": "linear", "x": "x", "y": "y"}
    assert found.has_images
    assert found.has_metrics
    before = tree(folder)
    live(resume=True).end()
    after = tree(folder)
    del before["report.html"], after["report.html"]
    assert after == before, "resuming and ending is no change"


def test_nothing_to_go_on_with_is_a_first_run(caplog):
    found = load()
    assert found == remains.Remains()
    assert not caplog.records


@pytest.mark.parametrize("steps", [1, 2])
def test_the_step_after_the_last_also_after_a_single_one(steps):
    a_run(steps=steps)
    assert load().next_step == steps


def test_a_run_without_a_step_goes_on_at_zero():
    with live() as run:
        run.log_metric("loss", 1)
    assert load().next_step == 0


def test_plots_whose_file_is_gone_are_not_gone_on_with():
    folder = a_run()
    (folder / "plots" / "custom" / "curve.json").unlink()
    assert [plot.path.name for plot in load().plots] == ["confusion_matrix.json"]


def test_values_logged_after_metrics_json_was_written_last_are_not_lost():
    folder = a_run(steps=2)
    with (folder / "plots/metrics/loss.tsv").open("a") as file:
        file.write("2\t0.125\n")
    (folder / "plots/metrics/late.tsv").write_text("step\tlate\n2\tnan\n")
    found = load()
    assert found.summary["loss"] == 0.125
    assert found.summary["late"] == "nan"
    assert found.next_step == 2, "step 2 was not completed"


@pytest.mark.parametrize(
    ("cell", "value"),
    [("1", 1), ("-0.5", -0.5), ("1e-05", 1e-5), ("nan", "nan"), ("inf", "inf"), ("True", True),
     ("word", "word"), ("1_000", "1_000"), ("007", "007"), ("1e5", "1e5"), ("1.50", "1.50"),
     ("0.33333333333333333334", 1 / 3), ("1e+16", 1e16), ("-7", -7),
     ('"""quoted"', '"quoted'), ("", "")],
)  # fmt: skip
def test_a_cell_is_read_back_as_what_was_logged(tmp_path, cell, value):
    (tmp_path / "dvclive/plots/metrics").mkdir(parents=True)
    (tmp_path / "dvclive/plots/metrics/m.tsv").write_text(f"step\tm\n0\t{cell}\n")
    found = load().summary["m"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("value", ["12", "0.5", "True", True, "a\tb", 3, 0.25, "nan"])
def test_a_value_that_metrics_json_has_keeps_its_type(value):
    with live(report=None) as run:
        run.log_metric("m", value)
    found = load().summary["m"]
    assert found == value
    assert type(found) is type(value)


# -- mending -------------------------------------------------------------------------------


def warned(caplog) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]


@pytest.mark.parametrize("torn", ["3", "3\t", "3\t0.12", "\0\0\0", "3\t0.1\0\0\n\0"])
def test_a_torn_last_row_is_taken_off_and_no_other(caplog, torn):
    folder = a_run()
    path = folder / "plots/metrics/loss.tsv"
    whole = path.read_bytes()
    path.write_bytes(whole + torn.encode())
    assert load().summary["loss"] == 1 / 3
    assert path.read_bytes() == whole
    (said,) = warned(caplog)
    assert "loss.tsv" in said
    load()
    assert len(warned(caplog)) == 1, "a mended file needs no second word"


@pytest.mark.parametrize("torn", ["", "st", "step\tne", "timestamp\tst", "\0\0"])
def test_a_torn_header_is_no_file(caplog, torn):
    folder = a_run()
    (folder / "plots/metrics/new.tsv").write_text(torn)
    assert "new" not in load().summary
    with live(resume=True) as run:
        run.log_metric("new", 5)
    assert (folder / "plots/metrics/new.tsv").read_text() == "step\tnew\n3\t5\n"


def test_a_long_file_is_mended_without_being_read_whole(tmp_path):
    a_run(steps=1)
    path = Path("dvclive/plots/metrics/loss.tsv")
    with path.open("a") as file:
        file.writelines(f"{i}\t{i / 7}\n" for i in range(1, 20_000))
        file.write("20000\t0.")
    found = load()
    assert found.summary["loss"] == 19_999 / 7


@pytest.mark.parametrize("length", [70_000, 3_000_000])
def test_a_torn_row_longer_than_what_is_read_at_once_is_taken_off(length):
    with live(report=None) as run:
        run.log_metric("text", "a" * length)
        run.log_metric("text", "b" * length)
    path = Path("dvclive/plots/metrics/text.tsv")
    path.write_bytes(path.read_bytes()[:-3])
    Path("dvclive/metrics.json").unlink()
    assert load().summary["text"] == "a" * length
    with live(resume=True, report=None) as run:
        run.log_metric("text", "new")
    assert path.read_text() == f"step\ttext\n0\t{'a' * length}\n0\tnew\n"


def test_a_half_written_summary_is_mended_wherever_it_was_cut(caplog):
    folder = a_run()
    path = folder / "metrics.json"
    whole = path.read_bytes()
    for cut in range(len(whole) - 2):
        path.write_bytes(whole[:cut])
        caplog.clear()
        found = load()
        assert found.summary["loss"] == 1 / 3
        assert found.summary["train"] == {"acc": 2}
        assert found.next_step == 3, f"cut at {cut}: {whole[:cut]!r}"
        if cut:
            assert len(warned(caplog)) == 1


def test_a_summary_cut_inside_a_number_does_not_tell_a_smaller_one():
    with live(report=None) as run:
        run.log_metric("big", 0.98765)
        run.log_metric("only", 1234, plot=False)
        run.step = 119
        run.next_step()
    path = Path("dvclive/metrics.json")
    whole = path.read_bytes()
    assert list(json.loads(whole)) == ["big", "only", "step"]
    for cut in range(len(whole) - 2):
        path.write_bytes(whole[:cut])
        found = load()
        assert found.summary["big"] == 0.98765, f"cut at {cut}: {whole[:cut]!r}"
        assert found.summary.get("only", 1234) == 1234, f"cut at {cut}: {whole[:cut]!r}"
        # Where the step is lost the rows are left to tell, and they are of step 0.
        assert found.next_step in {1, 120}, f"cut at {cut}: {whole[:cut]!r}"


def test_a_summary_of_nothing_but_zeros_is_mended(caplog):
    folder = a_run()
    (folder / "metrics.json").write_bytes(b"\0" * 64)
    assert load().next_step == 3
    assert warned(caplog)


def test_half_written_parameters_lose_their_last_line_at_most(caplog):
    with live(report=None) as run:
        run.log_params({"lr": 0.1, "net": {"layers": [1, 2]}, "name": "a: b", "last": "long" * 9})
    path = Path("dvclive/params.yaml")
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        caplog.clear()
        found = load().params
        left = yaml.safe_load(whole[: whole.rfind(b"\n", 0, cut) + 1]) or {}
        assert found == left, f"cut at {cut}: {whole[:cut]!r}"
        if cut and whole[cut - 1 : cut] != b"\n":
            assert len(warned(caplog)) == 1, f"cut at {cut}"
    path.write_bytes(b"a: [1\nb: {")
    assert load().params == {}
    assert Path("dvclive/params.yaml.torn").read_bytes() == b"a: [1\nb: {", "nothing is thrown away"


def test_a_half_written_plot_loses_its_last_row_or_goes(caplog):
    rows = [{"x": i, "y": i / 3} for i in range(5)]
    with live() as run:
        run.log_plot("curve", rows, "x", "y")
        run.log_sklearn_plot("roc", [0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    for name in ("custom/curve", "sklearn/roc"):
        path = Path(f"dvclive/plots/{name}.json")
        whole = path.read_bytes()
        for cut in range(len(whole) - 2):
            path.write_bytes(whole[:cut])
            load()
            if path.exists():
                document = json.loads(path.read_bytes())
                found = document if isinstance(document, list) else document["roc"]
                assert len(found) >= whole[:cut].count(b"\n") - 2
            else:
                assert whole[:cut].count(b"\n") < 2, f"lost though {whole[:cut]!r} was there"


@settings(max_examples=60, deadline=None)
@given(
    st.binary(max_size=200),
    st.sampled_from(
        ["metrics.json", "params.yaml", "plots/metrics/loss.tsv", "plots/custom/curve.json"]
    ),
)
def test_no_content_of_a_file_keeps_a_run_from_going_on(tmp_path_factory, content, name):
    folder = tmp_path_factory.mktemp("run") / "dvclive"
    a_run(folder, steps=1, report=None)
    (folder / name).write_bytes(content)
    with live(folder, resume=True, report=None) as run:
        run.log_metric("after", 1)
        run.next_step()
    document = json.loads((folder / "metrics.json").read_bytes())
    assert document["after"] == 1
    assert isinstance(params.read(folder / "params.yaml"), dict)


def test_a_half_written_dvcyaml_goes_on_with_its_whole_lines_wherever_it_was_cut(caplog):
    with live(report=None) as run:
        run.log_param("lr", 1)
        for name in ("p", "q"):
            run.log_plot(name, [{"x": 1, "y": 2}], "x", "y", template="scatter", title="Tï: 'a'")
        run.log_metric("loss", 1)
    path = Path("dvclive/dvc.yaml")
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        Writer(Layout.at("dvclive"), resume=True).check()
        load()
        kept = path.read_bytes()
        lines = whole[: whole.rfind(b"\n", 0, cut) + 1]
        found = {plot.path.name: dict(plot.config) for plot in load().plots}
        if cut and whole[cut - 1 : cut] != b"\n":
            assert kept == lines, f"cut at {cut}: {whole[:cut]!r}"
            assert any("dvc.yaml" in one for one in warned(caplog)), "mended in silence"
        wanted = {
            name: config
            for entry in (yaml.safe_load(lines) or {}).get("plots") or ()
            for name, config in (entry.items() if isinstance(entry, dict) else ((entry, {}),))
            if name.endswith(".json")
        }
        assert found == {Path(name).name: config or {} for name, config in wanted.items()}
        caplog.clear()


def test_a_half_written_dvcyaml_does_not_stop_a_new_run():
    folder = a_run()
    path = folder / "dvc.yaml"
    path.write_bytes(path.read_bytes()[:-9] + b"\n    'y")
    with live() as run:
        run.log_metric("new", 1)
    assert yaml.safe_load(path.read_text()) == {
        "metrics": ["metrics.json"],
        "plots": [{"plots/metrics": {"x": "step"}}],
    }


def test_a_users_dvcyaml_that_only_lacks_its_last_newline_is_whole_to_a_new_run():
    folder = a_run()
    path = folder / "dvc.yaml"
    path.write_text(path.read_text() + "stages:\n  a:\n    cmd: echo")
    live().end()
    assert yaml.safe_load(path.read_text())["stages"] == {"a": {"cmd": "echo"}}


@pytest.mark.parametrize("text", ["a: [1\n", "a: [\n" + "b: 1\n" * 9 + "c"])
def test_a_dvcyaml_that_is_wrong_elsewhere_is_refused_and_left(text):
    folder = a_run()
    (folder / "dvc.yaml").write_text(text)
    for resume in (False, True):
        with pytest.raises(DvcyamlSyntaxError):
            live(resume=resume)
    assert (folder / "dvc.yaml").read_text() == text

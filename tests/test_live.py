"""`Live` as a training script knows it."""

from __future__ import annotations

import json
import logging
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from recording import RecordingBackend
from situations import python

from dvclive_dvc import Live, errors
from dvclive_dvc.backend import Status
from dvclive_dvc.null import NullBackend

PIXELS = np.zeros((2, 2), np.uint8)


MADE: list[Live] = []


def make(*args, **more) -> Live:
    live = Live(*args, **{"report": None, "backend": RecordingBackend(), **more})
    MADE.append(live)
    return live


@pytest.fixture(autouse=True)
def no_run_outlives_its_test():
    yield
    while MADE:
        live = MADE.pop()
        live.summary = {}
        live.end()


def joined(*parts: str) -> str:
    return os.sep.join(parts)  # noqa: PTH118 - a Path would drop the `./` that was given


def tree(folder="dvclive") -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


def summary_file(folder="dvclive"):
    return json.loads(Path(folder, "metrics.json").read_text())


def rows(name: str, folder="dvclive") -> list[list[str]]:
    text = Path(folder, "plots", "metrics", f"{name}.tsv").read_text()
    return [line.split("\t") for line in text.splitlines()]


# -- construction --------------------------------------------------------------------------


def test_the_folder_is_made_at_once_with_those_above_it(tmp_path):
    make("a/b/c")
    make(tmp_path / "d")
    assert (tmp_path / "a" / "b" / "c").is_dir()
    assert (tmp_path / "d").is_dir()


@pytest.mark.parametrize("folder", ["dvclive", "runs/one", "./here", "../up"])
def test_paths_are_joined_to_the_folder_as_it_was_given(tmp_path, monkeypatch, folder):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    live = make(folder)
    assert live.dir == folder
    assert live.plots_dir == joined(folder, "plots")
    assert live.metrics_file == joined(folder, "metrics.json")
    assert live.params_file == joined(folder, "params.yaml")
    assert live.artifacts_dir == joined(folder, "artifacts")
    assert live.dvc_file == joined(folder, "dvc.yaml")
    assert live.report_file is None
    for name in ("dir", "plots_dir", "metrics_file", "params_file", "dvc_file", "report_file"):
        with pytest.raises(AttributeError):
            setattr(live, name, "x")


def test_the_arguments_come_in_the_order_users_know():
    live = Live(
        "here", False, None, False, False, False, "name", "message", False,  # noqa: FBT003 - that order
        backend=RecordingBackend(),
    )  # fmt: skip
    live.log_metric("m", 1)
    live.end()
    assert sorted(tree("here")) == ["metrics.json", "plots/metrics/m.tsv"]


@pytest.mark.parametrize("mode", ["html", "md"])
def test_a_report_has_its_file(mode):
    live = make(report=mode)
    assert live.report_file == joined("dvclive", f"report.{mode}")
    live.end()
    assert Path(live.report_file).exists()


@pytest.mark.parametrize(
    ("more", "error", "text"),
    [
        ({"report": "pdf"}, errors.InvalidReportModeError, "Got pdf instead."),
        ({"dvcyaml": "dvclive/other.yaml"}, errors.InvalidDvcyamlError, "other.yaml"),
        ({"dvcyaml": 3}, errors.InvalidDvcyamlError, "3"),
        ({"dir": ""}, errors.InvalidDataTypeError, "dir"),
        ({"dir": None}, errors.InvalidDataTypeError, "dir"),
        ({"dir": 3}, errors.InvalidDataTypeError, "dir"),
        ({"dir": "a\0b"}, errors.InvalidDirError, "null"),
        ({"dir": "\ud800"}, errors.InvalidDirError, "surrogate"),
        ({"dir": "x" * 300}, errors.InvalidDirError, "too long"),
        ({"report": ["html"]}, errors.InvalidReportModeError, "html"),
        ({"dvcyaml": "a\0/dvc.yaml"}, errors.InvalidDvcyamlError, "dvc.yaml"),
        ({"exp_name": 3}, errors.InvalidDataTypeError, "exp_name"),
        ({"exp_message": b"m"}, errors.InvalidDataTypeError, "exp_message"),
        ({"include": "train.py"}, errors.InvalidDataTypeError, "a list of paths"),
        ({"include": [3]}, errors.InvalidDataTypeError, "include"),
        ({"include": None}, errors.InvalidDataTypeError, "include"),
        ({"backend": "dvc"}, errors.InvalidDataTypeError, "backend"),
    ],
)
def test_an_argument_that_cannot_be_taken_is_refused_before_anything_is_written(
    tmp_path, more, error, text
):
    with pytest.raises(error, match=text):
        make(**more)
    assert list(tmp_path.iterdir()) == []


def test_the_working_directory_may_change_meanwhile(tmp_path, monkeypatch):
    live = make("dvclive")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    live.log_metric("m", 1)
    live.log_image("a.png", PIXELS)
    live.end()
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert summary_file(tmp_path / "dvclive") == {"m": 1}


def test_images_and_plots_that_a_case_blind_file_system_takes_for_one_are_refused(
    tmp_path, monkeypatch
):
    live = make()
    points = [{"x": 1, "y": 2}]
    live.log_image("Set/A.png", PIXELS)
    live.log_plot("Scores", points, "x", "y")
    before = tree()
    # No such file system can be had in every test's machine: its answer is put in by hand.
    there = {str(path).casefold() for path in tmp_path.rglob("*")}
    monkeypatch.setattr(os.path, "lexists", lambda path: str(path).casefold() in there)
    with pytest.raises(errors.InvalidNameError, match=r"'set/a.png' differs from 'Set/A.png'"):
        live.log_image("set/a.png", PIXELS + 1)
    with pytest.raises(errors.InvalidNameError, match="upper and lower case"):
        live.log_plot("scores", points, "x", "y")
    assert tree() == before
    live.log_image("Set/A.png", PIXELS + 1)
    live.log_plot("Scores", points, "x", "y", title="again")
    assert tree().keys() == before.keys()


# -- steps ---------------------------------------------------------------------------------


def test_the_step_is_zero_until_something_moves_it():
    live = make()
    assert live.step == 0
    live.next_step()
    assert live.step == 1
    assert live.read_step() == 0, "the step just completed"
    live.step = -3
    assert live.step == -3
    live.step = np.int64(7)
    assert (live.step, type(live.step)) == (7, int)


@pytest.mark.parametrize("value", [None, "1", 1.0, True, [1]])
def test_a_step_that_is_no_whole_number_is_refused(value):
    live = make()
    with pytest.raises(errors.InvalidDataTypeError):
        live.step = value
    assert live.step == 0


def test_the_summary_has_no_step_before_there_is_one():
    live = make()
    live.log_metric("m", 1)
    live.make_summary()
    assert summary_file() == {"m": 1}
    live.next_step()
    assert summary_file() == {"m": 1, "step": 0}


def test_a_step_is_written_also_where_nothing_was_logged():
    live = make()
    live.step = 1
    live.end()
    assert summary_file() == {"step": 1}
    assert not Path("dvclive/plots").exists()


def test_end_goes_back_to_the_last_written_step():
    live = make()
    for i in range(3):
        live.log_metric("m", i)
        live.next_step()
    assert live.step == 3
    live.log_metric("m", 9)
    live.log_metric("only", 1, plot=False)
    live.end()
    assert live.step == 2
    assert summary_file() == {"m": 9, "only": 1, "step": 2}
    assert rows("m") == [["step", "m"], ["0", "0"], ["1", "1"], ["2", "2"], ["3", "9"]]
    assert not Path("dvclive/plots/metrics/only.tsv").exists()


def test_rows_are_history_and_never_made_one():
    live = make()
    for step in (5, 5, 2):
        live.step = step
        live.log_metric("m", step)
    assert [row[0] for row in rows("m")[1:]] == ["5", "5", "2"]


def test_the_backend_hears_of_each_completed_step():
    backend = RecordingBackend()
    live = make(backend=backend)
    for _ in range(3):
        live.next_step()
    assert backend.steps == [0, 1, 2]


# -- summary -------------------------------------------------------------------------------


def test_the_summary_is_a_plain_dict_the_user_may_edit():
    live = make()
    live.log_metric("val/acc", np.float32(0.5))
    assert type(live.summary) is dict
    live.summary["best"] = {"acc": np.float64(0.75), "bad": math.nan}
    live.make_summary()
    assert summary_file() == {"val": {"acc": 0.5}, "best": {"acc": 0.75, "bad": "nan"}}
    assert live.read_latest() == summary_file()
    assert not Path("dvclive/plots/metrics/best").exists()


def test_nothing_to_read_is_an_empty_dict_and_step_zero():
    live = make()
    assert live.read_latest() == {}
    assert live.read_step() == 0


def test_a_summary_that_cannot_be_written_does_not_cost_the_run(caplog):
    backend = RecordingBackend()
    live = make(backend=backend)
    live.summary["loop"] = live.summary
    with pytest.raises(errors.InvalidDataTypeError):
        live.make_summary()
    live.end()
    assert len(backend.experiments) == 1
    assert "could not all be written" in caplog.text


def test_an_array_in_the_summary_is_written_as_a_list():
    live = make()
    live.summary["per_class"] = np.array([[0.5, math.nan], [1, 2]])
    live.next_step()
    assert summary_file() == {"per_class": [[0.5, "nan"], [1.0, 2.0]], "step": 0}


def test_a_summary_that_cannot_be_written_costs_dvcyaml_and_report_nothing():
    live = make(report="html")
    live.log_metric("m", 1)
    live.summary["loop"] = live.summary
    live.end()
    assert Path("dvclive/report.html").exists(), "the report was left out with the summary"
    assert yaml.safe_load(Path("dvclive/dvc.yaml").read_text())["metrics"] == ["metrics.json"]


class Tidying(Live):
    tidied = 0

    def end(self):
        super().end()
        self.tidied += 1


def test_leaving_the_block_calls_end_as_a_subclass_has_it():
    backend = RecordingBackend()
    with pytest.raises(ZeroDivisionError), Tidying(report=None, backend=backend) as live:
        _ = 1 / 0
    assert live.tidied == 1, "a subclass's own end() was passed by"
    assert [one.status.value for one in backend.experiments.values()] == ["failed"]


# -- what bad input gets -------------------------------------------------------------------

BAD_CALLS = {
    "metric value": lambda live: live.log_metric("m", [1]),
    "metric None": lambda live: live.log_metric("m", None),
    "new metric with a bad value": lambda live: live.log_metric("new", object()),
    "metric name empty": lambda live: live.log_metric("", 1),
    "metric name leaves": lambda live: live.log_metric("../m", 1),
    "metric name with a tab": lambda live: live.log_metric("a\tb", 1),
    "metric step": lambda live: live.log_metric("step", 1),
    "metric is a group": lambda live: live.log_metric("m/x", 1),
    "group is a metric": lambda live: live.log_metric("g", 1, plot=False),
    "shown as another": lambda live: live.log_metric("g.x", 1),
    "param": lambda live: live.log_param("p", {1}),
    "one of the params": lambda live: live.log_params({"good": 1, "bad": b""}),
    "params no dict": lambda live: live.log_params([1]),
    "param name": lambda live: live.log_param("", 1),
    "params shown as one": lambda live: live.log_param("p.q", 1),
    "image value": lambda live: live.log_image("i.png", None),
    "image name": lambda live: live.log_image("i.bmp", PIXELS),
    "image file": lambda live: live.log_image("i.png", "nowhere.png"),
    "plot data": lambda live: live.log_plot("p", {"x": 1}, "x", "y"),
    "plot column": lambda live: live.log_plot("p", [{"x": 1}], "x", "y"),
    "plot value": lambda live: live.log_plot("p", [{"x": 1, "y": {1}}], "x", "y"),
    "sklearn kind": lambda live: live.log_sklearn_plot("auc", [0], [0]),
    "sklearn data": lambda live: live.log_sklearn_plot("roc", [0], [0, 1]),
    "artifact type": lambda live: live.log_artifact(3),
    "artifact missing": lambda live: live.log_artifact("nowhere.pt"),
    "artifact meta": lambda live: live.log_artifact("dvclive", meta={"x": {1}}),
    "step": lambda live: setattr(live, "step", "x"),
}


@pytest.mark.parametrize("bad", BAD_CALLS.values(), ids=BAD_CALLS)
def test_a_refused_call_changes_nothing_and_the_next_ones_work(bad):
    backend = RecordingBackend()
    live = make(backend=backend)

    def good(i):
        live.log_metric("m", i)
        live.log_metric("g/x", i)
        live.log_param("p", {"q": i})
        live.log_image("i.png", PIXELS)
        live.log_plot("p", [{"x": i, "y": i}], "x", "y")
        live.log_sklearn_plot("confusion_matrix", [0], [0])
        live.next_step()

    good(0)
    before = (tree(), json.dumps(live.summary), live.step, dict(backend.objects))
    with pytest.raises(errors.CallerError) as caught:
        bad(live)
    assert len(str(caught.value)) > 20, "the text says what to do"
    assert (tree(), json.dumps(live.summary), live.step, dict(backend.objects)) == before
    good(1)
    live.end()
    assert summary_file() == {"m": 1, "g": {"x": 1}, "step": 1}
    assert yaml.safe_load(Path("dvclive/params.yaml").read_text()) == {"p": {"q": 1}}
    assert rows("m") == [["step", "m"], ["0", "0"], ["1", "1"]]


# -- writing out ---------------------------------------------------------------------------


class Counting(Live):
    syncs = 0

    def sync(self):
        self.syncs += 1
        super().sync()


def test_next_step_and_end_sync_once_each():
    live = Counting(report=None, backend=RecordingBackend())
    live.next_step()
    assert live.syncs == 1
    live.end()
    assert live.syncs == 2


def test_dvc_yaml_is_written_only_when_there_is_something_new_to_say():
    backend = RecordingBackend()
    live = make(backend=backend)
    for i in range(5):
        live.log_metric("m", i)
        live.next_step()
    assert len(backend.described) == 1
    live.log_param("p", 1)
    live.next_step()
    live.next_step()
    live.end()
    assert len(backend.described) == 2


@pytest.mark.parametrize("off", [False, None])
def test_dvc_yaml_is_written_on_request_also_when_it_is_off(off):
    live = make(dvcyaml=off)
    live.log_metric("m", 1)
    live.next_step()
    assert not Path("dvclive/dvc.yaml").exists()
    live.make_dvcyaml()
    assert yaml.safe_load(Path("dvclive/dvc.yaml").read_text()) == {
        "metrics": ["metrics.json"],
        "plots": [{"plots/metrics": {"x": "step"}}],
    }
    assert live.dvc_file == joined("dvclive", "dvc.yaml")


def test_a_step_reads_no_file_back_and_opens_no_more_of_them_as_the_run_grows():
    source = """
import sys
from dvclive_dvc import Live
from dvclive_dvc.null import NullBackend
opened = []
live = Live(report=None, backend=NullBackend())
def steps(n):
    for i in range(n):
        for m in range(10):
            live.log_metric(f"group/m{m}", i)
        live.next_step()
steps(2)
sys.addaudithook(lambda event, args: opened.append(args) if event == "open" else None)
steps(1)
first = list(opened)
steps(500)
opened.clear()
steps(1)
print(len(first), len(opened), [path for path, mode, flags in first + opened if not flags & 1])
"""
    assert python(source).stdout.split(" ", 2) == ["1", "1", "[]\n"], (
        "a step writes metrics.json anew and reads nothing"
    )


def test_a_long_run_needs_no_more_memory_than_a_short_one():
    source = """
import gc, tracemalloc
from dvclive_dvc import Live
from dvclive_dvc.null import NullBackend
live = Live(report=None, backend=NullBackend())
def steps(n):
    for i in range(n):
        for m in range(3):
            live.log_metric(f"m{m}", i / 7)
        live.next_step()
tracemalloc.start()
steps(1500)  # the interpreter, too, keeps something for code that runs often
gc.collect()
before = tracemalloc.get_traced_memory()[0]
steps(1500)
gc.collect()
print(tracemalloc.get_traced_memory()[0] - before)
"""
    assert int(python(source).stdout) < 5_000


# -- the end -------------------------------------------------------------------------------


def test_end_inside_the_block_does_nothing_and_leaving_it_ends():
    backend = RecordingBackend()
    with make(backend=backend) as live:
        live.log_metric("m", 1)
        live.end()
        assert not Path("dvclive/metrics.json").exists()
        assert not backend.experiments
    assert summary_file() == {"m": 1}
    assert [outcome.status for outcome in backend.experiments.values()] == [Status.COMPLETED]


def test_end_may_be_called_twice_and_writes_what_came_since():
    backend = RecordingBackend()
    live = make(backend=backend)
    live.end()
    live.log_metric("late", 1)
    live.end()
    assert summary_file() == {"late": 1}
    assert len(backend.experiments) == 1, "one run is one experiment"


@pytest.mark.parametrize(
    "log",
    [
        lambda live: live.log_metric("late", 1),
        lambda live: live.log_param("late", 1),
        lambda live: live.log_image("late.png", PIXELS),
        lambda live: live.log_plot("late", [{"x": 1, "y": 2}], "x", "y"),
        lambda live: live.log_artifact("late.txt"),
    ],
)
def test_what_is_logged_after_the_run_was_saved_is_said_once_to_be_missing_there(log, caplog):
    Path("late.txt").write_text("late")
    live = make()
    live.log_metric("m", 1)
    live.end()
    assert not caplog.records
    log(live)
    log(live)
    (record,) = caplog.records
    assert "has ended" in record.getMessage()
    assert "not in the experiment" in record.getMessage()


def test_logging_after_the_end_of_a_run_that_is_no_experiment_says_nothing(caplog):
    live = make(save_dvc_exp=False)
    live.end()
    live.log_metric("late", 1)
    assert not caplog.records


def test_an_exception_that_leaves_the_block_is_the_one_the_user_sees():
    backend = RecordingBackend()

    def training():
        with make(backend=backend) as live:
            live.log_metric("m", 1)
            live.summary["loop"] = live.summary
            return 1 / 0

    with pytest.raises(ZeroDivisionError):
        training()
    (outcome,) = backend.experiments.values()
    assert outcome.status is Status.FAILED
    assert outcome.exception == "builtins.ZeroDivisionError"


# -- a kill --------------------------------------------------------------------------------


def test_a_killed_process_loses_nothing_that_it_logged():
    source = """
import os, signal
import numpy
from dvclive_dvc import Live
from dvclive_dvc.null import NullBackend
live = Live(report=None, backend=NullBackend())
live.log_metric("done", 1)
live.next_step()
for i in range(50):
    live.log_metric("loss", i / 4)
live.log_metric("final", 3, plot=False)
live.log_param("lr", 0.5)
live.log_image("a.png", numpy.zeros((2, 2)))
live.log_plot("p", [{"x": 1, "y": 2}], "x", "y")
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert python(source, check=False).returncode == -signal.SIGKILL
    assert [row[1] for row in rows("loss")[1:]] == [str(i / 4) for i in range(50)]
    assert summary_file()["final"] == 3
    with make(resume=True) as live:
        assert live.step == 1
        assert live.summary == {"done": 1, "loss": 49 / 4, "final": 3, "step": 0}
        assert yaml.safe_load(Path(live.params_file).read_text()) == {"lr": 0.5}
    assert {"plots/images/a.png", "plots/custom/p.json"} <= set(tree())


# -- resuming ------------------------------------------------------------------------------


def test_a_resumed_run_goes_on_as_if_it_had_never_stopped():
    def calls(live, steps):
        for i in steps:
            live.log_metric("m", i / 3)
            live.log_metric("t/m", i, timestamp=i == 0)
            live.next_step()

    def begin(live):
        live.log_params({"a": 1, "b": {"c": 2}})
        live.log_image("i.png", PIXELS)
        live.log_plot("p", [{"x": 1, "y": 2}], "x", ["y"], template="scatter", title="T")

    with make("whole") as live:
        begin(live)
        calls(live, range(6))
    with make("parts") as live:
        begin(live)
        calls(live, range(1))
    with make("parts", resume=True) as live:
        assert live.step == 1
        calls(live, range(1, 4))
    with make("parts", resume=True) as live:
        calls(live, range(4, 6))
    whole, parts = tree("whole"), tree("parts")

    def without_times(files):
        return {
            name: [line.split(b"\t")[-2:] for line in data.splitlines()]
            if name.endswith("t/m.tsv")
            else data
            for name, data in files.items()
        }

    assert without_times(parts) == without_times(whole)


def test_a_resumed_run_says_where_it_goes_on_or_that_there_is_nothing_to_resume(caplog):
    caplog.set_level(logging.INFO, "dvclive_dvc")
    with make(resume=True) as live:
        live.log_metric("m", 1)
        live.next_step()
    make(resume=True)
    assert [record.getMessage() for record in caplog.records] == [
        "There is no run in 'dvclive' to resume: a new one begins.",
        "Resumed 'dvclive' at step 1.",
    ]


def test_without_resume_the_step_starts_again_and_former_keys_vanish():
    with make() as live:
        live.log_metric("old", 1)
        live.next_step()
    with make() as live:
        assert live.step == 0
        live.log_metric("new", 1)
    assert summary_file() == {"new": 1}


@pytest.mark.parametrize(
    ("value", "resumed"),
    [("1", True), ("TRUE", True), ("yes", True), ("0", False), ("", False), ("no", False)],
)
def test_the_environment_may_ask_for_it(monkeypatch, value, resumed):
    with make() as live:
        live.next_step()
    monkeypatch.setenv("DVCLIVE_RESUME", value)
    assert make().step == (1 if resumed else 0)


# -- the environment, in processes of their own --------------------------------------------

SCRIPT = """
from dvclive_dvc import Live
from dvclive_dvc.null import NullBackend
with Live(report="html", backend=NullBackend(), monitor_system=True) as live:
    live.log_param("p", 1)
    live.log_metric("m", 1)
    live.log_image("a.png", __import__("numpy").zeros((2, 2)))
    live.log_plot("p", [{"x": 1, "y": 2}], "x", "y")
    live.log_sklearn_plot("confusion_matrix", [0], [0])
    live.next_step()
    live.log_artifact(__import__("os").devnull, cache=False)
    live.make_summary(); live.make_dvcyaml(); live.make_report()
    print(live.summary["m"], live.step, live.dir)
"""


@pytest.mark.parametrize("variable", ["RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK"])
def test_a_further_process_of_a_distributed_job_logs_nothing_and_says_so_once(tmp_path, variable):
    done = python(SCRIPT, env={variable: "3"})
    assert list(tmp_path.iterdir()) == []
    assert done.stdout == "1 1 dvclive\n", "the script runs as it would elsewhere"
    assert done.stderr.count(f"{variable}=3") == 1
    assert "INFO" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "env",
    [
        {"RANK": "0"},
        {"RANK": ""},
        {"RANK": "x"},
        {"LOCAL_RANK": "1"},
        {"RANK": "0", "SLURM_PROCID": "2"},
        {"OMPI_COMM_WORLD_RANK": "0", "SLURM_PROCID": "2"},
    ],
    ids=str,
)
def test_the_first_process_of_a_distributed_job_logs(tmp_path, env):
    python(SCRIPT.replace('"html"', "None").replace(", monitor_system=True", ""), env=env)
    assert summary_file(tmp_path / "dvclive")["m"] == 1


def test_the_innermost_launcher_numbers_the_processes(tmp_path):
    # `mpirun` in a batch step: each of its processes inherits the step's own number.
    done = python(SCRIPT, env={"SLURM_PROCID": "0", "OMPI_COMM_WORLD_RANK": "1"})
    assert list(tmp_path.iterdir()) == [], "every process of the job logged"
    assert "OMPI_COMM_WORLD_RANK=1" in done.stderr


def test_a_further_process_refuses_bad_input_like_the_first():
    done = python(
        SCRIPT.replace('log_param("p", 1)', 'log_param("p", {1})'), env={"RANK": "1"}, check=False
    )
    assert "InvalidParameterTypeError" in done.stderr


@pytest.mark.parametrize("dvcyaml", ["True", "False", "None", "'sub/dvc.yaml'"])
def test_a_test_run_leaves_nothing_in_the_working_directory(tmp_path, dvcyaml):
    (tmp_path / "work").mkdir()
    (tmp_path / "tmp").mkdir()
    done = python(
        SCRIPT.replace('report="html"', f'report="html", dvcyaml={dvcyaml}'),
        cwd=tmp_path / "work",
        env={"DVCLIVE_TEST": "1", "TMPDIR": str(tmp_path / "tmp")},
    )
    assert list((tmp_path / "work").iterdir()) == []
    folder = Path(done.stdout.split()[-1])
    assert folder.is_relative_to(tmp_path / "tmp"), "`dir` is where the files are"
    assert f"DVCLIVE_TEST is set: the run is logged to '{folder}'" in done.stderr, "lost, untold"
    assert summary_file(folder)["m"] == 1


@pytest.mark.parametrize(
    ("level", "said"),
    [("", True), ("INFO", True), ("WARNING", False), ("error", False), ("nonsense", True)],
)
def test_the_level_of_what_is_said_is_the_users(level, said):
    done = python(SCRIPT, env={"RANK": "1", "DVCLIVE_LOGLEVEL": level})
    assert ("RANK=1" in done.stderr) is said


def test_the_users_own_logging_is_left_alone():
    source = (
        """
import logging, sys
logging.basicConfig(format="MINE %(message)s", level="INFO", stream=sys.stderr)
"""
        + SCRIPT
    )
    done = python(source, env={"RANK": "1"})
    assert done.stderr.startswith("MINE RANK=1")
    assert len(done.stderr.splitlines()) == 1


# -- a full disk ---------------------------------------------------------------------------

FULL = """
import logging, resource, sys
import numpy
from dvclive_dvc import Live
from dvclive_dvc.null import NullBackend
live = Live(report=None, backend=NullBackend())
live.log_params({"p": "x" * 1000})
for i in range(400):
    live.log_metric("a", i)
    live.log_metric("bee", i / 3)
    live.next_step()
#limit
for i in range(400, 1000):
    live.log_metric("a", i)
    live.log_metric("bee", i / 3)
    live.log_params({"p": "y" * (100_000 + i)})
    live.log_image("i.png", numpy.random.default_rng(0).random((300, 300)))
    live.next_step()
#free
live.log_metric("a", "after")
live.log_params({"p": "z"})
live.end()
print("trained to the end")
"""


def check_after_full_disk(done: subprocess.CompletedProcess, folder: Path) -> None:
    assert "trained to the end" in done.stdout, done.stderr
    for name in ("a", "bee"):
        lines = (folder / "plots" / "metrics" / f"{name}.tsv").read_text()
        assert lines.endswith("\n"), "half a row stayed"
        cells = [line.split("\t") for line in lines.splitlines()[1:]]
        assert all(len(row) == 2 for row in cells)
        assert [row[0] for row in cells[:400]] == [str(i) for i in range(400)], "rows were lost"
    assert cells[-1][0].isdigit()
    json.loads((folder / "metrics.json").read_text())
    assert yaml.safe_load((folder / "params.yaml").read_text())["p"][0] in "xyz"
    assert not list(folder.rglob("*.dvclive-tmp")), "something half-written was left"
    warnings = [line for line in done.stderr.splitlines() if "WARNING" in line]
    files = [line.split("'")[1] for line in warnings if "Cannot write" in line]
    assert len(files) == len(set(files)), "a file was complained of twice"
    assert "params.yaml" in done.stderr
    assert "writes failed during this run" in warnings[-1]


def test_what_cannot_be_written_is_one_warning_a_file_and_a_count_at_the_end(tmp_path):
    source = FULL.replace(
        "#limit", "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))"
    ).replace("#free", "resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))")
    done = python(source)
    check_after_full_disk(done, tmp_path / "dvclive")
    assert rows("a")[-1] == ["1000", "after"], "once there is room again, it goes on"
    assert yaml.safe_load(Path("dvclive/params.yaml").read_text()) == {"p": "z"}


@pytest.mark.skipif(sys.platform != "linux", reason="makes a small disk by a mount namespace")
def test_a_full_disk_truncates_nothing(tmp_path):
    (tmp_path / "small").mkdir()
    script = tmp_path / "train.py"
    script.write_text(FULL)
    inside = (
        f"mount -t tmpfs -o size=256k none {tmp_path}/small && cd {tmp_path}/small && "
        f"{sys.executable} {script}; code=$?; cp -r dvclive {tmp_path}/seen; exit $code"
    )
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", inside], capture_output=True, text=True, check=False
    )
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no mount namespace here: {done.stderr.strip()}")
    check_after_full_disk(done, tmp_path / "seen")


def test_a_folder_that_cannot_be_written_does_not_stop_the_training(caplog):
    live = make()
    live.log_metric("m", 1)
    live.end()
    Path("dvclive/plots/metrics/x").write_text("in the way of a folder")
    live.log_metric("x/m", 1)
    live.log_metric("x/m", 2)
    live.end()
    said = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len([text for text in said if "Cannot write" in text]) == 1
    assert any("2 writes failed" in text for text in said)
    assert live.summary["x"] == {"m": 2}


def test_a_run_outside_any_repository_logs_all_the_same(repos):
    made = repos.make("no_git")
    with Live() as live:
        live.log_metric("m", 1)
    assert summary_file(made.cwd / "dvclive") == {"m": 1}


def test_the_null_backend_is_a_backend_too():
    with Live(backend=NullBackend(), report=None) as live:
        live.log_metric("m", 1)
    assert summary_file() == {"m": 1}

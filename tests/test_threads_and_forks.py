"""Threads log at once; a process that was forked keeps its hands off its parent's files."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from recording import RecordingBackend
from situations import python

from dvclive_dvc import Live
from dvclive_dvc.errors import RunInProgressError


@pytest.fixture
def backend():
    return RecordingBackend()


@pytest.fixture
def live(backend):
    made = Live(report=None, backend=backend)
    yield made
    made.end()


def rows(name: str) -> list[list[str]]:
    text = Path("dvclive", "plots", "metrics", f"{name}.tsv").read_text()
    return [line.split("\t") for line in text.splitlines()]


def tree() -> dict[str, bytes]:
    return {
        path.relative_to("dvclive").as_posix(): path.read_bytes()
        for path in sorted(Path("dvclive").rglob("*"))
        if path.is_file()
    }


def at_once(*jobs) -> None:
    """Runs the jobs in threads that start together; a job's exception is raised here."""
    gate = threading.Barrier(len(jobs))
    failed: list[BaseException] = []

    def run(job):
        gate.wait()
        try:
            job()
        except BaseException as error:  # noqa: BLE001 - raised below
            failed.append(error)

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    if failed:
        raise failed[0]


def test_rows_of_many_threads_are_all_there_and_whole(live):
    def job(i):
        def log():
            for n in range(200):
                live.log_metric("shared", i * 1000 + n)
                live.log_metric(f"own/m{i}", n)

        return log

    at_once(*map(job, range(6)))
    found = rows("shared")
    assert found[0] == ["step", "shared"]
    assert sorted(int(row[1]) for row in found[1:]) == sorted(
        i * 1000 + n for i in range(6) for n in range(200)
    )
    for i in range(6):
        assert [int(row[1]) for row in rows(f"own/m{i}")[1:]] == list(range(200))


def test_each_step_is_completed_once_whoever_completes_it(live, backend):
    def steps():
        for _ in range(50):
            live.next_step()

    at_once(steps, steps, steps, lambda: [live.log_metric("m", i) for i in range(200)])
    assert backend.steps == list(range(150))
    assert live.step == 150


def test_parameters_plots_and_images_of_many_threads_are_all_kept(live):
    import numpy as np

    def job(i):
        def log():
            for n in range(10):
                live.log_param(f"p{i}_{n}", n)
                live.log_image(f"i{i}_{n}.png", np.zeros((2, 2)))
                live.log_plot(f"c{i}_{n}", [{"x": 1, "y": n}], "x", "y")

        return log

    at_once(*map(job, range(5)))
    live.end()
    import yaml

    params = yaml.safe_load(Path("dvclive/params.yaml").read_text())
    assert len(params) == 50
    assert len(list(Path("dvclive/plots/images").iterdir())) == 50
    plots = yaml.safe_load(Path("dvclive/dvc.yaml").read_text())["plots"]
    assert len(plots) == 51, "fifty plots and the folder of images"


def test_a_run_ends_once_though_many_threads_end_it(live, backend):
    live.log_metric("m", 1)
    at_once(*[live.end] * 6)
    assert len(backend.experiments) == 1


def test_two_threads_may_not_run_in_one_folder(live):
    refused = []

    def second():
        try:
            Live(report=None, backend=RecordingBackend())
        except RunInProgressError as error:
            refused.append(str(error))

    thread = threading.Thread(target=second)
    thread.start()
    thread.join()
    assert refused
    assert "dvclive-2" in refused[0]


def test_two_threads_run_in_folders_of_their_own():
    def run(folder):
        def log():
            with Live(folder, report=None, backend=RecordingBackend()) as live:
                for i in range(50):
                    live.log_metric("m", i)
                    live.next_step()

        return log

    at_once(*[run(f"run{i}") for i in range(4)])
    for i in range(4):
        assert json.loads(Path(f"run{i}/metrics.json").read_text()) == {"m": 49, "step": 49}


# -- forks ---------------------------------------------------------------------------------

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


def everything(live: Live) -> None:
    import numpy as np

    live.log_metric("m", 99)
    live.log_metric("new", 99)
    live.log_metric("no_plot", 99, plot=False)
    live.log_param("p", 99)
    live.log_image("child.png", np.zeros((2, 2)))
    live.log_plot("child", [{"x": 1, "y": 2}], "x", "y")
    live.log_sklearn_plot("confusion_matrix", [0], [0])
    live.log_artifact("dvclive")
    live.monitor_system(interval=0.01, num_samples=1)
    live.make_summary()
    live.make_dvcyaml()
    live.make_report()
    live.sync()
    live.next_step()
    live.end()


def in_child(job) -> None:
    """Runs the job in a fork of this process; the child must come to its end."""
    pid = os.fork()
    if pid == 0:
        try:
            job()
        except BaseException:  # noqa: BLE001 - the parent is told by the code
            import traceback

            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0, "the child failed"


@needs_fork
@pytest.mark.parametrize("report", [None, "html"])
def test_a_forked_child_writes_nothing_of_its_parents(report, backend):
    live = Live(report=report, backend=backend)
    live.log_metric("m", 1)
    live.log_param("p", 1)
    live.next_step()
    before = tree()
    in_child(lambda: everything(live))
    assert tree() == before
    live.log_metric("m", 2)
    live.end()
    assert rows("m") == [["step", "m"], ["0", "1"], ["1", "2"]]
    assert len(backend.experiments) == 1
    assert live.summary == {"m": 2, "step": 0}


@needs_fork
def test_a_child_forked_while_another_thread_logs_does_not_hang(live):
    stop = threading.Event()

    def log():
        while not stop.is_set():
            live.log_metric("busy", 1)

    thread = threading.Thread(target=log)
    thread.start()
    try:
        for _ in range(20):
            pid = os.fork()
            if pid == 0:
                signal.alarm(20)
                live.log_metric("child", 1)
                live.end()
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
    finally:
        stop.set()
        thread.join()
    assert not Path("dvclive/plots/metrics/child.tsv").exists()


@needs_fork
def test_a_forked_child_may_have_a_run_of_its_own(live):
    def child():
        with Live("childs", report=None, backend=RecordingBackend()) as own:
            own.log_metric("m", 7)
            own.next_step()

    live.log_metric("m", 1)
    in_child(child)
    assert json.loads(Path("childs/metrics.json").read_text()) == {"m": 7, "step": 0}
    live.log_metric("m", 2)
    assert rows("m")[1:] == [["0", "1"], ["0", "2"]]


@needs_fork
@pytest.mark.parametrize("ends", [False, True])
def test_a_forked_child_may_not_run_in_its_parents_folder(live, ends):
    live.log_metric("m", 1)
    live.next_step()
    before = tree()

    def child():
        if ends:
            live.end()
        with pytest.raises(RunInProgressError, match="forked from"):
            Live(report=None, backend=RecordingBackend())

    in_child(child)
    assert tree() == before, "the child cleared its parent's files"


def _log_in_worker(live) -> None:
    live.log_metric("m", 99)
    live.end()


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
def test_a_worker_of_multiprocessing_leaves_the_run_alone(live, backend):
    live.log_metric("m", 1)
    process = multiprocessing.get_context("fork").Process(target=_log_in_worker, args=(live,))
    process.start()
    process.join(30)
    assert process.exitcode == 0
    assert rows("m")[1:] == [["0", "1"]]
    assert not backend.experiments


def test_a_forked_childs_own_exit_neither_ends_nor_saves_the_run():
    source = """
import os, sys
from dvclive_dvc import Live
from dvclive_dvc.null import NullBackend
live = Live(report=None, backend=NullBackend())
live.log_metric("m", 1)
pid = os.fork()
if pid == 0:
    live.log_metric("m", 2)
    live.log_metric("m", 3)
    sys.exit(0)          # atexit hooks run in the child as well
os.waitpid(pid, 0)
print(os.path.exists("dvclive/metrics.json"))
live.log_metric("m", 4)
"""
    done = python(source)
    assert done.stdout == "False\n", "the child ended its parent's run"
    assert rows("m")[1:] == [["0", "1"], ["0", "4"]]
    assert json.loads(Path("dvclive/metrics.json").read_text()) == {"m": 4}
    assert done.stderr.count("was forked from the one this run belongs to") == 1


FORKING = """
import os, signal, sys, threading
from dvclive_dvc import Live

children, stop = [], threading.Event()

def workers():
    # As a thread that starts the workers of a DataLoader; they live as long as the training.
    while not stop.is_set() and len(children) < 200:
        child = os.fork()
        if not child:
            signal.pause()
            os._exit(0)
        children.append(child)
        stop.wait(0.001)

{body}
for child in children:
    os.kill(child, signal.SIGKILL)
print("done")
"""
RUNS = """
for run in range(12):
    live = Live(report=None)
    live.log_metric("loss", run)
    live.next_step()
    stop.clear()
    thread = threading.Thread(target=workers)
    thread.start()
    live.end()
    stop.set()
    thread.join()
"""
FOLDER = """
os.mkdir("data")
for number in range(4500):
    with open(f"data/{number}", "w") as file:
        file.write(str(number))
live = Live(report=None, save_dvc_exp=False)
thread = threading.Thread(target=workers)
thread.start()
live.log_artifact("data")
stop.set()
thread.join()
live.end()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("body", [RUNS, FOLDER], ids=["saving", "caching a folder"])
def test_nothing_waits_for_workers_that_another_thread_forks(repos, body):
    repo = repos.make("git_and_dvc")
    repo.write("train.py", FORKING.format(body=body))
    repo.commit()
    done = subprocess.run(
        [sys.executable, "train.py"],
        cwd=repo.root,
        stdout=subprocess.PIPE,
        text=True,
        timeout=50,  # a worker that holds a pipe lives for ever
        check=True,
    )
    assert done.stdout == "done\n"
    if body is RUNS:
        assert len(repo.experiments()) == 12, "runs were lost"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_worker_forked_while_a_file_is_locked_does_not_keep_the_lock(tmp_path):
    from dvclive_dvc import files

    with files.locked(tmp_path / "dvc.yaml"):
        child = os.fork()
        if not child:
            signal.pause()
            os._exit(0)
    done = threading.Event()

    def next_run():
        with files.locked(tmp_path / "dvc.yaml"):
            done.set()

    try:
        threading.Thread(target=next_run, daemon=True).start()
        assert done.wait(10), "another run waits for a worker of this one"
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)

"""The signal files that editors follow a run by."""

from __future__ import annotations

import itertools
import json
import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from dvclive_dvc.repo import watchers
from dvclive_dvc.repo.watchers import Watchers

ONLY = Path(".dvc/tmp/exps/run/DVCLIVE_ONLY")
STEP = Path(".dvc/tmp/exps/run/DVCLIVE_STEP_COMPLETED")


@pytest.fixture
def project(tmp_path):
    (tmp_path / ".dvc").mkdir()
    return tmp_path


@pytest.fixture
def dead_pid():
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


@pytest.fixture
def other_process():
    """A living process that is not this one."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield child.pid
    child.communicate(b"\n")


def put(path, **content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path.read_text()


def test_a_run_that_is_saved_is_announced_until_it_ends(project):
    run = Watchers(project)
    run.begin("tidy-name", saves=True)
    assert (project / ONLY).read_text() == f'{{"exp_name": "tidy-name", "pid": {os.getpid()}}}'
    run.close()
    assert not (project / ONLY).exists()


def test_a_run_that_dvc_saves_is_not_announced(project):
    run = Watchers(project)
    run.begin("tidy-name", saves=False)
    run.step(0)
    assert not (project / ONLY).exists()
    run.close()


def test_each_step_is_told_when_it_is_complete(project):
    run = Watchers(project)
    run.begin("n", saves=True)
    assert not (project / STEP).exists(), "no step is complete yet"
    for step in (*range(13), 99, 100, 98, 7, -1):
        run.step(step)
        # Keys sorted, nothing around: what tools that compare text expect.
        assert (project / STEP).read_text() == f'{{"pid": {os.getpid()}, "step": {step}}}'
    run.close()
    assert not (project / STEP).exists()
    assert list((project / STEP).parent.iterdir()) == [], "nothing half-written is left"


def test_a_reader_never_sees_half_a_signal(project):
    run = Watchers(project)
    run.step(0)
    seen, over = [], threading.Event()

    def read():
        while not over.is_set():
            seen.append(json.loads((project / STEP).read_bytes())["step"])

    reader = threading.Thread(target=read)
    reader.start()
    # A busy machine lets the reader run seldom: go on until it has read enough, or has died.
    for number in itertools.count():
        run.step(number % 20_000)
        if number >= 20_000 and (len(seen) > 100 or not reader.is_alive()):
            break
    over.set()
    reader.join()
    run.close()
    assert len(seen) > 100, "the reader read too seldom to prove anything"
    assert all(0 <= step < 20_000 for step in seen)


def test_what_a_dead_process_left_is_removed(project, dead_pid):
    put(project / ONLY, exp_name="old", pid=dead_pid)
    put(project / STEP, pid=dead_pid, step=7)
    Watchers(project).begin(None, saves=False)
    assert not (project / ONLY).exists()
    assert not (project / STEP).exists()


@pytest.mark.parametrize("left", [b"", b'{"pid": ', b"[]", b'{"pid": "x"}', b"\xff", b"{}"])
def test_what_is_no_signal_is_removed(project, left):
    put(project / STEP)
    (project / STEP).write_bytes(left)
    Watchers(project).begin(None, saves=False)
    assert not (project / STEP).exists()


def test_a_living_runs_signals_outlast_a_run_that_comes_and_goes(project, other_process):
    only = put(project / ONLY, exp_name="theirs", pid=other_process)
    step = put(project / STEP, pid=other_process, step=7)
    run = Watchers(project)
    run.begin(None, saves=False)
    run.close()
    assert (project / ONLY).read_text() == only
    assert (project / STEP).read_text() == step


def test_two_runs_do_not_remove_each_others_signals(project):
    first, second = Watchers(project), Watchers(project)
    first.begin("first", saves=True)
    first.step(0)
    second.begin("second", saves=True)
    second.step(5)
    first.close()
    assert json.loads((project / ONLY).read_bytes())["exp_name"] == "second"
    assert json.loads((project / STEP).read_bytes())["step"] == 5
    second.close()
    assert not (project / ONLY).exists()
    assert not (project / STEP).exists()


def test_a_run_that_goes_on_is_announced_again_when_another_has_ended(project):
    first, second = Watchers(project), Watchers(project)
    first.begin("first", saves=True)
    second.begin("second", saves=True)
    second.step(3)
    second.close()
    first.step(1)
    assert json.loads((project / ONLY).read_bytes())["exp_name"] == "first"
    assert json.loads((project / STEP).read_bytes())["step"] == 1
    first.close()
    assert not (project / ONLY).exists()


def test_steps_of_two_runs_are_both_told(project):
    first, second = Watchers(project), Watchers(project)
    for step in range(25):
        for run, told in ((first, step), (second, step + 100)):
            run.step(told)
            assert json.loads((project / STEP).read_bytes())["step"] == told
    first.close()
    second.close()


def test_where_nobody_watches_nothing_is_written(tmp_path):
    run = Watchers(None)
    run.begin("n", saves=True)
    run.step(0)
    run.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_project_that_cannot_be_written_ends_no_training(project):
    (project / ".dvc").chmod(stat.S_IRUSR | stat.S_IXUSR)
    run = Watchers(project)
    run.begin("n", saves=True)
    run.step(0)
    run.close()
    (project / ".dvc").chmod(stat.S_IRWXU)
    assert list((project / ".dvc").iterdir()) == []


def test_a_file_in_the_place_of_the_folder_ends_no_training(project):
    (project / ".dvc" / "tmp").write_text("in the way")
    run = Watchers(project)
    run.begin("n", saves=True)
    run.step(0)
    run.close()
    assert (project / ".dvc" / "tmp").read_text() == "in the way"


def test_a_removed_folder_is_made_again(project):
    run = Watchers(project)
    run.step(8)
    (project / STEP).unlink()
    (project / STEP).parent.rmdir()
    run.step(9)
    assert json.loads((project / STEP).read_bytes())["step"] == 9
    run.close()


def test_closing_twice_is_no_error(project):
    run = Watchers(project)
    run.begin("n", saves=True)
    run.step(0)
    run.close()
    run.close()
    assert not (project / STEP).exists()


def test_without_pwrite_every_signal_is_a_replacement(project, monkeypatch):
    monkeypatch.delattr(os, "pwrite")  # as on Windows
    run = Watchers(project)
    for step in range(12):
        run.step(step)
        assert json.loads((project / STEP).read_bytes())["step"] == step
    run.close()
    assert not (project / STEP).exists()


@pytest.mark.skipif(not hasattr(os, "pwrite"), reason="nothing cheaper than replacing here")
def test_a_step_costs_a_fraction_of_replacing_a_file(project):
    run = Watchers(project)
    run.begin("n", saves=True)
    run.step(1000)

    def best(work):
        times = []
        for step in range(1000, 3000):
            begun = time.perf_counter()
            work(step)
            times.append(time.perf_counter() - begun)
        return sorted(times)[len(times) // 4]

    replacing = best(lambda step: watchers.files.replace(project / "x", b"%d" % step))
    signalling = best(run.step)
    run.close()
    assert signalling < replacing / 2, f"{signalling * 1e6:.1f} us against {replacing * 1e6:.1f}"

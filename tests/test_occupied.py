"""One folder, two processes: the second is refused, whether or not the runs are saved."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from situations import python

from dvclive_dvc import Live
from dvclive_dvc.errors import DvcyamlSyntaxError, RunInProgressError
from dvclive_dvc.null import NullBackend
from dvclive_dvc.repo import recovery

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="no abstract sockets here")

SECOND = """
import sys
from dvclive_dvc import Live
with Live("run", report=None, save_dvc_exp=False, resume="resume" in sys.argv) as live:
    live.log_metric("b", 1)
"""


def live(folder="run", **more) -> Live:
    return Live(folder, **{"report": None, "backend": NullBackend(), **more})


@pytest.mark.parametrize("how", ["anew", "resume"])
def test_a_second_process_is_refused_and_touches_nothing(how):
    first = live()
    first.log_metric("a", 1)
    done = python(SECOND, how, check=False)
    assert "RunInProgressError: Another process is logging to 'run'" in done.stderr
    assert "Live(dir='run-2')" in done.stderr
    first.log_metric("a", 2)
    first.end()
    assert Path("run/plots/metrics/a.tsv").read_text() == "step\ta\n0\t1\n0\t2\n"
    assert not Path("run/plots/metrics/b.tsv").exists()


def test_a_second_process_is_refused_in_a_repository_too(repos):
    made = repos.make("git_and_dvc")
    os.chdir(made.root)
    first = Live("run", report=None, save_dvc_exp=False)
    done = python(SECOND, check=False)
    first.end()
    assert "RunInProgressError" in done.stderr


def test_a_run_that_was_refused_is_no_experiment_of_what_the_other_logged(repos):
    made = repos.make("git_and_dvc")
    os.chdir(made.root)
    first = Live("run", report=None, save_dvc_exp=False)
    first.log_metric("a", 1)
    done = python(SECOND.replace("save_dvc_exp=False, ", ""), check=False)
    assert "RunInProgressError" in done.stderr
    assert recovery.look(made.root) == recovery.Found(), "a journal of a run that never began"
    first.end()


def test_recovery_leaves_alone_what_a_process_writes_that_has_no_journal(repos):
    made = repos.make("git_and_dvc")
    os.chdir(made.root)
    source = """
import os, signal
from dvclive_dvc import Live
live = Live("run", report=None, exp_name="dead")
os.kill(os.getpid(), signal.SIGKILL)
"""
    python(source, check=False)
    present = live()  # without a look for dead runs, as where DVCLIVE_TEST is set
    present.log_metric("a", 1)
    before = made.state()
    done = python(
        "from dvclive_dvc.cli import main; raise SystemExit(main(['recover']))", check=False
    )
    assert "dead: not saved: another process is logging to its folder" in done.stdout, done.stderr
    assert done.returncode == 1
    assert made.state() == before, "the running run's files were rewritten"
    present.end()
    python("from dvclive_dvc.cli import main; raise SystemExit(main(['recover']))")
    assert "dead" in made.experiments(), "it is not saved once the folder is free"


def test_a_run_that_ends_again_does_not_free_the_folder_of_the_one_after_it():
    former = live()
    former.end()
    present = live()
    former.end()
    done = python(SECOND, check=False)
    present.end()
    assert "RunInProgressError" in done.stderr, "the folder was given away under the present run"


def test_the_folder_is_free_once_the_run_has_ended():
    with live() as run:
        run.log_metric("a", 1)
    python(SECOND)
    assert Path("run/plots/metrics/b.tsv").exists()


def test_a_run_that_could_not_start_holds_nobody_off():
    Path("other").mkdir()

    class Broken(NullBackend):
        def begin(self, layout, request):
            super().begin(layout, request)
            layout.dvcyaml.write_text("a: [")

    with pytest.raises(DvcyamlSyntaxError) as caught:
        live(resume=True, backend=Broken(), dvcyaml="other/dvc.yaml")
    python(SECOND)
    assert caught.value, "its traceback is still at hand, as in a notebook"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_killed_run_holds_nobody_off_though_its_workers_live_on():
    source = """
import os, signal, time
from dvclive_dvc import Live
live = Live("run", report=None, save_dvc_exp=False)
if os.fork() == 0:
    os.close(1)
    os.close(2)
    time.sleep(60)
    os._exit(0)
print(os.getpid(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", source], stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        process.communicate(timeout=60)
        python(SECOND)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
    assert Path("run/plots/metrics/b.tsv").exists()


def test_a_later_run_of_the_same_process_takes_the_folder_over():
    first = live()
    first.log_metric("a", 1)
    second = live(resume=True)
    done = python(SECOND, check=False)
    second.end()
    first.end()
    assert "RunInProgressError" in done.stderr, "the first run's end let go of the second's folder"


def test_a_forked_child_is_refused_when_it_has_lost_sight_of_its_parents_run():
    first = live()
    pid = os.fork()
    if pid == 0:
        Live._by_root.clear()
        try:
            live()
        except RunInProgressError:
            os._exit(0)
        os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0, "the child took its parent's folder"
    first.end()

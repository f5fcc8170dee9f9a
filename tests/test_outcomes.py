"""However a run ends, it is saved and says how; the process ends as it would have without it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest
from situations import Situation, dvc_inside, python

RUN = """
import os, signal, sys, threading, time
from dvclive_dvc import Live
live = Live(exp_name="run")
live.log_metric("loss", 0.5)
live.next_step()
"""
WITHIN = """
import os, signal, sys, threading, time
from dvclive_dvc import Live
with Live(exp_name="run") as live:
    live.log_metric("loss", 0.5)
    live.next_step()
    """
COMPLETED = {"Status": "completed"}
FAILED = {"Status": "failed", "Exception": "builtins.ValueError"}
SECRET = "raise ValueError('token=hunter2')"


def killed_by(name: str) -> str:
    return f"os.kill(os.getpid(), signal.{name})"


def trailers(repo: Situation) -> dict[str, str]:
    """What the one experiment says of its end."""
    (commit,) = repo.experiments().values()
    text = repo.git("show", "-s", "--format=%B", commit)
    lines = [line.split(": ", 1) for line in text.splitlines() if line.startswith("Dvclive-")]
    said = {key.removeprefix("Dvclive-"): value for key, value in lines}
    return {key: said[key] for key in said if key not in {"Run", "Script", "Raised-At"}}


@pytest.mark.parametrize(
    ("source", "exit_code", "said"),
    [
        (WITHIN + "pass", 0, COMPLETED),
        (RUN + "live.end()", 0, COMPLETED),
        (RUN, 0, COMPLETED),
        (RUN + "sys.exit(0)", 0, COMPLETED),
        (WITHIN + SECRET, 1, FAILED),
        (RUN + SECRET, 1, FAILED),
        (WITHIN + "sys.exit(3)", 3, {"Status": "failed", "Exit-Code": "3"}),
        (RUN + "sys.exit(3)", 3, {"Status": "failed", "Exit-Code": "3"}),
        (RUN + "sys.exit(2**70)", 255, {"Status": "failed", "Exit-Code": "255"}),
        (RUN + "sys.excepthook = lambda *_: None\n" + SECRET, 1, FAILED),
        (WITHIN + killed_by("SIGINT"), -2, {"Status": "interrupted", "Signal": "SIGINT"}),
        (RUN + killed_by("SIGINT"), -2, {"Status": "interrupted", "Signal": "SIGINT"}),
        (WITHIN + killed_by("SIGTERM"), -15, {"Status": "interrupted", "Signal": "SIGTERM"}),
        (RUN + killed_by("SIGHUP"), -1, {"Status": "interrupted", "Signal": "SIGHUP"}),
    ],
)
def test_a_run_is_saved_with_how_it_ended_and_the_process_ends_as_ever(
    repos, source, exit_code, said
):
    repo = repos.make("git_and_dvc")
    before = repo.state("dvclive")
    done = python(source, check=False)
    assert done.returncode == exit_code, done.stderr
    assert trailers(repo) == said
    assert repo.state("dvclive") == before
    (commit,) = repo.experiments().values()
    assert "hunter2" not in repo.git("show", "--format=%B", commit), "no exception's words leave"
    report = repo.git("show", f"{commit}:dvclive/report.html")
    assert said["Status"] in report
    told = (
        f"The {said['Status']} run is saved as the experiment 'run'; Live(resume=True) goes on "
        "from step 1."
    )
    assert (told in done.stderr) == (said["Status"] != "completed"), (
        f"the person is not told what became of the run:\n{done.stderr}"
    )


def test_a_failed_run_of_a_folder_of_its_own_says_how_that_one_goes_on(repos):
    repos.make("git_and_dvc")
    source = "from dvclive_dvc import Live\nwith Live('runs/a', exp_name='mine'): 1 / 0"
    done = python(source, check=False)
    assert "Live(dir='runs/a', resume=True) goes on from step 0." in done.stderr, (
        f"the folder or the step of the run is not told:\n{done.stderr}"
    )


CHECKPOINTS = """
import os, signal
from dvclive_dvc import Live
with Live(exp_name="run", report=None) as live:
    for epoch in range(3):
        with open("model.pt", "w") as file:
            file.write(f"begin {epoch} ")
            file.flush()
            if epoch == 2:
                END
            file.write("end")
        live.log_artifact("model.pt")
        live.next_step()
"""


@pytest.mark.parametrize("end", ["1 / 0", killed_by("SIGINT"), killed_by("SIGKILL"), "pass"])
def test_the_experiment_of_a_run_cut_short_has_the_checkpoint_that_was_logged(repos, end):
    repo = repos.make("git_and_dvc")
    python(CHECKPOINTS.replace("END", end), check=False)
    python("import sys; from dvclive_dvc.cli import main; sys.exit(main(['recover']))")
    repo.git("checkout", "-q", "--", ".")
    dvc_inside("exp", "apply", "run")
    kept = "begin 2 end" if end == "pass" else "begin 1 end"
    assert (repo.root / "model.pt").read_text() == kept, "half a checkpoint took its place"


def test_what_was_changed_before_a_failed_part_began_is_what_it_ran_with(repos):
    repo = repos.make("git_and_dvc")
    for part in ("first", "second"):
        repo.write("data.csv", f"of the {part} part\n")
        time.sleep(1.1)  # a run knows the second it began in
        python(
            "from dvclive_dvc import Live\n"
            f"with Live(exp_name={part!r}, report=None, resume={part == 'second'}) as live:\n"
            + ("    live.log_artifact('data.csv')\n" if part == "first" else "")
            + "    live.next_step()\n    1 / 0\n",
            check=False,
        )
    dvc_inside("exp", "apply", "second")
    assert (repo.root / "data.csv").read_text() == "of the second part\n"


def test_an_artifact_whose_pointer_git_took_back_is_what_ran(repos):
    repo = repos.make("git_and_dvc")
    source = """
import subprocess, sys
from dvclive_dvc import Live
with Live(exp_name=sys.argv[1], report=None) as live:
    open("model.pt", "w").write(sys.argv[1])
    live.log_artifact("model.pt")
    live.next_step()
    if sys.argv[1] == "two":
        subprocess.run(["git", "checkout", "-q", "--", "model.pt.dvc"], check=True)
        1 / 0
"""
    python(source, "one")
    repo.git("add", ".")
    repo.git("commit", "-q", "-m", "one")
    python(source, "two", check=False)
    dvc_inside("exp", "apply", "two")
    assert (repo.root / "model.pt").read_text() == "two", "another run's model is in the experiment"


def test_a_failed_run_that_could_not_be_saved_is_not_called_saved(repos):
    repo = repos.make("git_and_dvc")
    source = "from dvclive_dvc import Live\nwith Live(save_dvc_exp=False): 1 / 0"
    assert "is saved" not in python(source, check=False).stderr, "nobody saved it"
    (repo.root / ".git" / "refs" / "exps").write_text("in the way of the experiment's ref")
    source = "from dvclive_dvc import Live\nwith Live(): 1 / 0"
    done = python(source, check=False)
    assert "could not be saved" in done.stderr, "the test no longer keeps it from being saved"
    assert "is saved" not in done.stderr, "what was not saved is called saved"


def test_an_exception_ends_the_runs_of_its_thread_as_failed_and_no_other(repos):
    repo = repos.make("git_and_dvc")
    source = """
import threading
from dvclive_dvc import Live
told = []
threading.excepthook = lambda args: told.append(args.exc_type)
hook = threading.excepthook
main = Live("dvclive-2", exp_name="main")
def train():
    live = Live(exp_name="run")
    live.log_metric("loss", 0.5)
    raise ValueError("token=hunter2")
thread = threading.Thread(target=train)
thread.start()
thread.join()
main.end()
print(told, threading.excepthook is hook)
"""
    done = python(source)
    assert done.stdout == "[<class 'ValueError'>] True\n", "the user's hook, once, and back"
    messages = {
        name: repo.git("show", "-s", "--format=%B", commit)
        for name, commit in repo.experiments().items()
    }
    assert "Dvclive-Exception: builtins.ValueError" in messages["run"]
    assert "Dvclive-Status: completed" in messages["main"]


def test_a_swallowed_ctrl_c_leaves_a_run_that_ends_well(repos):
    repo = repos.make("git_and_dvc")
    swallow = "\ntry:\n    os.kill(os.getpid(), 2); time.sleep(1)\nexcept KeyboardInterrupt:\n"
    done = python(RUN + swallow + "    live.log_metric('loss', 0.25)", check=False)
    assert done.returncode == 0, done.stderr
    assert trailers(repo) == COMPLETED


def test_a_signal_in_the_middle_of_saving_lets_the_saving_finish(repos):
    repo = repos.make("git_and_dvc")
    source = (
        RUN
        + """
from dvclive_dvc.repo import experiments
save = experiments.save
def interrupted(*args, **more):
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.05)
    return save(*args, **more)
experiments.save = interrupted
live.end()
print("never")
"""
    )
    done = python(source, check=False)
    assert done.returncode == -signal.SIGTERM
    assert "never" not in done.stdout
    assert trailers(repo) == COMPLETED


def test_a_second_ctrl_c_during_saving_stops_at_once_and_the_run_comes_back(repos):
    repo = repos.make("git_and_dvc")
    before = repo.state("dvclive")
    source = (
        RUN
        + """
from dvclive_dvc.repo import experiments
def slow(*args, **more):
    print("saving", flush=True)
    time.sleep(30)
experiments.save = slow
print("training", flush=True)
time.sleep(30)
"""
    )
    process = subprocess.Popen(
        [sys.executable, "-c", source],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    for line in ("training\n", "saving\n"):
        assert process.stdout.readline() == line
        process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=20)
    assert process.returncode == -signal.SIGINT, complaint
    assert repo.experiments() == {}
    assert repo.state("dvclive") == before
    assert python("import sys; from dvclive_dvc.cli import main; sys.exit(main(['recover']))")
    assert trailers(repo) == {"Status": "interrupted", "Signal": "SIGINT"}


@pytest.mark.parametrize("during", ["_end_monitor", "sync", "make_report", "_metrics.close"])
@pytest.mark.parametrize("again", [True, False])
def test_a_second_ctrl_c_before_saving_leaves_the_run_to_be_saved_later(repos, during, again):
    repo = repos.make("git_and_dvc")
    source = f"""
import signal
from operator import attrgetter
from dvclive_dvc import Live
def cell(name, steps, ctrl_c=False):
    with Live(exp_name=name) as live:
        for step in range(steps):
            live.log_metric("loss", step)
            live.next_step()
        if ctrl_c:
            *path, method = "{during}".split(".")
            owner = attrgetter(*path)(live) if path else live
            work = getattr(owner, method)
            def interrupted(*args):
                setattr(owner, method, work)
                signal.raise_signal(signal.SIGINT)
                return work(*args)
            setattr(owner, method, interrupted)
            raise KeyboardInterrupt
try:
    cell("first", 5, ctrl_c=True)
except KeyboardInterrupt:
    print("interrupted")
if {again}:
    cell("second", 2)
"""
    done = python(source)
    assert done.stdout == "interrupted\n", done.stderr
    assert set(repo.experiments()) == ({"first", "second"} if again else set())
    python("import sys; from dvclive_dvc.cli import main; sys.exit(main(['recover']))")
    commit = repo.experiments()["first"]
    rows = repo.git("show", f"{commit}:dvclive/plots/metrics/loss.tsv").splitlines()
    assert len(rows) == 6, "the next run in the folder took its rows"
    message = repo.git("show", "-s", "--format=%B", commit)
    assert "Dvclive-Status: interrupted\n" in message
    assert "Dvclive-Signal: SIGINT" in message, "it is no longer known how it ended"


@pytest.mark.parametrize("fork", ["os.fork()", "multiprocessing.get_context('fork').Process"])
def test_a_forked_child_neither_ends_nor_saves_its_parents_run(repos, fork):
    repo = repos.make("git_and_dvc")
    if fork == "os.fork()":
        child = "\nif os.fork() == 0:\n    live.log_metric('loss', 9); live.end(); sys.exit(4)\n"
        child += "os.wait()\n"
    else:
        child = """
import multiprocessing
process = multiprocessing.get_context("fork").Process(target=sys.exit, args=(4,))
process.start(); process.join()
"""
    done = python(RUN + child + "print(os.path.isdir('.git/refs/exps'))", check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "False\n", "the child saved the run"
    assert trailers(repo) == COMPLETED
    (commit,) = repo.experiments().values()
    assert repo.git("show", f"{commit}:dvclive/plots/metrics/loss.tsv") == "step\tloss\n0\t0.5"

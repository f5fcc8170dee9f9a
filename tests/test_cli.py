from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from situations import PROJECT, Situation, python, run

from dvclive_dvc import Live, cli
from dvclive_dvc.repo import journal

RUN = """
import os, signal, sys
from dvclive_dvc import Live
live = Live("{folder}", exp_name="{name}")
for step in range(4):
    live.log_metric("loss", 1 / (step + 1))
    live.next_step()
"""
KILL = RUN + "os.kill(os.getpid(), signal.SIGKILL)"
WAIT = RUN + "print('ready', flush=True); sys.stdin.read(); live.end()"


@pytest.fixture
def repo(repos) -> Situation:
    return repos.make("git_and_dvc")


def killed(name: str = "first", folder: str = "dvclive") -> None:
    done = python(KILL.format(name=name, folder=folder), check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


def said(capsys, *arguments: str) -> tuple[int, str, str]:
    code = cli.main(arguments)
    out, err = capsys.readouterr()
    return code, out, err


def told(capsys, *arguments: str) -> dict:
    code, out, err = said(capsys, *arguments, "--json")
    assert code == 0, out + err
    return json.loads(out)


# -- recover ---------------------------------------------------------------------------------


def test_recover_saves_what_was_killed_and_says_so(repo, capsys):
    killed()
    code, out, _ = said(capsys, "recover")
    commit = repo.experiments()["first"]
    assert code == 0
    assert out == f"first: saved as experiment {commit[:7]} (interrupted)\n"
    assert said(capsys, "recover") == (0, "There is no run to recover.\n", "")


def test_recover_tells_programs_the_same_in_json(repo, capsys):
    killed()
    document = told(capsys, "recover")
    assert document == {
        "recovered": [
            {
                "name": "first",
                "dir": str(repo.root / "dvclive"),
                "status": "interrupted",
                "commit": repo.experiments()["first"],
                "error": None,
                "edited": [],
            }
        ],
        "elsewhere": [],
        "unreadable": [],
    }


def test_recover_names_what_was_edited_after_the_run_died(repo, capsys, caplog):
    killed()
    time.sleep(0.05)  # longer than a tick of the file system's clock
    repo.write("README.md", "edited\n")
    code, out, err = said(capsys, "recover", "--json")
    assert code == 0, out + err
    (one,) = json.loads(out)["recovered"]
    assert one["edited"] == ["README.md"], "programs are not told"
    assert "'README.md' changed after the last sign of life" in caplog.text, "people are not told"


def test_recover_list_saves_nothing(repo, capsys):
    killed()
    code, out, _ = said(capsys, "recover", "--list")
    assert code == 0
    header, line, *_ = out.splitlines()
    assert header.split() == ["NAME", "STEP", "SINCE", "PROCESS", "DIR"]
    assert line.split()[:2] == ["first", "3"]
    assert line.endswith("dvclive")
    assert "dvclive-dvc recover" in out
    (listed,) = told(capsys, "recover", "--list")["dead"]
    assert (listed["name"], listed["step"]) == ("first", 3)
    assert repo.experiments() == {}


def test_recover_takes_the_named_runs_only(repo, capsys):
    folder = journal.folder(repo.root)
    killed("first")
    kept = {path: path.read_bytes() for path in folder.iterdir()}
    killed("second", "dvclive-2")  # which recovers the first
    repo.git("update-ref", "-d", f"refs/exps/{_ref(repo)}/first")
    for path, data in kept.items():
        path.write_bytes(data)
    assert said(capsys, "recover", "second")[0] == 0
    assert set(repo.experiments()) == {"second"}
    code, _, err = said(capsys, "recover", "nobody")
    assert code == 1
    assert "nobody" in err


def _ref(repo: Situation) -> str:
    head = repo.git("rev-parse", "HEAD")
    return f"{head[:2]}/{head[2:]}"


def test_a_run_that_cannot_be_saved_makes_the_command_fail_with_the_cause(repo, capsys):
    killed()
    (repo.root / ".git" / "refs" / "exps").write_text("a file where the folder should be\n")
    code, out, _ = said(capsys, "recover")
    assert code == 1
    assert out.startswith("first: not saved: ")
    assert "could not be saved" not in out, "said twice"
    assert "refs/exps" in out
    (listed,) = told(capsys, "recover", "--list")["dead"]
    assert listed["name"] == "first", "the journal is still there"


def test_discard_gives_up_a_named_run_and_leaves_its_files(repo, capsys):
    killed()
    code, _, err = said(capsys, "recover", "--discard")
    assert code == 1
    assert "Name the runs" in err
    assert said(capsys, "recover", "--discard", "other")[0] == 1
    code, out, _ = said(capsys, "recover", "--discard", "first")
    assert (code, "given up" in out) == (0, True)
    assert (repo.root / "dvclive" / "metrics.json").exists()
    assert said(capsys, "recover")[1] == "There is no run to recover.\n"
    assert repo.experiments() == {}


def test_what_only_shows_gives_nothing_up(repo, capsys):
    killed()
    with pytest.raises(SystemExit) as caught:
        cli.main(["recover", "--list", "--discard", "first"])
    assert caught.value.code == 2
    assert "not allowed with" in capsys.readouterr().err
    assert len(journal.read_all(repo.root)[0]) == 1, "the run was given up"


def test_ctrl_c_ends_a_recovery_with_a_sentence_and_leaves_the_run_to_the_next(repo, capsys):
    killed()
    source = """
import os, signal, sys
from dvclive_dvc import cli
from dvclive_dvc.repo import saving
saving.save = lambda *_: os.kill(os.getpid(), signal.SIGINT)
sys.exit(cli.main(["recover"]))
"""
    done = python(source, check=False)
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr, "frames of ours"
    assert "stopped by Ctrl-C" in done.stderr
    assert said(capsys, "recover")[0] == 0
    assert "first" in repo.experiments(), "the run is lost"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_output_that_cannot_be_written_is_told_in_a_sentence(repo):
    source = "import sys; from dvclive_dvc import cli; sys.exit(cli.main(['status']))"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", source],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == "dvclive-dvc: cannot write the output: No space left on device\n"


def test_runs_of_other_hosts_and_unreadable_journals_are_named(repo, capsys):
    killed()
    (path,) = journal.folder(repo.root).iterdir()
    document = json.loads(path.read_text())
    document["run"]["process"]["host"] = "another-host"
    document["run"]["process"]["born"] = "other/pid:[1]/1"
    path.write_text(json.dumps(document))
    damaged = path.with_name("damaged.json")
    damaged.write_text("{")
    code, out, _ = said(capsys, "recover")
    assert code == 0
    assert "another-host" in out
    assert "--other-hosts" in out
    assert str(damaged) in out
    status = said(capsys, "status")[1]
    assert status.count("another-host") == 1
    assert str(damaged) in status
    assert told(capsys, "status")["unreadable"] == [str(damaged)]
    code, _, err = said(capsys, "recover", "first")
    assert code == 1
    assert "recover --other-hosts first" in err, "how to save a run of another machine"
    assert said(capsys, "recover", "--other-hosts")[0] == 0
    assert set(repo.experiments()) == {"first"}


# -- status ----------------------------------------------------------------------------------


def test_status_shows_the_runs_that_go_on(repo, capsys):
    assert said(capsys, "status")[1] == (
        "No run that is to be saved as an experiment goes on in this project.\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", WAIT.format(name="first", folder="dvclive")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        os.chdir(repo.root / "src")
        header, line = said(capsys, "status")[1].splitlines()
        assert header.split() == ["NAME", "STEP", "SINCE", "PROCESS", "DIR"]
        assert line.split()[:2] == ["first", "3"]
        assert f"{process.pid} on {journal.this_host()}" in line
        assert line.endswith("../dvclive")
        (running,) = told(capsys, "status")["running"]
        assert running["name"] == "first"
        assert running["step"] == 3
        assert running["process"] == {"pid": process.pid, "host": journal.this_host()}
        assert running["started"].endswith("+00:00")
        code, _, err = said(capsys, "recover", "first")
        assert (code, f"'first' goes on (process {process.pid})" in err) == (1, True), err
        process.communicate("")
    assert set(told(capsys, "status")) == {"running", "elsewhere", "dead", "unreadable"}
    assert not any(told(capsys, "status").values())


def test_status_says_that_there_is_something_to_recover(repo, capsys):
    killed()
    assert "dvclive-dvc recover --list" in said(capsys, "status")[1]


def test_a_run_of_this_very_process_goes_on(repo, capsys):
    with Live(exp_name="first"):
        (running,) = told(capsys, "status")["running"]
        assert running["process"]["pid"] == os.getpid()
        assert running["step"] is None


# -- the command itself ----------------------------------------------------------------------


def test_outside_a_project_the_command_says_where_to_go(tmp_path, capsys):
    for command in ("recover", "status"):
        code, out, err = said(capsys, command)
        assert (code, out) == (1, "")
        assert "no DVC project here" in err


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["recover", "--nonsense"]])
def test_what_is_not_understood_is_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main(arguments)
    assert exit_.value.code == 2


@pytest.mark.parametrize("arguments", [["--help"], ["recover", "--help"], ["demo", "--help"]])
def test_help_is_there_for_every_command(arguments, capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main(arguments)
    assert exit_.value.code == 0
    out = capsys.readouterr().out
    assert "usage: dvclive-dvc" in out
    assert max(map(len, out.splitlines())) <= 250


def test_the_help_explains_a_run_and_names_every_command(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    out = capsys.readouterr().out
    for word in ("recover", "status", "demo", "journal", "experiment", "exit codes"):
        assert word in out


def test_the_command_is_installed_under_its_name():
    text = (PROJECT / "pyproject.toml").read_text()
    assert 'dvclive-dvc = "dvclive_dvc.cli:main"' in text
    done = run(sys.executable, "-m", "dvclive_dvc", "--version")
    assert done.stdout.startswith("dvclive_dvc ")


def test_a_reader_that_has_seen_enough_is_no_error(repo):
    killed()
    done = subprocess.run(
        f"{sys.executable} -m dvclive_dvc recover --list | true",
        shell=True, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr == ""


def test_status_costs_no_import_of_dvc(repo):
    code = (
        "import sys; from dvclive_dvc import cli; cli.main(['status']); print('dvc' in sys.modules)"
    )
    assert python(code).stdout.splitlines()[-1] == "False"


def test_the_demo_makes_a_project_whose_runs_dvc_shows(tmp_path, capfd):
    folder = tmp_path / "new" / "demo"
    assert cli.main(["demo", str(folder)]) == 0
    out = capfd.readouterr().out
    assert "$ git init --quiet" in out
    assert "$ python train.py 0.5" in out
    experiments = Situation("demo", folder, folder, folder).experiments()
    assert len(experiments) == 3
    for name in experiments:
        assert name in out, "dvc exp show lists it"
    assert (folder / "dvclive" / "report.html").exists()
    assert (folder / "dvclive" / "report.html").as_uri() in out
    assert cli.main(["demo", str(folder)]) == 1, "a folder with something in it is refused"
    assert "is not empty" in capfd.readouterr().err
    assert Path.cwd() == tmp_path

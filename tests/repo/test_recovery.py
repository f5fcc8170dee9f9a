from __future__ import annotations

import dataclasses
import datetime
import json
import os
import re
import signal
import subprocess
import sys

import pytest
from situations import Situation, git, python

from dvclive_dvc import Live
from dvclive_dvc.backend import Status
from dvclive_dvc.cli import main
from dvclive_dvc.errors import RepositoryError, RunInProgressError
from dvclive_dvc.repo import journal, recovery, watchers
from dvclive_dvc.repo.record import Process

# What a run may write; all else is compared.
RUNS = ("dvclive", "dvclive-2", "dvclive-3", "model.pt", "model.pt.dvc", ".gitignore")
TRAIN = """
import os, signal, sys
from pathlib import Path
from dvclive_dvc import Live
live = Live({arguments})
live.log_param("lr", 0.1)
for epoch in range(3):
    live.log_metric("loss", 1 / (epoch + 1))
    live.log_metric("eval/f1", epoch)
    if epoch < 2:
        live.next_step()
live.make_report()  # in its first half second a run draws none of itself
Path("model.pt").write_text("weights")
live.log_artifact("model.pt", type="model")
"""
KILL = TRAIN + "\nos.kill(os.getpid(), signal.SIGKILL)"


def killed(arguments: str = "", source: str = KILL) -> None:
    done = python(source.format(arguments=arguments), check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


def running(repo: Situation, arguments: str = "") -> subprocess.Popen[str]:
    source = TRAIN.format(arguments=arguments) + "\nprint('ready', flush=True); sys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-c", source],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def killed_together(repo: Situation, *arguments: str) -> None:
    """Runs that go on at the same time (or one would recover the other), and are killed."""
    processes = [running(repo, one) for one in arguments]
    for process in processes:
        process.kill()
        process.communicate()


def rewrite(entry: journal.Entry, **facts: str) -> None:
    """Puts other facts of the run into its journal."""
    document = json.JSONDecoder().raw_decode(entry.path.read_text())[0]
    document["run"].update(facts)
    entry.path.write_text(json.dumps(document))


def message(repo: Situation, commit: str) -> str:
    return repo.git("show", "-s", "--format=%B", commit)


def held_in(repo: Situation, commit: str, path: str) -> str:
    return repo.git("show", f"{commit}:{path}")


def break_saving(repo: Situation) -> None:
    """No reference of an experiment can be made; root is stopped by it as anybody."""
    (repo.root / ".git" / "refs" / "exps").write_text("a file where the folder should be\n")


def mend_saving(repo: Situation) -> None:
    (repo.root / ".git" / "refs" / "exps").unlink()


@pytest.fixture
def repo(repos) -> Situation:
    return repos.make("git_and_dvc")


# -- a killed run ----------------------------------------------------------------------------


def test_a_killed_run_is_saved_whole_as_interrupted(repo):
    before = repo.state(*RUNS)
    killed("exp_name='first'")
    assert repo.experiments() == {}
    (one,) = recovery.recover(repo.root)
    assert repo.experiments() == {"first": one.commit}
    assert one.outcome.status is Status.INTERRUPTED
    assert "\nDvclive-Status: interrupted\n" in message(repo, one.commit)
    loss = held_in(repo, one.commit, "dvclive/plots/metrics/loss.tsv")
    assert loss.splitlines() == ["step\tloss", "0\t1.0", "1\t0.5", "2\t0.3333333333333333"]
    assert held_in(repo, one.commit, "model.pt.dvc")
    assert repo.state(*RUNS) == before
    assert list(journal.folder(repo.root).iterdir()) == []


def test_what_dvc_shows_of_a_killed_run_is_what_was_logged_last(repo):
    killed("exp_name='first'")
    (one,) = recovery.recover(repo.root)
    summary = json.loads(held_in(repo, one.commit, "dvclive/metrics.json"))
    assert summary == {"loss": 1 / 3, "eval": {"f1": 2}, "step": 1}
    shown = json.loads(repo.dvc("exp", "show", "--json"))
    assert "0.3333333333333333" in json.dumps(shown)


def test_a_run_killed_before_its_first_step_was_through_is_whole(repo):
    killed("exp_name='first'", TRAIN.replace("if epoch < 2", "if False") + KILL[len(TRAIN) :])
    (one,) = recovery.recover(repo.root)
    summary = json.loads(held_in(repo, one.commit, "dvclive/metrics.json"))
    assert summary == {"loss": 1 / 3, "eval": {"f1": 2}}
    document = held_in(repo, one.commit, "dvclive/dvc.yaml")
    for name in ("params.yaml", "metrics.json", "plots/metrics"):
        assert name in document


def test_a_run_without_dvcyaml_gets_none_by_recovery(repo):
    killed("dvcyaml=False")
    (one,) = recovery.recover(repo.root)
    assert "dvc.yaml" not in repo.git("ls-tree", "-r", "--name-only", str(one.commit))


def test_half_written_files_of_the_dead_process_are_removed(repo):
    killed()
    dead = journal.read_all(repo.root)[0][0].record.process.pid
    for folder in (repo.root / "dvclive", journal.folder(repo.root)):
        (folder / f".metrics.json.{dead}-1.dvclive-tmp").write_text("{")
    (one,) = recovery.recover(repo.root)
    assert not list(repo.root.rglob("*.dvclive-tmp"))
    assert "dvclive-tmp" not in repo.git("ls-tree", "-r", "--name-only", str(one.commit))


def test_half_a_file_of_a_run_killed_as_it_began_is_swept_though_there_is_no_run(repos):
    repo = repos.make("git_and_dvc")
    dead = python("import os; print(os.getpid())").stdout.strip()
    for folder, name in (
        (journal.folder(repo.root), "0123.json"),
        (repo.root / watchers.FOLDER, "DVCLIVE_ONLY"),
    ):
        folder.mkdir(parents=True)
        (folder / f".{name}.{dead}-1.dvclive-tmp").write_text("{")
    assert recovery.recover(repo.root) == []
    assert not list(repo.root.rglob("*.dvclive-tmp"))


REPORTED = KILL.replace(
    "Path(", "live.log_plot('p', [{{'x': 1, 'y': 2}}], 'x', 'y', title='Drawn so')\nPath(", 1
)


def _status_in(report: str) -> str:
    found = re.search(r'class="status \w+">(\w+)|\*\*(\w+)\*\*', report)
    assert found, report[-2000:]
    return found[1] or found[2]


@pytest.mark.parametrize("mode", ["html", "md"])
@pytest.mark.parametrize("recovered_by", ["the command", "the next run"])
def test_the_report_of_a_killed_run_says_how_it_ended(repo, mode, recovered_by):
    killed(f"exp_name='first', report='{mode}'", REPORTED)
    report = f"dvclive/report.{mode}"
    assert _status_in((repo.root / report).read_text()) == "running", "as the run left it"
    if recovered_by == "the command":
        assert main(["recover"]) == 0
    else:
        Live("dvclive-2", save_dvc_exp=False).end()
    saved = held_in(repo, repo.experiments()["first"], report)
    assert _status_in(saved) == "interrupted", "how the run ended"
    assert (repo.root / report).read_text().strip() == saved.strip(), "the report in the folder"
    assert "Drawn so" in saved, "a plot is no longer drawn as it was"
    assert str(repo.root) not in saved, "a path of this machine would be published"


def test_a_recovered_report_tells_how_long_the_run_went_on_not_when_it_was_recovered(repo):
    killed("exp_name='first', report='md'")
    entry = journal.read_all(repo.root)[0][0]
    began = datetime.datetime.fromisoformat(entry.record.started) - datetime.timedelta(days=2)
    rewrite(entry, started=began.isoformat())
    last = began.timestamp() + 3600
    for path in (repo.root / "dvclive").rglob("*"):
        os.utime(path, (last, last))
    break_saving(repo)
    assert main(["recover"]) == 1
    mend_saving(repo)
    assert main(["recover"]) == 0
    assert "1 h 0 min" in held_in(repo, repo.experiments()["first"], "dvclive/report.md")


@pytest.mark.parametrize("theirs", ["a report of the user's", "no report"])
def test_recovery_draws_no_report_where_it_could_only_spoil_one(repo, theirs):
    report = repo.root / "dvclive" / "report.html"
    killed("exp_name='first'", REPORTED)
    if theirs == "a report of the user's":
        report.write_text("<p>I am running</p>")
    if theirs == "no report":
        report.unlink()
    before = report.read_bytes() if report.exists() else None
    assert main(["recover"]) == 0
    assert (report.read_bytes() if report.exists() else None) == before


def test_a_recovered_report_says_how_the_run_ended_though_nobody_describes_a_plot(repo):
    killed("exp_name='first', report='md', dvcyaml=None", REPORTED)
    assert main(["recover"]) == 0
    saved = held_in(repo, repo.experiments()["first"], "dvclive/report.md")
    assert _status_in(saved) == "interrupted", "it says for ever that the run goes on"
    assert "plots/custom/p.json" in saved or "custom/p" in saved, "the plot is gone"


def test_a_report_that_cannot_be_drawn_anew_keeps_no_run_from_being_saved(repo, caplog):
    killed("exp_name='first'")
    (repo.root / "dvclive" / "params.yaml").write_text("lr: [")
    assert main(["recover"]) == 0
    assert "first" in repo.experiments(), "not saved"
    assert "'dvclive' still says that the run goes on" in caplog.text, "the user is not told"
    assert "The training goes on" not in caplog.text, "no training goes on"


@pytest.mark.parametrize("started", ["yesterday", "", "0001-01-01T00:00:00"])
def test_a_run_is_recovered_though_nobody_knows_when_it_began(repo, started):
    killed("exp_name='first'")
    rewrite(journal.read_all(repo.root)[0][0], started=started)
    assert main(["recover"]) == 0
    assert "first" in repo.experiments(), "a date kept the run from being saved"


@pytest.mark.parametrize("first", ["outer", "inside"])
def test_of_two_killed_runs_one_inside_the_other_each_has_its_own_files(repo, first):
    killed_together(
        repo, "dir='dvclive', exp_name='outer'", "dir='dvclive/inside', exp_name='inside'"
    )
    for entry in journal.read_all(repo.root)[0]:
        earlier = "2026-01-01T00:00:00+00:00" if entry.record.name == first else None
        rewrite(entry, started=earlier or entry.record.started)
    recovery.recover(repo.root)
    experiments = repo.experiments()
    outer, inner = (
        repo.git("ls-tree", "-r", "--name-only", experiments[name], "dvclive").splitlines()
        for name in ("outer", "inside")
    )
    assert "dvclive/metrics.json" in outer
    assert not [name for name in outer if "inside" in name], "the outer has the inner's files"
    assert "dvclive/inside/metrics.json" in inner
    assert not [name for name in inner if "inside" not in name], "the inner has the outer's files"


def test_a_run_recovered_on_another_branch_has_the_data_it_had_where_it_ran(repo):
    (repo.root / "data.csv").write_text("first\n")
    repo.dvc("add", "-q", "data.csv")
    repo.commit()
    pointer = repo.git("show", "HEAD:data.csv.dvc")
    repo.git("switch", "-q", "-c", "other")
    (repo.root / "data.csv").write_text("the other's\n")
    repo.dvc("add", "-q", "data.csv")
    repo.git("commit", "-q", "-a", "-m", "other")
    repo.git("switch", "-q", "-")
    repo.dvc("checkout", "-q")
    killed("exp_name='first'")
    repo.git("switch", "-q", "other")
    (repo.root / "data.csv").write_text("edited on the other\n")
    (one,) = recovery.recover(repo.root)
    assert held_in(repo, one.commit, "data.csv.dvc") == pointer, "the other branch's data"
    assert held_in(repo, one.commit, "model.pt.dvc"), "the run's artifact"
    assert repo.git("rev-parse", f"{one.commit}^") == repo.git("rev-parse", "main")


def test_the_next_run_saves_a_killed_one_before_it_uses_the_folder(repo):
    killed("exp_name='first'")
    with Live(exp_name="second") as live:
        live.log_metric("loss", 0.125)
    experiments = repo.experiments()
    assert set(experiments) == {"first", "second"}
    first = held_in(repo, experiments["first"], "dvclive/plots/metrics/loss.tsv")
    assert first.count("\n") == 3, "the rows of the killed run, all of them"
    second = held_in(repo, experiments["second"], "dvclive/plots/metrics/loss.tsv")
    assert second == "step\tloss\n0\t0.125"


def test_the_next_run_may_go_on_where_the_killed_one_was(repo):
    killed("exp_name='first'")
    with Live(resume=True, exp_name="second") as live:
        assert live.step == 2
    assert set(repo.experiments()) == {"first", "second"}


@pytest.mark.parametrize("end", ["live.end()", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_a_resumed_runs_experiment_holds_the_artifacts_logged_before(repo, end):
    python(f"{TRAIN}\n{end}".format(arguments="exp_name='first'"), check=False)
    with Live(resume=True, exp_name="second") as live:
        live.log_metric("loss", 0.5)
    second = repo.experiments()["second"]
    held = repo.git("ls-tree", "-r", "--name-only", second).split()
    assert {"model.pt.dvc", ".gitignore"} <= set(held)
    repo.dvc("get", ".", "model.pt", "--rev", second, "-o", "back.pt")
    assert (repo.root / "back.pt").read_text() == "weights"


@pytest.mark.parametrize("dvcyaml", ["'dvc.yaml'", "True", "False"])
def test_a_resumed_runs_experiment_holds_them_whatever_its_dvc_yaml_names(repo, dvcyaml):
    bare = "Path('plain.bin').write_text('x')\nlive.log_artifact('plain.bin')\nlive.end()"
    python(f"{TRAIN}\n{bare}".format(arguments=f"dvcyaml={dvcyaml}, exp_name='first'"))
    other = TRAIN.format(arguments="'other', dvcyaml='dvc.yaml'").replace("model.pt", "theirs.pt")
    python(f"{other}\nlive.end()")
    arguments = f"dvcyaml={dvcyaml}, resume=True, exp_name='second'"
    go_on = f"from dvclive_dvc import Live\nwith Live({arguments}) as live:\n"
    python(f"{go_on}    live.log_param('b', 1)")
    second = repo.experiments()["second"]
    held = repo.git("ls-tree", "-r", "--name-only", second).split()
    assert {"model.pt.dvc", "plain.bin.dvc", ".gitignore"} <= set(held)
    assert "theirs.pt.dvc" not in held, "another run's, whose file it shares"
    if dvcyaml == "'dvc.yaml'":
        text = repo.git("show", f"{second}:dvc.yaml")
        assert "path: model.pt" in text, "it was taken for another run's"
        assert "theirs.pt" not in text


def test_a_new_run_in_the_folder_has_nothing_of_the_former_ones_artifacts(repo):
    python(f"{TRAIN}\nlive.end()".format(arguments="exp_name='first'"))
    with Live(exp_name="second", dvcyaml=None) as live:
        live.log_metric("loss", 0.5)
    with Live(exp_name="third", dvcyaml=None, resume=True) as live:
        live.log_metric("loss", 0.25)
    for name in ("second", "third"):
        held = repo.git("ls-tree", "-r", "--name-only", repo.experiments()[name]).split()
        assert "model.pt.dvc" not in held, f"{name} logged none"


def test_a_killed_run_that_goes_on_keeps_artifacts_that_its_dvc_yaml_does_not_name(repo):
    bare = "Path('plain.bin').write_text('x')\nlive.log_artifact('plain.bin')\n"
    killed("exp_name='first'", f"{TRAIN}\n{bare}\nos.kill(os.getpid(), signal.SIGKILL)")
    with Live(resume=True, exp_name="second") as live:
        live.log_metric("loss", 0.5)
    held = repo.git("ls-tree", "-r", "--name-only", repo.experiments()["second"]).split()
    assert {"model.pt.dvc", "plain.bin.dvc", ".gitignore"} <= set(held)


def test_killed_runs_in_other_folders_are_saved_too(repo):
    killed_together(repo, "'dvclive-2', exp_name='first'", "'dvclive-3', exp_name='second'")
    with Live(save_dvc_exp=False):
        assert set(repo.experiments()) == {"first", "second"}


# -- whose turn it is ------------------------------------------------------------------------


def test_a_live_run_is_left_alone_and_its_folder_is_refused(repo):
    with running(repo, "exp_name='first'") as process:
        assert recovery.recover(repo.root) == []
        files = {path: path.read_bytes() for path in (repo.root / "dvclive").rglob("*.tsv")}
        with pytest.raises(RunInProgressError) as refused:
            Live()
        assert str(process.pid) in str(refused.value)
        assert "'first'" in str(refused.value)
        assert "Live(dir='dvclive-2')" in str(refused.value)
        assert files == {path: path.read_bytes() for path in files}, "nothing was touched"
        with Live("dvclive-2", exp_name="second"):
            pass
        with pytest.raises(
            RunInProgressError, match=re.escape(f"Live(dir='{repo.root}/dvclive-2')")
        ):
            Live(repo.root / "dvclive")
        process.communicate("")
    assert set(repo.experiments()) == {"first", "second"}


def test_a_run_of_another_host_is_left_alone_until_told(repo):
    killed("exp_name='first'")
    record = journal.read_all(repo.root)[0][0].record
    journal.write(dataclasses.replace(record, process=Process(1, "another-host", "a/b/1")))
    assert recovery.recover(repo.root) == []
    with pytest.raises(RunInProgressError, match="--other-hosts"):
        Live()
    (one,) = recovery.recover(repo.root, other_hosts=True)
    assert repo.experiments() == {"first": one.commit}


def test_a_run_killed_between_its_experiment_and_the_end_of_its_journal_is_not_saved_twice(repo):
    with Live(exp_name="taken"):
        pass
    killed("exp_name='first'")
    entry = journal.read_all(repo.root)[0][0]
    (saved,) = recovery.recover(repo.root)
    journal.write(
        dataclasses.replace(entry.record, process=Process(2**22 + 1, journal.this_host()))
    )
    journal._let_go(entry.record)
    (again,) = recovery.recover(repo.root)
    assert again.commit == saved.commit
    assert set(repo.experiments()) == {"taken", "first"}
    assert list(journal.folder(repo.root).iterdir()) == []


def test_recoveries_at_once_save_each_run_once(repo):
    killed_together(repo, *(f"'dvclive-{n}', exp_name='run-{n}'" for n in range(3)))
    command = [sys.executable, "-m", "dvclive_dvc", "recover", "--json"]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    said = [json.loads(child.communicate()[0]) for child in children]
    assert [child.returncode for child in children] == [0, 0, 0, 0]
    done = [one["name"] for document in said for one in document["recovered"]]
    assert sorted(done) == ["run-0", "run-1", "run-2"]
    assert set(repo.experiments()) == {"run-0", "run-1", "run-2"}


# -- when saving fails -----------------------------------------------------------------------


def test_when_saving_fails_one_message_says_why_and_what_to_do(repo, tmp_path):
    break_saving(repo)
    done = python(TRAIN.format(arguments="exp_name='first'") + "\nsys.exit(3)", check=False)
    assert done.returncode == 3, "the exit code stays"
    warnings = [line for line in done.stderr.splitlines() if "WARNING" in line]
    told = [line for line in warnings if "dvclive-dvc recover" in line]
    assert len(told) == 1, done.stderr
    assert "'first'" in told[0]
    assert "refs/exps" in told[0], "the cause"
    assert "Traceback" not in done.stderr
    assert (repo.root / "dvclive" / "metrics.json").exists()


def test_the_exception_stays_when_saving_fails(repo):
    break_saving(repo)
    with pytest.raises(ZeroDivisionError), Live():
        1 / 0  # noqa: B018 - raises
    assert journal.read_all(repo.root)[0][0].outcome.status is Status.FAILED
    mend_saving(repo)
    (one,) = recovery.recover(repo.root)
    assert "Dvclive-Exception: builtins.ZeroDivisionError" in message(repo, one.commit)


def test_recovery_makes_the_experiment_that_the_end_of_the_run_would_have_made(repos):
    def tree(at: str, *, broken: bool) -> tuple[str, list[str]]:
        repo = repos.make("git_and_dvc", at=at)
        if broken:
            break_saving(repo)
        python(TRAIN.format(arguments="exp_name='first'") + "\nsys.exit(3)", check=False)
        if broken:
            assert repo.git("for-each-ref", "refs/exps") == ""
            mend_saving(repo)
            (one,) = recovery.recover(repo.root)
            assert one.commit is not None
        commit = repo.experiments()["first"]
        lines = repo.git("ls-tree", "-r", commit).splitlines()
        trailers = [x for x in message(repo, commit).splitlines() if "Dvclive-Run" not in x][2:]
        # The report tells the hour.
        return "\n".join(trailers), [line for line in lines if "report" not in line]

    assert tree("mended", broken=True) == tree("whole", broken=False)


def test_a_folder_with_an_unsaved_run_is_not_overwritten(repo, caplog):
    break_saving(repo)
    python(TRAIN.format(arguments="exp_name='first'"))
    rows = repo.root / "dvclive" / "plots" / "metrics" / "loss.tsv"
    before = rows.read_bytes()
    with pytest.raises(RepositoryError, match=r"(?s)'first'.*dvclive-dvc recover.*--discard"):
        Live()
    assert rows.read_bytes() == before
    with Live("dvclive-2"):  # another folder is no trouble
        pass
    assert "'first'" in caplog.text
    (given_up,) = recovery.discard(repo.root, ["first"])
    assert given_up.name == "first"
    mend_saving(repo)
    with Live(exp_name="second"):
        pass
    assert "first" not in repo.experiments()


def test_the_step_a_run_ended_with_is_told_though_its_summary_could_not_be_written(repo):
    break_saving(repo)
    python(TRAIN.format(arguments="exp_name='first'"))
    summary = repo.root / "dvclive" / "metrics.json"
    ended_with = json.loads(summary.read_text())
    summary.write_text('{"loss": 1.0, "step": 0}')  # as the first step left it
    mend_saving(repo)
    (one,) = recovery.recover(repo.root)
    held = json.loads(held_in(repo, one.commit, "dvclive/metrics.json"))
    assert held == ended_with, "not what the end of the run would have written"


def test_a_run_that_could_be_neither_saved_nor_noted_is_safe_from_the_next_in_its_process(repo):
    source = """
import shutil
from pathlib import Path
from dvclive_dvc import Live
from dvclive_dvc.errors import RepositoryError
exps, runs = Path(".git/refs/exps"), Path(".dvc/tmp/dvclive/runs")
with Live(exp_name="first") as live:
    live.log_metric("loss", 0.5)
    exps.write_text("a file where the folder should be")
    shutil.rmtree(runs)
    runs.write_text("a file where the folder should be")
try:
    Live(exp_name="second")
except RepositoryError as error:
    print(error)
exps.unlink()
runs.unlink()
with Live(exp_name="second") as live:
    live.log_metric("loss", 0.25)
"""
    done = python(source)
    assert "'first'" in done.stdout, "the next run began in the folder of an unsaved one"
    warnings = [line for line in done.stderr.splitlines() if "could not be saved" in line]
    assert len(warnings) == 1
    assert "dvclive-dvc recover" not in warnings[0], "of what nobody else knows it saves nothing"
    experiments = repo.experiments()
    assert set(experiments) == {"first", "second"}
    rows = held_in(repo, experiments["first"], "dvclive/plots/metrics/loss.tsv")
    assert rows == "step\tloss\n0\t0.5"
    assert list(journal.folder(repo.root).iterdir()) == []


def test_a_run_that_began_on_a_full_disk_comes_back_when_there_was_room_before_its_kill(repo):
    source = """
import os, signal
from pathlib import Path
from dvclive_dvc import Live
tmp = Path(".dvc/tmp")
tmp.write_text("a file where the folder should be")
live = Live(exp_name="first")
tmp.unlink()
for step in range(5):
    live.log_metric("loss", step)
    live.next_step()
os.kill(os.getpid(), signal.SIGKILL)
"""
    killed(source=source)
    (one,) = recovery.recover(repo.root)
    assert repo.experiments() == {"first": one.commit}
    assert held_in(repo, one.commit, "dvclive/plots/metrics/loss.tsv").count("\n") == 5


def test_a_run_that_cannot_be_recovered_keeps_its_journal_and_stops_no_other(repo):
    killed_together(repo, "'dvclive-2', exp_name='first'", "'dvclive-3', exp_name='second'")
    first = journal.read_all(repo.root)[0]
    record = next(entry.record for entry in first if entry.record.name == "first")
    journal.write(dataclasses.replace(record, baseline="0" * 39 + "1"))
    journal._let_go(record)  # as the dead do
    done = {one.record.name: one for one in recovery.recover(repo.root)}
    assert done["second"].commit is not None
    assert done["first"].commit is None
    assert done["first"].error
    assert [entry.record.name for entry in journal.read_all(repo.root)[0]] == ["first"]


def test_a_journal_that_cannot_be_read_is_named_when_a_run_begins(repo, caplog):
    damaged = journal.folder(repo.root) / "damaged.json"
    damaged.parent.mkdir(parents=True)
    damaged.write_text("{")
    with Live():
        pass
    assert str(damaged) in caplog.text
    assert damaged.read_text() == "{"


def test_a_run_is_recovered_from_another_folder_of_the_project(repo):
    killed("exp_name='first'")
    os.chdir(repo.root / "src")
    with Live("../dvclive-2", save_dvc_exp=False):
        pass
    assert set(repo.experiments()) == {"first"}
    assert git("fsck", "--strict", cwd=repo.root) == ""

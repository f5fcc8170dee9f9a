"""What is edited after a run was killed does not pass for what ran."""

from __future__ import annotations

import logging
import os
import signal
import time

import pytest
from situations import Situation, python

from dvclive_dvc import Live
from dvclive_dvc.repo import context, journal, recovery, sources

KILL = """
import os, signal
from pathlib import Path
from dvclive_dvc import Live
live = Live(exp_name="first")
{meanwhile}
live.log_metric("loss", 0.5)
live.next_step()
{last}
os.kill(os.getpid(), signal.SIGKILL)
"""
# Longer than a tick of the clock that a file system stamps files by.
TICK = 0.05


def killed(meanwhile: str = "", last: str = "") -> None:
    done = python(KILL.format(meanwhile=meanwhile, last=last), check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    time.sleep(TICK)


@pytest.fixture
def repo(repos) -> Situation:
    """A project with parameters in params.yaml and conf.yaml, of a stage, and in free.yaml."""
    repo = repos.make("git_and_dvc")
    repo.write("params.yaml", "lr: 0.1\n")
    repo.write("conf.yaml", "layers: 1\n")
    repo.write("free.yaml", "seed: 1\n")
    repo.write(
        "dvc.yaml",
        "stages:\n  train:\n    cmd: python src/train.py\n    params: [lr, conf.yaml: [layers]]\n",
    )
    repo.commit("params.yaml", "conf.yaml", "free.yaml", "dvc.yaml")
    return repo


def held(repo: Situation, path: str) -> str:
    return repo.git("show", f"{repo.experiments()['first']}:{path}")


def edit_all(repo: Situation, number: int) -> None:
    repo.write("params.yaml", f"lr: {number}\n")
    repo.write("conf.yaml", f"layers: {number}\n")
    repo.write("free.yaml", f"seed: {number}\n")


def after_the_run(repo: Situation, how: str) -> None:
    """Edits everything, and perhaps goes on as one does then."""
    edit_all(repo, 9)
    if how != "edited":
        repo.git("commit", "-qam", "the next experiment")
    if how == "committed on a branch that was left":
        repo.git("checkout", "-q", "HEAD~1")


@pytest.mark.parametrize("before", ["committed", "uncommitted"])
@pytest.mark.parametrize("how", ["edited", "committed", "committed on a branch that was left"])
def test_parameters_edited_after_the_kill_are_saved_as_they_ran(repo, caplog, before, how):
    if before == "uncommitted":
        edit_all(repo, 2)
    ran = 1 if before == "committed" else 2
    killed()
    after_the_run(repo, how)
    state = repo.state("dvclive")
    (one,) = recovery.recover(repo.root)
    assert repo.state("dvclive") == state, "recovery touched the user's files"
    assert held(repo, "params.yaml").endswith(str(ran if before == "uncommitted" else 0.1)), (
        "params.yaml is not what ran"
    )
    assert held(repo, "conf.yaml") == f"layers: {ran}", "a stage's parameters are not what ran"
    assert "'params.yaml' changed after it was loaded; the experiment has the version" in (
        caplog.text
    )
    assert one.edited == ("free.yaml",), "an edit whose former version is not known"
    assert "'free.yaml' changed after the last sign of life of the run 'first'" in caplog.text


def test_the_next_run_saves_a_killed_one_with_the_parameters_that_it_had(repo, caplog):
    killed()
    edit_all(repo, 9)
    with Live(exp_name="second"):
        pass
    assert held(repo, "params.yaml") == "lr: 0.1", "the killed run has the next one's parameters"
    second = repo.git("show", f"{repo.experiments()['second']}:params.yaml")
    assert second == "lr: 9", "the next run has its own"
    assert "'free.yaml' changed after" in caplog.text


def test_parameters_that_were_put_back_after_the_kill_are_saved_as_they_ran(repo):
    repo.write("params.yaml", "lr: 2\n")
    killed()
    repo.git("stash", "-q")
    recovery.recover(repo.root)
    assert held(repo, "params.yaml") == "lr: 2"


def test_parameters_deleted_after_the_kill_are_saved_as_they_ran(repo):
    killed()
    (repo.root / "conf.yaml").unlink()
    recovery.recover(repo.root)
    assert held(repo, "conf.yaml") == "layers: 1"


def test_what_was_edited_while_the_run_lived_is_saved_as_at_its_end(repo, caplog):
    killed(
        "for name in ('params.yaml', 'free.yaml'):\n    Path(name).write_text('x: 5\\n')\n"
        f"import time; time.sleep({TICK})"
    )
    (one,) = recovery.recover(repo.root)
    assert [held(repo, name) for name in ("params.yaml", "free.yaml")] == ["x: 5", "x: 5"]
    assert one.edited == ()
    assert "changed after" not in caplog.text


def test_nothing_is_said_where_nothing_was_edited(repo, caplog):
    edit_all(repo, 2)
    repo.write("staged.yaml", "a: 1\n")
    repo.git("add", "staged.yaml")
    time.sleep(TICK)
    killed("Path('model.pt').write_text('w'); live.log_artifact('model.pt')")
    # Of what is not an edit: other times, a commit of what ran, a file that Git does not track.
    os.utime(repo.root / "README.md")
    repo.git("commit", "-qam", "what ran")
    repo.write("untracked.yaml", "a: 1\n")
    with caplog.at_level(logging.WARNING, "dvclive_dvc"), Live(exp_name="second"):
        pass
    assert held(repo, "params.yaml") == "lr: 2"
    assert held(repo, "staged.yaml") == "a: 1"
    assert "changed after" not in caplog.text


def test_another_runs_line_in_gitignore_is_no_edit(repo, caplog):
    repo.write(".gitignore", "/a\n")
    repo.commit(".gitignore")
    killed()
    repo.write(".gitignore", "/a\n/b\n")
    (one,) = recovery.recover(repo.root)
    assert one.edited == ()


def test_data_edited_after_the_kill_is_named(repo, caplog):
    repo.write("data/a.csv", "1\n")
    repo.dvc("add", "-q", "data")
    repo.commit("data.dvc", ".gitignore")
    time.sleep(TICK)
    killed()
    repo.write("data/a.csv", "2 edited\n")
    (one,) = recovery.recover(repo.root)
    assert one.edited == ("data",)
    assert "'data' changed after the last sign of life" in caplog.text


def test_of_many_edited_files_some_are_named_and_the_others_counted(repo, caplog):
    for number in range(6):
        repo.write(f"f{number}.txt", "1\n")
    repo.git("add", ".")
    repo.git("commit", "-qm", "files")
    killed()
    for number in range(6):
        repo.write(f"f{number}.txt", "2\n")
    (one,) = recovery.recover(repo.root)
    assert len(one.edited) == 6
    assert "'f0.txt', 'f1.txt', 'f2.txt' and 3 more changed after" in caplog.text


def test_a_recovery_that_failed_is_no_sign_of_life(repo):
    killed()
    edit_all(repo, 9)
    time.sleep(TICK)
    # Rows that the summary lacks, so that recovery writes that.
    (repo.root / "dvclive" / "metrics.json").write_text("{}")
    exps = repo.root / ".git" / "refs" / "exps"
    exps.write_text("a file where the folder should be\n")
    assert recovery.recover(repo.root)[0].commit is None
    exps.unlink()
    (one,) = recovery.recover(repo.root)
    assert one.edited == ("free.yaml",)
    assert held(repo, "params.yaml") == "lr: 0.1"


def test_a_run_that_could_not_be_saved_at_its_end_is_saved_as_it_was_then(repo):
    exps = repo.root / ".git" / "refs" / "exps"
    exps.write_text("a file where the folder should be\n")
    python(
        "from pathlib import Path; from dvclive_dvc import Live\n"
        "with Live(exp_name='first') as live:\n    live.log_metric('loss', 1)\n"
        f"    import time; time.sleep({TICK})\n    Path('free.yaml').write_text('seed: 5\\n')"
    )
    exps.unlink()
    time.sleep(TICK)
    repo.write("params.yaml", "lr: 9\n")
    (one,) = recovery.recover(repo.root)
    assert one.edited == (), "what was written before the end is what ran, also without a metric"
    assert held(repo, "free.yaml") == "seed: 5"
    assert held(repo, "params.yaml") == "lr: 0.1"


def test_the_parameters_a_run_logs_itself_are_its_results(repos):
    repo = repos.make("own_params")
    killed("live.log_param('lr', 7)")
    (entry,) = journal.read_all(repo.root)[0]
    assert [one.path for one in entry.record.inputs] == ["train.py"]
    recovery.recover(repo.root)
    assert "lr: 7" in held(repo, "dvclive/params.yaml")


def test_an_input_is_a_small_committed_file_that_dvc_yaml_names(repo, caplog):
    repo.write("sub/settings.toml", "a = 1\n")
    repo.write("sub/untracked.yaml", "a: 1\n")
    repo.write("big.csv", "1" * (1 << 21))
    repo.write("used.json", "{}\n")
    repo.write(
        "dvc.yaml",
        "stages:\n"
        "  each:\n    foreach: [1, 2]\n    do:\n      cmd: x ${item}\n"
        "      deps: [used.json, '${item}', nothing, src, ../outside]\n"
        "  train:\n    cmd: x\n    wdir: sub\n    params: [settings.toml: , untracked.yaml: ]\n"
        "    deps: [../big.csv]\n  odd: 5\n",
    )
    repo.commit("sub/settings.toml", "big.csv", "used.json")
    found = sources.inputs(context.detect(), repo.root / "dvclive")
    assert [one.path for one in found] == ["params.yaml", "sub/settings.toml", "used.json"]
    assert caplog.text == ""


@pytest.mark.parametrize(
    "text",
    [
        "stages: [params",
        "params",
        "stages: {a: [params]}",
        "\x00deps",
        "stages: {a: {frozen: !!bool maybe}}",
        'stages: {a: {frozen: !!int ""}}',
    ],
)
def test_a_dvc_yaml_that_cannot_be_read_leaves_params_yaml(repo, text, caplog):
    repo.write("dvc.yaml", text)
    found = sources.inputs(context.detect(), repo.root / "dvclive")
    assert [one.path for one in found] == ["params.yaml"]
    assert caplog.text == ""


def test_a_dvc_yaml_that_takes_long_to_parse_leaves_params_yaml(repo):
    text = (repo.root / "dvc.yaml").read_text()
    assert len(sources.inputs(context.detect(), repo.root / "dvclive")) == 2, "the short one counts"
    repo.write("dvc.yaml", text + "".join(f"  s{n}:\n    cmd: x\n" for n in range(10_000)))
    found = sources.inputs(context.detect(), repo.root / "dvclive")
    assert [one.path for one in found] == ["params.yaml"], "the run's beginning waits for dvc.yaml"


def test_an_input_that_a_filter_makes_anew_is_left_out_in_silence(repo, caplog):
    repo.write(".gitattributes", "*.png filter=lfs diff=lfs -text\nconf.yaml filter=odd\n")
    repo.git("config", "filter.odd.clean", "false")
    edit_all(repo, 2)
    found = [source.path for source in sources.inputs(context.detect(), repo.root / "dvclive")]
    assert found == ["params.yaml"]
    assert caplog.messages == [], "the end of the run has to say it"


def test_parameters_that_an_older_file_took_the_place_of_are_saved_as_they_ran(repo):
    repo.write("next.yaml", "lr: 7\n")
    time.sleep(TICK)
    killed()
    (repo.root / "next.yaml").replace(repo.root / "params.yaml")
    recovery.recover(repo.root)
    assert held(repo, "params.yaml") == "lr: 0.1", "an edit passed for what ran"


def test_a_recovery_that_cut_a_torn_row_and_failed_is_no_sign_of_life(repo):
    killed(last='live._metrics.close(); open("dvclive/plots/metrics/loss.tsv", "a").write("1\\t0")')
    edit_all(repo, 9)
    blocked = repo.root / ".git" / "refs" / "exps"
    blocked.write_text("no folder")
    (failed,) = recovery.recover(repo.root)
    assert failed.error is not None
    blocked.unlink()
    recovery.recover(repo.root)
    assert held(repo, "params.yaml") == "lr: 0.1", (
        "the recovery's own write was taken for the run's"
    )


def test_an_end_that_is_noted_late_has_the_time_it_had(repo):
    python("""
import time
from pathlib import Path
from dvclive_dvc import Live
live = Live(exp_name="first")
live.log_metric("loss", 0.5)
live.next_step()
folder, away = Path(".dvc/tmp/dvclive"), Path(".dvc/tmp/away")
folder.rename(away)
for path in (folder, Path(".git/refs/exps")):
    path.write_text("no folder")
live.end()
for path in (folder, Path(".git/refs/exps")):
    path.unlink()
away.rename(folder)
time.sleep(0.05)
Path("params.yaml").write_text("lr: 9\\n")
time.sleep(0.05)
Live("other", exp_name="second").end()
""")
    assert held(repo, "params.yaml") == "lr: 0.1", (
        "an edit before the late note passed for what ran"
    )

"""A run becomes an experiment: named, whole, and with nothing of the user's touched."""

from __future__ import annotations

import dataclasses
import logging
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import dvc.api
import pytest
from dvc.repo import Repo
from dvc.repo.experiments.refs import ExpRefInfo
from saved_runs import record_of, write_run
from situations import dvc_inside, python, run

from dvclive_dvc import Live
from dvclive_dvc.backend import Outcome, Status
from dvclive_dvc.errors import SaveError
from dvclive_dvc.repo import context, data, experiments
from dvclive_dvc.repo.record import reference


def files_of(repo, commit):
    return repo.git("ls-tree", "-r", "--name-only", commit).splitlines()


def saved(repo, **facts):
    record = record_of(repo, **facts)
    write_run(record.dir)
    return experiments.save(record, Outcome())


# -- what is saved -----------------------------------------------------------------------------


def test_a_run_becomes_an_experiment_that_dvc_reads(repos):
    repo = repos.make("git_and_dvc")
    record = record_of(repo)
    repo.write("src/train.py", "EPOCHS = 7\n")
    repo.write("notes.txt", "mine alone")
    write_run(repo.root / "dvclive")
    before = repo.state()

    commit = experiments.save(record, Outcome())

    assert repo.state() == before
    assert repo.experiments() == {"first-run": commit}
    assert repo.git("show", f"{commit}:src/train.py") == "EPOCHS = 7"
    assert "dvclive/plots/metrics/loss.tsv" in files_of(repo, commit)
    assert "notes.txt" not in files_of(repo, commit), "an untracked file must not enter"
    assert repo.git("rev-parse", f"{commit}^") == record.baseline
    assert repo.git("fsck", "--strict", "--no-dangling") == ""
    shown = {row["Experiment"]: row for row in dvc.api.exp_show()}
    assert shown["first-run"]["loss"] == 0.5
    assert shown["first-run"]["rev"] == commit[:7]


def test_dvc_applies_renames_and_removes_it(repos):
    repo = repos.make("git_and_dvc")
    repo.write("src/train.py", "EPOCHS = 7\n")
    saved(repo)
    repo.git("checkout", "-q", "--", ".")
    shutil.rmtree(repo.root / "dvclive")

    dvc_inside("exp", "apply", "-q", "first-run")
    assert (repo.root / "src" / "train.py").read_text() == "EPOCHS = 7\n"
    assert (repo.root / "dvclive" / "metrics.json").exists()
    dvc_inside("exp", "rename", "-q", "first-run", "better-name")
    assert list(repo.experiments()) == ["better-name"]
    dvc_inside("gc", "-q", "-w", "--all-experiments", "-f")
    dvc_inside("exp", "branch", "better-name", "a-branch")
    dvc_inside("exp", "remove", "-q", "better-name")
    assert repo.experiments() == {}


def test_what_gitignore_hides_in_the_runs_folder_is_saved(repos):
    repo = repos.make("git_and_dvc")
    repo.write(".gitignore", "dvclive/\n*.tsv\n")
    repo.commit()
    assert "dvclive/plots/metrics/loss.tsv" in files_of(repo, saved(repo))


def test_half_written_files_and_repositories_inside_are_left_out(repos):
    repo = repos.make("git_and_dvc")
    repo.write("dvclive/.metrics.json.77-1.dvclive-tmp", "half")
    repo.write("dvclive/cloned/.git/HEAD", "ref: refs/heads/main\n")
    repo.write("dvclive/cloned/file.txt", "theirs")
    assert sorted(files_of(repo, saved(repo)))[-5:] == [
        "dvclive/dvc.yaml",
        "dvclive/metrics.json",
        "dvclive/params.yaml",
        "dvclive/plots/metrics/loss.tsv",
        "src/train.py",
    ]


def test_links_and_modes_in_the_runs_folder_are_kept(repos):
    repo = repos.make("git_and_dvc")
    repo.write("dvclive/run.sh", "true\n").chmod(0o755)
    (repo.root / "dvclive" / "latest").symlink_to("metrics.json")
    listing = repo.git("ls-tree", "-r", saved(repo))
    assert re.search(r"100755 blob \w+\tdvclive/run.sh", listing)
    assert re.search(r"120000 blob \w+\tdvclive/latest", listing)


def test_a_tracked_result_keeps_the_mode_and_line_endings_that_the_index_has(repos):
    repo = repos.make("git_and_dvc")
    record = record_of(repo)
    write_run(record.dir)
    (record.dir / "tool.sh").write_text("one")
    (record.dir / "crlf.csv").write_bytes(b"a\r\n")
    repo.git("add", "-f", "dvclive")
    repo.git("update-index", "--chmod=+x", "dvclive/tool.sh")
    repo.git("config", "core.filemode", "false")
    repo.write(".gitattributes", "*.csv text=auto\n")
    repo.commit()
    (record.dir / "tool.sh").write_text("two")
    (record.dir / "crlf.csv").write_bytes(b"b\r\n")
    commit = experiments.save(record, Outcome())
    repo.git("add", "-u")
    staged = repo.git("ls-files", "-s", "dvclive")
    assert staged.replace(" 0\t", "\t") == repo.git(
        "ls-tree", "-r", "--format=%(objectmode) %(objectname)%x09%(path)", commit, "dvclive"
    )
    assert staged.startswith("100644")
    assert "100755" in staged


def test_a_run_whose_folder_was_removed_is_saved_without_it(repos):
    repo = repos.make("git_and_dvc")
    record = record_of(repo)
    experiments.save(record, Outcome())
    assert list(repo.experiments()) == ["first-run"]


def test_deleted_results_of_an_earlier_run_are_gone_from_the_next(repos):
    repo = repos.make("git_and_dvc")
    repo.write("dvclive/plots/metrics/old.tsv", "step\told\n")
    repo.commit()
    (repo.root / "dvclive" / "plots" / "metrics" / "old.tsv").unlink()
    assert "dvclive/plots/metrics/old.tsv" not in files_of(repo, saved(repo))


def test_the_dvcyaml_and_the_pointers_of_artifacts_enter_from_anywhere(repos):
    repo = repos.make("git_and_dvc")
    repo.write("models/model.pt.dvc", "outs: []\n")
    repo.write("models/.gitignore", "/model.pt\n")
    repo.write("dvc.yaml", "metrics: []\n")
    commit = saved(
        repo,
        pointers=("models/model.pt.dvc", "models/.gitignore"),
        dvcyaml=repo.root / "dvc.yaml",
    )
    assert {"dvc.yaml", "models/.gitignore", "models/model.pt.dvc"} <= set(files_of(repo, commit))


def test_contents_that_are_handed_over_replace_those_on_disk(repos):
    repo = repos.make("git_and_dvc")
    record = record_of(repo)
    write_run(record.dir)
    commit = experiments.save(record, Outcome(), {"src/train.py": b"EPOCHS = 9\n"})
    assert repo.git("show", f"{commit}:src/train.py") == "EPOCHS = 9"


def test_names_that_are_no_utf8_are_saved(repos):
    repo = repos.make("git_and_dvc")
    record = record_of(repo)
    write_run(record.dir)
    name = os.fsencode(record.dir) + b"/caf\xe9.txt"
    Path(os.fsdecode(name)).write_bytes(b"latin")
    commit = experiments.save(record, Outcome())
    assert '"dvclive/caf\\351.txt"' in files_of(repo, commit)


def test_a_run_deep_in_a_monorepo_is_saved_under_its_path(repos):
    repo = repos.make("dvc_subdirectory")
    commit = saved(repo)
    assert "models/digits/dvclive/metrics.json" in files_of(repo, commit)
    shown = {row["Experiment"] for row in dvc.api.exp_show()}
    assert "first-run" in shown


def test_a_large_file_is_streamed_and_not_held(repos, monkeypatch):
    repo = repos.make("git_and_dvc")
    monkeypatch.setattr("dvclive_dvc.repo.snapshot._LARGE", 1000)
    repo.write("dvclive/long.txt", "x" * 5000)
    commit = saved(repo)
    assert repo.git("cat-file", "-s", f"{commit}:dvclive/long.txt") == "5000"


def test_a_run_in_a_folder_that_a_stage_owns_leaves_it_to_dvc(repos):
    repo = repos.make("git_and_dvc")
    write_run(repo.root / "dvclive")
    repo.write("dvc.yaml", "stages:\n  train:\n    cmd: 'true'\n    outs:\n    - dvclive\n")
    dvc_inside("commit", "-q", "-f", "dvc.yaml")
    repo.commit()
    record = record_of(repo)
    found = data.committed(record, lambda path: pytest.fail(f"{path} was hashed"))
    commit = experiments.save(record, Outcome(), found.overrides, found.covered)
    assert not [name for name in files_of(repo, commit) if name.startswith("dvclive/")]


def test_a_repository_shared_by_a_group_stays_shared(repos):
    repo = repos.make("git_and_dvc")
    (repo.root / ".git" / "refs").chmod(0o2775)
    before = os.umask(0o077)
    try:
        saved(repo)
    finally:
        os.umask(before)
    for folder in (repo.root / ".git" / "refs" / "exps").rglob("*/"):
        assert folder.stat().st_mode & 0o020, f"{folder} is closed to the group"


# -- what stands in the way --------------------------------------------------------------------


@pytest.mark.parametrize("lock", ["index.lock", "HEAD.lock", "packed-refs.lock", "config.lock"])
def test_a_lock_of_git_is_neither_asked_for_nor_removed(repos, lock):
    repo = repos.make("git_and_dvc")
    (repo.root / ".git" / lock).touch()
    before = repo.state("dvclive")
    saved(repo)
    assert repo.state("dvclive") == before
    assert repo.experiments()


def test_locks_of_dvc_are_not_looked_at(repos):
    repo = repos.make("git_and_dvc")
    repo.write(".dvc/tmp/rwlock", "no json")
    repo.write(".dvc/tmp/lock", "held")
    saved(repo)
    assert repo.experiments()


def without_reflog(repo):
    repo.git("config", "core.logAllRefUpdates", "false")
    shutil.rmtree(repo.root / ".git" / "logs")


def test_a_head_that_moved_leaves_the_experiment_at_its_baseline(repos, caplog):
    repo = repos.make("git_and_dvc")
    record = record_of(repo)
    write_run(record.dir)
    repo.write("README.md", "newer\n")
    repo.commit("README.md")
    with caplog.at_level(logging.WARNING, "dvclive_dvc"):
        commit = experiments.save(record, Outcome())
    assert repo.git("rev-parse", f"{commit}^") == record.baseline
    assert repo.git("show", f"{commit}:README.md") == "newer", "the files are as they are now"
    assert "HEAD has moved since the run 'first-run' began" in caplog.text
    assert "has changed the files" not in caplog.text


@pytest.mark.parametrize("kept", [True, False], ids=["a reflog", "no reflog"])
def test_an_amended_baseline_leaves_the_files_as_they_are_now(repos, caplog, kept):
    repo = repos.make("git_and_dvc")
    if not kept:
        without_reflog(repo)
    record = record_of(repo)
    write_run(record.dir)
    repo.write("README.md", "newer\n")
    repo.git("commit", "-q", "-a", "--amend", "-m", "amended")
    commit = experiments.save(record, Outcome())
    assert repo.git("show", f"{commit}:README.md") == "newer", "it is what ran"
    assert "has changed the files" not in caplog.text


@pytest.mark.parametrize("reflog", [True, False], ids=["a reflog", "no reflog"])
@pytest.mark.parametrize("program", ["git", None], ids=["by git", "by libgit2"])
def test_another_branchs_files_stay_out_of_the_experiment(
    repos, caplog, monkeypatch, program, reflog
):
    repo = repos.make("git_and_dvc")
    repo.write("config.yaml", "lr: 0.1\n")
    repo.write("removed.txt", "there\n")
    repo.commit()
    repo.git("switch", "-q", "-c", "other")
    repo.write("README.md", "the other's\n")
    repo.write("only-there.txt", "the other's\n")
    (repo.root / "removed.txt").unlink()
    repo.git("add", ".")
    repo.git("commit", "-q", "-m", "other")
    repo.git("switch", "-q", "-")
    if not reflog:
        # By their history alone a branch that is ahead looks like work that was gone on with.
        repo.git("commit", "-q", "--allow-empty", "-m", "aside", "--date", "2020-02-02T02:02:02Z")
        without_reflog(repo)
    record = record_of(repo)
    before = repo.git("ls-tree", "-r", "HEAD").splitlines()
    repo.write("config.yaml", "lr: 0.2\n")
    write_run(record.dir)
    repo.git("switch", "-q", "other")
    repo.write("README.md", "edited on the other\n")
    if program is None:
        monkeypatch.setattr(experiments.Git, "program", None)
    with caplog.at_level(logging.WARNING, "dvclive_dvc"):
        commit = experiments.save(record, Outcome())
    listing = repo.git("ls-tree", "-r", commit).splitlines()
    others = [line for line in listing if "dvclive/" not in line and "config.yaml" not in line]
    assert others == [line for line in before if "config.yaml" not in line], "the other's changes"
    assert repo.git("show", f"{commit}:config.yaml") == "lr: 0.2", "a change Git carried along"
    assert "dvclive/metrics.json" in files_of(repo, commit), "the run's own files"
    assert "has changed the files" in caplog.text


def test_what_was_committed_before_the_branch_was_switched_is_what_ran(repos):
    repo = repos.make("git_and_dvc")
    repo.git("switch", "-q", "-c", "other")
    repo.write("README.md", "the other's\n")
    repo.git("commit", "-q", "-a", "-m", "the other's")
    repo.git("switch", "-q", "-")
    record = record_of(repo)
    write_run(record.dir)
    repo.write("README.md", "newer\n")
    repo.git("commit", "-q", "-a", "-m", "what runs")
    repo.git("switch", "-q", "other")
    commit = experiments.save(record, Outcome())
    assert repo.git("show", f"{commit}:README.md") == "newer"
    assert repo.git("rev-parse", f"{commit}^") == record.baseline


def with_another_branch(repo, **files):
    """Commits the files on a branch `other`, and goes back to where the run will begin."""
    repo.git("switch", "-q", "-c", "other")
    for name, text in {"README.md": "the other's\n", **files}.items():
        repo.write(name, text)
    repo.git("add", ".")
    repo.git("commit", "-q", "-m", "the other's")
    repo.git("switch", "-q", "-")


def readme_of(repo, commit):
    return repo.git("show", f"{commit}:README.md")


def test_a_move_of_head_that_nothing_is_said_of_costs_no_run(repos):
    repo = repos.make("git_and_dvc")
    with_another_branch(repo)
    before = readme_of(repo, "HEAD")
    record = record_of(repo)
    write_run(record.dir)
    repo.git("update-ref", "HEAD", "other")
    repo.git("reset", "-q", "--hard")
    commit = experiments.save(record, Outcome())
    assert readme_of(repo, commit) == before, "the files of where HEAD was put enter"


def test_a_message_that_is_not_utf8_hides_no_move_of_head(repos):
    repo = repos.make("git_and_dvc")
    with_another_branch(repo)
    before = readme_of(repo, "HEAD")
    record = record_of(repo)
    write_run(record.dir)
    message = repo.root.parent / "message"
    message.write_bytes(b"caf\xe9")
    latin = ("-c", "i18n.commitEncoding=latin1")
    repo.git(*latin, "commit", "-q", "--allow-empty", "-F", message)
    repo.git("switch", "-q", "other")
    commit = experiments.save(record, Outcome())
    assert readme_of(repo, commit) == before, "the other branch's files enter"


@pytest.mark.parametrize("goes_on", [True, False], ids=["a later commit", "as it was"])
def test_what_ran_and_was_committed_elsewhere_is_in_the_experiment(repos, caplog, goes_on):
    repo = repos.make("git_and_dvc")
    repo.write("unrelated.txt", "1\n")
    repo.commit()
    repo.write("README.md", "what ran\n")
    record = record_of(repo)
    write_run(record.dir)
    repo.git("switch", "-q", "-c", "feature")
    repo.git("commit", "-q", "-a", "-m", "what ran")
    repo.git("switch", "-q", "-")
    if goes_on:
        repo.write("unrelated.txt", "2\n")
        repo.git("commit", "-q", "-a", "-m", "unrelated")
    commit = experiments.save(record, Outcome())
    assert readme_of(repo, commit) == "what ran", "the edit left the disk with the branch"
    assert "has changed the files" in caplog.text, "nobody is told of it"


def test_nothing_is_said_of_a_head_that_came_back_to_the_same_files(repos, caplog):
    repo = repos.make("git_and_dvc")
    with_another_branch(repo)
    record = record_of(repo)
    write_run(record.dir)
    repo.git("switch", "-q", "other")
    repo.git("switch", "-q", "-")
    repo.write("README.md", "edited\n")
    commit = experiments.save(record, Outcome())
    assert readme_of(repo, commit) == "edited", "the files are as they are now"
    assert "HEAD has moved" not in caplog.text, "a warning that concerns nothing"


def test_a_head_that_moves_after_the_look_at_the_files_changes_nothing_of_it(repos):
    repo = repos.make("git_and_dvc")
    with_another_branch(repo, **{"only-there.txt": "the other's\n"})
    before = repo.git("ls-tree", "HEAD").splitlines()
    record = record_of(repo)
    write_run(record.dir)
    repo.git("switch", "-q", "other")
    with experiments.looking(record) as status:
        status._process.wait()
        repo.git("switch", "-q", "-")
        commit = experiments.save(record, Outcome(), status=status)
    listing = repo.git("ls-tree", commit).splitlines()
    assert [line for line in listing if "\tdvclive" not in line] == before, (
        "the files of the branch that HEAD was on while they were looked at enter"
    )


def test_a_run_that_a_former_version_began_is_saved_as_it_ran(repos):
    repo = repos.make("git_and_dvc")
    with_another_branch(repo)
    before = readme_of(repo, "HEAD")
    record = record_of(repo, reflog=None)
    write_run(record.dir)
    repo.git("switch", "-q", "other")
    commit = experiments.save(record, Outcome())
    assert readme_of(repo, commit) == before, "the other branch's files enter"


def test_another_branchs_files_are_none_of_the_runs_own(repos):
    repo = repos.make("git_and_dvc")
    repo.write("conf/x.yaml", "1\n")
    repo.commit()
    with_another_branch(
        repo,
        **{
            "conf/x.yaml": "2\n",
            "conf/only-there.yaml": "2\n",
            ".dvc/config": "[core]\n    analytics = true\n",
            "dvclive/plots/metrics/theirs.tsv": "step\ttheirs\n",
        },
    )
    before = repo.git("ls-tree", "-r", "HEAD").splitlines()
    record = record_of(repo, include=("conf",), pointers=(".dvc/config",))
    repo.git("switch", "-q", "other")
    write_run(record.dir)
    repo.write("conf/mine.yaml", "3\n")
    commit = experiments.save(record, Outcome())
    listing = repo.git("ls-tree", "-r", commit).splitlines()
    own = {"conf/mine.yaml", *(f"dvclive/{one}" for one in WRITTEN)}
    assert {one.split("\t")[1] for one in listing if one not in before} == own, (
        "what came with the other branch passes for the run's own"
    )
    assert set(before) <= set(listing), "the run is without files it ran with"


def test_another_branchs_file_is_known_where_the_disk_cannot_tell_its_mode(repos):
    repo = repos.make("git_and_dvc")
    repo.git("config", "core.filemode", "false")
    repo.write("conf/tool.sh", "1\n")
    repo.commit()
    repo.git("switch", "-q", "-c", "other")
    repo.write("conf/tool.sh", "2\n")
    repo.git("update-index", "--chmod=+x", "conf/tool.sh")
    repo.git("commit", "-q", "-a", "-m", "other")
    repo.git("switch", "-q", "-")
    before = repo.git("ls-tree", "HEAD", "conf/")
    record = record_of(repo, include=("conf",))
    write_run(record.dir)
    repo.git("switch", "-q", "other")
    (repo.root / "conf" / "tool.sh").chmod(0o644)
    commit = experiments.save(record, Outcome())
    assert repo.git("ls-tree", commit, "conf/") == before, "the other branch's file enters"


WRITTEN = ("metrics.json", "params.yaml", "dvc.yaml", "plots/metrics/loss.tsv")


def test_what_the_run_wrote_is_its_own_though_it_is_committed_on_another_branch(repos):
    repo = repos.make("git_and_dvc")
    with_another_branch(repo)
    record = record_of(repo)
    write_run(record.dir)
    repo.git("switch", "-q", "other")
    repo.git("add", "-f", "dvclive")
    repo.git("commit", "-q", "-m", "results")
    listing = files_of(repo, experiments.save(record, Outcome()))
    assert {f"dvclive/{one}" for one in WRITTEN} <= set(listing), "the run's own files are lost"


def test_what_the_run_wrote_is_its_own_though_another_branch_has_the_same(repos):
    repo = repos.make("git_and_dvc")
    with_another_branch(repo, **{"dvclive/params.yaml": "lr: 0.1\n"})
    record = record_of(repo)
    repo.git("switch", "-q", "other")
    time.sleep(0.05)  # a file system's clock ticks a hundred times a second
    write_run(record.dir)
    listing = files_of(repo, experiments.save(record, Outcome()))
    assert "dvclive/params.yaml" in listing, "it was written after the branch was switched"


def test_data_whose_pointer_is_not_on_another_branch_does_not_get_into_git(repos):
    repo = repos.make("git_and_dvc")
    with_another_branch(repo)
    repo.write("conf/values", "1\n")
    repo.write("conf/raw", "data\n")
    repo.dvc("add", "-q", "conf/raw")
    repo.commit()
    before = files_of(repo, "HEAD")
    record = record_of(repo, include=("conf",))
    write_run(record.dir)
    repo.git("switch", "-q", "other")
    assert (repo.root / "conf" / "raw").exists(), "the test is none where Git removes it"
    listing = files_of(repo, experiments.save(record, Outcome()))
    assert [one for one in listing if "dvclive" not in one] == before, (
        "Git has the bytes that DVC keeps, or the pointer is lost"
    )


@pytest.mark.parametrize("edited", [True, False], ids=["edited", "as committed"])
@pytest.mark.parametrize("how", ["--soft", "--mixed"])
def test_a_reset_that_leaves_the_files_alone_loses_nothing_untold(repos, caplog, how, edited):
    repo = repos.make("git_and_dvc")
    repo.write("README.md", "a draft\n")
    repo.commit()
    record = record_of(repo)
    write_run(record.dir)
    if edited:
        repo.write("README.md", "what ran\n")
    repo.git("reset", "-q", how, "HEAD~1")
    commit = experiments.save(record, Outcome())
    told = "Left out is what is not committed of 'README.md'" in caplog.text
    right = readme_of(repo, commit) == ("what ran" if edited else "a draft")
    assert told != right, "a warning of nothing, or a loss that is not told"
    assert right or how == "--mixed", "the index tells that the edit was there while it ran"


@pytest.mark.parametrize("how", ["--soft", "--mixed"])
def test_a_commit_that_is_taken_back_and_made_anew_is_what_ran(repos, caplog, how):
    repo = repos.make("git_and_dvc")
    repo.write("README.md", "a draft\n")
    repo.write("config.yaml", "lr: 0.1\n")
    repo.commit()
    record = record_of(repo)
    write_run(record.dir)
    repo.write("README.md", "what ran\n")
    repo.git("reset", "-q", how, "HEAD~1")
    repo.git("add", "config.yaml")
    repo.git("commit", "-q", "-a", "-m", "anew")
    commit = experiments.save(record, Outcome())
    assert readme_of(repo, commit) == "what ran", "the baseline's version is not what ran"
    assert repo.git("show", f"{commit}:config.yaml") == "lr: 0.1"
    assert "has changed the files" not in caplog.text, "nothing has"


def test_a_commit_made_after_a_hard_reset_is_not_what_ran(repos, caplog):
    repo = repos.make("git_and_dvc")
    repo.write("README.md", "what ran\n")
    repo.write("config.yaml", "lr: 0.1\n")
    repo.commit()
    record = record_of(repo)
    write_run(record.dir)
    repo.git("reset", "-q", "--hard", "HEAD~1")
    repo.write("README.md", "written after\n")
    repo.git("commit", "-q", "-a", "-m", "another")
    commit = experiments.save(record, Outcome())
    assert readme_of(repo, commit) == "what ran"
    assert repo.git("show", f"{commit}:config.yaml") == "lr: 0.1", "it left the disk, not the run"
    assert "has changed the files" in caplog.text, "nobody is told"


def test_what_is_committed_after_head_was_away_and_came_back_is_what_ran(repos):
    repo = repos.make("git_and_dvc")
    with_another_branch(repo)
    record = record_of(repo)
    write_run(record.dir)
    repo.git("switch", "-q", "other")
    repo.git("switch", "-q", "-")
    repo.write("README.md", "edited\n")
    repo.git("commit", "-q", "-a", "-m", "edited")
    commit = experiments.save(record, Outcome())
    assert readme_of(repo, commit) == "edited", "what was edited there is lost by a commit of it"


def test_uncommitted_changes_that_cannot_enter_are_named(repos, caplog):
    repo = repos.make("git_and_dvc")
    repo.write("config.yaml", "lr: 0.1\n")
    repo.commit()
    with_another_branch(repo)
    record = record_of(repo)
    write_run(record.dir)
    repo.write("README.md", "what ran\n")
    repo.write("config.yaml", "lr: 0.2\n")
    repo.git("switch", "-q", "-m", "other")
    commit = experiments.save(record, Outcome())
    assert repo.git("show", f"{commit}:config.yaml") == "lr: 0.2"
    assert "Left out is what is not committed of 'README.md', because" in caplog.text, (
        "nobody is told that the edit which ran is missing"
    )


@pytest.mark.parametrize("program", ["git", None], ids=["by git", "by libgit2"])
@pytest.mark.parametrize("how", ["merge", "cherry-pick", "revert", "stash", "rebase", "no-commit"])
def test_a_merge_that_stops_while_a_run_goes_on_brings_nothing_in(
    repos, caplog, monkeypatch, how, program
):
    repo = repos.make("git_and_dvc")
    with_a_conflict_ahead(repo)
    before = repo.git("ls-tree", "-r", "HEAD").splitlines()
    record = record_of(repo, include=("conf",))
    write_run(record.dir)
    repo.write("README.md", "what ran\n")
    bring_in(repo, how)
    assert "only-there.txt" in repo.git("ls-files"), "the test is none where nothing came in"
    if program is None:
        monkeypatch.setattr(experiments.Git, "program", None)
    caplog.clear()
    with caplog.at_level(logging.WARNING, "dvclive_dvc"):
        commit = experiments.save(record, Outcome())
    listing = repo.git("ls-tree", "-r", commit).splitlines()
    ours = [one for one in listing if "\tdvclive/" not in one and "README" not in one]
    assert ours == [one for one in before if "README" not in one], "the other's changes enter"
    if how != "rebase":
        assert readme_of(repo, commit) == "what ran", "an edit of the user's is lost"
    (said,) = caplog.records
    assert ("HEAD has moved" if how == "rebase" else "a merge or the like") in said.message
    assert "is in conflict" not in said.message, "what is not in the experiment is told of it"
    assert "Left out" not in said.message, "nothing of the user's is left out"


def with_a_conflict_ahead(repo):
    """Branches of one start: `other`, and the one that HEAD is on, which has otherwise one line."""
    names = ("both.txt", "conf/x.yaml", "taken.txt", "disputed.txt")
    for name in names:
        repo.write(name, "a\nb\nc\nd\ne\nf\n")
    repo.write("gone.txt", "there\n")
    repo.commit()
    repo.git("branch", "mine")
    for name in names:
        repo.write(name, "the other's\nb\nc\nd\ne\nf\n")
    repo.write("only-there.txt", "the other's\n")
    (repo.root / "gone.txt").unlink()
    repo.git("add", "-A", ".")
    repo.git("commit", "-q", "-m", "the other's")
    repo.git("branch", "other")
    repo.git("revert", "--no-edit", "HEAD")
    repo.git("branch", "reverted")
    repo.git("switch", "-q", "mine")
    repo.git("checkout", "other", "--", ".")
    repo.git("rm", "-q", "gone.txt")
    repo.git("stash", "-q")
    for name in names[:2]:
        repo.write(name, "a\nb\nc\nd\ne\nmine\n")
    repo.write("disputed.txt", "mine\nb\nc\nd\ne\nf\n")
    repo.git("commit", "-q", "-a", "-m", "mine")


def bring_in(repo, how):
    """Has Git change the files as `other` did, and stop before there is a commit of it."""
    commands = {
        "merge": ["merge", "other"],
        "no-commit": ["merge", "--no-commit", "-X", "theirs", "other"],
        "cherry-pick": ["cherry-pick", "other"],
        "revert": ["revert", "--no-edit", "reverted"],
        "stash": ["stash", "pop"],
        "rebase": ["rebase", "--autostash", "other"],
    }
    subprocess.run(["git", *commands[how]], cwd=repo.root, capture_output=True, check=False)


@pytest.mark.parametrize("edited", [True, False], ids=["edited since", "untouched"])
def test_a_merge_that_stopped_before_a_run_is_what_ran(repos, caplog, edited):
    repo = repos.make("git_and_dvc")
    with_a_conflict_ahead(repo)
    bring_in(repo, "merge")
    record = record_of(repo)
    write_run(record.dir)
    if edited:
        repo.write("disputed.txt", "resolved\n")
    commit = experiments.save(record, Outcome())
    for name in ("disputed.txt", "both.txt", "taken.txt"):
        there = (repo.root / name).read_text().strip()
        assert repo.git("show", f"{commit}:{name}") == there, f"{name} is not what ran"
    assert "only-there.txt" in files_of(repo, commit), "the merge had brought it before the run"
    assert "'disputed.txt' is in conflict" in caplog.text, "nobody is told of the conflict"
    assert "a merge or the like" not in caplog.text, "it is told of as if it came later"


def test_data_whose_pointer_a_merge_took_away_does_not_get_into_git(repos):
    repo = repos.make("git_and_dvc")
    repo.write("conf/values", "1\n")
    repo.write("conf/raw", "data\n")
    repo.dvc("add", "-q", "conf/raw")
    repo.commit()
    repo.git("switch", "-q", "-c", "without")
    repo.git("rm", "-q", "conf/raw.dvc", "conf/.gitignore")
    repo.write("README.md", "the other's\n")
    repo.git("commit", "-q", "-a", "-m", "without")
    repo.git("switch", "-q", "-")
    repo.write("README.md", "mine\n")
    repo.git("commit", "-q", "-a", "-m", "mine")
    before = files_of(repo, "HEAD")
    record = record_of(repo, include=("conf",))
    write_run(record.dir)
    subprocess.run(["git", "merge", "without"], cwd=repo.root, capture_output=True, check=False)
    assert not (repo.root / "conf" / "raw.dvc").exists(), "the test is none where it is there"
    listing = files_of(repo, experiments.save(record, Outcome()))
    assert [one for one in listing if "dvclive" not in one] == before, (
        "Git has the bytes that DVC keeps, or the pointer is lost"
    )


def test_the_working_directory_may_change(repos, tmp_path, monkeypatch):
    repo = repos.make("git_and_dvc")
    record = record_of(repo)
    write_run(record.dir)
    monkeypatch.chdir(tmp_path)
    experiments.save(record, Outcome())
    assert repo.experiments()


def test_a_repository_that_is_gone_is_one_clear_error(repos):
    repo = repos.make("git_and_dvc")
    record = record_of(repo)
    shutil.rmtree(repo.root / ".git")
    with pytest.raises(SaveError, match="cannot be opened") as caught:
        experiments.save(record, Outcome())
    assert caught.value.__cause__ is not None


def test_a_corrupt_index_is_one_clear_error(repos):
    repo = repos.make("git_and_dvc")
    record = record_of(repo)
    (repo.root / ".git" / "index").write_bytes(b"DIRC nonsense")
    with pytest.raises(SaveError, match="index"):
        experiments.save(record, Outcome())


def test_objects_that_cannot_be_written_are_one_clear_error(repos):
    repo = repos.make("git_and_dvc")
    repo.write("src/train.py", "EPOCHS = 8\n")
    record = record_of(repo)
    write_run(record.dir)
    before = repo.state()
    objects = repo.root / ".git" / "objects"
    moved = repo.root.parent / "objects"
    objects.rename(moved)
    # Root may write whatever its mode, but not below a link to /proc.
    objects.mkdir()
    (objects / "pack").symlink_to(moved / "pack")
    (objects / "info").mkdir()
    (objects / "info" / "alternates").write_text(f"{moved}\n")
    for number in range(256):
        (objects / f"{number:02x}").symlink_to("/proc/self/nowhere")
    with pytest.raises(SaveError, match="objects"):
        experiments.save(record, Outcome())
    shutil.rmtree(objects)
    moved.rename(objects)
    assert repo.state() == before
    assert repo.experiments() == {}


# -- commit ------------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_listed_is_told_and_not_left_out(repos):
    setpriv = shutil.which("setpriv")
    if setpriv is None and os.geteuid() == 0:
        pytest.skip("needs the program `setpriv` to be refused as root")
    repo = repos.make("git_and_dvc")
    source = """
import os
from dvclive_dvc import Live
with Live(exp_name="first", include=["cfg"]) as live:
    live.log_metric("loss", 0.5)
    os.chmod("cfg", 0)
"""
    folder = repo.root / "cfg"
    folder.mkdir()
    (folder / "values").write_text("1")
    without = "--bounding-set=-dac_override,-dac_read_search"
    drop = [setpriv, without] if os.geteuid() == 0 else []
    done = run(*drop, sys.executable, "-c", source)
    folder.chmod(0o755)
    assert repo.experiments() == {}, "saved without what is in the folder"
    assert f"Permission denied: '{folder}'" in done.stderr
    python("import sys; from dvclive_dvc.cli import main; sys.exit(main(['recover']))")
    assert repo.git("show", f"{repo.experiments()['first']}:cfg/values") == "1"


def test_the_message_tells_how_the_run_ended_and_no_secret(repos):
    repo = repos.make("git_and_dvc")
    record = record_of(repo)
    outcome = Outcome(
        Status.FAILED, "builtins.ValueError", "src/train.py:12", exit_code=3, signal="SIGTERM"
    )
    commit = experiments.save(record, outcome)
    text = repo.git("log", "-1", "--format=%B", commit)
    assert re.match(r"dvc: commit experiment [0-9a-f]{40}\n\n", text)
    trailers = repo.git("log", "-1", "--format=%(trailers:only)", commit).splitlines()
    assert [line for line in trailers if line] == [
        "Dvclive-Status: failed",
        "Dvclive-Run: id-first-run",
        "Dvclive-Script: src/train.py",
        "Dvclive-Exception: builtins.ValueError",
        "Dvclive-Raised-At: src/train.py:12",
        "Dvclive-Exit-Code: 3",
        "Dvclive-Signal: SIGTERM",
    ]


def test_the_users_message_comes_first(repos):
    repo = repos.make("git_and_dvc")
    commit = experiments.save(
        record_of(repo, message="Try a wider net\n\nIt may\0 help"), Outcome()
    )
    text = repo.git("log", "-1", "--format=%B", commit)
    assert text.startswith("Try a wider net\n\nIt may help\n\nDvclive-Status: completed\n")


def test_the_author_is_the_one_git_would_take(repos, monkeypatch):
    repo = repos.make("git_and_dvc")
    commit = saved(repo)
    shown = "%an <%ae> %aI|%cn <%ce> %cI"
    repo.git("commit", "-q", "--allow-empty", "-m", "by git")
    assert repo.git("log", "-1", f"--format={shown}", commit) == repo.git(
        "log", "-1", f"--format={shown}"
    )
    repo.git("config", "user.name", "Grace <Hopper>")
    monkeypatch.setenv("GIT_COMMITTER_NAME", "A Robot")
    monkeypatch.setenv("GIT_AUTHOR_DATE", "1500000000 -0730")
    commit = saved(repo, name="second")
    assert repo.git("log", "-1", "--format=%an|%cn|%ad", "--date=raw", commit) == (
        "Grace Hopper|A Robot|1500000000 -0730"
    )


@pytest.mark.parametrize(
    "given",
    [
        "Thu, 07 Apr 2005 22:13:13 +0200",
        "2005-04-07T22:13:13+0200",
        "2005-04-07 22:13:13 -0730",
        "2005.04.07 22:13:13",
        "04/07/2005 22:13:13",
        "@1112911993 +0000",
    ],
)
def test_a_date_is_taken_in_every_form_that_git_takes(repos, monkeypatch, given):
    repo = repos.make("git_and_dvc")
    monkeypatch.setenv("GIT_AUTHOR_DATE", given)
    commit = saved(repo)
    repo.git("commit", "-q", "--allow-empty", "-m", "by git")
    shown = ("log", "-1", "--format=%ad", "--date=raw")
    assert repo.git(*shown, commit) == repo.git(*shown), "Git takes it for another moment"


def test_a_date_that_git_does_not_know_is_said_and_the_run_is_saved(repos, monkeypatch, caplog):
    repo = repos.make("git_and_dvc")
    monkeypatch.setenv("GIT_COMMITTER_DATE", "the other day")
    with caplog.at_level(logging.WARNING, "dvclive_dvc"):
        commit = saved(repo)
    assert abs(int(repo.git("log", "-1", "--format=%ct", commit)) - time.time()) < 60
    assert "GIT_COMMITTER_DATE='the other day' is no date" in caplog.text


def test_without_any_identity_the_run_is_saved_all_the_same(repos, monkeypatch, home):
    repo = repos.make("no_identity")
    (home / ".gitconfig").write_text("")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(home / ".gitconfig"))
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.delenv(f"GIT_{role}_DATE")
    commit = saved(repo)
    assert repo.git("log", "-1", "--format=%ae", commit).endswith(f"@{socket.gethostname()}")


# -- names -------------------------------------------------------------------------------------


def test_a_name_is_the_wished_one_or_that_of_the_environment(repos, monkeypatch):
    repos.make("git_and_dvc")
    monkeypatch.setenv("DVC_EXP_NAME", "from-shell")
    assert experiments.choose_name(context.detect(), "mine") == "mine"
    assert experiments.choose_name(context.detect(), None) == "from-shell"


def test_random_names_are_dvcs_own_and_follow_no_seed(repos):
    repos.make("git_and_dvc")
    here = context.detect()
    made = set()
    for _ in range(5):
        random.seed(0)
        made.add(experiments.choose_name(here, None))
    assert len(made) > 1, "a seeded training must not get the same name each time"
    assert all(re.fullmatch(r"[a-z]{5}-[a-z]{4}", name) for name in made)


@pytest.mark.parametrize(
    "name",
    [
        "a/b", "with space", "two..dots", "-option", "ends.lock", "a~1",
        pytest.param("x" * 300, id="long"),
        pytest.param("a\0b", id="null"),
    ],
)  # fmt: skip
def test_a_name_that_git_or_dvc_refuse_gives_a_warning_and_a_fresh_one(repos, caplog, name):
    repos.make("git_and_dvc")
    with caplog.at_level(logging.WARNING, "dvclive_dvc"):
        chosen = experiments.choose_name(context.detect(), name)
    assert chosen != name
    assert f"'{name}'" in caplog.text
    assert chosen in caplog.text


@pytest.mark.parametrize("packed", [False, True])
def test_a_taken_name_gives_a_warning_and_a_fresh_one(repos, caplog, packed):
    repo = repos.make("git_and_dvc")
    saved(repo)
    if packed:
        repo.git("pack-refs", "--all")
    with caplog.at_level(logging.WARNING, "dvclive_dvc"):
        chosen = experiments.choose_name(context.detect(), "first-run")
    assert chosen != "first-run"
    assert "'first-run'" in caplog.text


def test_a_name_taken_on_another_commit_is_free(repos):
    repo = repos.make("git_and_dvc")
    saved(repo)
    repo.git("commit", "-q", "--allow-empty", "-m", "next")
    assert experiments.choose_name(context.detect(), "first-run") == "first-run"


@pytest.mark.parametrize("packed", [False, True])
def test_a_name_taken_meanwhile_gets_a_suffix(repos, packed):
    repo = repos.make("git_and_dvc")
    record = record_of(repo)
    write_run(record.dir)
    commits = []
    for _ in range(3):
        commits.append(experiments.save(record, Outcome()))
        if packed:
            repo.git("pack-refs", "--all")
    assert repo.experiments() == {
        "first-run": commits[0], "first-run-2": commits[1], "first-run-3": commits[2],
    }  # fmt: skip


def test_the_reference_is_the_one_dvc_looks_for():
    sha = "0123456789abcdef0123456789abcdef01234567"
    assert reference(sha, "a-name") == str(ExpRefInfo(sha, "a-name"))


# -- many at once ------------------------------------------------------------------------------

ROUNDS = int(os.environ.get("DVCLIVE_PARALLEL_ROUNDS", "2"))
WORKER = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from types import SimpleNamespace
from saved_runs import record_of, write_run
from dvclive_dvc.backend import Outcome
from dvclive_dvc.repo import experiments
root = Path.cwd()
repo = SimpleNamespace(cwd=root, root=root)
for number in range({rounds}):
    record = record_of(repo, dir=sys.argv[1], name=sys.argv[2].format(number))
    write_run(record.dir, value=float(number))
    sys.stdin.readline()
    print(experiments.save(record, Outcome()), flush=True)
"""


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("same", ["names", "nothing"])
def test_eight_processes_that_save_at_once_lose_none(repos, same):
    """`DVCLIVE_PARALLEL_ROUNDS=200` makes the full two hundred rounds."""
    from situations import PROJECT

    repo = repos.make("git_and_dvc")
    source = WORKER.format(tests=str(PROJECT / "tests"), rounds=ROUNDS)
    before = repo.state(*(f"run{i}" for i in range(8)))
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", source, f"run{i}", "{}" if same == "names" else f"p{i}-{{}}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(8)
    ]
    commits = []
    for _ in range(ROUNDS):
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        commits += [process.stdout.readline().strip() for process in processes]
    complaints = [process.communicate()[1] for process in processes]
    found = repo.experiments()
    assert len(found) == 8 * ROUNDS, complaints
    assert set(found.values()) == set(commits)
    assert repo.state(*(f"run{i}" for i in range(8))) == before
    assert repo.git("fsck", "--strict", "--no-dangling") == ""


def test_threads_of_one_process_save_at_once(repos):
    repo = repos.make("git_and_dvc")
    records = [record_of(repo, dir=f"run{i}", name="same") for i in range(8)]
    for record in records:
        write_run(record.dir)
    threads = [
        threading.Thread(target=experiments.save, args=(record, Outcome())) for record in records
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(repo.experiments()) == 8


def test_a_process_killed_while_it_saves_leaves_no_half_file(repos):
    from situations import PROJECT

    repo = repos.make("git_and_dvc")
    source = WORKER.format(tests=str(PROJECT / "tests"), rounds=1000).replace(
        "    sys.stdin.readline()\n", ""
    )
    before = repo.state("dvclive")
    for delay in (0.0, 0.013, 0.031):
        process = subprocess.Popen(
            [sys.executable, "-c", source, "dvclive", f"after-{delay}-{{}}"],
            stdout=subprocess.PIPE,
            text=True,
        )
        process.stdout.readline()
        time.sleep(delay)
        process.kill()
        process.communicate()
    half = [path for path in (repo.root / ".git").rglob("*") if "tmp" in path.name]
    assert not half, "a kill must not leave temporary files"
    assert repo.state("dvclive") == before
    assert repo.git("fsck", "--strict", "--no-dangling") == ""


@pytest.mark.parametrize("nameless", [True, False])
def test_one_of_two_gets_a_name_on_every_file_system(repos, monkeypatch, nameless):
    if not nameless:
        monkeypatch.delattr(os, "O_TMPFILE")
    repo = repos.make("git_and_dvc")
    saved(repo, id="one")
    saved(repo, id="two")
    assert sorted(repo.experiments()) == ["first-run", "first-run-2"]
    assert len(set(repo.experiments().values())) == 2
    assert not list((repo.root / ".git").rglob("*.lock"))


def test_git_and_dvc_may_work_beside_it(repos):
    repo = repos.make("git_and_dvc")
    stop = threading.Event()
    trouble = []

    def work():
        number = 0
        while not stop.is_set():
            number += 1
            for command in (
                ["git", "pack-refs", "--all"],
                ["git", "stash", "create"],
                ["git", "commit", "-q", "--allow-empty", "-m", f"beside {number}"],
                ["git", "gc", "-q", "--auto"],
            ):
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    trouble.append(done.stderr)

    record = record_of(repo)
    write_run(record.dir)
    beside = threading.Thread(target=work)
    beside.start()
    try:
        commits = {
            experiments.save(dataclasses.replace(record, id=f"run {number}"), Outcome())
            for number in range(15)
        }
        with Repo(str(repo.root)) as project:
            project.experiments.ls()
    finally:
        stop.set()
        beside.join()
    assert not trouble
    assert set(repo.experiments().values()) == commits
    assert len(repo.experiments()) == 15


def test_what_other_runs_put_into_a_shared_dvcyaml_stays_out(repos):
    repo = repos.make("git_and_dvc")
    repo.write("dvc.yaml", "vars:\n- a: 1   # mine\n")
    repo.commit()
    for name in ("one", "two"):
        with Live(name, save_dvc_exp=False, dvcyaml="dvc.yaml") as live:
            live.log_metric("loss", 0.5)
    shared = (repo.root / "dvc.yaml").read_text()
    commit = experiments.save(
        record_of(repo, dir=repo.root / "one", dvcyaml=repo.root / "dvc.yaml"), Outcome()
    )
    assert (repo.root / "dvc.yaml").read_text() == shared, "the user's file stays as it is"
    entered = repo.git("show", f"{commit}:dvc.yaml")
    assert "- a: 1   # mine" in entered
    assert "one/metrics.json" in entered
    assert "two/" not in entered, "its files are not in this experiment"

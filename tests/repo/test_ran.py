"""What ran is what is saved, wherever HEAD and the files have gone meanwhile."""

from __future__ import annotations

import logging
import shutil
import subprocess
import time

import pytest
from saved_runs import files_of, record_of, write_run

from dvclive_dvc import dvcyaml
from dvclive_dvc.backend import Outcome
from dvclive_dvc.layout import Layout
from dvclive_dvc.repo import experiments


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


def edited_after_head_came_back(repo):
    """The record of a run during which HEAD was on another branch, then README.md was edited."""
    with_another_branch(repo)
    record = record_of(repo)
    write_run(record.dir)
    repo.git("switch", "-q", "other")
    repo.git("switch", "-q", "-")
    repo.write("README.md", "edited\n")
    return record


def test_nothing_is_said_of_a_head_that_came_back_to_the_same_files(repos, caplog):
    repo = repos.make("git_and_dvc")
    record = edited_after_head_came_back(repo)
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
        status._program.wait()
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


def test_a_shared_dvcyaml_has_the_stages_that_ran_and_the_runs_entries(repos):
    repo = repos.make("git_and_dvc")
    mine = "stages:\n  prepare:   # mine\n    cmd: echo mine\n"
    repo.write("dvc.yaml", mine)
    repo.commit("dvc.yaml")
    with_another_branch(repo, **{"dvc.yaml": "stages:\n  other:\n    cmd: echo other\n"})
    layout = Layout.at("dvclive", "dvc.yaml")
    record = record_of(repo, dvcyaml=layout.dvcyaml)
    repo.git("switch", "-q", "other")
    write_run(record.dir)
    entries = dvcyaml.read_entries(Layout.at("dvclive"))
    (record.dir / "dvc.yaml").unlink()
    dvcyaml.Writer(layout, resume=False).write(entries)
    commit = experiments.save(record, Outcome())
    saved = repo.git("show", f"{commit}:dvc.yaml")
    assert saved == mine.rstrip() + (
        "\nparams:\n- dvclive/params.yaml\nmetrics:\n- dvclive/metrics.json\n"
        "plots:\n- dvclive/plots/metrics:\n    x: step"
    ), "the other branch's stages enter"


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
    record = edited_after_head_came_back(repo)
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
@pytest.mark.parametrize(
    "how",
    ["merge", "cherry-pick", "revert", "stash", "rebase", "no-commit", "squash", "picked only"],
)
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
        "squash": ["merge", "--squash", "-X", "theirs", "other"],
        "cherry-pick": ["cherry-pick", "other"],
        "picked only": ["cherry-pick", "--no-commit", "-X", "theirs", "other"],
        "revert": ["revert", "--no-edit", "reverted"],
        "stash": ["stash", "pop"],
        "rebase": ["rebase", "--autostash", "other"],
    }
    subprocess.run(["git", *commands[how]], cwd=repo.root, capture_output=True, check=False)


@pytest.mark.parametrize("stash", ["push", "push --keep-index"])
@pytest.mark.parametrize("back", ["pop", "pop --index", "apply"])
def test_changes_that_were_stashed_and_came_back_are_what_ran(repos, caplog, stash, back):
    repo = repos.make("git_and_dvc")
    repo.write("config.yaml", "lr: 0.1\n")
    repo.commit()
    repo.write("README.md", "what ran\n")
    repo.write("new.txt", "what ran too\n")
    repo.git("add", "README.md", "new.txt")
    repo.write("config.yaml", "lr: 0.2\n")
    record = record_of(repo)
    write_run(record.dir)
    repo.git("stash", *stash.split(), "-q")
    repo.git("stash", *back.split(), "-q")
    repo.git("add", "README.md")
    caplog.clear()
    commit = experiments.save(record, Outcome())
    assert readme_of(repo, commit) == "what ran", "a staged change is lost"
    assert "new.txt" in files_of(repo, commit), "a staged new file is lost"
    assert repo.git("show", f"{commit}:config.yaml") == "lr: 0.2", "a change is lost"
    assert "a merge or the like" not in caplog.text, "nothing waits to be concluded"


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


@pytest.mark.parametrize("how", ["merge", "no-commit", "cherry-pick", "revert", "rebase"])
def test_a_merge_that_is_concluded_while_a_run_goes_on_is_what_ran(repos, how):
    repo = repos.make("git_and_dvc")
    with_a_conflict_ahead(repo)
    bring_in(repo, how)
    repo.write("disputed.txt", "resolved\n")
    repo.git("add", "-A", ".")
    if how != "rebase":  # refuses to go on beside an edit
        repo.write("README.md", "what ran\n")
    before = repo.git("ls-files")
    record = record_of(repo)
    write_run(record.dir)
    conclude(repo, how)
    commit = experiments.save(record, Outcome())
    for name in ("README.md", "disputed.txt", "both.txt", "taken.txt"):
        there = (repo.root / name).read_text().strip()
        assert repo.git("show", f"{commit}:{name}") == there, f"{name} is not what ran"
    listing = [one for one in files_of(repo, commit) if not one.startswith("dvclive/")]
    assert listing == before.splitlines(), "a file that the merge brought or took is not so"


@pytest.mark.parametrize("how", ["merge", "no-commit", "cherry-pick", "revert", "rebase"])
@pytest.mark.parametrize("left_over", [True, False], ids=["after a stash", "after nothing"])
def test_a_merge_that_began_and_ended_while_a_run_went_on_brings_nothing_in(repos, how, left_over):
    repo = repos.make("git_and_dvc")
    with_a_conflict_ahead(repo)
    if left_over:
        repo.write("README.md", "what ran\n")
        repo.git("stash", "-q")
        repo.git("stash", "pop", "-q")
        repo.git("commit", "-q", "-a", "-m", "what ran")
    before = repo.git("ls-tree", "-r", "HEAD").splitlines()
    record = record_of(repo)
    write_run(record.dir)
    bring_in(repo, how)
    repo.write("disputed.txt", "resolved\n")
    repo.git("add", "-A", ".")
    conclude(repo, how)
    listing = repo.git("ls-tree", "-r", experiments.save(record, Outcome())).splitlines()
    assert [one for one in listing if "\tdvclive/" not in one] == before, "it brought files in"


def conclude(repo, how):
    """Has Git make a commit of what `bring_in` left."""
    words = ["commit", "--no-edit"] if how in ("merge", "no-commit") else [how, "--continue"]
    repo.git("-c", "core.editor=true", *words)


def test_a_merge_that_is_given_up_and_begun_anew_while_a_run_goes_on_is_not_what_ran(repos):
    repo = repos.make("git_and_dvc")
    with_a_conflict_ahead(repo)
    bring_in(repo, "merge")
    record = record_of(repo)
    write_run(record.dir)
    repo.git("merge", "--abort")
    bring_in(repo, "merge")
    repo.write("disputed.txt", "resolved otherwise\n")
    repo.git("add", "-A", ".")
    conclude(repo, "merge")
    commit = experiments.save(record, Outcome())
    assert repo.git("show", f"{commit}:disputed.txt").splitlines()[0] == "mine", (
        "another resolution than the one that was there while it ran"
    )


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

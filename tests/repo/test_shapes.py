"""Repositories of every shape: saving a run leaves them as they were and makes a whole experiment.

Each shape is a situation of `fixtures/repos/`; what holds in all of them is tested in all, what
is special to one has a test of its own below.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil

import pytest
from dvc.repo import Repo
from saved_runs import record_of, write_run
from situations import dvc_inside

from dvclive_dvc import Live
from dvclive_dvc.backend import Outcome
from dvclive_dvc.errors import RepositoryError
from dvclive_dvc.repo import experiments, git, snapshot

SHAPES = [
    "alternates",
    "assume_unchanged",
    "attributes",
    "autocrlf",
    "clean_filter",
    "detached_head",
    "dvc_subdirectory",
    "everything_changed",
    "failing_hooks",
    "git_and_dvc",
    "gpgsign",
    "index_version_4",
    "merging",
    "no_identity",
    "partial_clone",
    "rebasing",
    "separate_git_dir",
    "several_dvc_projects",
    "shallow_clone",
    "skip_worktree",
    "sparse_checkout",
    "sparse_index",
    "split_index",
    "submodules",
    "text_auto",
    "untracked_cache",
    "worktree",
]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_run_is_saved_whole_and_nothing_else_is_touched(repos, shape):
    repo = repos.make(shape)
    script = repo.cwd / "src" / "train.py"
    script.write_text(script.read_text() + "LR = 0.1\n")
    inside = script.relative_to(repo.root).as_posix()
    record = record_of(repo)
    write_run(record.dir)
    (repo.cwd / "notes.txt").write_text("mine alone")
    expected = expected_tree(repo, record)
    before = repo.state()

    commit = experiments.save(record, Outcome())

    assert repo.state() == before
    assert repo.experiments() == {"first-run": commit}
    assert repo.git("show", f"{commit}:{inside}").endswith("LR = 0.1")
    assert tree(repo, commit) == expected, "the experiment is what `git add -u` would have made"
    assert repo.git("fsck", "--strict", "--no-dangling", "--connectivity-only") == ""


# What only a run itself does (its journal, its artifacts, the sources at its start), in the
# shapes that could mind it.
@pytest.mark.parametrize(
    "shape",
    ["dvc_subdirectory", "everything_changed", "merging", "sparse_index", "submodules", "worktree"],
)
def test_a_whole_run_with_an_artifact_touches_its_own_files_alone(repos, shape):
    repo = repos.make(shape)
    inside = repo.cwd.relative_to(repo.root)
    own = [str(inside / name) for name in ("dvclive", "model.pt", "model.pt.dvc", ".gitignore")]
    (repo.cwd / "notes.txt").write_text("mine alone")
    before = repo.state(*own)
    with Live(report=None) as live:
        live.log_metric("loss", 0.5)
        live.next_step()
        (repo.cwd / "model.pt").write_text("weights")
        live.log_artifact("model.pt", type="model")
    assert repo.state(*own) == before
    (commit,) = repo.experiments().values()
    entered = {line.partition("\t")[2] for line in tree(repo, commit)}
    assert {own[2], own[3], str(inside / "dvclive" / "metrics.json")} <= entered
    assert not entered & {own[1], str(inside / "notes.txt")}


def tree(repo, commit):
    return sorted(repo.git("ls-tree", "-r", "-z", commit).rstrip("\0").split("\0"))


def expected_tree(repo, record):
    """What Git itself makes of the tracked files and the run's, on a copy of its index."""
    index = repo.root.parent / "expected-index"
    source = repo.git("rev-parse", "--path-format=absolute", "--git-path", "index")
    # A split index needs its other half beside it.
    private = {"GIT_INDEX_FILE": str(index), "GIT_OPTIONAL_LOCKS": "0"}
    repo.git("read-tree", "HEAD", env=private)
    entries = repo.git("ls-files", "-s", "-z", env={"GIT_INDEX_FILE": source})
    index.unlink()
    stages = {}
    for line in filter(None, entries.split("\0")):
        facts, path = line.split("\t", 1)
        mode, sha, stage = facts.split(" ")
        stages.setdefault(path, {})[stage] = f"{mode} {sha} 0\t{path}\0"
    lines = "".join(by.get("0") or by.get("2") or next(iter(by.values())) for by in stages.values())
    repo.git("update-index", "-z", "--index-info", env=private, input=lines)
    frozen = {
        line[2:]
        for line in repo.git("ls-files", "-v", "-z", env={"GIT_INDEX_FILE": source}).split("\0")
        if line[:1] in ("S", "h")
    }
    if frozen:
        names = "".join(f"{name}\0" for name in frozen)
        repo.git("update-index", "-z", "--skip-worktree", "--stdin", env=private, input=names)
    links = [line for line in lines.split("\0") if line.startswith("160000")]
    repo.git("-c", "core.fsmonitor=false", "add", "-u", env=private)
    repo.git("add", "-f", "--sparse", str(record.dir), env=private)
    if links:
        # The recorded commits of submodules, not what they have checked out.
        text = "".join(f"{line}\0" for line in links)
        repo.git("update-index", "-z", "--index-info", env=private, input=text)
    try:
        written = repo.git("write-tree", env=private)
    finally:
        index.unlink()
    return tree(repo, written)


@pytest.mark.parametrize("shape", ["sha256", "reftable"])
def test_a_format_that_dvc_cannot_read_is_said_at_once(repos, shape):
    repo = repos.make(shape)
    before = set((repo.root / ".git").rglob("*"))
    with pytest.raises(RepositoryError, match=r"(?s)kind that DVC cannot read.*git init"):
        git.locate(repo.cwd, os.environ)
    assert set((repo.root / ".git").rglob("*")) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a repository away")
def test_a_repository_of_another_owner_names_the_command_that_trusts_it(repos):
    repo = repos.make("git_and_dvc")
    for path in (repo.root, repo.root / ".git"):
        os.chown(path, 1234, 1234)
    with pytest.raises(RepositoryError, match=r"git config --global --add safe\.directory"):
        git.locate(repo.cwd, os.environ)


def test_a_conflict_is_saved_as_it_lies_there_with_a_warning(repos, caplog):
    repo = repos.make("merging")
    record = record_of(repo)
    write_run(record.dir)
    with caplog.at_level(logging.WARNING, "dvclive_dvc"):
        commit = experiments.save(record, Outcome())
    assert "<<<<<<<" in repo.git("show", f"{commit}:src/model.py")
    assert "'src/model.py' is in conflict" in caplog.text


def test_the_recorded_commit_of_a_submodule_enters(repos):
    repo = repos.make("submodules")
    record = record_of(repo)
    write_run(record.dir)
    commit = experiments.save(record, Outcome())
    for name in ("clean", "moved"):
        assert repo.git("rev-parse", f"{commit}:{name}") == repo.git("rev-parse", f"HEAD:{name}")


def test_what_a_clean_filter_takes_enters_as_its_pointer(repos):
    repo = repos.make("clean_filter")
    record = record_of(repo)
    write_run(record.dir)
    (record.dir / "plots" / "images").mkdir()
    (record.dir / "plots" / "images" / "a.png").write_bytes(b"\x89PNG raw bytes")
    repo.write("weights.bin", "other weights")

    commit = experiments.save(record, Outcome())

    for name in ("weights.bin", "dvclive/plots/images/a.png"):
        stored = repo.git("show", f"{commit}:{name}")
        assert stored.startswith("oid "), f"{name} entered raw: {stored!r}"


def test_without_git_a_filtered_file_stays_as_it_is_staged(repos, monkeypatch, caplog):
    repo = repos.make("clean_filter")
    record = record_of(repo)
    write_run(record.dir)
    repo.write("weights.bin", "other weights")
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "")
        with caplog.at_level(logging.WARNING, "dvclive_dvc"):
            commit = experiments.save(record, Outcome())
    assert repo.git("show", f"{commit}:weights.bin") == repo.git("show", "HEAD:weights.bin")
    assert "'weights.bin' goes through a filter" in caplog.text


@pytest.mark.parametrize(
    "shape",
    [
        "autocrlf",
        "detached_head",
        "everything_changed",
        "git_and_dvc",
        "index_version_4",
        "merging",
        "skip_worktree",
        "sparse_checkout",
        "submodules",
        "text_auto",
        "worktree",
    ],
)
def test_without_a_git_program_the_same_tree_is_saved(repos, shape, monkeypatch):
    repo = repos.make(shape)
    repo.write("src/train.py", "EPOCHS = 9\n")
    record = record_of(repo)
    write_run(record.dir)
    before = repo.state()
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "")
        without = experiments.save(record, Outcome())
    assert repo.state() == before
    assert tree(repo, without) == tree(repo, experiments.save(record, Outcome()))


def test_line_endings_that_were_committed_stay(repos):
    repo = repos.make("text_auto")
    (repo.root / "old.txt").write_bytes(b"one\r\ntwo\r\n")
    (repo.root / "src" / "train.py").write_bytes(b"EPOCHS = 4\r\n")
    record = record_of(repo)
    write_run(record.dir)
    commit = experiments.save(record, Outcome())
    assert repo.git("cat-file", "-s", f"{commit}:old.txt") == "10", "text=auto keeps old CRLF"
    assert repo.git("cat-file", "-s", f"{commit}:src/train.py") == "11", "and takes new ones off"


def _modes_are_not_looked_at(repo):
    repo.write("config/run.sh", "true\n")
    repo.git("add", "config")
    repo.git("update-index", "--chmod=+x", "config/run.sh")
    repo.git("config", "core.fileMode", "false")


def _links_are_files(repo):
    folder = repo.write("config/a.yaml", "lr: 1\n").parent
    (folder / "link").symlink_to("a.yaml")
    repo.git("add", "config")
    repo.git("config", "core.symlinks", "false")
    (folder / "link").unlink()
    repo.git("checkout", "-q", "--", "config/link")
    assert not (folder / "link").is_symlink()


def _older_than_its_attributes(repo):
    repo.write("config/old.txt", "").write_bytes(b"one\r\n")
    repo.git("add", "config")
    repo.commit()
    repo.write(".gitattributes", "* text=auto\n")
    repo.git("add", ".gitattributes")


def _pointers_of_lfs(repo):
    _tracked_by_lfs(repo, "version https://git-lfs.github.com/spec/v1\n")


def _data_of_lfs(repo):
    repo.git("config", "filter.lfs.clean", "sed 's/^/pointer to /'")
    _tracked_by_lfs(repo, "")


def _tracked_by_lfs(repo, text):
    repo.write(".gitattributes", "*.bin filter=lfs -text\n")
    for name in "abc":
        # Else Git itself could not tell by the clock whether it has the files already.
        os.utime(repo.write(f"config/{name}.bin", text + name), (1, 1))
    repo.git("add", "config", ".gitattributes")


_NO_PROGRAM = {"filter.lfs.clean": "no-such-program", "filter.lfs.required": "true"}


@pytest.mark.parametrize("staged", [False, True])
@pytest.mark.parametrize(
    ("made", "settings"),
    [
        (_modes_are_not_looked_at, {}),
        (_links_are_files, {}),
        (_older_than_its_attributes, {}),
        (_pointers_of_lfs, {}),
        (_pointers_of_lfs, _NO_PROGRAM),
        (_data_of_lfs, {"filter.lfs.clean": ""}),
        (_data_of_lfs, _NO_PROGRAM),
    ],
)
def test_what_git_sees_no_change_of_enters_an_included_folder_as_git_has_it(
    repos, made, settings, staged, caplog
):
    repo = repos.make("git_and_dvc")
    made(repo)
    if not staged:
        repo.commit()
    for name, value in settings.items():
        repo.git("config", name, value)
    assert repo.git("diff", "--name-only", "config") == ""
    record = record_of(repo, include=("config",))
    write_run(record.dir)
    with caplog.at_level(logging.WARNING, "dvclive_dvc"):
        commit = experiments.save(record, Outcome())
    shown = "--format=%(objectmode) %(objectname) 0\t%(path)"
    saved = repo.git("ls-tree", "-r", shown, commit, "config")
    assert saved == repo.git("ls-files", "-s", "config"), "the experiment changed a clean file"
    assert caplog.messages == [], "a warning of files that are as they were"


def test_a_file_that_git_is_told_to_overlook_enters_an_included_folder_as_it_is_on_disk(repos):
    repo = repos.make("git_and_dvc")
    repo.write("config/a.yaml", "lr: 1\n")
    repo.git("add", "config")
    repo.commit()
    repo.git("update-index", "--assume-unchanged", "config/a.yaml")
    repo.write("config/a.yaml", "lr: 2\n")
    record = record_of(repo, include=("config",))
    write_run(record.dir)
    commit = experiments.save(record, Outcome())
    assert repo.git("show", f"{commit}:config/a.yaml") == "lr: 2", "not what ran"


def test_a_filter_that_fails_for_many_files_is_one_warning(repos, caplog):
    repo = repos.make("clean_filter")
    for name in "abc":
        repo.write(f"config/{name}.bin", name)
    repo.git("add", "config")
    repo.commit()
    repo.git("config", "filter.large.clean", "false")
    for name in "abc":
        repo.write(f"config/{name}.bin", f"other {name}")
    record = record_of(repo, include=("config",))
    write_run(record.dir)
    with caplog.at_level(logging.WARNING, "dvclive_dvc"):
        commit = experiments.save(record, Outcome())
    assert repo.git("diff", "HEAD", commit, "--", "config") == "", "raw bytes entered"
    assert len(caplog.messages) == 1, "a warning for each of what may be hundreds"
    assert "config/a.bin' and 2 more" in caplog.text, "not all of them are told"


def test_no_hook_and_no_file_system_monitor_runs(repos):
    repo = repos.make("failing_hooks")
    repo.git("config", "core.fsmonitor", ".git/hooks/pre-commit")
    repo.git("config", "core.logAllRefUpdates", "always")
    (repo.root / "hook-ran").unlink(missing_ok=True)
    record = record_of(repo)
    write_run(record.dir)
    experiments.save(record, Outcome())
    assert not (repo.root / "hook-ran").exists()


# Shapes that change what DVC has to read or write; it is slow, so the others are left to the
# tests above. Three are missing because DVC fails in them with an experiment of its own as well:
# `apply` cannot read a name that is no UTF-8 (everything_changed), changes nothing where the
# repository lies elsewhere (separate_git_dir), and stumbles over a changed submodule.
READ_BY_DVC = [
    "alternates",
    "clean_filter",
    "detached_head",
    "dvc_subdirectory",
    "index_version_4",
    "partial_clone",
    "several_dvc_projects",
    "shallow_clone",
    "sparse_checkout",
    "text_auto",
    "worktree",
]


@pytest.mark.parametrize("shape", READ_BY_DVC)
def test_dvc_finds_applies_and_keeps_the_experiment(repos, shape):
    repo = repos.make(shape)
    script = repo.cwd / "src" / "train.py"
    script.write_text(script.read_text() + "LR = 0.1\n")
    record = record_of(repo)
    write_run(record.dir)
    commit = experiments.save(record, Outcome())
    repo.git("checkout", "-q", "-f", "HEAD", "--", str(script))
    shutil.rmtree(record.dir)

    with contextlib.closing(Repo()) as project:
        ((_, found),) = project.experiments.ls().items()
        assert found == [("first-run", commit)]
        project.gc(workspace=True, all_experiments=True, force=True)
        project.experiments.apply("first-run")
    assert script.read_text().endswith("LR = 0.1\n")
    assert (record.dir / "metrics.json").exists()


def test_a_filter_that_fails_costs_its_own_file_alone(repos, caplog):
    repo = repos.make("clean_filter")
    repo.git("config", "filter.large.clean", "false")
    repo.write("weights.bin", "other weights")
    repo.write("src/train.py", "EPOCHS = 4\n")
    record = record_of(repo)
    write_run(record.dir)
    with caplog.at_level(logging.WARNING, "dvclive_dvc"):
        commit = experiments.save(record, Outcome())
    assert repo.git("show", f"{commit}:weights.bin") == repo.git("show", "HEAD:weights.bin")
    assert repo.git("show", f"{commit}:src/train.py") == "EPOCHS = 4"
    assert "'weights.bin' could not be taken" in caplog.text


@pytest.mark.parametrize("clean", ["tr a-z n-za-m", "false"])
def test_the_pointer_of_changed_data_goes_through_its_filter(repos, caplog, clean):
    repo = repos.make("git_and_dvc")
    repo.git("config", "filter.rot.clean", "tr a-z n-za-m")
    repo.git("config", "filter.rot.smudge", "tr a-z n-za-m")
    repo.git("config", "filter.rot.required", "true")
    repo.write(".gitattributes", "*.dvc filter=rot\n")
    repo.write("data.bin", "one")
    repo.dvc("add", "-q", "data.bin")
    repo.git("add", ".")
    repo.commit()
    repo.git("config", "filter.rot.clean", clean)
    repo.write("data.bin", "another")
    with Live(report=None):
        pass
    (commit,) = repo.experiments().values()
    stored = repo.git("show", f"{commit}:data.bin.dvc")
    if clean == "false":
        assert stored == repo.git("show", "HEAD:data.bin.dvc"), "a failing filter was passed by"
        assert "'data.bin.dvc' could not be filtered" in caplog.text
        return
    assert stored.startswith("bhgf:"), f"it entered raw: {stored}"
    (repo.root / "data.bin").unlink()
    repo.git("checkout", "-q", "-f", commit)
    dvc_inside("checkout", "-q")
    assert (repo.root / "data.bin").read_text() == "another"


def test_a_shared_dvcyaml_that_goes_through_a_filter_enters_whole(repos):
    repo = repos.make("git_and_dvc")
    repo.git("config", "filter.rot.clean", "tr n n")
    repo.write(".gitattributes", "dvc.yaml filter=rot\n")
    repo.write("dvc.yaml", "vars:\n- a: 1\n")
    repo.commit()
    for name in ("one", "two"):
        with Live(name, save_dvc_exp=False, dvcyaml="dvc.yaml", report=None) as live:
            live.log_metric("loss", 0.5)
    record = record_of(repo, dir="one", dvcyaml=repo.root / "dvc.yaml")
    commit = experiments.save(record, Outcome())
    entered = repo.git("show", f"{commit}:dvc.yaml")
    assert entered == (repo.root / "dvc.yaml").read_text().strip(), "it was rewritten unfiltered"


def test_line_endings_that_safecrlf_would_refuse_do_not_cost_the_run(repos):
    repo = repos.make("autocrlf")
    repo.git("config", "core.safecrlf", "true")
    (repo.root / "src" / "train.py").write_bytes(b"EPOCHS = 4\r\nLR = 1\n")
    record = record_of(repo)
    write_run(record.dir)
    commit = experiments.save(record, Outcome())
    assert repo.git("show", f"{commit}:src/train.py") == "EPOCHS = 4\nLR = 1"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_tracked_file_that_may_not_be_read_stays_as_it_is_staged(repos, caplog):
    repo = repos.make("git_and_dvc")
    before = repo.git("show", "HEAD:src/train.py")
    secret = repo.write("src/train.py", "SECRET = 1\n")
    secret.chmod(0)
    try:
        with caplog.at_level(logging.WARNING, "dvclive_dvc"):
            commit = experiments.save(record_of(repo), Outcome())
    finally:
        secret.chmod(0o644)
    assert repo.git("show", f"{commit}:src/train.py") == before
    assert "'src/train.py' could not be taken as it is on disk" in caplog.text


def test_a_file_that_no_system_call_reaches_stays_as_it_is_staged(repos, caplog):
    repo = repos.make("git_and_dvc")
    (repo.root / "loop").symlink_to("loop")
    staged = (0o100644, bytes(range(20)))
    blobs = snapshot.Blobs(git.Git(repo.root))
    with caplog.at_level(logging.WARNING, "dvclive_dvc"):
        blobs.add(b"loop/file", staged)
        blobs.add(b"loop/new")
    assert blobs.result() == {b"loop/file": staged}
    assert "'loop/new' could not be taken as it is on disk" in caplog.text


@pytest.mark.parametrize("with_git", [True, False])
def test_a_submodule_in_conflict_stays_at_the_commit_of_ours(repos, with_git, monkeypatch, caplog):
    repo = repos.make("submodules")
    ours = repo.git("rev-parse", "HEAD:clean")
    theirs = repo.git("-C", "moved", "rev-parse", "HEAD")
    lines = f"0 {'0' * 40}\tclean\n" + "".join(
        f"160000 {commit} {stage}\tclean\n" for stage, commit in ((2, ours), (3, theirs))
    )
    repo.git("update-index", "--index-info", input=lines)
    record = record_of(repo)
    write_run(record.dir)
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING, "dvclive_dvc"):
        if not with_git:
            patch.setenv("PATH", "")
        commit = experiments.save(record, Outcome())
    listed = repo.git("ls-tree", commit, "clean")
    assert listed == f"160000 commit {ours}\tclean", "the submodule vanished or moved"
    assert "The submodule 'clean' is in conflict" in caplog.text, "nobody was told"


def test_a_file_of_the_run_that_cannot_be_read_stays_as_it_is_staged(repos, caplog):
    repo = repos.make("git_and_dvc")
    (repo.root / "loop").symlink_to("loop")
    staged = (0o100644, bytes(range(20)))
    blobs = snapshot.Blobs(git.Git(repo.root))
    with caplog.at_level(logging.WARNING, "dvclive_dvc"):
        blobs.add(b"loop/file")
        blobs.amend(b"loop/file", staged)
        assert blobs.result() == {b"loop/file": staged}, "what is staged dropped out"
    assert "the experiment has it as it is staged" in caplog.text, "the warning says otherwise"


def test_no_index_of_its_own_runs_a_hook_or_leaves_half_a_split_index(repos):
    repo = repos.make("clean_filter")
    repo.git("config", "core.splitIndex", "true")
    hook = repo.root / ".git" / "hooks" / "post-index-change"
    hook.write_text("#!/bin/sh\ntouch hook-ran\n")
    hook.chmod(0o755)
    repo.write("weights.bin", "other weights")
    record = record_of(repo)
    write_run(record.dir)
    before = repo.state("dvclive")
    experiments.save(record, Outcome())
    assert not (repo.root / "hook-ran").exists(), "a hook of the user's ran"
    assert repo.state("dvclive") == before, "something was left behind in the repository"


@pytest.mark.parametrize("with_git", [True, False])
def test_a_large_file_without_its_filter_stays_the_pointer_it_was(
    repos, with_git, monkeypatch, caplog
):
    repo = repos.make("git_and_dvc")
    for name in ("weights.bin", "others.bin"):
        repo.write(name, "version https://git-lfs.github.com/spec/v1\n")
    repo.write("code.py", "x = 1\n")
    repo.commit("weights.bin", "others.bin", "code.py")
    repo.write(".gitattributes", "*.bin filter=lfs -text\ndvclive/plots/**/*.png filter=lfs\n")
    repo.write("weights.bin", "raw weights")
    repo.write("others.bin", "raw weights")
    repo.write("code.py", "x = 2\n")
    record = record_of(repo)
    write_run(record.dir)
    repo.write("dvclive/plots/images/a.png", "raw pixels")
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING, "dvclive_dvc"):
        if not with_git:
            patch.setenv("PATH", "")
        commit = experiments.save(record, Outcome())
    for name in ("weights.bin", "others.bin"):
        assert repo.git("show", f"{commit}:{name}").startswith("version "), "raw bytes entered"
    assert repo.git("show", f"{commit}:code.py") == "x = 2", "another file paid for it"
    assert "dvclive/plots/images/a.png" not in repo.git("ls-tree", "-r", commit), (
        "raw bytes entered"
    )
    assert "s.bin'" in caplog.text, "nobody was told of the tracked files"
    assert "'dvclive/plots/images/a.png'" in caplog.text, "nobody was told of the run's own file"
    if with_git:
        assert "git lfs install" in caplog.text, "nobody was told what to do"
        assert caplog.text.count("s.bin'") == 1, "a warning for each of what may be hundreds"


@pytest.mark.parametrize("folder", ["", "data/"])
@pytest.mark.parametrize("how", ["sparse", "deleted", "staged"])
def test_attributes_that_are_not_on_disk_are_taken_from_the_index(repos, folder, how):
    repo = repos.make("git_and_dvc")
    repo.git("config", "filter.large.clean", "sed 's/^/pointer to /'")
    repo.write("data/weights.bin", "weights\n")
    repo.write("data/weights.txt", "weights\n")
    rules = repo.write(f"{folder}.gitattributes", "*.bin filter=large\n*.txt text\n")
    repo.git("add", "." if how != "staged" else f"{folder}.gitattributes")
    if how != "staged":
        repo.git("commit", "-q", "-m", "more")
    if how == "sparse":
        repo.git("update-index", "--skip-worktree", f"{folder}.gitattributes")
    rules.unlink()
    if how == "staged":
        repo.git("add", "data/weights.bin", "data/weights.txt")
    repo.write("data/weights.bin", "other")
    (repo.root / "data" / "weights.txt").write_bytes(b"other\r\n")
    repo.write("data/run/plots/images/a.bin", "pixels")
    record = record_of(repo, dir="data/run")
    write_run(record.dir)
    commit = experiments.save(record, Outcome())
    for name, raw in (("weights.bin", "other"), ("run/plots/images/a.bin", "pixels")):
        stored = repo.git("show", f"{commit}:data/{name}")
        assert stored == f"pointer to {raw}", f"{name} entered raw"
    assert repo.git("cat-file", "-s", f"{commit}:data/weights.txt") == "6", "CR entered"

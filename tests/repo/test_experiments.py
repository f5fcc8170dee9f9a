"""A run becomes an experiment: named, whole, and with nothing of the user's touched."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import dvc.api
import pytest
from dvc.repo import Repo
from saved_runs import files_of, git_of, record_of, saved, write_run
from situations import dvc_inside, python, run

from dvclive_dvc import Live
from dvclive_dvc.backend import Outcome
from dvclive_dvc.errors import SaveError
from dvclive_dvc.repo import data, experiments

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
    found = data.committed(git_of(record), record, lambda path: pytest.fail(f"{path} was hashed"))
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
    for folder in filter(Path.is_dir, (repo.root / ".git" / "refs" / "exps").rglob("*")):
        assert folder.stat().st_mode & 0o020, f"{folder} is closed to the group"


def test_a_file_in_the_place_of_a_submodule_enters(repos):
    repo = repos.make("submodules")
    listing = (line.split("\t") for line in repo.git("ls-files", "-s").splitlines())
    name = next(name for facts, name in listing if facts.startswith("160000"))
    shutil.rmtree(repo.root / name)
    repo.write(name, "a file now\n")
    commit = saved(repo)
    assert repo.git("show", f"{commit}:{name}") == "a file now", "not what is on disk"


def test_a_replaced_commit_leaves_the_files_as_they_are_on_disk(repos):
    repo = repos.make("git_and_dvc")
    baseline = repo.git("rev-parse", "HEAD")
    repo.write("README.md", "newer\n")
    repo.commit()
    newer = repo.git("rev-parse", "HEAD")
    repo.git("reset", "-q", "--hard", baseline)
    repo.git("replace", baseline, newer)
    repo.git("reset", "-q", "--hard")
    assert (repo.root / "README.md").read_text() == "newer\n", "Git has another way now"
    commit = saved(repo)
    assert repo.git("show", f"{commit}:README.md") == "newer", "not what ran"


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


# -- many at once ------------------------------------------------------------------------------

ROUNDS = int(os.environ.get("DVCLIVE_PARALLEL_ROUNDS", "2"))
WORKER = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from types import SimpleNamespace
from saved_runs import files_of, git_of, record_of, saved, write_run
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

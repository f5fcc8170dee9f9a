"""The disk is full, fails, or may not be written: the training goes on and the run comes back."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from faults.rounds import (
    BEGIN,
    END,
    Training,
    next_run_works,
    not_whole,
    of_runs,
    prepare,
    readable,
    recover,
    some,
    violations,
)
from situations import python, run


def complaints(training: Training, number: int, how: str) -> list[str]:
    """What a training must not have suffered from its logger's trouble."""
    broken = [
        f"no reader can take it: {text}" for text in readable(training.repo.root / training.folder)
    ]
    told = training.stderr
    if training.code != 0 and training.began:
        broken.append(f"{how} at {number} ended the training with {training.code}: {told}")
    # Before `Live()` has returned it may refuse, in its own words.
    if training.code != 0 and not training.began and "dvclive_dvc.errors." not in told:
        broken.append(f"{how} at {number}: `Live()` raised something else: {told[-1500:]}")
    return broken


@pytest.mark.parametrize(
    ("begin", "how"),
    [
        (BEGIN, "ENOSPC"),
        (BEGIN, "EIO"),
        (END, "ENOSPC"),
        (END, "EROFS"),
        (BEGIN, "ENOSPC+"),
        (END, "ENOSPC+"),
        (END, "EACCES+"),
    ],
)
def test_a_change_that_fails_ends_no_training_and_loses_no_run(
    repos, figures, faults, changes, begin, how
):
    repo = repos.make("git_and_dvc")
    prepare(repo)
    made = [changes(Training(repo, name), begin) for name in ("first", "second")][1]
    before = repo.state(*of_runs("dvclive"))
    for number in some(made):
        where = f"{how} at change {number} ({made[number - 1]})"
        training = Training(repo, f"run-{number}")
        training.start(**faults(begin, number, how)).wait()
        figures.rounds += 1
        figures.faults += 1
        figures.found(where, complaints(training, number, how))
        figures.found(where, recover(repo))
        # Rows that the disk refused are warned about, and so is a journal that it refused.
        lost = 99 if "writes failed" in training.stderr else 0
        if "it cannot be recovered" in training.stderr:
            training.said = [one for one in training.said if one != ["began"]]
        figures.found(where, violations(repo, before, [training], lost_rows=lost))
    figures.found("at the end", next_run_works(repo, "last"))


def namespace_or_skip() -> tuple[str, ...]:
    """A program that runs another where it may mount, and nobody else sees that."""
    if sys.platform != "linux" or shutil.which("unshare") is None:
        pytest.skip("mounts for one process need Linux and the program `unshare`")
    for command in (("unshare", "-m"), ("unshare", "-rm")):
        if not subprocess.run([*command, "true"], check=False, capture_output=True).returncode:
            return command
    pytest.skip("`unshare` may not make a namespace here, neither as root nor as a user")


# In the small file system: a copy of the repository, room for `argv[3]` bytes, a training; then
# room again, and recovery. What happened goes to standard output.
FULL_DISK = """
import json, os, shutil, subprocess, sys
from pathlib import Path
place, repository, room = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", place], check=True)
root = place / "repository"
shutil.copytree(repository, root, symlinks=True)
subprocess.run(["git", "update-index", "-q", "--refresh"], cwd=root, check=False)
free = os.statvfs(place).f_bavail * os.statvfs(place).f_frsize
with open(place / "filler", "wb") as file:
    os.posix_fallocate(file.fileno(), 0, max(1, free - room))
command = [sys.executable, "train.py", "dvclive", "full", "40"]
training = subprocess.run(command, cwd=root, capture_output=True, text=True)
shutil.copytree(root / "dvclive", Path(repository) / "as-it-was", dirs_exist_ok=True)
(place / "filler").unlink()
command = [sys.executable, "-m", "dvclive_dvc", "recover", "--json"]
recovered = subprocess.run(command, cwd=root, capture_output=True, text=True)
for name in (".git", ".dvc", "dvclive"):
    shutil.rmtree(Path(repository) / name, ignore_errors=True)
    shutil.copytree(root / name, Path(repository) / name, symlinks=True)
print(json.dumps({
    "code": training.returncode, "said": training.stdout, "stderr": training.stderr,
    "recovered": [recovered.returncode, recovered.stdout, recovered.stderr],
}))
"""


@pytest.mark.parametrize("room", [0, 8, 24, 64, 160, 400])
def test_a_full_disk_ends_no_training_and_the_run_comes_back_when_there_is_room(
    repos, figures, room
):
    command = namespace_or_skip()
    repo = repos.make("git_and_dvc")
    prepare(repo)
    place = repo.top.parent / "small"
    place.mkdir()
    done = run(*command, sys.executable, "-c", FULL_DISK, place, repo.root, str(room * 1024))
    facts = json.loads(done.stdout.splitlines()[-1])
    figures.rounds += 1
    figures.faults += 1
    training = Training(repo, "full", stderr=facts["stderr"], code=facts["code"])
    training.said = [json.loads(line) for line in facts["said"].splitlines()]
    figures.found(f"{room} KiB", complaints(training, room, "a full disk"))
    figures.found(f"{room} KiB", [f"as it was: {x}" for x in readable(repo.root / "as-it-was")])
    assert facts["recovered"][0] == 0, facts["recovered"]
    journal = "it cannot be recovered" not in facts["stderr"]
    experiments = repo.experiments()
    if training.began and journal and len(experiments) != 1:
        figures.found(f"{room} KiB", [f"{len(experiments)} experiments: {facts}"])
    for commit in experiments.values():
        figures.found(f"{room} KiB", list(not_whole(repo.root, commit)))
    lines = [line for line in facts["stderr"].splitlines() if "Cannot write" in line]
    assert len(lines) == len(set(lines)), "one warning a file"
    if lines:
        assert "writes failed during this run" in facts["stderr"], "and a count at the end"


# `.git` is mounted once more, read-only, which stops root as well.
READ_ONLY = 'mount --bind .git .git && mount -o remount,bind,ro .git && exec "$@"'


def test_a_read_only_git_folder_ends_no_training_and_the_run_comes_back(repos, figures):
    command = namespace_or_skip()
    repo = repos.make("git_and_dvc")
    prepare(repo)
    before = repo.state(*of_runs("dvclive"))
    training = Training(repo, "read-only")
    training.start(*command, "sh", "-c", READ_ONLY, "sh").wait()
    figures.rounds += 1
    figures.faults += 1
    assert training.ended, training.stderr
    assert training.code == 0
    told = [line for line in training.stderr.splitlines() if "dvclive-dvc recover" in line]
    assert len(told) == 1, training.stderr
    assert "Read-only file system" in told[0]
    assert repo.experiments() == {}
    figures.found("recovery", recover(repo))
    figures.found("recovery", violations(repo, before, [training]))
    assert set(repo.experiments()) == {"read-only"}
    assert "Dvclive-Status: completed" in repo.git(
        "show", "-s", "--format=%B", repo.experiments()["read-only"]
    )
    figures.found("afterwards", next_run_works(repo, "last"))


# A file that something is mounted on cannot be removed, not even by root.
PINNED = 'for file in .dvc/tmp/dvclive/runs/*.json; do mount --bind $file $file; done && "$@"'


def test_a_journal_that_cannot_be_removed_is_named_and_its_run_saved_once(repos):
    command = namespace_or_skip()
    repo = repos.make("git_and_dvc")
    prepare(repo)
    python("import os; from dvclive_dvc import Live; Live(); os.kill(os.getpid(), 9)", check=False)
    recover_twice = f"{sys.executable} -m dvclive_dvc recover; " * 2
    done = run(*command, "sh", "-c", PINNED, "sh", "sh", "-c", recover_twice)
    assert len(repo.experiments()) == 1
    assert done.stdout.count("saved as experiment") == 1, "it is told as saved anew each time"
    assert "cannot be removed. Remove that file." in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="limits are POSIX's")
def test_a_limit_on_the_size_of_files_ends_no_training(repos, figures):
    repo = repos.make("git_and_dvc")
    prepare(repo)
    limited = (
        "import resource, sys, runpy\n"
        "sys.argv = sys.argv[1:]\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (700, resource.RLIM_INFINITY))\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    Path("limited.py").write_text(limited)
    training = Training(repo, "limited", epochs=60)
    training.process = subprocess.Popen(
        [sys.executable, "limited.py", "train.py", "dvclive", "limited", "60"],
        cwd=repo.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    training.wait()
    figures.rounds += 1
    figures.faults += 1
    figures.found("limit", complaints(training, 0, "a limit"))
    assert training.ended, training.stderr
    assert "writes failed during this run" in training.stderr
    figures.found("limit", recover(repo))
    assert set(repo.experiments()) == {"limited"} or "it cannot be recovered" in training.stderr

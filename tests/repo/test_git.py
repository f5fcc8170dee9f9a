"""The repository is found as Git finds it, cheaply, and whatever the environment says."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import tracemalloc

import pytest
from saved_runs import record_of, write_run
from situations import git as run_git
from situations import python, run

from dvclive_dvc.backend import Outcome
from dvclive_dvc.errors import RepositoryError
from dvclive_dvc.repo import experiments, git, snapshot, trees


@pytest.mark.parametrize(
    "shape",
    [
        "alternates",
        "detached_head",
        "dvc_subdirectory",
        "git_and_dvc",
        "nested_folder",
        "partial_clone",
        "rebasing",
        "separate_git_dir",
        "shallow_clone",
        "sparse_index",
        "split_index",
        "submodules",
        "worktree",
    ],
)
def test_the_place_is_the_one_git_names(repos, shape):
    repo = repos.make(shape)
    place = git.locate(repo.cwd, os.environ)
    asked = repo.git(
        "rev-parse", "--path-format=absolute", "--show-toplevel", "--git-dir",
        "--git-common-dir", "HEAD",
    ).splitlines()  # fmt: skip
    found = [str(place.root), str(place.git_dir), str(place.common_dir), place.head]
    assert found == asked
    assert place.variables == {}


def test_there_is_no_place_outside_of_git_and_none_in_a_bare_repository(repos, tmp_path):
    repos.make("no_git")
    assert git.locate(tmp_path / "no_git", os.environ) is None
    run_git("init", "-q", "--bare", "bare.git", cwd=tmp_path)
    assert git.locate(tmp_path / "bare.git", os.environ) is None


def test_without_a_commit_there_is_no_head(repos):
    repo = repos.make("git_without_commit")
    assert git.locate(repo.cwd, os.environ).head is None


def test_head_is_found_in_packed_references(repos):
    repo = repos.make("git_and_dvc")
    head = repo.git("rev-parse", "HEAD")
    repo.git("pack-refs", "--all")
    assert not (repo.root / ".git" / "refs" / "heads" / "main").exists()
    assert git.locate(repo.cwd, os.environ).head == head


_RUN = """\
from dvclive_dvc import Live
with Live(report=None) as live:
    live.log_metric("loss", 1)
"""


@pytest.mark.parametrize("branch", [b"caf\xe9", "café".encode()])
@pytest.mark.parametrize("worktree", [False, True])
def test_a_branch_is_found_whatever_its_name_is_made_of_and_however_text_is_read(
    repos, branch, worktree
):
    repo = repos.make("git_and_dvc")
    name = os.fsdecode(branch)
    if worktree:
        folder = repo.root.with_name(name)
        repo.git("worktree", "add", "-q", "-b", name, folder)
    else:
        folder = repo.root
        repo.git("switch", "-q", "-c", name)
    in_ascii = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
    done = run(sys.executable, "-c", _RUN, cwd=folder, env=in_ascii, check=False)
    assert done.returncode == 0, f"a training cannot begin: {done.stderr}"
    assert len(repo.experiments()) == 1, f"the run is not saved: {done.stderr}"


def test_a_ceiling_is_kept(repos):
    repo = repos.make("nested_folder")
    ceiling = {"GIT_CEILING_DIRECTORIES": str(repo.cwd.parent)}
    assert git.locate(repo.cwd, ceiling) is None


def _save(repo):
    record = record_of(repo)
    write_run(record.dir)
    return experiments.save(record, Outcome())


def test_git_dir_and_work_tree_are_obeyed_after_a_change_of_folder(repos, monkeypatch, tmp_path):
    repo = repos.make("git_and_dvc")
    (repo.root / ".git").rename(tmp_path / "store.git")
    monkeypatch.setenv("GIT_DIR", "../store.git")
    monkeypatch.setenv("GIT_WORK_TREE", ".")
    record = record_of(repo)
    assert record.git_root == repo.root
    repo.write("src/train.py", "EPOCHS = 4\n")
    write_run(record.dir)
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")

    commit = experiments.save(record, Outcome())

    shown = run_git("--git-dir", tmp_path / "store.git", "show", f"{commit}:src/train.py")
    assert shown == "EPOCHS = 4"


def test_git_dir_alone_makes_the_working_directory_the_top(repos, monkeypatch, tmp_path):
    repo = repos.make("git_and_dvc")
    (repo.root / ".git").rename(tmp_path / "store.git")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "store.git"))
    assert git.locate(repo.root, os.environ).root == repo.root


def test_an_index_elsewhere_is_the_one_that_counts(repos, monkeypatch, tmp_path):
    repo = repos.make("git_and_dvc")
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "other-index"))
    repo.git("read-tree", "HEAD")
    repo.write("staged.txt", "there\n")
    repo.git("add", "staged.txt")
    commit = _save(repo)
    assert "staged.txt" in repo.git("ls-tree", "--name-only", commit)
    monkeypatch.delenv("GIT_INDEX_FILE")
    assert "staged.txt" not in repo.git("ls-files")


def test_an_object_folder_elsewhere_takes_the_objects(repos, monkeypatch, tmp_path):
    repo = repos.make("git_and_dvc")
    own = repo.root / ".git" / "objects"
    count = sum(1 for path in own.rglob("*") if path.is_file())
    (tmp_path / "objects").mkdir()
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", str(tmp_path / "objects"))
    monkeypatch.setenv("GIT_ALTERNATE_OBJECT_DIRECTORIES", str(own))
    commit = _save(repo)
    assert sum(1 for path in own.rglob("*") if path.is_file()) == count
    assert repo.git("cat-file", "-t", commit) == "commit"


def test_the_environment_of_whoever_saves_later_does_not_count(repos, monkeypatch, tmp_path):
    repo = repos.make("git_and_dvc")
    record = record_of(repo)
    write_run(record.dir)
    run_git("init", "-q", "other", cwd=tmp_path)
    with monkeypatch.context() as patch:
        patch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
        experiments.save(record, Outcome())
    assert list(repo.experiments()) == ["first-run"]


def test_a_worktree_shares_its_experiments(repos):
    repo = repos.make("worktree")
    commit = _save(repo)
    main = repo.root.parent / "main"
    assert commit in run_git("for-each-ref", "refs/exps", cwd=main)
    assert not (main / "dvclive").exists()


def test_looking_is_quick_whatever_is_tracked_or_was_saved(repos):
    repo = repos.make("git_and_dvc")
    head = repo.git("rev-parse", "HEAD")
    lines = "".join(
        f"create refs/exps/{head[:2]}/{head[2:]}/name-{number} {head}\n" for number in range(3000)
    )
    repo.git("update-ref", "--stdin", input=lines)
    repo.git("pack-refs", "--all")
    times = []
    for _ in range(20):
        begun = time.perf_counter()
        git.locate(repo.cwd, os.environ)
        times.append(time.perf_counter() - begun)
    assert min(times) < 0.003, "the limit is 3 ms; measured over twenty looks"


def test_what_git_says_is_in_the_error(repos):
    repo = repos.make("git_and_dvc")
    with pytest.raises(RepositoryError, match=r"not a git command"):
        git.Git(repo.root).ask("no-such-command")


def test_a_command_is_ended_when_the_waiting_is(repos, monkeypatch):
    repo = repos.make("git_and_dvc")
    program = git.Git(repo.root).start("-c", "alias.nap=!exec sleep 5", "nap")

    def interrupted(*args, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr(program, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        git.answer(program)
    assert program.code == -9


@pytest.mark.parametrize(
    "shape", ["git_and_dvc", "index_version_4", "split_index", "sparse_index", "sparse_checkout"]
)
def test_whether_a_file_is_tracked_is_found_without_reading_the_index(repos, shape):
    repo = repos.make(shape)
    repo.write("src/new.py", "x = 1\n")
    repo.write("src/staged.py", "x = 1\n")
    repo.git("add", "src/staged.py")
    repo.write("src/meant.py", "x = 1\n")
    repo.git("add", "-N", "src/meant.py")
    here = git.Git(repo.root)
    answers = {
        name: bool(snapshot.in_index(here, [f"src/{name}".encode()]))
        for name in ("train.py", "staged.py", "meant.py", "new.py", "rain.py", "")
    }
    assert answers == {
        "train.py": True, "staged.py": True, "meant.py": True, "new.py": False,
        "rain.py": False, "": False,
    }  # fmt: skip
    many = [f"src/{name}".encode() for name in (*answers, *map(str, range(20)))]
    tracked = {f"src/{name}".encode() for name, is_tracked in answers.items() if is_tracked}
    assert snapshot.in_index(here, many) == tracked, "many at once give another answer"
    assert snapshot.in_index(here, []) == set(), "none of none"


def test_git_is_not_needed_to_look(repos, monkeypatch):
    repo = repos.make("git_and_dvc")
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a program was started"))
    assert git.locate(repo.cwd, os.environ).root == repo.root


def test_a_split_index_elsewhere_is_read_with_its_other_half(repos, monkeypatch, tmp_path):
    repo = repos.make("git_and_dvc")
    repo.write("a.dvc", "outs: []\n")
    repo.commit("a.dvc")
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "other-index"))
    repo.git("read-tree", "HEAD")
    repo.git("update-index", "--split-index")
    here = git.Git(repo.root, git.locate(repo.root, os.environ).variables)
    assert snapshot.named_like(here, "", ".dvc") == ["a.dvc"], "a pointer is missed"
    assert snapshot.in_index(here, [b"a.dvc"]) == {b"a.dvc"}, "a tracked file is missed"


@pytest.mark.parametrize(
    "shape", ["git_and_dvc", "index_version_4", "split_index", "sparse_index", "sparse_checkout"]
)
def test_pointers_are_listed_as_git_lists_them(repos, shape, monkeypatch):
    repo = repos.make(shape)
    long = "deep/" * 30
    for name in (
        "a.dvc",
        "src/b.dvc",
        "src/dvc.lock",
        f"{long}c.dvc",
        "dvc.lock",
        "x.dvc.txt",
        "é.dvc",
        "p[1]*/d.dvc",
        "p1/e.dvc",
    ):
        repo.write(name, "outs: []\n")
    repo.git("add", "--sparse", ".")
    repo.write("meant.dvc", "outs: []\n")
    repo.git("add", "-N", "meant.dvc")
    repo.write("untracked.dvc", "outs: []\n")
    for prefix in ("", "src/"):
        asked = repo.git("ls-files", "-z", "--", f"{prefix}*.dvc", f"{prefix}*dvc.lock").split("\0")
        found = snapshot.named_like(git.Git(repo.root), prefix, ".dvc", "dvc.lock")
        assert found == sorted(asked[:-1])
    found = snapshot.named_like(git.Git(repo.root), "p[1]*/", ".dvc", "dvc.lock")
    assert found == ["p[1]*/d.dvc"], "a folder's name is taken for a pattern"
    monkeypatch.setenv("GIT_LITERAL_PATHSPECS", "1")
    again = snapshot.named_like(git.Git(repo.root), "p[1]*/", ".dvc", "dvc.lock")
    assert again == found, "how the user gives paths to Git decides"


def test_of_a_large_index_every_pointer_is_found_in_little_memory(repos):
    repo = repos.make("git_and_dvc")
    blob = repo.git("hash-object", "-w", "src/train.py").strip()
    # Twelve megabytes; names of several lengths, so that parts end at all places of an entry.
    names = [f"data/{'x' * (number % 97)}{number}.dvc" for number in range(80_000)]
    lines = "".join(f"100644 {blob}\t{name}\n" for name in names)
    subprocess.run(
        ["git", "update-index", "--add", "--index-info"], cwd=repo.root, input=lines, text=True,
        check=True,
    )  # fmt: skip
    index = repo.root / ".git" / "index"
    tracemalloc.start()
    with contextlib.closing(snapshot._parts(index.open("rb"))) as parts:
        count = sum(1 for _ in parts)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count > 2, "the index of this test is too small"
    assert peak < index.stat().st_size, "the whole index was held at once"
    assert snapshot.named_like(git.Git(repo.root), "data/", ".dvc") == sorted(names)


def test_objects_that_only_an_alternate_named_by_the_environment_has_are_found(
    repos, monkeypatch, tmp_path
):
    repo = repos.make("git_and_dvc")
    own = repo.root / ".git" / "objects"
    own.rename(tmp_path / "others")
    own.mkdir()
    monkeypatch.setenv("GIT_ALTERNATE_OBJECT_DIRECTORIES", "../others")
    commit = _save(repo)
    assert repo.git("show", f"{commit}:src/train.py") == repo.git("show", "HEAD:src/train.py")
    assert (own / commit[:2] / commit[2:]).exists(), "the commit went elsewhere"


# Configuration that Git reads and libgit2 does not.
def _by_count(monkeypatch, home, repo, **settings):
    monkeypatch.setenv("GIT_CONFIG_COUNT", str(len(settings)))
    for number, (name, value) in enumerate(settings.items()):
        monkeypatch.setenv(f"GIT_CONFIG_KEY_{number}", name.replace("_", "."))
        monkeypatch.setenv(f"GIT_CONFIG_VALUE_{number}", value)


def _by_parameters(monkeypatch, home, repo, **settings):
    quoted = {
        name.replace("_", "."): value.replace("'", r"'\''") for name, value in settings.items()
    }
    texts = (f"'{name}={value}'" for name, value in quoted.items())
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", " ".join(texts))


def _in_a_file(path, settings):
    for name, value in settings.items():
        run_git("config", "--file", path, name.replace("_", "."), value)
    return str(path)


def _by_global_file(monkeypatch, home, repo, **settings):
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", _in_a_file(home / "another", settings))


def _by_system_file(monkeypatch, home, repo, **settings):
    monkeypatch.delenv("GIT_CONFIG_NOSYSTEM")
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", _in_a_file(home / "system", settings))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)


def _by_remote(monkeypatch, home, repo, **settings):
    repo.git("config", "remote.origin.url", "https://example.com/a.git")
    file = _in_a_file(home / "for-example", settings)
    run_git(
        "config", "--global", "includeIf.hasconfig:remote.*.url:https://example.com/**.path", file
    )


GIVEN = [_by_count, _by_parameters, _by_global_file, _by_system_file, _by_remote]


@pytest.mark.parametrize("given", GIVEN)
def test_configuration_that_libgit2_does_not_read_counts(repos, given, monkeypatch, home):
    repo = repos.make("git_and_dvc")
    repo.write("weights.bin", "weights")
    repo.commit("weights.bin")
    (home / "attributes").write_text("*.bin filter=large\n")
    settings = {
        "core_autocrlf": "input",
        "core_attributesFile": str(home / "attributes"),
        "filter_large_clean": "sed 's/^/pointer to /'",
        "user_name": "Grace Other",
        "user_email": "grace@example.com",
    }
    given(monkeypatch, home, repo, **settings)
    (repo.root / "src" / "train.py").write_bytes(b"EPOCHS = 4\r\n")
    repo.write("weights.bin", "other")
    commit = _save(repo)
    author = repo.git("log", "-1", "--format=%an <%ae> %cn", commit)
    assert author == "Grace Other <grace@example.com> Grace Other", "another is the author"
    assert repo.git("cat-file", "-s", f"{commit}:src/train.py") == "11", "CR entered"
    assert repo.git("show", f"{commit}:weights.bin") == "pointer to other", "raw bytes entered"


def test_a_users_file_that_the_environment_takes_away_does_not_count(repos, monkeypatch, home):
    repo = repos.make("git_and_dvc")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    repo.git("config", "user.email", "here@example.com")
    assert git.Git(repo.root).setting("user.name") is None, "what Git does not read counts"
    assert git.Git(repo.root).setting("user.email") == "here@example.com"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a repository away")
@pytest.mark.parametrize("trusted", [True, False])
def test_a_repository_that_git_trusts_by_the_environment_is_used(repos, trusted, monkeypatch):
    repo = repos.make("git_and_dvc")
    for path in (repo.root, repo.root / ".git"):
        os.chown(path, 1234, 1234)
    place = str(repo.root) if trusted else "/elsewhere"
    script = (
        "from dvclive_dvc import Live\n"
        "with Live(report=None) as live:\n"
        "    live.log_metric('loss', 1)\n"
        "    open('model.pt', 'w').write('weights')\n"
        "    live.log_artifact('model.pt')\n"
    )
    variables = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": place,
    }
    done = run(sys.executable, "-c", script, cwd=repo.root, env=variables, check=False)
    if not trusted:
        assert "Git does not trust the repository" in done.stderr, done.stderr
        return
    assert done.returncode == 0, done.stderr
    assert (repo.root / "model.pt.dvc").exists(), f"the artifact was not cached: {done.stderr}"
    listed = repo.git("for-each-ref", "refs/exps", env=variables)
    assert listed, f"the run was not saved: {done.stderr}"


def test_looking_at_the_usual_configuration_starts_no_program(repos, monkeypatch):
    repo = repos.make("git_and_dvc")
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a program was started"))
    assert git.Git(repo.root).setting("user.name") == "Ada Tester"


def test_a_folder_of_more_files_than_are_remembered_is_read_once_for_all_of_them(
    repos, monkeypatch
):
    repo = repos.make("git_and_dvc")
    for number in range(40):
        repo.write(f"data/deep/{number}", "x")
    repo.commit()
    here = git.Git(repo.root)
    tree = trees.of_commit(here.repo, repo.git("rev-parse", "HEAD"))
    monkeypatch.setattr(git, "_REMEMBERED", 10)
    reads = []
    real = here.read
    monkeypatch.setattr(here, "read", lambda sha: reads.append(sha) or real(sha))
    found = [trees.find(here, tree, f"data/deep/{number}".encode()) for number in range(40)]
    assert None not in found, "a file is not found"
    assert len(reads) == 3, "a folder was read again for another of its files"


REAPED = {
    "ignored": "signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
    "fetched": "signal.signal(signal.SIGCHLD, lambda *_: fetch())",
}
ASKED = """
import contextlib, os, signal
from pathlib import Path
from dvclive_dvc.errors import RepositoryError
from dvclive_dvc.repo.git import Git

def fetch():
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass

{how}
git = Git(Path.cwd())
assert git.ask("rev-parse", "--show-toplevel").strip() == os.fsencode(Path.cwd())
for arguments in (["no-such-command"], ["-c", "alias.dies=!kill -9 $PPID", "dies"]):
    try:
        git.ask(*arguments)
    except RepositoryError as error:
        print(error)
print(git.ignores(b"ignored.txt"), git.ignores(b"README.md"))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGCHLD"), reason="no such signal here")
@pytest.mark.parametrize("how", REAPED)
def test_what_git_ends_with_is_known_whoever_fetches_it(repos, how):
    repo = repos.make("git_and_dvc")
    repo.write(".gitignore", "ignored.txt\n")
    told = python(ASKED.format(how=REAPED[how])).stdout.splitlines()
    assert "not a git command" in told[0], "a failure passes for success"
    assert any("failed with -9" in line for line in told), told
    assert told[-1] == "True False"

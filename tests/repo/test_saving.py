"""A run is saved with its own files alone, whatever else goes on in the project."""

from __future__ import annotations

import json
import logging
import os
import sys
import types

import dvc.api
import pytest
from situations import dvc_inside, git, python

from dvclive_dvc import Live
from dvclive_dvc.errors import InvalidValueError


def entries_of(repo, commit, *paths):
    """Hashes of what a commit has at the paths, by name."""
    lines = repo.git("ls-tree", "-r", commit, *paths).splitlines()
    return {line.split("\t")[1]: line.split()[2] for line in lines}


@pytest.fixture
def two(repos):
    """A repository that tracks the results of two runs, each with an artifact, as they were."""
    repo = repos.make("git_and_dvc")
    for name in ("one", "two"):
        repo.write(f"{name}.pt", "first weights")
        with Live(f"runs/{name}", save_dvc_exp=False, report=None) as live:
            live.log_metric("loss", 0.5)
            live.log_artifact(f"{name}.pt")
    repo.write("runs/two/notes.txt", "kept")
    repo.git("add", "-A")
    repo.commit()
    return repo


def start(repo, name, **more):
    """A run that has logged something, its artifact included, and goes on."""
    live = Live(f"runs/{name}", exp_name=name, report=None, **more)
    live.log_metric("loss", 0.1)
    (repo.root / f"{name}.pt").unlink()
    repo.write(f"{name}.pt", f"weights of {name}")
    live.log_artifact(f"{name}.pt")
    live.make_summary()
    return live


@pytest.mark.parametrize("program", [True, False])
def test_what_another_run_changed_so_far_is_not_in_the_experiment(
    two, tmp_path, monkeypatch, program
):
    other = start(two, "two")
    (two.root / "runs/two/notes.txt").unlink()
    two.write("two.pt", "half of the next weights")
    run = start(two, "one")
    with monkeypatch.context() as within:
        if not program:
            within.setenv("PATH", str(tmp_path / "no-git"))
        run.end()
    saved = two.experiments()["one"]
    committed = entries_of(two, "HEAD", "runs/two", "two.pt.dvc")
    assert entries_of(two, saved, "runs/two", "two.pt.dvc") == committed, (
        "files of a run that goes on are in the experiment as they happened to be, or gone from it"
    )
    assert entries_of(two, saved, "one.pt.dvc") != entries_of(two, "HEAD", "one.pt.dvc"), (
        "the run's own artifact is not in its experiment"
    )
    other.end()
    saved = two.experiments()["two"]
    assert "runs/two/notes.txt" not in entries_of(two, saved, "runs"), (
        "what the run itself deleted is in its experiment"
    )
    assert entries_of(two, saved, "two.pt.dvc") != committed["two.pt.dvc"], (
        "the pointer of the run's own artifact stayed as it was"
    )


@pytest.mark.parametrize("ended", [True, False], ids=["ended", "goes on"])
@pytest.mark.parametrize("folder", [False, True], ids=["file", "folder"])
@pytest.mark.parametrize("commit_data", [True, False])
def test_a_run_has_the_artifact_that_it_logged_though_another_logs_the_path_later(
    repos, ended, folder, commit_data, caplog
):
    repo = repos.make("git_and_dvc")
    name = "weights" if folder else "model.pt"
    file = repo.root / "weights" / "model.pt" if folder else repo.root / "model.pt"
    options = {"report": None, "commit_data": commit_data}
    runs = {"second": Live("runs/second", exp_name="second", **options)}
    repo.write(file, "weights of an earlier epoch")
    runs["second"].log_artifact(name)
    for run in ("first", "second"):
        if run == "first":
            runs[run] = Live(f"runs/{run}", exp_name=run, **options)
        file.unlink(missing_ok=True)  # DVC may have linked it
        repo.write(file, f"weights of the {run} run")
        runs[run].log_artifact(name)
    if ended:
        runs["second"].end()
    runs["first"].end()
    runs["second"].end()
    told = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
    assert len([one for one in told if "Another run has logged" in one]) == 1, f"told: {told}"
    for run, commit in repo.experiments().items():
        repo.git("checkout", "-q", "--force", "--detach", commit)
        dvc_inside("checkout", "-q", "--force")
        assert file.read_text() == f"weights of the {run} run", "it has another run's model"


def test_an_artifact_that_the_user_adds_anew_is_no_other_runs(repos, caplog):
    repo = repos.make("git_and_dvc")
    run = Live("runs/one", report=None)
    with Live("runs/two", report=None) as other:
        repo.write("model.pt", "weights of the other run")
        other.log_artifact("model.pt")
    for text in ("weights of this run", "weights that the user chose"):
        (repo.root / "model.pt").unlink()  # DVC may have linked it
        repo.write("model.pt", text)
        if "user" in text:
            dvc_inside("add", "-q", "model.pt")
        else:
            run.log_artifact("model.pt")
    run.end()
    assert "Another run" not in caplog.text, "a run that had ended is blamed"
    commit = next(one for one in repo.experiments().values() if has_dir(repo, one, "runs/one"))
    assert dvc.api.read("model.pt", repo=str(repo.root), rev=commit) == text, "not the user's"


def has_dir(repo, commit, folder):
    return bool(repo.git("ls-tree", "-r", "--name-only", commit, folder))


@pytest.mark.parametrize("data", ["table.csv", "tables"])
@pytest.mark.parametrize("logged_first", [True, False])
def test_data_that_the_user_changed_is_in_every_experiment_whichever_run_logs_it(
    two, data, logged_first
):
    file = two.root / data / "a.csv" if data == "tables" else two.root / data
    two.write(file, "old")
    dvc_inside("add", "-q", data)
    two.git("add", "-A")
    two.commit()
    file.write_text("new")
    for path in (file, two.root / data):
        os.utime(path, (1, 1))  # long before both runs
    other = Live("runs/two", exp_name="two", report=None)
    other.log_metric("loss", 1)
    run = Live("runs/one", exp_name="one", report=None)
    run.log_metric("loss", 1)
    if logged_first:
        other.log_artifact(data)
    run.end()
    if not logged_first:
        other.log_artifact(data)
    other.end()
    one, two_ = (entries_of(two, two.experiments()[name], f"{data}.dvc") for name in ("one", "two"))
    assert one == two_ != entries_of(two, "HEAD", f"{data}.dvc"), (
        "an experiment has other data than its run used"
    )


def test_the_users_staged_files_in_another_runs_folder_enter_as_they_are_staged(two):
    two.write("runs/two/notes.txt", "staged")
    two.git("add", "runs/two/notes.txt")
    other = start(two, "two")
    two.write("runs/two/notes.txt", "written by the other run")
    start(two, "one").end()
    other.end()
    assert two.git("show", f"{two.experiments()['one']}:runs/two/notes.txt") == "staged", (
        "the index is what the user gave to Git"
    )


def test_an_included_folder_around_another_runs_does_not_bring_that_along(repos):
    repo = repos.make("git_and_dvc")
    repo.write("runs/settings.yaml", "lr: 1\n")
    other = Live("runs/two", report=None)
    other.log_metric("loss", 1)
    with Live("runs/one", exp_name="one", report=None, include=["runs"]) as live:
        live.log_metric("loss", 1)
    other.end()
    files = entries_of(repo, repo.experiments()["one"], "runs")
    assert "runs/settings.yaml" in files, "an included file is missing"
    assert "runs/one/metrics.json" in files, "the run's own files are missing"
    assert not [name for name in files if name.startswith("runs/two/")], "another run's files"


def test_a_run_inside_the_folder_of_another_leaves_out_the_outer_ones_files(repos):
    repo = repos.make("git_and_dvc")
    for folder in ("runs", "runs/fold"):
        with Live(folder, save_dvc_exp=False, report=None) as live:
            live.log_metric("loss", 0.5)
    repo.git("add", "-A")
    repo.commit()
    outer, inner = (Live(one, exp_name=one[-4:], report=None) for one in ("runs", "runs/fold"))
    for live in (outer, inner):
        live.log_metric("loss", 0.1)
        live.make_summary()
    inner.end()
    outer.end()
    saved = repo.experiments()["fold"]
    (own, outers) = (
        entries_of(repo, saved, path) == entries_of(repo, "HEAD", path)
        for path in ("runs/fold/metrics.json", "runs/metrics.json")
    )
    assert not own, "the inner run's own results are not in its experiment"
    assert outers, "the inner run's experiment has results of the run around it"


def test_a_dvcyaml_of_other_runs_enters_without_their_entries(repos):
    repo = repos.make("git_and_dvc")
    repo.write("dvc.yaml", "vars:\n- a: 1   # mine\n")
    repo.commit()
    other = Live("runs/two", dvcyaml="dvc.yaml", report=None)
    other.log_metric("loss", 1)
    other.next_step()
    with Live("runs/one", exp_name="one", report=None) as live:
        live.log_metric("loss", 1)
    assert "runs/two/metrics.json" in (repo.root / "dvc.yaml").read_text()
    other.end()
    entered = repo.git("show", f"{repo.experiments()['one']}:dvc.yaml")
    assert "runs/two" not in entered, "DVC would look for files that the experiment lacks"
    _, head = json.loads(dvc_inside("exp", "show", "--json"))
    assert [one["revs"][0]["error"] for one in head["experiments"]] == [None, None]


# -- what the user includes ----------------------------------------------------------------------


def test_a_user_whom_the_system_does_not_know_saves_a_run_without_a_home(repos, monkeypatch):
    repo = repos.make("git_and_dvc")
    repo.write("data.bin", "one")
    repo.dvc("add", "-q", "data.bin")
    repo.git("add", ".")
    repo.commit()
    repo.write("data.bin", "another")
    for name in ("HOME", "GIT_CONFIG_GLOBAL", "DVC_GLOBAL_CONFIG_DIR", "DVCLIVE_DVC_CACHE"):
        monkeypatch.delenv(name)
    for name in ("CONFIG", "CACHE", "DATA", "STATE"):
        monkeypatch.delenv(f"XDG_{name}_HOME")
    script = (
        # As in a container that is started with another user's number.
        "import pwd\n"
        "def unknown(uid): raise KeyError(uid)\n"
        "pwd.getpwuid = unknown\n"
        "from dvclive_dvc import Live\n"
        "with Live(report='html') as live:\n"
        "    live.log_metric('loss', 1)\n"
        "    live.next_step()\n"
    )
    done = python(script, cwd=repo.root)
    (commit,) = repo.experiments().values()
    assert repo.git("show", f"{commit}:dvclive/metrics.json"), "the run's files are not in there"
    assert (repo.root / "dvclive" / "report.html").exists(), done.stderr
    warnings = [line for line in done.stderr.splitlines() if "WARNING" in line]
    assert len(warnings) <= 1, "the same was told more than once"
    if warnings:
        assert "changes of its data are not in the experiment" in warnings[0], "DVC is to blame"
    assert not (repo.root / "~").exists(), "a folder was made for the home that there is none of"


def test_what_git_ignores_in_an_included_folder_stays_out_and_what_is_named_itself_enters(repos):
    repo = repos.make("git_and_dvc")
    repo.write(".gitignore", ".env\n__pycache__/\nbuild/\n*.local\n")
    repo.commit()
    for name in (
        "config/a.yaml", "config/.env", "config/deep/__pycache__/a.pyc", "config/deep/b.yaml",
        "build/made.txt", "my.local", "other.local",
    ):  # fmt: skip
        repo.write(name, name)
    with Live(exp_name="one", report=None, include=["config", "build", "my.local"]) as live:
        live.log_metric("loss", 1)
    files = entries_of(repo, repo.experiments()["one"], "config", "build", ".")
    entered = {name for name in files if not name.startswith(("dvclive/", "src/", "."))}
    assert entered - {"README.md"} == {
        "config/a.yaml", "config/deep/b.yaml", "build/made.txt", "my.local"
    }, "a secret or a by-product enters, or what was named does not"  # fmt: skip


def _told_by_the_environment(repo, monkeypatch):
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.excludesFile")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", str(_rules_elsewhere(repo)))


def _told_by_another_users_file(repo, monkeypatch):
    file = repo.root.parent / "user.gitconfig"
    repo.git("config", "-f", file, "core.excludesFile", _rules_elsewhere(repo))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(file))


def _left_to_the_index(repo, _):
    repo.write("config/.gitignore", ".env\nsecret*\n")
    repo.git("add", "config/.gitignore")
    repo.commit()
    repo.git("sparse-checkout", "set", "--no-cone", "/*", "!/config/.gitignore")
    assert not (repo.root / "config" / ".gitignore").exists()


def _rules_elsewhere(repo):
    rules = repo.root.parent / "rules"
    rules.write_text(".env\nsecret*\n")
    return rules


@pytest.mark.parametrize(
    "told", [_told_by_the_environment, _told_by_another_users_file, _left_to_the_index]
)
@pytest.mark.parametrize("kept", [True, False])
def test_what_git_alone_knows_to_be_ignored_stays_out_of_an_included_folder(
    repos, monkeypatch, told, kept
):
    repo = repos.make("git_and_dvc")
    repo.write("config/a.yaml", "lr: 1\n")
    repo.git("add", "config/a.yaml")
    repo.commit()
    told(repo, monkeypatch)
    for name in ("config/.env", "config/secrets/key", "config/new.yaml"):
        repo.write(name, name)
    module = types.ModuleType("secret")
    module.__file__ = str(repo.write("config/secret.py", "KEY = 1\n"))
    monkeypatch.setitem(sys.modules, "secret", module)
    with Live(exp_name="one", report=None, include=["config"]) as live:
        live.log_metric("loss", 1)
        if not kept:
            (repo.root / "config" / "secret.py").unlink()
    entered = set(entries_of(repo, repo.experiments()["one"], "config"))
    assert entered - {"config/.gitignore"} == {"config/a.yaml", "config/new.yaml"}, (
        "what Git ignores is in the experiment, or what it does not is missing"
    )


@pytest.mark.parametrize("way", ["the top", "through a link", "a link to it"])
def test_an_included_path_may_be_spelt_in_every_way(repos, tmp_path, way):
    repo = repos.make("git_and_dvc")
    repo.write("config/local.yaml", "lr: 1\n")
    link = tmp_path / "link"
    link.symlink_to(repo.root / "config" if way == "a link to it" else repo.root)
    given = {"the top": ".", "through a link": link / "config" / "local.yaml", "a link to it": link}
    with Live(exp_name="one", report=None, include=[given[way]]) as live:
        live.log_metric("loss", 1)
    files = entries_of(repo, repo.experiments()["one"])
    assert "config/local.yaml" in files, "an included file is missing"
    assert not [name for name in files if name.startswith(".dvc/tmp")], "DVC's own files are in it"


def test_an_included_path_outside_of_the_repository_is_refused_at_the_start(repos, tmp_path):
    repo = repos.make("git_and_dvc")
    (tmp_path / "elsewhere.yaml").write_text("lr: 1\n")
    before = repo.state()
    with pytest.raises(InvalidValueError, match="outside of the Git repository"):
        Live(report=None, include=[tmp_path / "elsewhere.yaml"])
    assert repo.state() == before, "a refused run leaves something behind"
    assert not os.path.lexists(repo.root / "dvclive"), "a refused run leaves its folder behind"


def test_a_missing_included_path_is_told_at_the_start_and_enters_when_it_is_written(repos, caplog):
    repo = repos.make("git_and_dvc")
    caplog.set_level(logging.WARNING, "dvclive_dvc")
    with Live(exp_name="one", report=None, include=["later.yaml"]) as live:
        assert "later.yaml', of Live(include=...), is not there yet" in caplog.text, (
            "a mistyped path is told after hours only"
        )
        live.log_metric("loss", 1)
        repo.write("later.yaml", "lr: 1\n")
        caplog.clear()
    assert "later.yaml" in entries_of(repo, repo.experiments()["one"], "later.yaml")
    assert not caplog.messages, "what was written in time is warned about"


@pytest.mark.parametrize("fate", ["edited", "deleted"])
@pytest.mark.parametrize("include", ["tools", "tools/new.py"])
def test_an_included_script_is_saved_as_it_ran(repos, monkeypatch, fate, include):
    repo = repos.make("git_and_dvc")
    script = repo.write("tools/new.py", "EPOCHS = 5\n")
    main = types.ModuleType("__main__")
    main.__file__ = str(script)
    monkeypatch.setitem(sys.modules, "__main__", main)
    with Live(exp_name="one", report=None, include=[include]) as live:
        live.log_metric("loss", 1)
        script.unlink()
        if fate == "edited":
            repo.write("tools/new.py", "EPOCHS = 6\n")
        else:
            repo.write("tools/other.py", "")
    entered = repo.git("show", f"{repo.experiments()['one']}:tools/new.py")
    assert entered == "EPOCHS = 5", "the experiment has another script than the one that ran"


def _nested(repo, folder):
    """Another repository in a folder of this one, with a commit."""
    repo.write(f"{folder}/kept.txt", folder)
    git("init", "-q", cwd=repo.root / folder)
    git("add", ".", cwd=repo.root / folder)
    git("commit", "-q", "-m", "nested", cwd=repo.root / folder)


def test_a_repository_in_the_runs_folder_enters_as_its_files(repos, caplog):
    repo = repos.make("git_and_dvc")
    with Live(exp_name="one", report=None) as live:
        live.log_metric("loss", 1)
        _nested(repo, "dvclive/ckpt")
        _nested(repo, "dvclive/plots")
        repo.git("worktree", "add", "-q", "--no-checkout", "dvclive/beside")
        repo.write("dvclive/beside/note.txt", "a linked worktree")
    nested = {
        "dvclive/ckpt/kept.txt", "dvclive/plots/kept.txt", "dvclive/beside/note.txt",
        "dvclive/plots/metrics/loss.tsv",
    }  # fmt: skip
    entered = entries_of(repo, repo.experiments()["one"], "dvclive")
    assert set(entered) == {*nested, "dvclive/dvc.yaml", "dvclive/metrics.json"}, (
        "files of the run are missing, or a repository's own are in the experiment"
    )
    assert not caplog.messages, "nothing is lost, and yet there is a warning"
    repo.dvc("exp", "branch", "-q", "one", "of-one")
    before = git("rev-parse", "HEAD", cwd=repo.root / "dvclive/ckpt")
    for path in nested:
        (repo.root / path).unlink()
    repo.git("checkout", "-q", "-f", "of-one")
    assert repo.git("status", "--short") == "", "Git sees something else than it checked out"
    assert (repo.root / "dvclive/ckpt/kept.txt").read_text() == "dvclive/ckpt"
    after = git("rev-parse", "HEAD", cwd=repo.root / "dvclive/ckpt")
    assert after == before, "the checkout took something of the other repository"
    repo.git("checkout", "-q", "main")
    repo.dvc("exp", "apply", "-q", "one")
    assert all((repo.root / path).is_file() for path in nested), "`dvc exp apply` brings not all"


def test_a_submodule_in_the_runs_folder_stays_the_commit_that_is_staged(repos):
    repo = repos.make("git_and_dvc")
    with Live(exp_name="one", report=None) as live:
        live.log_metric("loss", 1)
        _nested(repo, "dvclive/ckpt")
        repo.git("-c", "advice.addEmbeddedRepo=false", "add", "dvclive/ckpt")
    listed = repo.git("ls-tree", repo.experiments()["one"], "dvclive/ckpt")
    assert listed.startswith("160000 commit"), "the submodule became a folder"


def test_a_repository_in_an_included_folder_is_told_of_and_enters_when_named(repos, caplog):
    repo = repos.make("git_and_dvc")
    repo.write("tools/new.py", "")
    _nested(repo, "tools/lib")
    with Live(exp_name="one", report=None, include=["tools"]) as live:
        live.log_metric("loss", 1)
    assert list(entries_of(repo, repo.experiments()["one"], "tools")) == ["tools/new.py"]
    (warning,) = caplog.messages
    assert f"'{repo.root / 'tools/lib'}', inside of" in warning, "nobody says what is missing"
    assert "name it in Live(include=...) as well" in warning, "nobody says what to do"
    caplog.clear()
    with Live("second", exp_name="two", report=None, include=["tools", "tools/lib"]) as live:
        live.log_metric("loss", 1)
    entered = list(entries_of(repo, repo.experiments()["two"], "tools"))
    assert entered == ["tools/lib/kept.txt", "tools/new.py"], "what was named does not enter"
    assert not caplog.messages, "what was named is told to be missing"


def test_a_loaded_module_that_git_ignores_in_an_included_folder_stays_out(repos, monkeypatch):
    repo = repos.make("git_and_dvc")
    repo.write(".gitignore", "secret.py\n")
    repo.commit()
    repo.write("tools/new.py", "")
    module = types.ModuleType("secret")
    module.__file__ = str(repo.write("tools/secret.py", "KEY = 1\n"))
    monkeypatch.setitem(sys.modules, "secret", module)
    with Live(exp_name="one", report=None, include=["tools"]) as live:
        live.log_metric("loss", 1)
    files = entries_of(repo, repo.experiments()["one"], "tools")
    assert list(files) == ["tools/new.py"], "what Git ignores is in the experiment"

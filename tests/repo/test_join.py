"""The run's files become part of the commit that DVC is about to make."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from situations import git

from dvclive_dvc.layout import Layout
from dvclive_dvc.repo import join
from dvclive_dvc.repo.context import detect


@pytest.fixture
def repo(repos):
    return repos.make("git_and_dvc")


def put(*names):
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(name)


def joined(repo, *pointers, kept=(), layout=None):
    """Joins the run in `dvclive`; what the index holds now beyond the commit."""
    join.into_dvc_commit(detect(environ={}), layout or Layout.at("dvclive"), pointers, kept)
    names = repo.git("diff", "--cached", "--name-only", "-z").split("\0")
    return {name for name in names if name}


def test_all_of_the_run_joins_and_nothing_else(repo):
    put("dvclive/metrics.json", "dvclive/plots/metrics/a.tsv", "notes.txt", "dvclive2/metrics.json")
    assert joined(repo) == {"dvclive/metrics.json", "dvclive/plots/metrics/a.tsv"}


def test_a_name_is_a_name_and_no_pattern(repo):
    names = {f"dvclive/plots/metrics/{one}.tsv" for one in ("*", "[a]", "a b", "ä", "a\nb", ":x")}
    put(*names, "dvclive.txt")
    assert joined(repo) == names


def test_what_git_ignores_joins_too(repo):
    put(".gitignore", "dvclive/report.html")
    Path(".gitignore").write_text("dvclive/\n*.html\n")
    assert joined(repo) == {"dvclive/report.html"}


def test_a_repository_in_the_runs_folder_joins_as_its_files(repo):
    put("dvclive/plots/metrics/a.tsv", "dvclive/ckpt/w.txt", "dvclive/lib/a.py")
    for name in ("plots", "ckpt", "lib"):
        git("init", "-q", cwd=repo.root / "dvclive" / name)
    git("commit", "-q", "--allow-empty", "-m", "start", cwd=repo.root / "dvclive" / "lib")
    repo.git("-c", "advice.addEmbeddedRepo=false", "add", "dvclive/lib")
    assert joined(repo) == {"dvclive/plots/metrics/a.tsv", "dvclive/ckpt/w.txt", "dvclive/lib"}
    entry = repo.git("ls-files", "-s", "dvclive/lib")
    assert entry.startswith("160000"), "the submodule became a folder"


def test_what_dvc_keeps_stays_out(repo):
    put("dvclive/metrics.json", "dvclive/plots/metrics/a.tsv", "dvclive/artifacts/m.pt")
    put("dvclive/artifacts/m.pt.dvc")
    kept = [repo.root.resolve() / "dvclive" / "plots"]
    assert joined(repo, kept=kept) == {"dvclive/metrics.json", "dvclive/artifacts/m.pt.dvc"}


def test_a_folder_that_is_an_output_as_a_whole_is_left_to_dvc(repo):
    put("dvclive/metrics.json")
    assert joined(repo, kept=[repo.root.resolve() / "dvclive"]) == set()


def test_pointers_and_another_dvcyaml_join(repo):
    put("dvclive/metrics.json", "model.pt.dvc", ".gitignore", "sub/dvc.yaml")
    layout = Layout.at("dvclive", "sub/dvc.yaml")
    pointers = [Path("model.pt.dvc").resolve(), Path(".gitignore").resolve()]
    assert joined(repo, *pointers, layout=layout) == {
        "dvclive/metrics.json",
        "model.pt.dvc",
        ".gitignore",
        "sub/dvc.yaml",
    }


def test_a_folder_takes_the_place_of_a_tracked_file(repo):
    put("dvclive")
    repo.commit()
    Path("dvclive").unlink()
    put("dvclive/metrics.json")
    assert joined(repo) == {"dvclive", "dvclive/metrics.json"}


def test_a_run_outside_of_git_joins_nothing(repo, tmp_path):
    put(str(tmp_path / "run" / "metrics.json"))
    assert joined(repo, layout=Layout.at(tmp_path / "run")) == set()


def test_a_lock_of_the_index_is_waited_for(repo):
    put("dvclive/metrics.json")
    lock = repo.root / ".git" / "index.lock"
    lock.touch()
    timer = threading.Timer(0.3, lock.unlink)
    timer.start()
    assert joined(repo) == {"dvclive/metrics.json"}
    timer.join()


def test_a_lock_that_stays_is_a_warning_that_says_what_to_do(repo, caplog, monkeypatch):
    monkeypatch.setattr(join, "_PATIENCE", 0.2)
    put("dvclive/metrics.json")
    lock = repo.root / ".git" / "index.lock"
    lock.touch()
    join.into_dvc_commit(detect(environ={}), Layout.at("dvclive"), ())
    [warning] = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert "dvc exp save -I dvclive" in warning
    assert lock.exists(), "the lock is another's"


def test_a_linked_worktree_has_its_own_index(repo, monkeypatch):
    repo.git("worktree", "add", "-q", "../beside")
    monkeypatch.chdir(repo.root.parent / "beside")
    put("dvclive/metrics.json")
    join.into_dvc_commit(detect(environ={}), Layout.at("dvclive"), ())
    assert git("diff", "--cached", "--name-only") == "dvclive/metrics.json"
    assert repo.git("diff", "--cached", "--name-only") == ""


def test_a_dvcyaml_in_a_submodule_does_not_take_its_place(repos, caplog):
    repo = repos.make("submodules")
    put("dvclive/metrics.json", "clean/dvc.yaml")
    assert joined(repo, layout=Layout.at("dvclive", "clean/dvc.yaml")) == {"dvclive/metrics.json"}
    assert repo.git("ls-files", "-s", "clean").startswith("160000"), "the submodule's entry is gone"
    assert "'clean/dvc.yaml' lies in the submodule 'clean'" in caplog.text, "nobody was told"


def test_what_a_clean_filter_takes_joins_as_the_filter_makes_it(repo):
    repo.git("config", "filter.up.clean", "tr a-z A-Z")
    put("dvclive/metrics.json", "dvclive/plots/images/a.png")
    Path(".gitattributes").write_text("*.png filter=up\n")
    assert joined(repo) == {"dvclive/metrics.json", "dvclive/plots/images/a.png"}
    text = repo.git("show", ":dvclive/plots/images/a.png")
    assert text == "DVCLIVE/PLOTS/IMAGES/A.PNG", "the filter was passed by"


@pytest.mark.parametrize("tracked", [True, False])
def test_what_git_lfs_tracks_never_joins_as_raw_bytes(repo, caplog, tracked):
    put("dvclive/metrics.json", "dvclive/plots/images/a.png")
    if tracked:
        Path("dvclive/plots/images/a.png").write_text("version https://git-lfs")
        repo.commit("dvclive/plots/images/a.png")
        put("dvclive/plots/images/a.png")
    Path(".gitattributes").write_text("*.png filter=lfs -text\n")
    assert joined(repo) == {"dvclive/metrics.json"}, "raw bytes are in DVC's index"
    assert "Git LFS tracks 'dvclive/plots/images/a.png' and is not set up" in caplog.text

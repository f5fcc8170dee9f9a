"""`DvcBackend` in real repositories: what it refuses to track, and DVC put where there is none."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from situations import dvc_inside, git

from dvclive_dvc import Live
from dvclive_dvc.errors import ArtifactError, InvalidDirError


@pytest.mark.parametrize("copy", [False, True])
@pytest.mark.parametrize("path", [".", "dvclive", "runs"])
def test_a_folder_that_holds_the_run_is_refused_with_what_to_do(repos, path, copy):
    repo = repos.make("git_and_dvc")
    folder = "runs/one" if path == "runs" else "dvclive"
    with Live(folder, save_dvc_exp=False, report=None) as live:
        live.log_metric("m", 1)
        before = sorted(repo.root.rglob("*"))
        with pytest.raises(ArtifactError, match=r"Log (the|what) ") as caught:
            live.log_artifact(path, type="model", copy=copy)
        assert "outside" not in str(caught.value)
        assert sorted(repo.root.rglob("*")) == before, "a refused artifact writes nothing"


def test_a_file_in_the_runs_folder_may_be_an_artifact(repos):
    repo = repos.make("git_and_dvc")
    with Live(save_dvc_exp=False, report=None) as live:
        (repo.root / "dvclive" / "model.pt").write_text("weights")
        live.log_artifact("dvclive/model.pt")
    assert (repo.root / "dvclive" / "model.pt.dvc").is_file()


@pytest.mark.parametrize(
    "path", ["metrics.json", "params.yaml", "plots", "plots/metrics", "plots/metrics/loss.tsv"]
)
def test_what_the_run_goes_on_writing_to_is_refused(repos, path):
    repo = repos.make("git_and_dvc")
    # A metric's file that became a link into the cache would take the object along.
    dvc_inside("config", "cache.type", "hardlink", cwd=repo.root)
    with Live(save_dvc_exp=False, report=None) as live:
        live.log_metric("loss", 1)
        live.log_param("p", 1)
        live.next_step()
        with pytest.raises(ArtifactError, match="copy=True"):
            live.log_artifact(f"dvclive/{path}")
        if path == "metrics.json":
            live.log_artifact(f"dvclive/{path}", copy=True)
            assert (repo.root / "dvclive/artifacts/metrics.json.dvc").is_file()
    assert not (repo.root / "dvclive/.gitignore").exists()


def test_a_copy_that_cannot_be_tracked_is_taken_back(repos):
    repo = repos.make("git_and_dvc")
    rules = repo.write(".gitignore", "*.dvc\n")
    (repo.root / "model.pt").write_text("weights")
    with Live(save_dvc_exp=False, report=None) as live:
        with pytest.raises(ArtifactError, match="Git ignores"):
            live.log_artifact("model.pt", copy=True)
        assert not (repo.root / "dvclive/artifacts").exists()
        rules.write_text("")
        live.log_artifact("model.pt", copy=True)
    assert (repo.root / "dvclive/artifacts/model.pt.dvc").is_file()


@pytest.mark.parametrize("kept", [5, 25, 90])
def test_a_half_written_dvcyaml_is_mended_when_the_run_is_resumed(repos, caplog, kept):
    repo = repos.make("git_and_dvc")
    with Live(report=None, save_dvc_exp=False) as live:
        live.log_metric("m", 1)
        live.log_plot("p", [{"x": 1, "y": 2}], "x", "y")
        live.next_step()
    file = repo.root / "dvclive/dvc.yaml"
    file.write_bytes(file.read_bytes()[:kept])
    with Live(report=None, save_dvc_exp=False, resume=True) as live:
        assert live.step == 1, "the run did not go on"
    assert "half written" in caplog.text
    assert "plots/metrics" in file.read_text(), "the entries are not written anew"


def test_dvc_is_initialised_as_dvc_init_would_with_nothing_staged(repos, caplog):
    repo = repos.make("git_without_dvc")
    before = repo.state("dvclive", ".dvc", ".dvcignore")
    caplog.set_level("INFO", logger="dvclive_dvc")
    with Live(report=None) as live:
        live.log_metric("m", 1)
    assert "Initialised DVC" in caplog.text
    assert "git add .dvc/config .dvc/.gitignore .dvcignore" in caplog.text
    assert git("diff", "--cached", "--name-only") == ""
    assert repo.state("dvclive", ".dvc", ".dvcignore") == before

    (name,) = repo.experiments()
    ours = {
        path: (repo.root / path).read_bytes()
        for path in (".dvc/config", ".dvc/.gitignore", ".dvcignore")
    }
    theirs = repos.make("git_without_dvc", at="theirs")
    theirs.dvc("init", "-q")
    assert ours == {path: (theirs.root / path).read_bytes() for path in ours}
    assert name in repo.dvc("exp", "list", "--name-only")


def test_a_configuration_of_dvc_that_git_ignores_stays_out_of_the_experiment(repos):
    repo = repos.make("git_without_dvc")
    repo.dvc("init", "-q")
    repo.git("rm", "-r", "-q", "-f", "--cached", ".dvc", ".dvcignore")
    (repo.root / ".git" / "info" / "exclude").write_text(".dvc\n.dvcignore\n")
    repo.dvc("remote", "add", "-q", "-d", "store", "https://example.com/store")
    repo.dvc("remote", "modify", "-q", "store", "password", "secret")
    with Live(report=None) as live:
        live.log_metric("m", 1)
    (name,) = repo.experiments()
    listed = repo.git("ls-tree", "-r", "--name-only", repo.experiments()[name])
    assert ".dvc" not in listed, "a password enters an experiment, which is pushed"
    assert name in repo.dvc("exp", "list", "--name-only"), "DVC does not find the experiment"
    assert name in repo.dvc("exp", "show", "--csv"), "DVC does not read the experiment"


def test_a_corrupt_index_is_told_in_gits_words_and_the_run_is_kept(repos, caplog):
    repo = repos.make("git_and_dvc")
    index = (repo.root / ".git" / "index").read_bytes()
    with Live(report=None) as live:
        live.log_metric("m", 1)
        (repo.root / ".git" / "index").write_bytes(b"junk")
    assert "index file smaller than expected" in caplog.text
    assert not repo.experiments()
    (repo.root / ".git" / "index").write_bytes(index)
    with Live(report=None):
        pass
    assert len(repo.experiments()) == 2, "the run before was kept, and saved by the next"


def test_a_run_inside_the_folder_of_another_has_an_experiment_of_its_own(repos):
    repo = repos.make("git_and_dvc")
    outer = Live("runs", exp_name="outer", report=None)
    inner = Live("runs/fold-1", exp_name="inner", report=None)
    for live in (outer, inner):
        live.log_metric("m", 1)
    outer.end()
    inner.end()
    saved = repo.experiments()
    first, second = (
        repo.git("ls-tree", "-r", "--name-only", saved[name], "runs").splitlines()
        for name in ("outer", "inner")
    )
    assert "runs/metrics.json" in first
    assert not any(name.startswith("runs/fold-1/") for name in first), "another run's, alive"
    assert "runs/fold-1/metrics.json" in second


def test_rows_logged_after_a_git_stash_are_in_the_experiment(repos):
    repo = repos.make("git_and_dvc")
    for name in ("first", "second"):
        with Live(report=None, exp_name=name) as live:
            for step in range(6):
                live.log_metric("m", f"{name}-{step}")
                live.next_step()
                if name == "second" and step == 2:
                    repo.git("stash", "-q")
                    repo.git("stash", "pop", "-q")
        if name == "first":
            repo.git("add", "dvclive")
            repo.git("commit", "-q", "-m", name)
    (commit,) = (one for name, one in repo.experiments().items() if name == "second")
    rows = repo.git("show", f"{commit}:dvclive/plots/metrics/m.tsv")
    there = [row.split("\t")[1] for row in rows.splitlines()[1:]]
    assert there == [f"second-{step}" for step in range(6)], "rows went to a file without a name"
    assert (repo.root / "dvclive/plots/metrics/m.tsv").read_text().rstrip() == rows


@pytest.mark.parametrize("shape", ["sha256", "reftable"])
def test_in_a_repository_that_dvc_cannot_read_the_run_is_logged_with_one_warning(
    repos, shape, caplog
):
    repo = repos.make(shape)
    with Live(report=None) as live:
        live.log_metric("m", 1)
    warnings = [record for record in caplog.records if record.levelname == "WARNING"]
    assert ["kind that DVC cannot read" in record.message for record in warnings] == [True]
    assert (repo.root / "dvclive" / "metrics.json").is_file()
    assert not (repo.root / ".dvc" / "tmp" / "dvclive").exists()


def test_what_the_user_includes_enters_the_experiment_and_what_is_missing_is_said(repos, caplog):
    repo = repos.make("git_and_dvc")
    repo.write("config/local.yaml", "lr: 1\n")
    repo.write("notes.txt", "mine")
    with Live(report=None, include=["config", "forgotten.yaml"]) as live:
        live.log_metric("m", 1)
    (commit,) = repo.experiments().values()
    files = repo.git("ls-tree", "-r", "--name-only", commit).splitlines()
    assert "config/local.yaml" in files
    assert "notes.txt" not in files
    assert "forgotten.yaml', of Live(include=...), is not there" in caplog.text


def test_a_template_that_dvc_does_not_find_is_said_once(repos, caplog):
    repo = repos.make("git_and_dvc")
    points = [{"x": 1, "y": 2}]
    repo.write(".dvc/plots/ours.json", "{}")
    with Live(report=None, save_dvc_exp=False) as live:
        for template in ("linear", "bar_horizontal", "ours", None, ""):
            live.log_plot(f"good-{template}", points, "x", "y", template=template)
        assert "template" not in caplog.text
        for _ in range(3):
            live.log_plot("bad", points, "x", "y", template="missing")
            live.next_step()
    assert caplog.text.count("DVC has no template 'missing'") == 1


@pytest.mark.parametrize("shared", [True, False])
def test_nothing_that_is_logged_is_a_template_to_dvc(repos, shared):
    repo = repos.make("git_and_dvc")
    name, points = "${name}", [{"x": 1, "y": 2}]
    repo.write("${model}.pt", "weights")
    with Live(name, dvcyaml="dvc.yaml" if shared else True, report=None) as live:
        live.log_metric(name, 1)
        live.log_param(name, name)
        live.log_plot(name, points, "x", "y", title=name)
        live.log_artifact("${model}.pt", name="model", desc=name, meta={name: name})
    workspace, head = json.loads(dvc_inside("exp", "show", "--json"))
    run = head["experiments"][0]["revs"][0]
    for shown in (workspace, run):
        assert shown["error"] is None
        assert shown["data"]["metrics"]["${name}/metrics.json"]["data"] == {name: 1}
    dvc_inside("plots", "show", "-o", "page")
    assert '"title": "${name}"' in (repo.root / "page" / "index.html").read_text()


@pytest.mark.parametrize("inside", [True, False])
def test_what_is_only_described_is_not_judged_as_what_is_cached(repos, caplog, monkeypatch, inside):
    repo = repos.make("owned_paths")
    if inside:
        monkeypatch.setenv("DVC_ROOT", str(repo.root))
        monkeypatch.setenv("DVC_STAGE", "train")
    caplog.set_level("WARNING", logger="dvclive_dvc")
    repo.write("out/sub/a.pt", "weights")
    repo.write("data/part.csv", "1,2")
    dvc_inside("add", "-q", "data", cwd=repo.root)
    with Live(report=None, save_dvc_exp=False) as live:
        live.log_artifact("out/sub/a.pt")
        caplog.clear()
        live.log_artifact("out", name="all", type="model", cache=False)
        live.log_artifact("data/part.csv", cache=False)
    assert caplog.text == "", "there is nothing to cache, and so to conflict"
    assert not (repo.root / "out.dvc").exists()
    assert "path: ../out" in (repo.root / "dvclive/dvc.yaml").read_text()


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("link", ["../above", "sub/up"])
def test_a_path_through_a_link_is_described_where_it_lies(repos, caplog, link, shared, cache):
    repo = repos.make("git_and_dvc")
    repo.write("sub/model.pt", "weights")
    (repo.root / link).symlink_to(repo.root)
    options = {"report": None, "dvcyaml": "dvc.yaml" if shared else True}
    caplog.set_level("WARNING", logger="dvclive_dvc")
    for resume in (False, True):
        with Live(resume=resume, exp_name=f"resumed-{resume}", **options) as live:
            path = repo.root / link / "sub/model.pt"
            live.log_artifact(path, name="m", type="model", cache=cache)
    assert caplog.text == "", "what lies in the repository is told to be outside of it"
    described = "sub/model.pt" if shared else "../sub/model.pt"
    assert f"path: {described}\n" in Path(live.dvc_file).read_text()
    for name in ("resumed-False", "resumed-True"):
        assert ("sub/model.pt.dvc" in held_by(repo, name)) == cache
    if cache:
        key = "m" if shared else "dvclive:m"
        repo.git("tag", "-am", "v1", f"{key.replace(':', '=')}@v1.0.0", repo.experiments()[name])
        dvc_inside("artifacts", "get", ".", key, "-o", "fetched.pt")
        assert Path("fetched.pt").read_text() == "weights"


@pytest.mark.parametrize("path", ["pipe", ".git/HEAD", ".dvc/config"])
def test_what_can_be_no_artifact_is_not_described_either(repos, path):
    repo = repos.make("git_and_dvc")
    os.mkfifo(repo.root / "pipe")
    with Live(report=None, save_dvc_exp=False) as live:
        with pytest.raises(ArtifactError):
            live.log_artifact(path, cache=False)
        assert not (repo.root / "dvclive/dvc.yaml").exists()


@pytest.mark.parametrize("copy", [False, True])
@pytest.mark.parametrize("name", ["m" * 248 + ".pt", "模" * 82 + ".pt"], ids=["ascii", "wide"])
def test_an_artifact_may_have_as_long_a_name_as_its_pointer_has_room_for(repos, name, copy):
    repo = repos.make("git_and_dvc")
    dvc_inside("config", "cache.type", "symlink", cwd=repo.root)
    repo.write(name, "weights")
    with Live(report=None, save_dvc_exp=False) as live:
        live.log_artifact(name, copy=copy)
    folder = repo.root / "dvclive/artifacts" if copy else repo.root
    assert (folder / f"{name}.dvc").is_file()
    assert (folder / name).is_symlink(), "as cache.type has it"


# -- cache_images ------------------------------------------------------------------------------


def a_run_with_images(brightness: int, names=("sample.png",), **more) -> None:
    with Live(report=None, exp_name=f"shade-{brightness}", **more) as live:
        live.log_metric("m", brightness)
        for name in names:
            live.log_image(name, np.full((4, 4), brightness, np.uint8))


def held_by(repo, experiment):
    return set(repo.git("ls-tree", "-r", "--name-only", repo.experiments()[experiment]).split())


def test_cached_images_are_one_tracked_folder_that_dvc_plots_finds(repos):
    repo = repos.make("git_and_dvc")
    a_run_with_images(10, cache_images=True)
    a_run_with_images(20, cache_images=True)
    for name in ("shade-10", "shade-20"):
        held = held_by(repo, name)
        assert {"dvclive/plots/images.dvc", "dvclive/plots/.gitignore"} <= held
        assert "dvclive/plots/images/sample.png" not in held, "the bytes are DVC's to keep"
    assert (repo.root / "dvclive/plots/.gitignore").read_text() == "/images\n"

    shutil.rmtree(repo.root / "dvclive")
    drawn = json.loads(dvc_inside("plots", "diff", "shade-10", "shade-20", "--json", "-o", "drawn"))
    (pictures,) = (found for name, found in drawn["data"].items() if name.endswith("sample.png"))
    assert {revision for one in pictures for revision in one["revisions"]} == {
        "shade-10",
        "shade-20",
    }
    assert len({Path(one["url"]).read_bytes() for one in pictures}) == 2, "one picture each"


@pytest.mark.parametrize("names", [("sample.png",), ()])
def test_a_run_that_does_not_cache_its_images_is_rid_of_an_earlier_ones_pointer(repos, names):
    repo = repos.make("git_and_dvc")
    a_run_with_images(10, cache_images=True)
    a_run_with_images(20, names)
    held = held_by(repo, "shade-20")
    assert "dvclive/plots/images.dvc" not in held, "it would be the first run's images"
    assert "dvclive/plots/.gitignore" not in held
    assert ("dvclive/plots/images/sample.png" in held) == bool(names)


def test_a_run_without_images_is_rid_of_an_earlier_ones_pointer_though_it_would_cache(repos):
    repo = repos.make("git_and_dvc")
    a_run_with_images(10, cache_images=True)
    rules = repo.root / "dvclive/plots/.gitignore"
    rules.write_text("/images\n*.bak\n")
    a_run_with_images(20, (), cache_images=True)
    assert "dvclive/plots/images.dvc" not in held_by(repo, "shade-20")
    assert rules.read_text() == "*.bak\n", "the user's own rule"


def test_a_run_that_goes_on_with_cached_images_keeps_them_cached_with_its_own(repos):
    repo = repos.make("git_and_dvc")
    a_run_with_images(10, ("first.png",), cache_images=True)
    a_run_with_images(20, ("second.png",), resume=True)
    dvc_inside("get", ".", "dvclive/plots/images", "--rev", "shade-20", "-o", "back")
    assert sorted(path.name for path in (repo.root / "back").iterdir()) == [
        "first.png",
        "second.png",
    ]
    assert "dvclive/plots/images/second.png" not in held_by(repo, "shade-20")


@pytest.mark.parametrize("folder", ["clean/dvclive", "clean"])
def test_a_run_in_a_submodule_is_refused_before_anything_is_written(repos, folder):
    repo = repos.make("submodules")
    if folder == "clean":
        repo.git("submodule", "--quiet", "deinit", "clean")
    before = repo.state()
    with pytest.raises(InvalidDirError, match=r"lies in the Git submodule .*save_dvc_exp=False"):
        Live(folder, report=None)
    assert repo.state() == before, "a refused run wrote something"
    assert not (repo.root / ".dvc" / "tmp" / "dvclive").exists(), "a refused run left its journal"


def test_a_run_that_is_not_saved_may_be_in_a_submodule(repos):
    repo = repos.make("submodules")
    with Live("clean/dvclive", save_dvc_exp=False, report=None) as live:
        live.log_metric("loss", 1)
    assert (repo.root / "clean" / "dvclive" / "metrics.json").is_file()


def test_a_run_in_a_submodule_that_is_only_staged_is_refused(repos):
    repo = repos.make("git_and_dvc")
    git("init", "-q", "lib", cwd=repo.root)
    git("commit", "-q", "--allow-empty", "-m", "start", cwd=repo.root / "lib")
    with Live("lib/first", report=None, exp_name="of-a-stranger"):
        pass  # a repository that this one knows nothing of
    repo.git("-c", "advice.addEmbeddedRepo=false", "add", "lib")
    with pytest.raises(InvalidDirError, match="lies in the Git submodule"):
        Live("lib/second", report=None)


@pytest.mark.parametrize("cache", [True, False])
def test_an_artifact_in_a_submodule_is_refused_with_what_to_do(repos, cache):
    repo = repos.make("submodules")
    repo.write("clean/deep/model.pt", "weights")
    before = repo.state("dvclive")
    with Live(report=None) as live:
        with pytest.raises(ArtifactError, match=r"in the Git submodule .*copy=True"):
            live.log_artifact("clean/deep/model.pt", type="model", cache=cache)
        assert repo.state("dvclive") == before, "a refused artifact wrote something"
        live.log_artifact("clean/deep/model.pt", type="model", copy=True)
    (commit,) = repo.experiments().values()
    listed = repo.git("ls-tree", "-r", commit)
    assert "dvclive/artifacts/model.pt.dvc" in listed, "the copy is not in the experiment"
    assert "commit" in repo.git("ls-tree", commit, "clean"), "the submodule became a folder"


def test_what_is_included_from_a_submodule_is_left_out_with_a_warning(repos, caplog):
    repo = repos.make("submodules")
    repo.write("clean/local.yaml", "x: 1\n")
    repo.write("clean/other.yaml", "x: 1\n")
    with Live(report=None, include=["clean/local.yaml", "clean/other.yaml"]) as live:
        live.log_metric("loss", 1)
    (commit,) = repo.experiments().values()
    assert repo.git("ls-tree", commit, "clean") == repo.git("ls-tree", "HEAD", "clean"), (
        "the submodule's entry did not stay"
    )
    assert "'clean' is a submodule" in caplog.text, "nobody was told"
    assert "yaml' and 1 more" in caplog.text, "the warning does not say what is missing"


@pytest.mark.parametrize("has_dvc", [True, False])
def test_a_run_started_inside_a_submodule_is_saved_there_as_ever(repos, has_dvc, monkeypatch):
    repo = repos.make("submodules")
    inside = repo.root / "moved"
    monkeypatch.chdir(inside)
    if has_dvc:
        dvc_inside("init", "-q", cwd=inside)
        git("commit", "-q", "-a", "-m", "dvc", cwd=inside)
    (inside / "model.pt").write_text("weights")
    with Live(report=None) as live:
        live.log_metric("loss", 1)
        live.log_artifact("model.pt", type="model")
    (name,) = git("for-each-ref", "--format=%(refname)", "refs/exps", cwd=inside).splitlines()
    listed = git("ls-tree", "-r", "--name-only", name, cwd=inside).splitlines()
    assert {"lib.py", "model.pt.dvc", "dvclive/metrics.json"} <= set(listed)
    assert repo.experiments() == {}, "the run was saved in the repository above"


@pytest.mark.parametrize("saves", [True, False])
@pytest.mark.parametrize("how", ["sparse", "deleted", "staged"])
def test_a_project_that_is_not_checked_out_is_not_initialised_anew(
    repos, how, saves, tmp_path, caplog, monkeypatch
):
    repo = repos.make("git_and_dvc")
    monkeypatch.chdir(repo.root / "src")
    if how == "sparse":
        repo.git("sparse-checkout", "set", "--cone", "src")
    elif how == "staged":
        repo.git("rm", "-r", "-q", "--cached", ".dvc")
        repo.git("commit", "-q", "-m", "without DVC")
        repo.git("add", ".dvc")
    shutil.rmtree(repo.root / ".dvc", ignore_errors=True)
    before = repo.state("src/dvclive", "src/model.pt")
    with Live(report=None, save_dvc_exp=saves) as live:
        live.log_metric("loss", 1)
        (repo.root / "src" / "model.pt").write_text("weights")
        live.log_artifact("model.pt")
    assert not (repo.root / ".dvc").exists(), "DVC was initialised over the tracked configuration"
    assert repo.state("src/dvclive", "src/model.pt") == before, "something else was written"
    assert (repo.root / "src" / "dvclive" / "metrics.json").is_file(), "the run did not go on"
    assert "sparse-checkout add '.dvc'" in caplog.text, "nobody was told what to do"
    if saves:
        assert "logged, but not saved" in caplog.text, "nobody was told that it is not saved"
    if how == "sparse":
        repo.git("sparse-checkout", "add", ".dvc")
        with Live(report=None, save_dvc_exp=saves):
            pass
        assert len(repo.experiments()) == saves, "the advice did not help"


def test_a_project_of_which_only_the_ignored_files_are_left_says_that_its_settings_are_lost(
    repos, caplog
):
    repo = repos.make("git_and_dvc")
    with Live(report=None):
        pass
    assert "DVC's configuration" not in caplog.text, "a warning where nothing is amiss"
    repo.git("sparse-checkout", "set", "--no-cone", "/*", "!/.dvc/")
    assert (repo.root / ".dvc" / "tmp").is_dir()
    assert not (repo.root / ".dvc" / "config").exists()
    with Live(report=None) as live:
        live.log_metric("loss", 1)
    assert not (repo.root / ".dvc" / "config").exists(), "another configuration was written"
    assert "sparse-checkout add '.dvc'" in caplog.text, "nobody was told what to do"
    assert len(repo.experiments()) == 2, "the run was not saved"

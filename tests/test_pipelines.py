"""The same script as a stage: every way by which real DVC runs it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from situations import dvc, dvc_inside, git, run

# What the documented script leaves for Git to keep, in a pipeline whose stage owns model.pt.
RUN_FILES = {
    "dvclive/dvc.yaml",
    "dvclive/metrics.json",
    "dvclive/params.yaml",
    "dvclive/plots/images/img.png",
    "dvclive/plots/metrics/metric.tsv",
    "dvclive/plots/metrics/nested/metric.tsv",
    "dvclive/report.html",
}


def running(repo, *command, check=True, **more):
    """Runs `dvc` as a program; its stdout and stderr as one text, which the stage writes to."""
    return run(
        sys.executable, "-m", "dvc", *command, cwd=more.pop("cwd", repo.cwd), check=check,
        **more,
    )  # fmt: skip


def said(done):
    return done.stdout + done.stderr


def warnings(done):
    """The logger's own warnings (DVC's begin otherwise)."""
    return [line for line in said(done).splitlines() if line.startswith("dvclive: WARNING")]


def files_of(repo, revision):
    return set(repo.git("ls-tree", "-r", "--name-only", revision).splitlines())


def new_files_of(repo, revision):
    """What the experiment has that its baseline has not."""
    return files_of(repo, revision) - files_of(repo, "HEAD")


def yaml_at(repo, revision, path):
    return YAML(typ="safe").load(repo.git("show", f"{revision}:{path}"))


def shown(repo):
    """Name -> {"metrics": {file: values}, "params": {file: values}} of `dvc exp show`."""
    found = {}
    for baseline in json.loads(dvc_inside("exp", "show", "--json", cwd=repo.cwd)):
        assert not baseline.get("error"), baseline
        for experiment in baseline["experiments"] or []:
            [state] = experiment["revs"]
            assert not state.get("error"), state["error"]
            found[experiment["name"]] = {
                kind: {file: held["data"] for file, held in state["data"][kind].items()}
                for kind in ("metrics", "params")
            }
    return found


def in_cache(root, md5):
    return (root / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]).exists()


def outputs_in_lock(repo, revision, lock="dvc.lock"):
    """Path -> md5 of every output in a commit's dvc.lock."""
    stages = yaml_at(repo, revision, lock)["stages"]
    return {out["path"]: out["md5"] for stage in stages.values() for out in stage.get("outs", ())}


def index_of(repo):
    return repo.git("ls-files", "--stage", "-v")


# -- dvc exp run, in the workspace ------------------------------------------------------------


def test_exp_run_makes_one_experiment_with_all_of_the_run(repos):
    repo = repos.make("documented_pipeline")
    index = index_of(repo)
    done = running(repo, "exp", "run", "-n", "mine")

    [(name, commit)] = repo.experiments().items()
    assert name == "mine", "there must be DVC's experiment and no second one"
    assert new_files_of(repo, commit) == RUN_FILES | {"dvc.lock"}
    assert set(outputs_in_lock(repo, commit)) == {"model.pt"}, "the stage keeps the model"
    entries = yaml_at(repo, commit, "dvclive/dvc.yaml")
    assert entries["artifacts"]["mymodel"]["path"] == "../model.pt"
    assert entries["metrics"] == ["metrics.json"]
    assert entries["params"] == ["params.yaml"]

    data = shown(repo)["mine"]
    assert data["metrics"]["dvclive/metrics.json"] == {
        "metric": 1.0,
        "nested": {"metric": data["metrics"]["dvclive/metrics.json"]["nested"]["metric"]},
        "summary_metric": 1.0,
        "step": 1,
    }
    assert data["params"]["params.yaml"] == {"epochs": 2, "lr": 0.5}

    assert "DVC saves the experiment" in said(done), "why there is no commit of our own"
    assert warnings(done) == []
    assert not Path("model.pt.dvc").exists()
    assert index_of(repo) == index, "DVC leaves the index as HEAD has it"
    assert git("stash", "list") == ""


def test_what_git_lfs_tracks_is_in_exp_runs_experiment_where_dvc_adds_it_itself(repos):
    repo = repos.make("documented_pipeline")
    repo.write(".gitattributes", "dvclive/plots/images/* filter=lfs\n*.html filter=lfs\n")
    repo.commit()
    done = running(repo, "exp", "run", "-n", "mine")
    commit = repo.experiments()["mine"]
    assert new_files_of(repo, commit) == {*RUN_FILES, "dvc.lock"} - {"dvclive/report.html"}
    image = repo.git("show", f"{commit}:dvclive/plots/images/img.png")
    assert image.startswith("version https://git-lfs"), "raw bytes are in Git"
    [warning] = warnings(done)
    assert "'dvclive/plots/images/img.png' and 1 more" in warning, "nobody is told"
    assert "only what a dvc.yaml names as metrics, params or plots enters" in warning, (
        "it says of the image that it stays out, or does not say of the report that it does"
    )


def test_exp_run_a_second_time_joins_as_well(repos):
    repo = repos.make("documented_pipeline")
    running(repo, "exp", "run", "-n", "first")
    done = running(repo, "exp", "run", "-n", "second", "-S", "epochs=3")
    assert new_files_of(repo, repo.experiments()["second"]) == RUN_FILES | {"dvc.lock"}
    assert shown(repo)["second"]["metrics"]["dvclive/metrics.json"]["step"] == 2
    assert warnings(done) == []


def test_files_that_git_ignores_join_the_experiment(repos):
    repo = repos.make("documented_pipeline")
    repo.write(".gitignore", "/dvclive\n")
    repo.commit()
    running(repo, "exp", "run", "-n", "mine")
    assert new_files_of(repo, "refs/exps/exec/EXEC_HEAD") == set()
    assert new_files_of(repo, repo.experiments()["mine"]) >= RUN_FILES
    assert git("status", "--porcelain", "dvclive") == "", "the user's Git still ignores them"


def test_a_committed_run_is_in_experiments_that_do_not_run_its_stage(repos):
    repo = repos.make("documented_pipeline")
    running(repo, "exp", "run")
    repo.commit()
    done = running(repo, "exp", "run", "-n", "again")
    assert "didn't change, skipping" in said(done)
    assert files_of(repo, repo.experiments()["again"]) >= RUN_FILES
    assert shown(repo)["again"]["metrics"]["dvclive/metrics.json"]["summary_metric"] == 1.0
    assert git("status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("declared", "value"), [(True, 0.1), (False, 0.5)], ids=["declared", "committed alone"]
)
def test_a_stage_from_the_run_cache_has_the_metrics_that_the_page_says(repos, declared, value):
    repo = repos.make("documented_pipeline")
    repo.write(
        "my_code_file.py",
        "from pathlib import Path\nfrom dvclive_dvc import Live\n"
        "lr = float(Path('params.yaml').read_text().split('lr:')[1].split()[0])\n"
        "with Live(report=None) as live:\n    live.log_metric('seen', lr)\n"
        "Path('model.pt').write_text(str(lr))\n",
    )
    if declared:
        more = "    metrics:\n      - dvclive/metrics.json:\n          cache: false\n"
        repo.write("dvc.yaml", (repo.root / "dvc.yaml").read_text().rstrip("\n") + f"\n{more}")
    repo.commit()
    running(repo, "exp", "run", "-q", "-n", "first", "-S", "lr=0.1")
    repo.git("checkout", "-q", "-f", ".")
    running(repo, "exp", "run", "-q", "-n", "second", "-S", "lr=0.5")
    repo.git("add", "dvc.lock", "dvclive")
    repo.commit()
    done = running(repo, "exp", "run", "-n", "cached", "-S", "lr=0.1")
    assert "is cached" in said(done), "the stage was run, so this says nothing of the run cache"
    found = shown(repo)["cached"]["metrics"]["dvclive/metrics.json"]
    assert found["seen"] == value, "docs/pipelines.md says otherwise"


def test_a_tracked_run_that_lost_a_file_loses_it_in_the_experiment_too(repos):
    repo = repos.make("documented_pipeline")
    running(repo, "exp", "run")
    repo.write("dvclive/plots/metrics/former.tsv", "step\tformer\n0\t1\n")
    repo.commit()
    running(repo, "exp", "run", "-n", "fresh", "-S", "lr=0.25")
    assert "dvclive/plots/metrics/former.tsv" not in files_of(repo, repo.experiments()["fresh"])


def test_values_set_in_a_params_file_reach_exp_show(repos):
    repo = repos.make("documented_pipeline")
    running(repo, "exp", "run", "-n", "mine", "-S", "lr=0.25", "--set-param", "epochs=1")
    data = shown(repo)["mine"]
    assert data["params"]["params.yaml"] == {"epochs": 1, "lr": 0.25}
    assert data["params"]["dvclive/params.yaml"] == {"epochs": 1, "lr": 0.25}
    assert data["metrics"]["dvclive/metrics.json"]["metric"] == 0.25


def test_values_set_in_the_runs_own_params_file_reach_exp_show(repos):
    repo = repos.make("own_params")
    done = running(repo, "exp", "run", "-n", "mine", "-S", "dvclive/params.yaml:lr=0.75")
    data = shown(repo)["mine"]
    assert data["params"]["dvclive/params.yaml"] == {"lr": 0.75, "model": {"layers": 3}}
    assert data["metrics"]["dvclive/metrics.json"]["score"] == 7.5
    assert warnings(done) == []


# -- in folders of DVC's own ------------------------------------------------------------------


def test_a_temporary_executor_gives_a_whole_experiment(repos):
    repo = repos.make("documented_pipeline")
    done = running(repo, "exp", "run", "--temp", "-n", "mine", "-S", "epochs=3")
    [(name, commit)] = repo.experiments().items()
    assert name == "mine"
    assert new_files_of(repo, commit) == RUN_FILES | {"dvc.lock"}
    assert shown(repo)["mine"]["metrics"]["dvclive/metrics.json"]["step"] == 2
    assert in_cache(repo.root, outputs_in_lock(repo, commit)["model.pt"])
    assert warnings(done) == []
    assert repo.git("status", "--porcelain") == "", "the workspace is not where it ran"


def test_an_artifact_that_only_the_script_knows_is_in_the_parents_cache(repos):
    repo = repos.make("caching_stage")
    running(repo, "exp", "run", "--temp", "-n", "mine")
    commit = repo.experiments()["mine"]
    [out] = yaml_at(repo, commit, "notes.bin.dvc")["outs"]
    assert in_cache(repo.root, out["md5"])
    dvc_inside("exp", "apply", "mine", cwd=repo.cwd)
    assert Path("notes.bin").read_text() == "owned by nobody"


def test_queued_experiments_run_side_by_side_and_each_is_whole(repos):
    repo = repos.make("documented_pipeline")
    for epochs in (1, 2, 3):
        running(repo, "exp", "run", "--queue", "-n", f"with-{epochs}", "-S", f"epochs={epochs}")
    dvc("queue", "start", "-j", "2")
    deadline = time.monotonic() + 120
    while len(repo.experiments()) < 3:
        status = dvc_inside("queue", "status")
        assert "Failed" not in status, status
        assert time.monotonic() < deadline, status
        time.sleep(0.5)
    dvc("queue", "stop")
    data = shown(repo)
    for epochs in (1, 2, 3):
        commit = repo.experiments()[f"with-{epochs}"]
        assert new_files_of(repo, commit) == RUN_FILES | {"dvc.lock"}
        values = data[f"with-{epochs}"]
        assert values["metrics"]["dvclive/metrics.json"]["step"] == epochs - 1
        assert values["params"]["dvclive/params.yaml"]["epochs"] == epochs
        assert in_cache(repo.root, outputs_in_lock(repo, commit)["model.pt"])


# -- dvc repro --------------------------------------------------------------------------------


def test_repro_saves_nothing_and_says_so_once(repos):
    repo = repos.make("documented_pipeline")
    index = index_of(repo)
    done = running(repo, "repro")
    assert repo.experiments() == {}
    [warning] = warnings(done)
    assert "not saved" in warning
    assert "dvc exp run" in warning, "what to do instead"
    assert files_below(Path("dvclive")) == RUN_FILES
    assert Path("model.pt").read_text() == "weights of {'epochs': 2, 'lr': 0.5}"
    assert not Path("model.pt.dvc").exists()
    assert index_of(repo) == index, "repro is no reason to touch the index"

    again = running(repo, "repro")
    assert "didn't change, skipping" in said(again)
    assert "Data and pipelines are up to date." in said(again)
    assert warnings(again) == []


def files_below(folder):
    return {path.as_posix() for path in folder.rglob("*") if path.is_file()}


def test_repro_has_nothing_to_warn_of_when_nobody_asked_for_an_experiment(repos):
    repo = repos.make("documented_pipeline")
    script = Path("my_code_file.py")
    script.write_text(script.read_text().replace("with Live()", "with Live(save_dvc_exp=False)"))
    assert warnings(running(repo, "repro")) == []


# -- many stages, many runs -------------------------------------------------------------------


def test_foreach_and_matrix_stages_each_have_their_own(repos):
    repo = repos.make("foreach_and_matrix")
    running(repo, "exp", "run", "-n", "mine")
    folders = ["red", "blue", "flat-2", "flat-3", "deep-2", "deep-3"]
    for name in folders:
        assert Path("runs", name, "dvc.yaml").is_file(), f"{name} was deleted or never written"
    values = json.loads(dvc_inside("metrics", "show", "--json"))[""]["data"]
    assert {file: held["data"]["score"] for file, held in values.items()} == {
        f"runs/{name}/metrics.json": len(f"runs/{name}") * int(name[-1] if "-" in name else 1)
        for name in folders
    }
    data = shown(repo)["mine"]
    assert set(data["metrics"]) == {f"runs/{name}/metrics.json" for name in folders}
    assert set(data["params"]) == {f"runs/{name}/params.yaml" for name in folders}


def test_several_stages_and_several_runs_in_one_stage_each_have_their_own(repos):
    repo = repos.make("several_lives")
    before = Path("dvc.yaml").read_text()
    done = running(repo, "exp", "run", "-n", "mine")
    commit = repo.experiments()["mine"]
    assert new_files_of(repo, commit) >= {
        "prepared/dvc.yaml",
        "prepared/metrics.json",
        "training/metrics.json",
        "training/plots/metrics/loss.tsv",
        "evaluation/dvc.yaml",
        "evaluation/params.yaml",
        "evaluation/plots/metrics/accuracy.tsv",
    }
    assert "training/dvc.yaml" not in files_of(repo, commit), "its entries are in the root's"
    root = yaml_at(repo, commit, "dvc.yaml")
    assert root["stages"] == YAML(typ="safe").load(before)["stages"]
    assert root["metrics"] == ["training/metrics.json"]
    assert set(shown(repo)["mine"]["metrics"]) == {
        "prepared/metrics.json",
        "training/metrics.json",
        "evaluation/metrics.json",
    }
    assert warnings(done) == []
    assert list(repo.experiments()) == ["mine"]

    # The root's dvc.yaml changed while the pipeline ran; its stages are what they were.
    assert "didn't change, skipping" in said(running(repo, "repro"))


# -- the run's folder as the stage's output ---------------------------------------------------

DECLARED = {
    "metrics kept by Git": "metrics:\n      - dvclive/metrics.json:\n          cache: false\n",
    "metrics kept by DVC": "metrics:\n      - dvclive/metrics.json\n",
    "plots kept by Git": "plots:\n      - dvclive/plots:\n          cache: false\n",
    "plots kept by DVC": "plots:\n      - dvclive/plots\n",
    "images kept by DVC": "outs:\n      - dvclive/plots/images\n",
    "the folder kept by Git": "outs:\n      - dvclive:\n          cache: false\n",
    "the folder kept by DVC": "outs:\n      - dvclive\n",
}


@pytest.mark.parametrize("declared", DECLARED)
def test_the_run_may_be_declared_as_output(repos, declared):
    repo = repos.make("declared_outputs")
    with Path("dvc.yaml").open("a") as file:
        file.write(f"    {DECLARED[declared]}")
    repo.commit()
    done = running(repo, "exp", "run", "-n", "mine")
    commit = repo.experiments()["mine"]

    kept_by_dvc = {path for path in outputs_in_lock(repo, commit) if "Git" not in declared and path}
    in_git = new_files_of(repo, commit)
    twice = {file for file in in_git for out in kept_by_dvc if Path(file).is_relative_to(Path(out))}
    assert not twice, "in DVC's cache and in Git as well"
    if declared.startswith("the folder"):
        # DVC looks for a dvc.yaml in no output, kept by it or not.
        [warning] = warnings(done)
        assert "'dvclive'" in warning
    else:
        assert warnings(done) == []
        data = shown(repo)["mine"]
        assert data["metrics"]["dvclive/metrics.json"] == {"acc": 0.5, "step": 1}
        assert data["params"]["dvclive/params.yaml"] == {"lr": 0.5}
    dvc_inside("exp", "apply", "mine")
    assert Path("dvclive/plots/images/digits/1.png").is_file()
    assert dvc_inside("status") == "Data and pipelines are up to date.\n"


# -- failure, caching, places -----------------------------------------------------------------


@pytest.mark.parametrize("command", [("exp", "run"), ("repro",), ("exp", "run", "--temp")])
def test_a_stage_that_fails_fails_with_its_own_words(repos, command):
    repo = repos.make("failing_stage")
    index = index_of(repo)
    done = running(repo, *command, check=False)
    assert done.returncode != 0
    assert "ZeroDivisionError: the learning rate was too brave" in said(done)
    assert "failed to reproduce 'train'" in said(done)
    assert repo.experiments() == {}
    assert index_of(repo) == index
    if "--temp" not in command:
        lines = Path("dvclive/plots/metrics/loss.tsv").read_text().splitlines()
        assert lines == ["step\tloss", "0\t1.0", "1\t0.5"], "what was logged is there"


def test_what_the_stage_owns_is_not_cached_twice(repos):
    repo = repos.make("caching_stage")
    done = running(repo, "exp", "run", "-n", "mine")
    commit = repo.experiments()["mine"]
    in_git = new_files_of(repo, commit)
    assert "model.pt.dvc" not in in_git
    assert "weights/first.bin.dvc" not in in_git
    assert set(outputs_in_lock(repo, commit)) == {"model.pt", "weights"}
    assert "notes.bin.dvc" in in_git
    assert "notes.bin" not in in_git
    assert "dvclive/plots/images.dvc" in in_git
    assert "dvclive/plots/images/img.png" not in in_git, "the images are in DVC's cache"

    told = warnings(done)
    assert len(told) == 2, told
    [notes] = [line for line in told if "notes.bin" in line]
    [images] = [line for line in told if "images" in line]
    for line in (notes, images):
        assert "outs" in line, "it says how to declare it"

    for path in ("model.pt", "weights", "notes.bin", "dvclive"):
        run("rm", "-rf", path)
    dvc_inside("exp", "apply", "mine")
    assert Path("notes.bin").read_text() == "owned by nobody"
    assert Path("dvclive/plots/images/img.png").is_file()
    assert Path("weights/first.bin").read_text() == "first"


def test_a_project_in_a_monorepo_with_a_wdir_has_its_paths_right(repos):
    repo = repos.make("monorepo_pipeline")
    done = running(repo, "exp", "run", "-n", "mine")
    commit = repo.experiments()["mine"]
    place = "models/digits/src"
    assert new_files_of(repo, commit) == {
        f"{place}/dvclive/dvc.yaml",
        f"{place}/dvclive/metrics.json",
        f"{place}/dvclive/params.yaml",
        f"{place}/dvclive/plots/metrics/acc.tsv",
        f"{place}/dvclive/report.html",
        "models/digits/dvc.lock",
    }
    entries = yaml_at(repo, commit, f"{place}/dvclive/dvc.yaml")
    assert entries["artifacts"]["digits"]["path"] == "../model.pt"
    data = shown(repo)["mine"]
    assert data["metrics"]["src/dvclive/metrics.json"] == {"acc": 0.75, "step": 0}
    assert data["params"]["src/dvclive/params.yaml"] == {"lr": 0.5}
    assert warnings(done) == []


def test_a_temporary_executor_of_a_project_in_a_monorepo_has_its_paths_right(repos):
    repo = repos.make("monorepo_pipeline")
    running(repo, "exp", "run", "--temp", "-n", "mine")
    commit = repo.experiments()["mine"]
    assert "models/digits/src/dvclive/dvc.yaml" in files_of(repo, commit)
    md5 = outputs_in_lock(repo, commit, "models/digits/dvc.lock")["model.pt"]
    assert in_cache(repo.cwd, md5)


# -- beside a run of one's own ----------------------------------------------------------------

PLAIN = """
import sys, time
from pathlib import Path
from dvclive_dvc import Live
with Live("plain", exp_name="plain-run") as live:
    live.log_metric("loss", 4.0)
    live.next_step()
    while not Path(sys.argv[1]).exists():
        time.sleep(0.02)
    live.log_metric("loss", 2.0)
    live.next_step()
"""


def wait_for(condition, what):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.02)


@pytest.mark.parametrize("how", ["workspace", "temp"])
def test_exp_run_and_a_plain_run_side_by_side_are_both_whole(repos, tmp_path, monkeypatch, how):
    repo = repos.make("waiting_stage")
    monkeypatch.setenv("GO", str(tmp_path / "go"))
    signals = repo.root.resolve() / ".dvc" / "tmp" / "exps" / "run"
    plain = subprocess.Popen([sys.executable, "-c", PLAIN, str(tmp_path / "plain-go")])
    wait_for((signals / "DVCLIVE_ONLY").exists, "the plain run")
    assert json.loads((signals / "DVCLIVE_ONLY").read_bytes()) == {
        "exp_name": "plain-run",
        "pid": plain.pid,
    }
    wait_for(lambda: Path("plain/plots/metrics/loss.tsv").exists(), "the plain run's first step")
    options = ["--temp"] if how == "temp" else []
    command = [sys.executable, "-m", "dvc", "exp", "run", "-n", "staged", *options]
    stage = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def stage_has_stepped():
        try:
            return json.loads((signals / "DVCLIVE_STEP_COMPLETED").read_bytes())["pid"] != plain.pid
        except FileNotFoundError:
            return False

    try:
        wait_for(stage_has_stepped, "the stage's signal in the parent project")
        (tmp_path / "plain-go").touch()
        assert plain.wait(60) == 0
        assert "plain-run" in repo.experiments(), "saved while DVC's run goes on"
        assert not (signals / "DVCLIVE_ONLY").exists()
        (tmp_path / "go").touch()
        out, _ = stage.communicate(timeout=60)
        assert stage.returncode == 0, out
    finally:
        plain.kill()
        stage.kill()
    assert sorted(repo.experiments()) == ["plain-run", "staged"]
    data = shown(repo)
    assert data["plain-run"]["metrics"]["plain/metrics.json"] == {"loss": 2.0, "step": 1}
    assert data["staged"]["metrics"]["dvclive/metrics.json"] == {"acc": 0.5, "step": 1}
    assert "dvclive/metrics.json" not in data["plain-run"]["metrics"]
    head = repo.git("rev-parse", "HEAD")
    for commit in repo.experiments().values():
        assert repo.git("rev-parse", f"{commit}^") == head
    assert repo.git("symbolic-ref", "HEAD") == "refs/heads/main"
    assert list(signals.glob("DVCLIVE*")) == []


# -- in an environment that is left over ------------------------------------------------------


def test_a_run_in_a_stale_environment_is_saved_and_says_what_is_stale(repos, tmp_path):
    repo = repos.make("documented_pipeline")
    stale = {
        "DVC_ROOT": str(tmp_path),
        "DVC_STAGE": "train",
        "DVC_EXP_BASELINE_REV": "0" * 40,
        "DVC_EXP_NAME": "theirs",
    }
    Path("dvc.yaml").unlink()
    done = run(sys.executable, "my_code_file.py", cwd=repo.root, env=stale)
    [warning] = warnings(done)
    assert "left over" in warning
    assert "unset DVC_ROOT" in warning
    [name] = repo.experiments()
    assert name != "theirs"

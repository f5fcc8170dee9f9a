"""What stages and `.dvc` files own, in every kind of place a run may find itself in."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from situations import dvc, git, python, run

from dvclive_dvc import Live
from dvclive_dvc.backend import Mode
from dvclive_dvc.errors import ArtifactConflictError, ArtifactError
from dvclive_dvc.layout import Layout, resolved
from dvclive_dvc.repo import outputs
from dvclive_dvc.repo.context import detect
from dvclive_dvc.repo.git import Git
from dvclive_dvc.repo.outputs import Logged, Outputs, relation

INSIDE = [Mode.REPRO, Mode.EXP_RUN]
OUTSIDE = (Mode.STANDALONE, None)
# Every column of the table: outside a pipeline, inside the stage `train`, inside another.
PLACES = [OUTSIDE, *[(mode, stage) for mode in INSIDE for stage in ("train", "evaluate")]]


def place(mode=Mode.STANDALONE, stage=None):
    """The surroundings as they are, with the mode and stage that DVC would give."""
    return dataclasses.replace(detect(), mode=mode, stage=stage)


def pointers_in(path):
    found = path.rglob("*") if path.is_dir() and not path.is_symlink() else ()
    return [one for one in found if one.suffix == ".dvc" or one.name == "dvc.yaml"]


class Judge:
    """Asks one `Outputs` about paths below the working directory, which are made when missing."""

    def __init__(self, mode=Mode.STANDALONE, stage=None):
        self.outputs = Outputs(place(mode, stage))

    def __call__(self, path, own=()):
        target = Path.cwd() / path
        if not target.exists():
            if target.parent.is_file():
                target.parent.unlink()
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text("bytes")
        target = resolved(target)
        verdict = self.outputs.judge(target, Logged(resolved(Path.cwd() / one) for one in own))
        if verdict.cache:
            self.outputs.refuse_conflicts(target, pointers_in(target))
        return verdict

    def refuses(self, path, own=()):
        try:
            verdict = self(path, own)
        except ArtifactConflictError as error:
            return str(error)
        raise AssertionError(f"'{path}' was let pass: {verdict}")


# -- equal to, or inside, a stage's output ---------------------------------------------------

# path, the stage that owns it, that stage's address
OWNED = [
    ("model.pt", "train", "train"),
    ("models", "train", "train"),
    ("models/best.pt", "train", "train"),
    ("models/deep/er.pt", "train", "train"),
    ("weights/best.pt", "train", "train"),  # a template
    ("scores.json", "train", "train"),  # a metric that is kept in Git
    ("curves/loss.csv", "train", "train"),
    ("report.pkl", "evaluate", "evaluate"),  # `wdir`
    ("evaluation/confusion/a.png", "evaluate", "evaluate"),
    ("prepared/test.csv", "prepare@test", "prepare@test"),  # foreach
    ("tuned/slow/model.pt", "tune@slow", "tune@slow"),  # matrix
    ("small.pt", "distil", "deep/er/dvc.yaml:distil"),  # a file that only Git knows of
    ("deep/er/student.pt", "distil", "deep/er/dvc.yaml:distil"),
]


def test_outside_a_pipeline_a_stages_output_is_described_but_not_cached(repos):
    repos.make("owned_paths")
    judge = Judge(*OUTSIDE)
    for path, stage, address in OWNED:
        verdict = judge(path)
        file = address.rpartition(":")[0] or "dvc.yaml"
        assert not verdict.cache, path
        assert verdict.owner == address, path
        assert f"the stage '{stage}' in '{file}'" in verdict.warning
        if path == "scores.json":
            assert "`cache: false`" in verdict.warning, "DVC caches it at no time"
            assert "`git add scores.json`" in verdict.warning, "what keeps it is not said"
            continue
        assert f"`dvc commit {address}`" in verdict.warning, "the command, for this directory"
        assert "The pipeline" in verdict.warning


@pytest.mark.parametrize("mode", INSIDE)
def test_inside_the_stage_that_owns_it_nothing_is_said(repos, mode):
    repos.make("owned_paths")
    addresses = dict.fromkeys(address for _, _, address in OWNED)
    judges = {address: Judge(mode, address) for address in addresses}
    for path, _, address in OWNED:
        judges[address].outputs._claims = judges["train"].outputs._claims  # parsed once
        silent = outputs.Verdict(cache=False, owner=address)
        assert judges[address](path) == silent, f"{path}: DVC caches it"


@pytest.mark.parametrize("mode", INSIDE)
@pytest.mark.parametrize("running", ["evaluate", "prepare@train"])
def test_inside_another_stage_both_are_named(repos, running, mode):
    repos.make("owned_paths")
    judge = Judge(mode, running)
    for path, owner in (
        ("model.pt", "train"),
        ("models/best.pt", "train"),
        ("prepared/test.csv", "prepare@test"),
    ):
        verdict = judge(path)
        assert not verdict.cache
        assert verdict.owner == owner
        assert f"'{owner}'" in verdict.warning
        assert f"'{running}'" in verdict.warning


def test_the_command_fits_the_working_directory(repos):
    repo = repos.make("owned_paths")
    os.chdir(repo.root / "deep")
    judge = Judge()
    assert "`dvc commit ../dvc.yaml:train`" in judge("../model.pt").warning
    assert "`dvc commit er/dvc.yaml:distil`" in judge("er/student.pt").warning


def test_the_running_stage_is_known_from_wherever_dvc_ran(repos):
    repos.make("owned_paths")
    judge = Judge(Mode.REPRO)
    for said, path, is_it in [
        ("deep/er/dvc.yaml:distil", "deep/er/student.pt", True),
        ("../../deep/er/dvc.yaml:distil", "deep/er/student.pt", True),
        ("er/dvc.yaml:distil", "deep/er/student.pt", True),  # `dvc repro` ran in deep/
        ("distil", "deep/er/student.pt", True),  # ... or in deep/er/
        ("other/dvc.yaml:distil", "deep/er/student.pt", False),
        ("dvc.yaml:train", "model.pt", True),
        ("../dvc.yaml:train", "model.pt", True),
        ("tune@slow", "tuned/fast", False),
    ]:
        judge.outputs._context = place(Mode.REPRO, said)
        assert (judge(path).warning is None) == is_it, said


# -- owned by nobody -------------------------------------------------------------------------

FREE = ["model_v2.pt", "models2/best.pt", "mode", "free/model.pt", "prepared/valid.csv",
        "evaluation/model.pt", "data2/a.csv", "store/other.bin", "train", "confusion"]  # fmt: skip


def test_outside_a_pipeline_what_nobody_owns_is_cached_without_a_word(repos):
    repos.make("owned_paths")
    judge = Judge()
    for path in FREE:
        assert judge(path) == outputs.Verdict(cache=True), path


@pytest.mark.parametrize("mode", INSIDE)
@pytest.mark.parametrize("running", ["train", "evaluate", None])
def test_inside_a_stage_what_nobody_owns_is_cached_and_told_how_to_declare(repos, running, mode):
    repos.make("owned_paths")
    verdict = Judge(mode, running)("free/model.pt")
    assert verdict.cache
    assert verdict.owner is None
    assert "Add `- free/model.pt` to its `outs`" in verdict.warning
    assert "dvc remove free/model.pt.dvc" in verdict.warning
    assert f"'{running}'" in verdict.warning or running is None


# -- contains a stage's output ---------------------------------------------------------------


@pytest.mark.parametrize("where", PLACES)
def test_a_folder_that_contains_a_stages_output_is_refused(repos, where):
    repo = repos.make("owned_paths")
    judge = Judge(*where)
    for path, inner, stage in [
        ("weights", "weights/best.pt", "train"),
        ("prepared", "prepared/train.csv", "prepare@train"),
        ("tuned", "tuned/slow", "tune@slow"),
        ("evaluation", "evaluation/confusion", "evaluate"),
        ("deep", "deep/er/student.pt", "distil"),
    ]:
        (repo.root / path).mkdir(exist_ok=True)
        text = judge.refuses(path)
        assert f"'{path}' contains '{inner}'" in text
        assert f"'{stage}'" in text
    assert repo.git("status", "--porcelain") == "", "nothing was written"


# -- what .dvc files track -------------------------------------------------------------------


@pytest.mark.parametrize("where", PLACES)
def test_a_path_in_a_folder_that_a_dvc_file_tracks_is_refused(repos, where):
    repos.make("owned_paths")
    judge = Judge(*where)
    for path in ["data/labels.csv", "data/raw", "data/raw/part.csv", "data/new"]:
        text = judge.refuses(path)
        assert "'data.dvc' tracks" in text
        assert 'Instead of this call, `live.log_artifact("data")`' in text
        assert "cache=False" in text
    text = judge.refuses("store/blob.bin/part")
    assert "'odd.dvc' tracks" in text
    assert "Instead of this call, `dvc commit odd.dvc`" in text, "the folder would be refused too"


def test_what_a_refusal_of_a_file_in_a_tracked_folder_advises_helps(repos):
    repo = repos.make("git_and_dvc")
    repo.write("models/best.pt", "weights")
    dvc("add", "models", cwd=repo.root)
    with Live(report=None, save_dvc_exp=False) as live:
        with pytest.raises(ArtifactConflictError, match=r'log_artifact\("models"\).*cache=False'):
            live.log_artifact("models/best.pt")
        repo.write("models/best.pt", "better weights")
        live.log_artifact("models")
        with pytest.raises(ArtifactConflictError, match=r'log_artifact\("models"\).*cache=False'):
            live.log_artifact("models/best.pt")
        live.log_artifact("models/best.pt", cache=False)
    assert dvc("status", cwd=repo.root).strip().endswith("up to date."), "not cached as it is"


def test_what_has_its_own_dvc_file_is_logged_again(repos):
    repos.make("owned_paths")
    judge = Judge()
    assert judge("data") == outputs.Verdict(cache=True)
    assert judge("mixed/inner.csv") == outputs.Verdict(cache=True)


@pytest.mark.parametrize("where", [OUTSIDE, (Mode.REPRO, "train")])
def test_a_folder_that_contains_what_a_dvc_file_tracks_is_refused(repos, where):
    repos.make("owned_paths")
    text = Judge(*where).refuses("mixed")
    assert "contains 'mixed/inner.csv', which 'mixed/inner.csv.dvc' tracks" in text
    assert "`dvc remove mixed/inner.csv.dvc`" in text


def test_a_dvc_file_not_named_after_what_it_tracks_still_counts(repos):
    repos.make("owned_paths")
    judge = Judge()
    assert "tracked by 'odd.dvc' already" in judge.refuses("store/blob.bin")
    assert "contains 'store/blob.bin', which 'odd.dvc' tracks" in judge.refuses("store")
    assert judge("store/other").cache


@pytest.mark.parametrize("there", ["model", "model.pt"])
def test_a_dvc_file_that_is_named_after_something_else_still_counts(repos, there):
    repo = repos.make("git_and_dvc")
    repo.write("model.pt", "weights")
    dvc("add", "-q", "model.pt", cwd=repo.root)
    (repo.root / "model.pt.dvc").rename(repo.root / "model.dvc")
    repo.write(there, "something else")
    assert "tracked by 'model.dvc' already" in Judge().refuses("model.pt")


@pytest.mark.parametrize("how", ["removed", "edited"])
def test_what_a_refusal_by_a_dvc_file_advises_helps_in_the_same_run(repos, how):
    repo = repos.make("git_and_dvc")
    for name in ("m.pt", "o.bin"):
        repo.write(name, name)
        dvc("add", "-q", name, cwd=repo.root)
    (repo.root / "m.pt.dvc").rename(repo.root / "x.dvc")
    judge = Judge()
    for _ in range(2):
        assert "`dvc remove x.dvc`" in judge.refuses("m.pt")
    if how == "removed":
        dvc("remove", "-q", "x.dvc", cwd=repo.root)
        (repo.root / "o.bin.dvc").rename(repo.root / "x.dvc")
    else:
        edited = repo.root / "x.dvc"  # in place, which the folder's own stat does not tell
        edited.write_text(edited.read_text().replace("path: m.pt", "path: other.pt"))
    assert judge("m.pt").cache, "the file is not read anew"


def test_a_dvc_file_that_is_not_in_the_way_is_not_looked_at_again(repos, monkeypatch):
    repo = repos.make("git_and_dvc")
    for number in range(20):
        repo.write(f"{number}.odd.dvc", f"outs:\n- path: sub/{number}.bin\n- path: sub/x.pt.old\n")
    judge = Judge()
    judge("sub/x.pt")
    looked: list[Path] = []
    monkeypatch.setattr(outputs.dvcignore, "seen", looked.append)
    monkeypatch.setattr(outputs, "_read", looked.append)
    judge("sub/x.pt")
    assert not looked, "logging it again costs something for each file"


def test_dvc_refuses_a_folder_that_contains_what_is_tracked_as_well(repos):
    repo = repos.make("owned_paths")
    Judge().refuses("mixed")
    done = run("dvc", "add", "mixed", check=False)
    assert done.returncode, "`dvc add mixed` is fine, so it need not be refused"
    assert repo.git("status", "--porcelain") == "", "and neither wrote anything"


@pytest.mark.parametrize("where", PLACES)
def test_what_is_tracked_and_now_also_an_output_is_told_to_be_removed(repos, where):
    repos.make("claimed_twice")
    judge = Judge(*where)
    for path in ("model.pt", "models/best.pt"):
        verdict = judge(path)
        assert not verdict.cache
        assert verdict.owner == "train"
        assert f"`dvc remove {path}.dvc`" in verdict.warning


def test_what_is_logged_every_epoch_is_told_of_once(repos, caplog):
    repo = repos.make("owned_paths")
    repo.write("model.pt", "weights")
    with Live(report=None, save_dvc_exp=False) as live:
        for _ in range(3):
            live.log_artifact("model.pt")
    told = [one.getMessage() for one in caplog.records if "model.pt" in one.getMessage()]
    assert len(told) == 1, f"one warning for three calls: {told}"


def test_that_an_artifact_is_cached_by_itself_is_told_when_it_was_cached(
    repos, monkeypatch, caplog
):
    repo = repos.make("owned_paths")
    monkeypatch.setenv("DVC_ROOT", str(repo.root))
    monkeypatch.setenv("DVC_STAGE", "train")
    repo.write("apart/data.csv", "1,2")
    repo.write("apart/data.csv.dvc", "outs:\n- path: data.csv\n")
    repo.write("apart/other.csv", "3,4")

    def told():
        return [one.getMessage() for one in caplog.records if "by itself" in one.getMessage()]

    with Live(report=None) as live:
        with pytest.raises(ArtifactConflictError, match=r"contains 'apart/data.csv'"):
            live.log_artifact("apart")
        assert told() == [], "nothing was cached, so nothing is told of caching"
        (repo.root / ".gitignore").write_text("/loose.dvc\n")
        repo.write("loose", "5,6")
        with pytest.raises(ArtifactError, match=r"Git ignores 'loose.dvc'"):
            live.log_artifact("loose")
        assert told() == [], "Git's refusal comes after the judgement, and before the telling"
        (repo.root / ".gitignore").unlink()
        (repo.root / "apart/data.csv.dvc").unlink()
        for _ in range(2):
            live.log_artifact("apart")
        assert len(told()) == 1, "the refused call used up the warning of the right one"
        assert "'apart' is cached by itself" in told()[0]


def test_what_dvc_leaves_out_of_a_folder_is_no_conflict_with_it(repos):
    repo = repos.make("git_and_dvc")
    repo.write("data/kept.csv", "1,2")
    repo.write("data/old/raw.csv", "3,4")
    repo.write("data/old/raw.csv.dvc", "outs:\n- path: raw.csv\n")
    with Live(report=None, save_dvc_exp=False) as live:
        with pytest.raises(ArtifactConflictError, match=r"'data/old/raw.csv.dvc' tracks"):
            live.log_artifact("data")
        repo.write(".dvcignore", "/data/old\n")
        live.log_artifact("data")
    assert dvc("status", cwd=repo.root).strip().endswith("up to date."), "DVC bears both"


# -- the run's own artifacts -----------------------------------------------------------------


def test_the_same_artifact_may_be_logged_again(repos):
    repos.make("git_and_dvc")
    assert Judge()("model.pt", own=["model.pt", "other.pt"]).cache


@pytest.mark.parametrize(
    ("path", "other", "verb"),
    [("out/a.pt", "out", "lies in"), ("out/sub", "out/sub/a.pt", "contains")],
)
def test_an_artifact_inside_another_of_the_run_is_refused(repos, path, other, verb):
    repos.make("git_and_dvc")
    text = Judge().refuses(path, own=[other])
    assert f"'{path}' {verb} '{other}'" in text
    instead = '`live.log_artifact("out")`' if verb == "lies in" else "`dvc remove out/sub/a.pt.dvc`"
    assert instead in text, "what to do is not said"
    assert "cache=False" in text, "nor that it may be described"


def test_names_that_only_begin_alike_are_no_overlap(repos):
    repos.make("git_and_dvc")
    assert Judge()("out2/a.pt", own=["out", "out2/a", "out2/a.pt.gz"]).cache


def test_outputs_on_another_machine_overlap_with_nothing():
    outs = ["s3://bucket/a", {"remote://r/b": {}}, "/abs", {"c": {"push": False}}]
    assert list(outputs.outputs_of({"wdir": "w", "outs": outs}, Path("/repo"))) == [
        ("/abs", Path("/abs"), {}),
        ("c", Path("/repo/w/c"), {"push": False}),
    ]


NAMES = st.lists(st.sampled_from(["a", "ab", "a.b", "b"]), min_size=1, max_size=4)


@settings(max_examples=100, deadline=None)
@given(NAMES, NAMES)
def test_overlap_goes_by_components_and_both_ways(one, other):
    p, q = Path("/", *one), Path("/", *other)
    mirrored = {"equal": "equal", "inside": "contains", "contains": "inside", None: None}
    assert relation(q, p) == mirrored[relation(p, q)]
    shared = min(len(one), len(other))
    assert (relation(p, q) is not None) == (one[:shared] == other[:shared])


@settings(max_examples=200, deadline=None)
@given(NAMES, st.lists(NAMES, max_size=6))
def test_among_many_artifacts_an_overlap_is_found_as_among_two(one, others):
    path, logged = Path("/", *one), [Path("/", *other) for other in others]
    found = Logged(logged).overlap(path)
    relations = {relation(path, other) for other in logged} & {"inside", "contains"}
    assert (found is not None) == bool(relations)
    if found is not None:
        assert relation(path, found[1]) == found[0]


def test_logging_an_artifact_costs_the_same_however_many_there_were(repos, monkeypatch):
    repo = repos.make("git_and_dvc")
    looked_at = []
    real = os.path.realpath

    def realpath(path, **more):
        looked_at.append(path)
        return real(path, **more)

    monkeypatch.setattr(os.path, "realpath", realpath)
    costs = []
    with Live(report=None, save_dvc_exp=False) as live:
        for number in range(12):
            looked_at.clear()
            live.log_artifact(repo.write(f"out/{number % 6}.pt", f"weights {number}"))
            costs.append(len(looked_at))
    assert costs[1] == costs[5], "each new one costs what the one before did"
    assert costs[6] == costs[11], "and so does each that is logged again"


_LOGGING = """\
from dvclive_dvc import Live
with Live(report=None, dvcyaml="dvc.yaml", save_dvc_exp=False) as live:
    live.log_metric("accuracy", 0.75)
"""

# -- the run's folder ------------------------------------------------------------------------


@pytest.mark.parametrize("where", PLACES)
def test_a_run_inside_a_stages_output_is_warned_of_once(repos, where):
    repos.make("run_in_output")
    judged = Outputs(place(*where))
    for folder, dvcyaml, stage, spelt in [
        ("dvclive", True, "train", "dvclive"),
        ("dvclive/first", True, "train", "dvclive"),
        ("results/one", True, "sweep", "../results"),
        ("results", None, "sweep", "../results"),
        ("elsewhere", "shared/dvc.yaml", "collect", "shared"),
    ]:
        (told,) = judged.judge_run(Layout.at(folder, dvcyaml))
        assert f"the stage '{stage}' in 'dvc.yaml'" in told
        assert f"Take '{spelt}' out of the outputs of '{stage}'" in told
        assert (f"folder '{folder}'" in told) == (folder != "elsewhere"), told
        assert ("/dvc.yaml' l" in told) == (dvcyaml is not None), told
        assert ("would not be found" in told) == (dvcyaml is not None), told
        assert ("Live(dvcyaml='dvc.yaml')" in told) == (dvcyaml is not None), told
        assert ("nothing to resume from" in told) == (dvcyaml is None), told


@pytest.mark.parametrize("settings", ["", "persist: true", "cache: false"])
def test_a_run_in_an_output_with_its_dvc_yaml_elsewhere_is_told_what_dvc_does_to_it(
    repos, settings
):
    repo = repos.make("git_and_dvc")
    repo.write("train.py", _LOGGING)
    out = f"dvclive: {{{settings}}}" if settings else "dvclive"
    repo.write(
        "dvc.yaml", f"stages:\n  train:\n    cmd: '{sys.executable} train.py'\n    outs: [{out}]\n"
    )
    (told,) = Outputs(place()).judge_run(Layout.at("dvclive", "dvc.yaml"))
    assert ("removes it before" in told) == (settings != "persist: true"), told
    assert ("cache instead of Git" in told) == (settings != "cache: false"), told
    repo.write("dvclive/from-before", "")
    dvc("repro", "-q", cwd=repo.root)
    assert "0.75" in dvc("metrics", "show", cwd=repo.root), "DVC does not find the metrics"
    stayed = (repo.root / "dvclive/from-before").exists()
    assert stayed == (settings == "persist: true"), "DVC does otherwise to an output"
    ignored = bool(git("check-ignore", "dvclive/metrics.json", cwd=repo.root, check=False))
    assert ignored == (settings != "cache: false"), "DVC does otherwise to an output's files"


def test_a_run_beside_the_outputs_is_not_warned_of(repos):
    repos.make("run_in_output")
    judged = Outputs(place())
    for folder in ["dvclive2", "work", "dvclive_metrics", "result"]:
        assert judged.judge_run(Layout.at(folder)) == [], folder


# -- whose a path is -------------------------------------------------------------------------


def test_each_path_is_known_by_its_owner(repos):
    repo = repos.make("owned_paths")
    judged = Outputs(place())
    for path, owner in [
        ("models/best.pt", "train"),
        ("deep/er/student.pt", "deep/er/dvc.yaml:distil"),
        ("data", "data.dvc"),
        ("data/raw/part.csv", "data.dvc"),
        ("mixed/inner.csv", "mixed/inner.csv.dvc"),
        ("store/blob.bin", "odd.dvc"),
        ("mixed/plain.csv", None),
        ("mixed", None),
        ("train.py", None),
    ]:
        assert judged.covers(repo.root / path) == owner, path


# -- where dvc.yaml files are found ----------------------------------------------------------


def test_a_broken_dvc_yaml_is_a_warning_and_the_rest_still_counts(repos, caplog):
    repos.make("broken_stages")
    judged = Outputs(place())
    assert judged.judge(Path.cwd() / "model.pt", Logged()).owner == "train"
    for _ in range(2):
        assert judged.judge(Path.cwd() / "other" / "free.pt", Logged()).cache
    texts = [record.getMessage() for record in caplog.records]
    assert len(texts) == 2, "one warning a file, however often it is asked"
    assert sum("'dvc.yaml'" in text and "nowhere" in text for text in texts) == 1
    assert sum("'other/dvc.yaml'" in text for text in texts) == 1


@pytest.mark.parametrize(
    "situation",
    ["git_and_dvc", "index_version_4", "split_index", "sparse_index", "worktree",
     "skip_worktree", "separate_git_dir"],
)  # fmt: skip
def test_the_dvc_yamls_of_any_index_are_found(repos, situation):
    repos.make(situation)
    top = Path(git("rev-parse", "--show-toplevel"))
    long, longer = "a" * 200, "/".join(["b" * 100] * 6)
    paths = ["dvc.yaml", "sub/dvc.yaml", "sub/not-dvc.yaml", "dvc.yaml.d/x", "sub/dvc.yaml2",
             f"{long}/dvc.yaml", f"{longer}/dvc.yaml", "ü/dvc.yaml"]  # fmt: skip
    for path in paths:
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_text("stages: {}\n")
        git("add", "-f", "--sparse", "--", path, cwd=top)
    git("add", "-N", "--sparse", "sub/not-dvc.yaml", cwd=top)
    listed = git("ls-files", "-z", "--", ":(glob)**/dvc.yaml", cwd=top).split("\0")
    found = outputs.tracked_dvcyamls(Git(top))
    assert sorted(found) == sorted(top / name for name in listed if name)
    assert len(found) >= 5


def test_a_dvc_yaml_inside_the_artifact_counts_though_nobody_knows_it(repos):
    repo = repos.make("git_and_dvc")
    repo.write("work/one/dvc.yaml", "stages:\n  a:\n    cmd: b\n    outs: [c]\n")
    judge = Judge()
    assert "contains 'work/one/c', an output of the stage 'a'" in judge.refuses("work")
    assert judge("work2").cache


def test_a_pipeline_that_does_not_name_the_path_is_not_parsed(repos):
    repos.make("pipeline")
    source = """
import sys
from pathlib import Path
from dvclive_dvc.layout import Layout
from dvclive_dvc.repo.context import detect
from dvclive_dvc.repo.outputs import Logged, Outputs
judged = Outputs(detect())
judged.judge_run(Layout.at("dvclive"))
judged.judge(Path("weights.bin").absolute(), Logged())
print("dvc" in sys.modules)
print(judged.judge(Path("model.pt").absolute(), Logged()).owner, "dvc" in sys.modules)
"""
    assert python(source).stdout.splitlines() == ["False", "train True"]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.text("ab.é '\\\n", min_size=1, max_size=3), min_size=1, max_size=3),
    st.lists(st.text("ab.é '\\\n", min_size=1, max_size=3), min_size=1, max_size=3),
)
def test_no_dvc_yaml_that_concerns_a_path_is_passed_over(out, path):
    """However DVC's own dumper spells an output that overlaps with the path."""
    from dvc.utils.serialize import dumps_yaml

    root = Path("/repo")
    spelt = "/".join(out)
    text = dumps_yaml({"stages": {"s": {"cmd": "c", "outs": [spelt]}}}).encode()
    output = Path(os.path.normpath(root / spelt))
    target = Path(os.path.normpath(root.joinpath(*path)))
    if relation(target, output) and root not in (output, target):
        assert outputs.may_concern(text, root / "dvc.yaml", target, root)


def test_an_index_with_intent_to_add_is_read_as_well(repos):
    repo = repos.make("git_and_dvc")
    repo.write("sub/dvc.yaml", "stages: {}\n")
    repo.git("add", "-N", "sub/dvc.yaml")  # makes it an index of version 3
    assert outputs.tracked_dvcyamls(Git(repo.root)) == [repo.root / "sub/dvc.yaml"]


def test_stages_of_another_project_inside_this_one_do_not_count(repos):
    repo = repos.make("owned_paths")
    (repo.root / "deep" / ".dvc").mkdir()
    assert Judge()("small.pt").cache, "DVC does not look into a project inside a project"


WATCHED = """
import os, sys
opened = []
sys.addaudithook(lambda name, args: opened.append(str(args[0])) if name == "open" else None)
from pathlib import Path
from dvclive_dvc.layout import Layout
from dvclive_dvc.repo.context import detect
from dvclive_dvc.repo.outputs import Logged, Outputs
judged = Outputs(detect())
layout = Layout.at("dvclive")
assert judged.judge_run(layout) == []
assert judged.judge(Path("models/model.pt").absolute(), Logged()).cache
assert judged.covers(layout.root / "metrics.json") is None
print(len([name for name in opened if name.endswith(".dvc")]))
print(sorted({"dvc", "ruamel"} & set(sys.modules)))
"""


def test_other_dvc_files_are_not_opened_and_dvc_not_loaded(repos):
    repo = repos.make("git_and_dvc")
    ignored = []
    for number in range(50):
        for folder in (".", "models", "elsewhere"):
            repo.write(f"{folder}/{number}.bin.dvc", "outs:\n- path: x\n")
        repo.write(f"{number}.bin", "data that are checked out")
        ignored.append(f"/{number}.bin\n")
    repo.write("models/.gitignore", "".join(ignored))
    repo.write("models/model.pt", "bytes")
    repo.write("dvclive/dvc.yaml", "metrics:\n- metrics.json\n")
    repo.write("dvc.yaml", "metrics:\n- dvclive/metrics.json\n")
    repo.git("add", ".")
    assert python(WATCHED).stdout.splitlines() == ["0", "[]"]


# -- what a `.dvcignore` leaves out ------------------------------------------------------------

STAGE = "stages:\n  train:\n    cmd: x\n    outs: [{}]\n"


@pytest.mark.parametrize(
    ("file", "text", "rule"),
    [
        ("examples/dvc.yaml", STAGE.format("../data/model.pt"), "examples/"),
        ("examples/dvc.yaml", STAGE.format("../data"), "examples/dvc.yaml"),
        ("dvc.yaml", STAGE.format("data/model.pt"), "/dvc.yaml"),
        ("data/dvc.yaml", STAGE.format("model.pt"), "data/dvc.yaml"),
        ("data/dvc.yaml", "stages: [", "dvc.yaml"),
        ("foo.dvc", "outs:\n- path: data\n", "foo.dvc"),
        ("data/foo.dvc", "outs:\n- path: model.pt\n", "foo.dvc"),
        ("data.dvc", "outs:\n- path: data\n", "/data.dvc"),
    ],
)
@pytest.mark.parametrize("logged", ["data/model.pt", "data"])
def test_what_an_ignored_file_says_of_an_artifact_does_not_count(
    repos, caplog, file, text, rule, logged
):
    repo = repos.make("git_and_dvc")
    repo.write("data/model.pt", "weights")
    repo.write(file, text)
    repo.write(".dvcignore", f"# mine\n{rule}\n")
    repo.git("add", "-f", file, ".dvcignore")
    if Path(file).parent == Path(logged):
        repo.git("rm", "-q", "--cached", file)  # or DVC would not track the folder for Git's sake
    judged = Outputs(place())
    assert judged.covers(repo.root / logged) is None, "it decides whose the artifact is"
    assert judged.judge_run(Layout.at("data/run")) == [], "it decides about the run's folder"
    assert judged.kept_around(repo.root / logged) == frozenset()
    with Live(report=None, save_dvc_exp=False) as live:
        live.log_artifact(logged)
    assert not caplog.records, caplog.text
    assert (repo.root / f"{logged}.dvc").is_file(), "not cached"
    assert "changed" not in dvc("status", cwd=repo.root), "DVC does not bear both"


# -- with DVC as the one that runs -----------------------------------------------------------

ASK = """\
import sys
from pathlib import Path
from dvclive_dvc.repo.context import detect
from dvclive_dvc.layout import resolved
from dvclive_dvc.repo.outputs import Logged, Outputs

Path(sys.argv[1]).write_text("bytes")
judged = Outputs(detect())
print("mine:", judged.judge(resolved(Path(sys.argv[1]).absolute()), Logged()))
print("other:", judged.judge(resolved(Path(sys.argv[2]).absolute()), Logged()))
"""


@pytest.mark.parametrize(
    ("folder", "target", "stage", "mine"),
    [
        (".", "evaluate", "evaluate", "../report.pkl"),
        ("deep", "er/dvc.yaml:distil", "distil", "student.pt"),
    ],
)
def test_a_stage_that_dvc_runs_knows_itself(repos, folder, target, stage, mine):
    repo = repos.make("owned_paths")
    (repo.root / "ask.py").write_text(ASK)
    for file, other in (("dvc.yaml", "../model.pt"), ("deep/er/dvc.yaml", "../../model.pt")):
        text = (repo.root / file).read_text()
        ask = os.path.relpath(
            repo.root / "ask.py", repo.root / ("evaluation" if file == "dvc.yaml" else "deep/er")
        )
        for name in ("evaluate.py", "distil.py"):
            text = text.replace(name, f"{ask} {mine} {other}")
        text = text.replace("      - confusion\n", "").replace("      - ../../small.pt\n", "")
        (repo.root / file).write_text(text)
    said = dvc("repro", "--single-item", target, cwd=repo.root / folder)
    lines = [line for line in said.splitlines() if line.startswith(("mine:", "other:"))]
    assert len(lines) == 2, said
    assert "cache=False" in lines[0]
    assert "warning=None" in lines[0]
    assert "'train'" in lines[1]
    assert f"{stage}' is running" in lines[1]

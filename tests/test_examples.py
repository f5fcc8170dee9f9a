"""The example of "How it works" and the README's first script do what the text around them says."""

from __future__ import annotations

import ast
import json
import re
import sys
from typing import TYPE_CHECKING

from situations import PROJECT, dvc, run

if TYPE_CHECKING:
    from pathlib import Path

SPEC_TREE = [
    "dvclive",
    "dvclive/dvc.yaml",
    "dvclive/metrics.json",
    "dvclive/params.yaml",
    "dvclive/plots",
    "dvclive/plots/images",
    "dvclive/plots/images/img.png",
    "dvclive/plots/metrics",
    "dvclive/plots/metrics/metric.tsv",
    "dvclive/plots/metrics/nested",
    "dvclive/plots/metrics/nested/metric.tsv",
    "dvclive/plots/sklearn",
    "dvclive/plots/sklearn/confusion_matrix.json",
    "dvclive/report.html",
    "model.pt",
    "model.pt.dvc",
]
# What the run may write: its folder, the artifact, its pointer, and the line that hides it.
RUNS_OWN = ("dvclive", "model.pt", "model.pt.dvc", ".gitignore")


def new_files(root: Path, before: set[str]) -> set[str]:
    found = {p.relative_to(root).as_posix() for p in root.rglob("*")}
    return {name for name in found if not name.startswith((".git/", ".dvc/"))} - before


def test_the_documented_example_leaves_the_documented_tree_and_nothing_else_moves(repos):
    repo = repos.make("git_and_dvc")
    repo.write("src/staged.py", "STAGED = 1\n")
    repo.git("add", "src/staged.py")
    repo.write("src/train.py", "STASHED = 1\n")
    repo.git("stash", "push", "-q", "--", "src/train.py")
    repo.write("src/train.py", "DIRTY = 1\n")
    repo.write("notes.txt", "untracked")
    there = new_files(repo.root, set())
    before = repo.state(*RUNS_OWN)

    run(sys.executable, PROJECT / "examples" / "how_it_works.py", cwd=repo.cwd)

    assert repo.state(*RUNS_OWN) == before
    assert new_files(repo.root, there) == {*SPEC_TREE, ".gitignore"}
    (commit,) = repo.experiments().values()
    saved = set(repo.git("ls-tree", "-r", "--name-only", commit).splitlines())
    wanted = {name for name in SPEC_TREE if (repo.root / name).is_file()} - {"model.pt"}
    assert wanted <= saved, f"missing from the experiment: {wanted - saved}"
    assert "notes.txt" not in saved, "untracked files of the user's never enter"
    assert repo.git("show", f"{commit}:src/train.py") == "DIRTY = 1"
    assert repo.git("show", f"{commit}:src/staged.py") == "STAGED = 1"
    assert repo.git("rev-parse", f"{commit}^") == repo.git("rev-parse", "HEAD")


def test_dvc_shows_the_documented_example_with_its_metrics_and_params(repos):
    repo = repos.make("git_and_dvc")
    run(sys.executable, PROJECT / "examples" / "how_it_works.py", cwd=repo.cwd)
    (name,) = repo.experiments()
    shown = json.loads(dvc("exp", "show", "--json", cwd=repo.cwd))
    (experiment,) = [one for entry in shown for one in entry.get("experiments") or []]
    assert experiment["name"] == name
    (data,) = [revision["data"] for revision in experiment["revs"]]
    metrics = data["metrics"]["dvclive/metrics.json"]["data"]
    assert metrics["summary_metric"] == 1.0
    assert set(metrics) == {"metric", "nested", "step", "summary_metric"}
    assert data["params"]["dvclive/params.yaml"]["data"] == {"epochs": 2}


def test_the_example_is_the_specs_but_for_its_imports():
    """Only the two lines that its text says were changed differ from the published example."""
    source = (PROJECT / "examples" / "how_it_works.py").read_text()
    imports = [ast.unparse(n) for n in ast.parse(source).body if "Import" in type(n).__name__]
    assert sorted(imports) == [
        "from PIL import Image",
        "from dvclive_dvc import Live",
        "from pathlib import Path",
        "import random",
    ]


def test_the_demo_starts_anew_in_a_home_without_an_author(home, tmp_path):
    (home / ".gitconfig").write_text("")
    earlier = tmp_path / "demo"
    (earlier / ".git").mkdir(parents=True)
    (earlier / ".git" / ".made-by-make-demo").touch()
    (earlier / "old.txt").touch()
    said = run(sys.executable, PROJECT / "examples" / "demo.py", earlier).stdout
    assert not (earlier / "old.txt").exists()
    for wanted in ("└── report.html", "$ git status", "summary_metric", "epochs", "file://"):
        assert wanted in said, f"the demo does not show {wanted!r}:\n{said}"


def test_the_demo_shows_its_script_and_commands_that_a_shell_takes(tmp_path):
    said = run(sys.executable, PROJECT / "examples" / "demo.py", tmp_path / "demo").stdout
    assert 'live.log_metric("nested/metric"' in said
    assert "$ git commit --quiet --message 'A script to train with'" in said


def test_the_demo_removes_no_folder_that_it_did_not_make(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    done = run(sys.executable, PROJECT / "examples" / "demo.py", tmp_path, check=False)
    assert done.returncode != 0
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def blocks(document: str, language: str) -> list[str]:
    text = (PROJECT / document).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_the_readmes_first_script_runs_as_it_stands(repos):
    repo = repos.make("git_and_dvc")
    (script, *_) = blocks("README.md", "python")
    (repo.cwd / "train.py").write_text(script)
    repo.commit("train.py")
    run(sys.executable, "train.py", cwd=repo.cwd)
    assert repo.git("status", "--short").splitlines() == [
        "?? .gitignore", "?? dvclive/", "?? model.pt.dvc",
    ]  # fmt: skip
    assert len(repo.experiments()) == 1


def test_the_readmes_commands_run_in_its_order_up_to_the_model_that_others_get(repos, tmp_path):
    repo = repos.make("git_and_dvc")
    origin, storage = tmp_path / "origin.git", tmp_path / "storage"
    run("git", "clone", "-q", "--bare", repo.root, origin)
    repo.git("remote", "add", "origin", str(origin))
    (script, *_) = blocks("README.md", "python")
    (repo.cwd / "train.py").write_text(script)
    text = (PROJECT / "README.md").read_text(encoding="utf-8").partition("\n## Coming from")[0]
    (named,) = set(re.findall(r"`dvc exp apply ([a-z-]+)`", text))
    own = {
        "/where/the/data/goes": str(storage),
        "https://example.com/this/repository.git": str(origin),
    }
    commands = re.findall(r"^\$ (.+)$", text, re.MULTILINE)
    for command in commands:
        if repo.experiments():
            own[named] = next(iter(repo.experiments()))
        for theirs, ours in own.items():
            command = command.replace(theirs, ours)  # noqa: PLW2901 - as a reader would
        run("sh", "-c", command, cwd=repo.cwd)
    assert command.startswith("dvc artifacts get"), (
        "the last command is no longer the one read here"
    )
    (got,) = repo.root.rglob(command.split()[-1])
    assert got.read_text() == "weights", "what others get is not the model of the run"


def test_the_readmes_pipeline_runs_as_it_stands(repos):
    repo = repos.make("git_and_dvc")
    (script, *_) = blocks("README.md", "python")
    (pipeline, *_) = blocks("README.md", "yaml")
    (repo.cwd / "train.py").write_text(script)
    (repo.cwd / "dvc.yaml").write_text(pipeline)
    repo.commit(".")
    done = run(sys.executable, "-m", "dvc", "exp", "run", cwd=repo.cwd)
    told = "Inside `dvc exp run`: DVC saves the experiment; the run joins it."
    assert told in done.stdout + done.stderr
    assert len(repo.experiments()) == 1, "DVC's, and no second one"


def test_commands_that_the_documents_name_are_there():
    makefile = (PROJECT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    for document in ("README.md", "CONTRIBUTING.md"):
        named = set(
            re.findall(r"(?:^    |`)make ([a-z]+)", (PROJECT / document).read_text(), re.MULTILINE)
        )
        assert named <= targets, f"{document} names {named - targets}, which make does not know"
        assert named, f"{document} names no command"


def test_links_between_the_documents_lead_somewhere():
    for document in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        for target in re.findall(r"\]\(([^):#]+)\)", (PROJECT / document).read_text()):
            assert (PROJECT / target).exists(), f"{document} links to {target}"


def test_the_layers_in_the_document_are_the_ones_that_are_watched():
    from test_layers import FLOOR

    text = (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| (`.+`.*?) \|", text, re.MULTILINE)
    top_level = {unit.split(".")[0] for unit in FLOOR}
    named = {word for cell in told for word in re.findall(r"`([a-z]+)", cell)}
    assert top_level <= named, f"CONTRIBUTING.md does not name {sorted(top_level - named)}"

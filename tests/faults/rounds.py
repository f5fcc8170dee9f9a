"""One round of a fault test: a real training, what it was told, and what must be true after.

`prepare` makes a repository with work of the user's in every state Git knows; `Training` runs
the script below as a process of its own and keeps what it acknowledged; `violations` looks at
all that was promised, and returns what was broken, as sentences.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pygit2
from ruamel.yaml import YAML
from situations import Situation, State, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROUNDS = int(os.environ.get("FAULT_ROUNDS", "12"))
SEED = int(os.environ.get("FAULT_SEED") or random.SystemRandom().randrange(10**6))

# The script says what it did, after it did it, on its standard output; a pipe keeps that
# though the process is killed. What it asks `access` for tells preload.c where it is. Its own
# writes are forgiven, for it is the logger that is tested.
TRAIN = """\
import json
import os
import sys
from pathlib import Path

from dvclive_dvc import Live

folder, name, epochs = sys.argv[1], sys.argv[2], int(sys.argv[3])


def done(*facts):
    os.write(1, (json.dumps(facts) + "\\n").encode())


def write(path, text):
    try:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    except OSError:
        pass


os.access("/the-run-begins", os.R_OK)
live = Live(folder, exp_name=name)
done("began")
live.log_params({"lr": 0.1, "name": name})
model, features = Path(folder + ".pt"), Path(folder + "-features")
for epoch in range(epochs):
    for metric in ("loss", "eval/f1"):
        value = (epoch + 1) / 7
        live.log_metric(metric, value)
        done("row", metric, f"{epoch}\\t{value!r}")
    live.next_step()
    write(model, f"{name} {epoch}" * 100)
    if epoch % 4 == 0 and model.exists():
        live.log_artifact(model, type="model")
for number in range(3):
    write(features / f"{number}.txt", f"{name} {number}")
if features.exists():
    live.log_artifact(features)
done("ending")
os.access("/the-end-begins", os.R_OK)
live.end()
done("ended")
"""
BEGIN, END = "/the-run-begins", "/the-end-begins"


def prepare(repo: Situation) -> None:
    """The training script, and work of the user's: committed, staged, changed, new, stashed."""
    repo.write("train.py", TRAIN)
    repo.write("notes.md", "stashed\n")
    repo.commit(message="a script to train with")
    repo.write("notes.md", "stash me\n")
    repo.git("stash", "--quiet")
    repo.write("staged.txt", "staged\n")
    repo.git("add", "staged.txt")
    repo.write("README.md", "changed\n")
    repo.write("untracked.txt", "the user's own\n")


def of_runs(*folders: str) -> tuple[str, ...]:
    """The paths that trainings in these folders may write."""
    made = [
        path
        for folder in folders
        for path in (folder, f"{folder}.pt", f"{folder}.pt.dvc",
                     f"{folder}-features", f"{folder}-features.dvc")
    ]  # fmt: skip
    return (".gitignore", *made)


@dataclass
class Training:
    """One training process and what it said.

    rows: metric -> the lines that were logged for certain.
    """

    repo: Situation
    name: str
    folder: str = "dvclive"
    epochs: int = 6
    said: list[list[str]] = field(default_factory=list)
    stderr: str = ""
    code: int | None = None
    process: subprocess.Popen[bytes] | None = None

    def start(self, *before: str, **variables: str) -> Training:
        """Starts it; `before` is a program that runs it."""
        self.process = subprocess.Popen(
            [*before, sys.executable, "train.py", self.folder, self.name, str(self.epochs)],
            cwd=self.repo.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, **variables},
        )  # fmt: skip
        return self

    def wait(self) -> Training:
        """Waits for its end and reads what it said."""
        assert self.process is not None
        out, complaint = self.process.communicate(timeout=120)
        self.code = self.process.returncode
        self.stderr = complaint.decode("utf-8", "replace")
        with contextlib.suppress(ValueError):  # the last line may be cut
            for line in out.decode().splitlines():
                self.said.append(json.loads(line))
        return self

    def killed_after(self, seconds: float) -> Training:
        """Kills it that long after its start."""
        assert self.process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        self.process.kill()
        return self.wait()

    @property
    def began(self) -> bool:
        """Whether `Live()` returned."""
        return ["began"] in self.said

    @property
    def ended(self) -> bool:
        """Whether `end()` returned."""
        return ["ended"] in self.said

    @property
    def rows(self) -> dict[str, list[str]]:
        """The rows whose `log_metric` returned."""
        found: dict[str, list[str]] = {}
        for kind, *facts in self.said:
            if kind == "row":
                found.setdefault(facts[0], []).append(facts[1])
        return found


def recover(repo: Situation) -> list[str]:
    """Runs the command; returns what was wrong with it."""
    done = run(sys.executable, "-m", "dvclive_dvc", "recover", "--json", cwd=repo.root, check=False)
    if done.returncode:
        return [f"`recover` ended with {done.returncode}: {done.stdout}{done.stderr}"]
    return []


def duration(repo: Situation) -> float:
    """How long a training takes here and now, in seconds: not the first, which starts caches."""
    took = []
    for number in range(3):
        began = time.monotonic()
        training = Training(repo, f"measured-{number}").start().wait()
        assert training.ended, training.stderr
        took.append(time.monotonic() - began)
    return min(took)


# -- what must be true -----------------------------------------------------------------------


def violations(
    repo: Situation, before: State, trainings: list[Training], *, lost_rows: int = 0
) -> list[str]:
    """What of the promises is broken, once every training has ended and been recovered.

    `lost_rows` is how many rows each metric may lack: those the disk refused, which were warned
    about.
    """
    folders = {training.folder for training in trainings}
    broken = [
        f"the user's state: {line}"
        for line in before.changes(repo.state(*of_runs(*folders)))
        if "leftover" in line or not line.startswith("gone:    leftover")
    ]
    broken += _fsck(repo)
    broken += [f"left: {path.relative_to(repo.root)}" for path in _leftovers(repo.root)]
    experiments = repo.experiments()
    mine = {training.name for training in trainings}
    for name, commit in experiments.items():
        if name not in mine and not any(_is_of(name, one) for one in mine):
            continue  # looked at in its own round
        broken += [f"experiment {name}: {text}" for text in not_whole(repo.root, commit)]
    for training in trainings:
        its = [name for name in experiments if _is_of(name, training.name)]
        if training.began and len(its) != 1:
            broken.append(f"run {training.name}: {len(its)} experiments, {its}")
        for name in its[:1]:
            broken += [
                f"run {training.name}: {text}"
                for text in _missing(repo.root, experiments[name], training, lost_rows)
            ]
    return broken


def _is_of(experiment: str, run_name: str) -> bool:
    return experiment == run_name or (
        experiment.startswith(f"{run_name}-") and experiment.removeprefix(f"{run_name}-").isdigit()
    )


def _fsck(repo: Situation) -> list[str]:
    done = run(
        "git", "fsck", "--strict", "--no-dangling", "--no-progress", cwd=repo.root, check=False
    )
    said = (done.stdout + done.stderr).strip()
    return [f"git fsck: {said}"] if done.returncode or said else []


def _leftovers(root: Path) -> Iterator[Path]:
    for pattern in ("**/*.dvclive-tmp", ".git/**/*.lock", ".dvc/tmp/dvclive/runs/*"):
        yield from root.glob(pattern)


def _tree(
    repo: pygit2.Repository, tree: pygit2.Tree, prefix: str = ""
) -> Iterator[tuple[str, pygit2.Blob]]:
    for entry in tree:
        if isinstance(entry, pygit2.Tree):
            yield from _tree(repo, entry, f"{prefix}{entry.name}/")
        elif isinstance(entry, pygit2.Blob):
            yield f"{prefix}{entry.name}", entry


def _files(root: Path, commit: str) -> dict[str, bytes]:
    repo = pygit2.Repository(str(root))
    return {path: blob.data for path, blob in _tree(repo, repo[commit].tree)}


def not_whole(root: Path, commit: str) -> Iterator[str]:
    """What an experiment's pointers name that is not in the cache, byte for byte."""
    for path, data in _files(root, commit).items():
        if not path.endswith(".dvc"):
            continue
        try:
            (out,) = YAML(typ="safe").load(data)["outs"]
        except Exception as error:  # noqa: BLE001 - whatever it is, the pointer is no good
            yield f"{path} cannot be read: {error!r}"
            continue
        yield from _bad_objects(root, path, out["md5"])


def _bad_objects(root: Path, path: str, md5: str) -> Iterator[str]:
    file = root / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]
    try:
        data = file.read_bytes()
    except OSError as error:
        yield f"{path}: object {md5}: {error.strerror}"
        return
    if hashlib.md5(data).hexdigest() != md5.removesuffix(".dir"):
        yield f"{path}: object {md5} holds other bytes"
    elif md5.endswith(".dir"):
        for entry in json.loads(data):
            yield from _bad_objects(root, f"{path}: {entry['relpath']}", entry["md5"])


def _missing(root: Path, commit: str, training: Training, lost_rows: int) -> Iterator[str]:
    files = _files(root, commit)
    summary = json.loads(files.get(f"{training.folder}/metrics.json", b"{}"))
    for metric, rows in training.rows.items():
        text = files.get(f"{training.folder}/plots/metrics/{metric}.tsv", b"").decode()
        header, *there = text.split("\n")[:-1] or [""]
        if text and (not text.endswith("\n") or header.split("\t")[0] != "step"):
            yield f"{metric}: the file is cut: {text[-40:]!r}"
        gone = [row for row in rows if row not in there]
        if len(gone) > lost_rows:
            yield f"{metric}: logged, but not there: {gone}"
        value = summary
        for part in metric.split("/"):
            value = value.get(part, {}) if isinstance(value, dict) else {}
        if there and not lost_rows and repr(value) != there[-1].split("\t")[1]:
            yield f"{metric}: the summary says {value!r}, the last row {there[-1]!r}"


def next_run_works(repo: Situation, name: str, folder: str = "dvclive") -> list[str]:
    """A training after all that, to its end."""
    training = Training(repo, name, folder, epochs=2).start().wait()
    if training.code != 0 or name not in repo.experiments():
        return [f"the next run: exit code {training.code}: {training.stderr}"]
    return []


def some(made: list[str], *wanted: str) -> list[int]:
    """Which of a training's changes to fail: from all over, as many as the rounds allow.

    Only those whose name holds one of `wanted`, where that is given. Of a database's hundreds
    of writes in a row a few stand for all.
    """
    points = [
        number
        for number, call in enumerate(made, 1)
        if (not wanted or any(word in call for word in wanted))
        and made[max(0, number - 4) : number] != [call] * 4
    ]
    size = min(len(points), max(5, ROUNDS // 6))
    return [points[number * len(points) // size] for number in range(size)]


def readable(folder: Path) -> list[str]:
    """What of a run's files no reader can take: cut rows, halves of JSON."""
    broken = []
    for path in folder.rglob("*"):
        if path.suffix == ".tsv" and not path.read_text().endswith("\n") and path.stat().st_size:
            broken.append(f"{path.name} is cut")
        if path.suffix == ".json":
            try:
                json.loads(path.read_bytes())
            except ValueError:
                broken.append(f"{path.name} is no JSON")
    return broken

"""DVC-tracked data that changed: found by a stat each, cached, and pointed to by the experiment."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import os
import shutil
import struct
import subprocess
import sys
import termios
import time
from datetime import datetime, timezone
from pathlib import Path

import dvc.api
import pytest
import yaml
from dvc.repo import Repo
from saved_runs import files_of, git_of, record_of, write_run
from situations import dvc_inside

from dvclive_dvc.backend import Outcome
from dvclive_dvc.repo import data, dvcconfig, experiments, kept
from dvclive_dvc.repo.cache import ArtifactCache


def store_of(record):
    cache = ArtifactCache(record.dvc_root, record.git_root)
    return cache.hash_into_cache


def refuse(path):
    raise AssertionError(f"'{path}' was hashed though it is unchanged")


def commit(record):
    return data.committed(git_of(record), record, store_of(record))


def saved(record):
    """What of DVC's data changed, and the experiment with it."""
    found = commit(record)
    return found, experiments.save(record, Outcome(), found.overrides, found.covered)


def test_a_changed_file_is_cached_and_only_the_experiment_points_to_it(repos):
    repo = repos.make("git_and_dvc")
    repo.write("model.pt", "old weights")
    dvc_inside("add", "-q", "model.pt")
    repo.commit()
    repo.write("model.pt", "new weights")
    record = record_of(repo)
    write_run(record.dir)
    before = repo.state()

    found, sha = saved(record)

    assert repo.state() == before, "the user's own pointer stays as it is"
    assert list(found.overrides) == ["model.pt.dvc"]
    assert dvc.api.read("model.pt", repo=str(repo.root), rev=sha) == "new weights"
    assert dvc.api.read("model.pt", repo=str(repo.root), rev="HEAD") == "old weights"


def test_a_changed_folder_is_cached_whole(repos):
    repo = repos.make("dataset")
    repo.write("data/raw/part-4.csv", "4,four\n")
    (repo.root / "data" / "labels.csv").unlink()
    record = record_of(repo)

    _, sha = saved(record)

    with contextlib.closing(Repo(str(repo.root))) as project:
        listing = project.ls(str(repo.root), "data", rev=sha, recursive=True)
    assert sorted(entry["path"] for entry in listing) == [
        "raw/part-1.csv", "raw/part-2.csv", "raw/part-3.csv", "raw/part-4.csv",
    ]  # fmt: skip


def test_a_changed_output_of_a_stage_is_pointed_to_by_the_experiments_dvc_lock(repos):
    repo = repos.make("pipeline")
    (repo.root / "model.pt").unlink()  # DVC may have linked it
    repo.write("model.pt", "trained by hand")
    record = record_of(repo)
    found, sha = saved(record)
    assert list(found.overrides) == ["dvc.lock"]
    assert dvc.api.read("model.pt", repo=str(repo.root), rev=sha) == "trained by hand"
    old = repo.git("show", "HEAD:dvc.lock").splitlines()
    new = repo.git("show", f"{sha}:dvc.lock").splitlines()
    changed = [line for line in new if line not in old]
    assert len(changed) <= 2, f"only the output's hash and size may differ: {changed}"


def test_dvc_does_not_take_an_output_made_by_hand_for_what_the_stage_makes(repos):
    repo = repos.make("pipeline")
    assert "deps:" in repo.git("show", "HEAD:dvc.lock")
    (repo.root / "model.pt").unlink()  # DVC may have linked it
    repo.write("model.pt", "trained by hand")
    _, sha = saved(record_of(repo))
    repo.git("checkout", "-q", "--detach", sha)
    dvc_inside("checkout", "-q", "--force")
    dvc_inside("repro", "-q")
    assert (repo.root / "model.pt").read_text() != "trained by hand", (
        "the output made by hand passed for what the stage makes of what it depends on"
    )


def test_a_dvc_lock_keeps_the_lines_that_say_nothing_of_the_changed_output(repos):
    repo = repos.make("pipeline")
    stages = yaml.safe_load((repo.root / "dvc.yaml").read_text())
    stages["stages"]["long"] = {"cmd": "true " + " ".join(f"--option-{n} value" for n in range(20))}
    repo.write("dvc.yaml", yaml.safe_dump(stages))
    dvc_inside("repro", "-q", "long")
    repo.commit()
    (repo.root / "model.pt").unlink()  # DVC may have linked it
    repo.write("model.pt", "trained by hand")
    _, sha = saved(record_of(repo))
    old = repo.git("show", "HEAD:dvc.lock").splitlines()
    new = repo.git("show", f"{sha}:dvc.lock").splitlines()
    added = [line for line in new if line not in old]
    assert len(added) <= 2, f"only the output's hash and size may differ: {added}"


@pytest.mark.parametrize("where", ["inside", "outside"])
def test_a_dvc_lock_that_is_a_link_is_pointed_through_or_becomes_a_file(repos, tmp_path, where):
    repo = repos.make("pipeline")
    target = repo.root / "state" / "lock" if where == "inside" else tmp_path / "elsewhere"
    target.parent.mkdir(exist_ok=True)
    (repo.root / "dvc.lock").rename(target)
    (repo.root / "dvc.lock").symlink_to(os.path.relpath(target, repo.root))
    repo.git("add", ".")
    repo.commit()
    (repo.root / "model.pt").unlink()
    repo.write("model.pt", "made by hand")
    _, sha = saved(record_of(repo))
    holds = "state/lock" if where == "inside" else "dvc.lock"
    entry = repo.git("ls-tree", "-r", sha, holds)
    assert entry.startswith("100644"), f"the pointers are in no file: {entry}"
    assert hashlib.md5(b"made by hand").hexdigest() in repo.git("show", f"{sha}:{holds}")
    if where == "inside":
        assert repo.git("show", f"{sha}:dvc.lock") == "state/lock", "the link leads elsewhere"
    (repo.root / "model.pt").unlink()
    dvc_inside("exp", "apply", "-q", *repo.experiments())
    assert (repo.root / "model.pt").read_text() == "made by hand"


def test_changed_imported_data_does_not_pass_for_a_pointer_edited_by_hand(repos, tmp_path):
    repo = repos.make("git_and_dvc")
    source = tmp_path / "table.csv"
    source.write_text("1,one\n")
    dvc_inside("import-url", "-q", str(source), "table.csv")
    text = (repo.root / "table.csv.dvc").read_text()
    repo.write("table.csv.dvc", text + "desc: of a customer\n")
    repo.commit()
    (repo.root / "table.csv").unlink()  # DVC may have linked it
    repo.write("table.csv", "2,two\n")
    found, sha = saved(record_of(repo))
    assert list(found.overrides) == ["table.csv.dvc"]
    repo.git("checkout", "-q", "--detach", sha)
    state = json.loads(dvc_inside("status", "--json"))
    assert state == {}, "DVC sees a change where there is none"


@pytest.mark.parametrize("shape", ["dataset", "pipeline"])
def test_unchanged_data_is_not_hashed(repos, shape):
    repo = repos.make(shape)
    dvc_inside("status", "-q")  # DVC's state learns the copy's files
    record = record_of(repo)
    found = data.committed(git_of(record), record, refuse)
    assert found.overrides == {}
    assert found.covered, "the outputs are known all the same"


def test_dvc_is_not_imported_where_nothing_changed(repos):
    repos.make("dataset")
    dvc_inside("status", "-q")
    program = (
        "import sys; from pathlib import Path; from dvclive_dvc.repo import data, kept\n"
        "outs = [kept.Output(str(Path('data').resolve()), 'data.dvc', ('outs', 0), "
        "sys.argv[1], 'md5')]\n"
        "print(len(data.look(outs, Path.cwd()).changed), 'dvc' in sys.modules)"
    )
    md5 = next(x.split()[-1] for x in Path("data.dvc").read_text().splitlines() if "md5:" in x)
    done = subprocess.run(
        [sys.executable, "-c", program, md5], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["0", "False"]


def test_what_dvcs_state_does_not_know_is_hashed_once_and_remembered(repos):
    repo = repos.make("dataset")
    shutil.rmtree(os.environ["DVC_SITE_CACHE_DIR"], ignore_errors=True)
    outputs = list(kept.outputs_of(git_of(record_of(repo)), record_of(repo)))
    assert data._folder_hash(data._State(repo.root), outputs[0]) is None
    assert data.look(outputs, repo.root).changed == []
    assert data._folder_hash(data._State(repo.root), outputs[0]) == outputs[0].md5


def test_the_state_is_read_as_dvc_itself_reads_it(repos):
    repo = repos.make("dataset")
    dvc_inside("status", "-q")
    files = {str(path): path.stat() for path in (repo.root / "data").rglob("*.csv")}
    ours = data._State(repo.root).hashes(files)
    with contextlib.closing(Repo(str(repo.root))) as project:
        assert dvcconfig.state_folder(repo.root) == Path(project.site_cache_dir)
        for path in files:
            _, theirs = project.state.get(path, project.fs)
            assert ours[path] == (theirs.name, theirs.value)
        assert len(ours) == 4


def test_a_touched_file_is_no_change(repos):
    repo = repos.make("dataset")
    dvc_inside("status", "-q")
    os.utime(repo.root / "data" / "labels.csv", ns=(1, 1))
    assert data.committed(git_of(record_of(repo)), record_of(repo), refuse).overrides == {}


def test_missing_data_costs_nothing(repos, caplog):
    repo = repos.make("dataset")
    shutil.rmtree(repo.root / "data")
    shutil.rmtree(repo.root / ".dvc" / "cache")
    record = record_of(repo)
    write_run(record.dir)
    with caplog.at_level(logging.WARNING, "dvclive_dvc"):
        found = data.committed(git_of(record), record, refuse)
        experiments.save(record, Outcome(), found.overrides, found.covered)
    assert repo.experiments()
    assert not caplog.records


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("corner/broken.dvc", "outs: [\n"),
        ("corner/odd.dvc", "outs:\n- 3\n"),
        ("corner/list.dvc", "- a\n- b\n"),
        ("corner/dvc.lock", "stages:\n  a: [1\n"),
    ],
)
def test_a_broken_pointer_in_a_corner_is_named_and_the_rest_is_saved(repos, caplog, name, text):
    repo = repos.make("dataset")
    repo.write(name, text)
    repo.write("corner/dvc.yaml", "stages:\n  a:\n    cmd: true\n")
    repo.commit()
    repo.write("data/labels.csv", "changed\n")
    record = record_of(repo)
    with caplog.at_level(logging.WARNING, "dvclive_dvc"):
        found, _ = saved(record)
    assert list(found.overrides) == ["data.dvc"]
    assert repo.experiments()
    assert name in caplog.text


def test_a_key_that_stands_twice_in_a_pointer_costs_its_own_update_alone(repos, caplog):
    repo = repos.make("dataset")
    repo.write("other.bin", "old")
    dvc_inside("add", "-q", "other.bin")
    pointer = repo.root / "data.dvc"
    pointer.write_text(pointer.read_text() + "desc: ours\ndesc: theirs\n")
    repo.git("add", "-A")
    repo.commit()
    repo.write("data/labels.csv", "changed\n")
    (repo.root / "other.bin").unlink()
    repo.write("other.bin", "new")
    record = record_of(repo)
    with caplog.at_level(logging.WARNING, "dvclive_dvc"):
        found, _ = saved(record)
    assert list(found.overrides) == ["other.bin.dvc"]
    assert repo.experiments(), "the run is saved"
    assert "'data.dvc' cannot be updated" in caplog.text


def test_a_templated_output_that_git_keeps_is_left_to_git(repos):
    repo = repos.make("git_and_dvc")
    repo.write("params.yaml", "name: score\nfolder: out\n")
    repo.write(
        "dvc.yaml",
        "stages:\n"
        "  all:\n"
        "    foreach: [a, b]\n"
        "    do:\n"
        "      cmd: echo ${item} > ${item}.json; echo ${item} > ${item}.bin\n"
        "      outs: ['${item}.bin']\n"
        "      metrics: [{'${item}.json': {cache: false}}]\n"
        "  like:\n"
        "    cmd: echo 1 > ${name}; echo 1 > ${folder}\n"
        "    outs: ['${folder}', {'${name}': {cache: false}}]\n",
    )
    dvc_inside("repro", "-q")
    repo.git("add", "-A")
    repo.commit()
    for name in ("a.json", "b.json", "score", "a.bin", "out"):
        (repo.root / name).unlink()
        repo.write(name, "77\n")
    record = record_of(repo)

    found, sha = saved(record)

    assert {Path(path).name for path in found.covered} == {"a.bin", "b.bin", "out"}
    for name in ("a.json", "b.json", "score"):
        assert repo.git("show", f"{sha}:{name}") == "77", "Git keeps it as it is on disk"
    for name in ("a.bin", "out"):
        assert dvc.api.read(name, repo=str(repo.root), rev=sha) == "77\n", "DVC keeps it"


def test_templates_that_leave_no_doubt_are_decided_without_dvc():
    declared = {"${item}.bin": True, "m/${a}-${b.c}.json": False, "m/x.y": True}
    assert kept._is_cached("one.bin", declared) is True
    assert kept._is_cached("m/1-2.json", declared) is False
    assert kept._is_cached("m/x.y", declared) is True
    assert kept._is_cached("m/x", {"${a}": True, "m/${b}": False}) is None


@pytest.mark.parametrize("known", [True, False])
def test_an_output_below_a_templated_wdir_is_cached_or_its_stage_is_named(repos, caplog, known):
    repo = repos.make("git_and_dvc")
    repo.write("params.yaml", "where: work\n")
    repo.write("work/.keep", "")
    repo.write(
        "dvc.yaml",
        "stages:\n  train:\n    wdir: ${where}\n    cmd: echo 1 > model.pt\n    outs: [model.pt]\n",
    )
    dvc_inside("repro", "-q")
    repo.git("add", "-A")
    repo.commit()
    (repo.root / "work" / "model.pt").unlink()
    repo.write("work/model.pt", "by hand")
    if not known:
        repo.write("params.yaml", "other: 1\n")
    record = record_of(repo)
    with caplog.at_level(logging.WARNING, "dvclive_dvc"):
        _, sha = saved(record)
    if known:
        assert dvc.api.read("work/model.pt", repo=str(repo.root), rev=sha) == "by hand"
        assert not caplog.records
    else:
        assert "The stage 'train' of" in caplog.text, "what is left out is said"


def test_data_stays_as_it_is_when_it_is_not_to_be_committed(repos):
    repo = repos.make("dataset")
    repo.write("data/labels.csv", "changed\n")
    record = record_of(repo, commit_data=False)
    found = data.committed(git_of(record), record, refuse)
    assert found.overrides == {}
    assert found.covered == {str(repo.root / "data")}


def test_another_project_in_the_same_repository_is_left_alone(repos):
    repo = repos.make("several_dvc_projects")
    for project in ("one", "two"):
        (repo.root / project / "big.bin").write_text("old")
        dvc_inside("add", "-q", "big.bin", cwd=repo.root / project)
    repo.commit()
    for project in ("one", "two"):
        (repo.root / project / "big.bin").write_text("new")
    record = record_of(repo)
    assert list(commit(record).overrides) == ["one/big.bin.dvc"]


def test_an_output_inside_the_runs_folder_stays_out_of_git(repos):
    repo = repos.make("git_and_dvc")
    record = record_of(repo)
    write_run(record.dir)
    repo.write("dvclive/model.pt", "weights")
    repo.write("dvclive/plots/images/a.png", "picture")
    dvc_inside("add", "-q", "dvclive/model.pt", "dvclive/plots/images")
    repo.git("add", "dvclive/model.pt.dvc", "dvclive/plots/images.dvc")
    found = data.committed(git_of(record), record, refuse)
    sha = experiments.save(record, Outcome(), found.overrides, found.covered)
    files = repo.git("ls-tree", "-r", "--name-only", sha).splitlines()
    assert "dvclive/model.pt.dvc" in files
    assert "dvclive/plots/images.dvc" in files
    assert "dvclive/model.pt" not in files
    assert "dvclive/plots/images/a.png" not in files


def test_a_corrupt_state_only_costs_the_hashing(repos):
    repo = repos.make("dataset")
    dvc_inside("status", "-q")
    database = dvcconfig.state_folder(repo.root) / "hashes" / "local" / "cache.db"
    database.write_bytes(b"no database at all")
    record = record_of(repo)
    write_run(record.dir)
    found = data.committed(git_of(record), record, refuse)
    experiments.save(record, Outcome(), found.overrides, found.covered)
    assert repo.experiments()


@pytest.mark.parametrize("changes", [True, False])
def test_changed_data_that_has_its_versions_in_the_cloud_is_told_and_left_to_dvc(
    repos, caplog, changes
):
    repo = repos.make("dataset")
    pointer = repo.root / "data.dvc"
    listed = "".join(
        f"  - relpath: {path.relative_to(repo.root / 'data').as_posix()}\n"
        f"    md5: {hashlib.md5(path.read_bytes()).hexdigest()}\n"
        f"    size: {path.stat().st_size}\n"
        f"    cloud:\n      store:\n        etag: abc\n        version_id: v1\n"
        for path in sorted((repo.root / "data").rglob("*.csv"))
    )
    pointer.write_text(f"outs:\n- path: data\n  hash: md5\n  files:\n{listed}")
    assert "up to date" in dvc_inside("status"), "DVC reads the pointer as it is meant"
    repo.git("add", "-A")
    repo.commit()
    if changes:
        repo.write("data/labels.csv", "changed\n")
    record = record_of(repo)
    write_run(record.dir)
    with caplog.at_level(logging.WARNING, "dvclive_dvc"):
        found, commit_ = saved(record)
    assert not found.overrides
    assert repo.git("show", f"{commit_}:data.dvc") == pointer.read_text().rstrip("\n")
    told = "dvc commit data.dvc" in caplog.text
    assert told == changes, "changed data is passed over, or unchanged data warned about"


@pytest.mark.parametrize("seconds", [0.6, 0.0])
def test_a_bar_is_shown_where_caching_takes_over_a_second_and_there_only(
    repos, monkeypatch, seconds
):
    repo = repos.make("git_and_dvc")
    names = [f"{number}.bin" for number in range(2)]
    for name in names:
        repo.write(name, "old")
    dvc_inside("add", "-q", *names)
    repo.git("add", "-A")
    repo.commit()
    for name in names:
        (repo.root / name).unlink()
        repo.write(name, f"new {name}")
    record = record_of(repo)
    really = store_of(record)

    def store(path):
        time.sleep(seconds)  # as a large file takes
        return really(path)

    screen, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with open(terminal, "w") as stderr:  # noqa: PTH123 - a descriptor
        monkeypatch.setattr(sys, "stderr", stderr)
        found = data.committed(git_of(record), record, store)
        os.set_blocking(screen, False)
        shown = b""
        with contextlib.suppress(BlockingIOError):
            while more := os.read(screen, 4096):
                shown += more
    os.close(screen)
    assert len(found.overrides) == 2, "the data was not cached"
    assert (b"Caching changed data" in shown) == (seconds > 0), shown


class _Tee:
    """What scripts put in the place of stderr: it writes, and is no file besides."""

    def write(self, text):
        return len(text)

    def flush(self):
        pass


@pytest.mark.parametrize("stderr", [None, _Tee(), "closed"])
def test_whatever_stands_for_stderr_changed_data_is_cached(repos, monkeypatch, tmp_path, stderr):
    repo = repos.make("pipeline")
    (repo.root / "model.pt").unlink()  # DVC may have linked it
    repo.write("model.pt", "trained by hand")
    record = record_of(repo)
    if stderr == "closed":
        stderr = (tmp_path / "log").open("w")
        stderr.close()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stderr)
        found, _ = saved(record)
    assert list(found.overrides) == ["dvc.lock"], "the new content is not in the experiment"


def test_data_that_was_never_put_into_the_cache_is(repos):
    repo = repos.make("git_and_dvc")
    repo.write("model.pt", "weights")
    repo.write("data/a.csv", "1\n")
    dvc_inside("add", "-q", "--no-commit", "model.pt", "data")
    repo.commit()
    record = record_of(repo)
    write_run(record.dir)
    found, sha = saved(record)
    assert found.overrides == {}, "the pointers are right"
    for path, text in (("model.pt", "weights"), ("data/a.csv", "1\n")):
        (repo.root / path).unlink()
        assert dvc.api.read(path, repo=str(repo.root), rev=sha) == text


def test_a_cache_that_is_not_there_is_not_filled_anew(repos, tmp_path):
    repo = repos.make("git_and_dvc")
    cache = tmp_path / "mounted" / "cache"
    dvc_inside("cache", "dir", str(cache))
    repo.write("model.pt", "weights")
    dvc_inside("add", "-q", "model.pt")
    repo.commit()
    shutil.rmtree(cache.parent)
    record = record_of(repo)
    data.committed(git_of(record), record, refuse)
    assert not cache.parent.exists(), "data was written to where a disk is mounted at other times"
    dvc_inside("cache", "dir", "--local", "own-cache")
    (repo.root / "own-cache").mkdir()
    assert commit(record).overrides == {}
    assert list((repo.root / "own-cache").rglob("files/md5/*/*")), "it is DVC's cache now"


def test_data_that_could_not_be_cached_again_costs_a_warning(repos, caplog):
    repo = repos.make("git_and_dvc")
    repo.write("model.pt", "weights")
    dvc_inside("add", "-q", "model.pt")
    repo.commit()
    shutil.rmtree(repo.root / ".dvc" / "cache")

    def full(path):
        raise OSError(errno.ENOSPC, "No space left on device")

    record = record_of(repo)
    assert data.committed(git_of(record), record, full).overrides == {}
    assert "model.pt' is not in DVC's cache, though 'model.pt.dvc' points to it" in caplog.text


PIPELINE = """\
stages:
  prepare:
    cmd: python prepare.py
    outs: [prepared.csv]
  train:
    cmd: python train.py --lr ${lr}
    params: [lr]
    outs: [dvclive/model.pt, best.pt, never-made.pt]
    metrics:
    - scores.json:
        cache: false
  per:
    foreach: [a, b]
    do:
      cmd: python per.py ${item}
      outs: ["out/${item}.txt"]
"""


def test_what_the_run_wrote_of_a_stage_that_dvc_never_ran_is_cached_and_locked(repos):
    repo = repos.make("git_and_dvc")
    repo.write("dvc.yaml", PIPELINE)
    repo.write("params.yaml", "lr: 0.1\n")
    repo.write(".gitignore", "/prepared.csv\n/out\n")
    repo.commit()
    repo.write("prepared.csv", "older than the run")
    os.utime(repo.root / "prepared.csv", (1, 1))
    started = datetime.now(timezone.utc).isoformat()
    record = record_of(repo, started=started)
    write_run(record.dir)
    for name in ("dvclive/model.pt", "best.pt", "out/a.txt", "scores.json"):
        repo.write(name, name)
    before = repo.state()
    _, sha = saved(record)
    assert repo.state() == before
    locked = yaml.safe_load(repo.git("show", f"{sha}:dvc.lock"))["stages"]
    assert {name: [out["path"] for out in stage["outs"]] for name, stage in locked.items()} == {
        "train": ["best.pt", "dvclive/model.pt"],
        "per@a": ["out/a.txt"],
    }
    assert locked["train"]["cmd"] == "python train.py --lr 0.1"
    assert repo.git("show", f"{sha}:.gitignore").splitlines()[-1] == "/best.pt", "as DVC adds it"
    assert repo.git("show", f"{sha}:dvclive/.gitignore") == "/model.pt"
    for name in ("best.pt", "dvclive/model.pt", "out/a.txt"):
        assert name not in files_of(repo, sha), "Git has the bytes that are DVC's to keep"
        assert dvc.api.read(name, repo=str(repo.root), rev=sha) == name
    with contextlib.closing(Repo(rev=sha, root_dir=str(repo.root))) as there:
        assert {stage.name for stage in there.index.stages} >= {"train", "per@a"}


def test_a_run_inside_an_output_that_dvc_never_made_stays_gits(repos):
    repo = repos.make("git_and_dvc")
    repo.write("dvc.yaml", "stages:\n  train:\n    cmd: python train.py\n    outs: [dvclive]\n")
    repo.commit()
    record = record_of(repo)
    write_run(record.dir)
    found, sha = saved(record)
    assert found.overrides == {}
    assert "dvclive/metrics.json" in files_of(repo, sha), "no experiment without its metrics"
    repo.write(
        "dvc.yaml",
        "stages:\n  train:\n    cmd: python train.py\n    metrics: [dvclive/metrics.json]\n"
        "    plots: [dvclive/plots]\n",
    )
    found, sha = saved(record_of(repo, name="second"))
    assert found.overrides == {}
    assert {"dvclive/metrics.json", "dvclive/plots/metrics/loss.tsv"} <= set(files_of(repo, sha))


def test_a_dvc_lock_that_nobody_gave_to_git_yet_is_in_the_experiment(repos):
    repo = repos.make("git_and_dvc")
    repo.write("dvc.yaml", "stages:\n  make:\n    cmd: echo 1 > made.txt\n    outs: [made.txt]\n")
    repo.commit()
    dvc_inside("repro", "-q")
    assert repo.git("status", "--porcelain", "dvc.lock").startswith("??")
    before = repo.state()
    _, sha = saved(record_of(repo))
    assert repo.state() == before
    assert repo.git("show", f"{sha}:dvc.lock") == (repo.root / "dvc.lock").read_text().rstrip()


def test_a_pointer_without_a_hash_gets_one(repos):
    repo = repos.make("git_and_dvc")
    repo.write("model.pt", "weights")
    repo.write("model.pt.dvc", "outs:\n- path: model.pt\n  desc: mine\n")
    repo.write(".gitignore", "/model.pt\n")
    repo.commit()
    _, sha = saved(record_of(repo))
    assert dvc.api.read("model.pt", repo=str(repo.root), rev=sha) == "weights"


def test_pointers_that_the_run_takes_along_have_the_data_as_it_is(repos):
    repo = repos.make("git_and_dvc")
    write_run(repo.root / "dvclive")
    for name in ("dvclive/checkpoint.pt", "conf/table.csv", "conf/secret.bin"):
        repo.write(name, "older")
        dvc_inside("add", "-q", name)
    repo.write("conf/.gitignore", "/table.csv\n/secret.bin\n/secret.bin.dvc\n")
    for name in ("dvclive/checkpoint.pt", "conf/table.csv", "conf/secret.bin"):
        repo.write(name, "what the run had")
    repo.write("alone.bin", "older")
    dvc_inside("add", "-q", "alone.bin")
    repo.write("alone.bin", "what the run had")
    _, sha = saved(record_of(repo, include=("conf", "alone.bin.dvc")))
    for name in ("dvclive/checkpoint.pt", "conf/table.csv", "alone.bin"):
        assert dvc.api.read(name, repo=str(repo.root), rev=sha) == "what the run had"
    assert "conf/secret.bin.dvc" not in files_of(repo, sha), "Git ignores it"


def test_what_another_run_may_be_writing_for_a_stage_stays_out(repos, caplog):
    repo = repos.make("git_and_dvc")
    repo.write("dvc.yaml", "stages:\n  b:\n    cmd: python b.py\n    outs: [b.pt]\n")
    repo.commit()
    record = record_of(repo)
    other = record_of(repo, dir="other", name="other")
    repo.write("b.pt", "half of it")
    found = data.committed(git_of(record), record, refuse, [other])
    assert found.overrides == {}
    assert "b.pt', an output of the stage 'b', may be another run's" in caplog.text
    assert "`dvc commit b`" in caplog.text


def test_a_dvc_lock_of_a_former_dvc_is_left_as_it_is(repos, caplog):
    repo = repos.make("git_and_dvc")
    repo.write("dvc.yaml", "stages:\n  b:\n    cmd: python b.py\n    outs: [b.pt]\n")
    repo.write("dvc.lock", "a:\n  cmd: python a.py\n")
    repo.commit()
    record = record_of(repo)
    repo.write("b.pt", "weights")
    assert commit(record).overrides == {}
    assert "'dvc.lock' cannot be updated" in caplog.text
    assert "a former version of DVC wrote it" in caplog.text

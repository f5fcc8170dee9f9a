"""Artifacts in DVC's cache, judged by what is on disk and by DVC."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from situations import dvc, dvc_inside, run

from dvclive_dvc.errors import (
    ArtifactConflictError,
    ArtifactError,
    ArtifactNotFoundError,
    RepositoryError,
)
from dvclive_dvc.repo.cache import ArtifactCache
from dvclive_dvc.repo.gitignore import GitView
from dvclive_dvc.repo.objects import TWO_THREADS, Objects


@pytest.fixture
def made(repos):
    return repos.make("git_and_dvc")


@pytest.fixture
def cache(made):
    opened = ArtifactCache(made.root, made.root)
    yield opened
    opened.close()


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def object_of(root: Path, digest: str) -> Path:
    return root / ".dvc" / "cache" / "files" / "md5" / digest[:2] / digest[2:]


def objects(root: Path) -> list[Path]:
    return sorted(path for path in (root / ".dvc" / "cache").rglob("*") if path.is_file())


def configure(root: Path, name: str, value: str) -> None:
    dvc_inside("config", name, value, cwd=root)


class Reads:
    """Counts what is read to be hashed: by this package and by DVC."""

    def __init__(self, monkeypatch) -> None:
        from dvc_data.hashfile import hash as dvc_hash

        from dvclive_dvc.repo.objects import Objects

        self.paths: list[str] = []
        ours, theirs = Objects.put, dvc_hash.file_md5

        def put(objects, path, **kwargs):
            self.paths.append(path)
            return ours(objects, path, **kwargs)

        def file_md5(path, *args, **kwargs):
            if not str(path).startswith("memory:"):
                self.paths.append(path)
            return theirs(path, *args, **kwargs)

        monkeypatch.setattr(Objects, "put", put)
        monkeypatch.setattr(dvc_hash, "file_md5", file_md5)


# -- what is there afterwards ------------------------------------------------------------------


def test_a_file_is_cached_pointed_to_and_ignored(made, cache):
    path = made.write("models/model.pt", "weights")
    added = cache.add(path)
    digest = md5(b"weights")
    assert added.pointer.read_text() == (
        f"outs:\n- md5: {digest}\n  size: 7\n  hash: md5\n  path: model.pt\n"
    )
    assert added.gitignore == made.root / "models" / ".gitignore"
    assert added.gitignore.read_text() == "/model.pt\n"
    assert (added.changed, added.hashed.md5, added.hashed.nfiles) == (True, digest, None)
    cached = object_of(made.root, digest)
    assert cached.read_bytes() == b"weights"
    assert stat.S_IMODE(cached.stat().st_mode) == 0o444
    assert path.read_text() == "weights"
    assert made.dvc("status") == "Data and pipelines are up to date.\n"


def test_every_version_stays_in_the_cache_and_the_last_in_the_pointer(made, cache):
    path = made.root / "model.pt"
    for epoch in range(5):
        path.write_text(f"epoch {epoch}")
        assert cache.add(path).changed
    for epoch in range(5):
        assert object_of(made.root, md5(f"epoch {epoch}".encode())).exists()
    assert md5(b"epoch 4") in (made.root / "model.pt.dvc").read_text()
    assert (made.root / ".gitignore").read_text().count("/model.pt\n") == 1


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_an_unchanged_artifact_costs_no_hashing(made, cache, monkeypatch, kind):
    if kind == "file":
        path = made.write("thing", "x" * 5000)
    else:
        path = made.root / "thing"
        for number in range(50):
            made.write(f"thing/{number % 3}/{number}", str(number))
    cache.add(path)
    reads = Reads(monkeypatch)
    pointer = path.with_name("thing.dvc").stat().st_mtime_ns
    again = cache.add(path)
    assert reads.paths == []
    assert not again.changed
    assert path.with_name("thing.dvc").stat().st_mtime_ns == pointer, "the pointer was rewritten"
    # Nor does it for another process that knows only what is on disk,
    with_fresh_eyes = ArtifactCache(made.root, made.root)
    with_fresh_eyes.add(path)
    # one that lost this package's own memory and has DVC's state alone,
    memories = list(Path(os.environ["DVC_SITE_CACHE_DIR"]).rglob("dvclive-folders"))
    for folder in memories:
        shutil.rmtree(folder)
    with_fresh_eyes.add(path)
    with_fresh_eyes.close()
    # nor for DVC.
    dvc_inside("status", cwd=made.root)
    dvc_inside("add", "thing", cwd=made.root)
    assert reads.paths == []


def test_what_dvc_added_costs_no_hashing_here(made, cache, monkeypatch):
    for number in range(20):
        made.write(f"data/{number}", str(number))
    path = made.write("model.pt", "weights")
    dvc_inside("add", "data", "model.pt", cwd=made.root)
    reads = Reads(monkeypatch)
    assert not cache.add(made.root / "data").changed
    assert not cache.add(path).changed
    assert reads.paths == []


def test_of_a_folder_only_the_changed_files_are_read(made, cache, monkeypatch):
    for number in range(40):
        made.write(f"data/sub/{number}", str(number))
    cache.add(made.root / "data")
    reads = Reads(monkeypatch)
    made.write("data/sub/7", "changed")
    made.write("data/new", "new")
    (made.root / "data/sub/9").unlink()
    added = cache.add(made.root / "data")
    assert sorted(reads.paths) == [str(made.root / "data/new"), str(made.root / "data/sub/7")]
    assert added.hashed.nfiles == 40
    assert dvc_inside("status", cwd=made.root).strip().endswith("up to date.")


def test_a_change_that_keeps_size_and_time_is_seen(made, cache):
    path = made.write("data/x", "one")
    cache.add(made.root / "data")
    status = path.stat()
    time.sleep(0.01)
    path.write_text("two")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    replaced = made.root / "data" / "y"
    replaced.write_text("two")
    replaced.replace(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    cache.add(made.root / "data")
    assert object_of(made.root, md5(b"two")).exists()


@pytest.mark.parametrize("known_to", ["memory", "state"])
def test_objects_that_were_removed_from_the_cache_are_put_back(made, cache, known_to):
    for number in range(10):
        made.write(f"data/{number}", str(number))
    path = made.write("model.pt", "weights")
    cache.add(made.root / "data")
    cache.add(path)
    before = objects(made.root)
    if known_to == "state":
        for folder in Path(os.environ["DVC_SITE_CACHE_DIR"]).rglob("dvclive-folders"):
            shutil.rmtree(folder)
    object_of(made.root, md5(b"3")).unlink()
    object_of(made.root, md5(b"weights")).unlink()
    cache.add(made.root / "data")
    cache.add(path)
    assert objects(made.root) == before
    shutil.rmtree(made.root / ".dvc" / "cache")
    cache.add(made.root / "data")
    cache.add(path)
    assert objects(made.root) == before


@pytest.mark.parametrize("known", [False, True], ids=["new ones", "known ones"])
def test_objects_that_vanish_while_a_folder_is_cached_are_told_of_and_put_back(
    made, cache, caplog, known
):
    cache.add(made.write("model.pt", "weights"))
    if known:
        for number in range(3):
            made.write(f"data/known-{number}", f"known {number}")
        cache.add(made.root / "data")
    before = objects(made.root)
    victims = [object_of(made.root, md5(f"known {number}".encode())) for number in range(3)]
    for number in range(1500):
        made.write(f"data/{number}", str(number))
    removed: list[Path] = []

    def collect_garbage() -> None:
        until = time.monotonic() + 20
        while not removed and time.monotonic() < until:
            new = [path for path in objects(made.root) if path not in before]
            if len(new) > 3:
                for path in victims if known else new[:3]:
                    path.unlink()
                    removed.append(path)

    thread = threading.Thread(target=collect_garbage)
    thread.start()
    cache.add(made.root / "data")
    thread.join()
    assert len(removed) == 3, "nothing was removed, so nothing is shown"
    assert "3 objects of" in caplog.text, "nobody is told that the cache has a hole"
    cache.add(made.root / "data")
    assert all(path.exists() for path in removed), "the hole stays though it was logged again"


def test_the_cache_is_read_only_also_where_its_folders_have_a_default_acl(made, cache):
    top = made.root / ".dvc" / "cache" / "files" / "md5"
    top.mkdir(parents=True)
    # linux/posix_acl_xattr.h: version 2; then tag, permissions and id of owner, group and others.
    entries = ((0x01, 7), (0x04, 5), (0x20, 0))
    acl = struct.pack("<I", 2) + b"".join(
        struct.pack("<HHI", tag, rights, 0xFFFFFFFF) for tag, rights in entries
    )
    try:
        os.setxattr(top, "system.posix_acl_default", acl)
    except (AttributeError, OSError) as error:
        pytest.skip(f"no access control lists here: {error}")
    cache.add(made.write("data/small", "x").parent)
    (made.root / "large").write_bytes(b"x" * (2 << 20))
    cache.add(made.root / "large")
    modes = {oct(stat.S_IMODE(path.stat().st_mode)) for path in objects(made.root)}
    assert modes == {oct(0o444)}, "DVC would hash these again"


def test_opening_the_cache_changes_the_mode_of_no_file_that_another_thread_makes(made):
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    go_on = True

    def make_files() -> None:
        number = 0
        while go_on:
            number += 1
            (made.root / f"file-{number}").touch()

    thread = threading.Thread(target=make_files)
    thread.start()
    try:
        for _ in range(5000):
            Objects(SimpleNamespace(path=str(made.root)))
    finally:
        go_on = False
        thread.join()
        sys.setswitchinterval(interval)
    modes = {oct(stat.S_IMODE(path.stat().st_mode)) for path in made.root.glob("file-*")}
    assert modes == {oct(0o644)}, "files of the training's are closed to others"


def test_a_damaged_object_is_replaced(made, cache):
    path = made.write("model.pt", "weights")
    cache.add(path)
    cached = object_of(made.root, md5(b"weights"))
    for damage in ("short", "weighty"):
        cached.chmod(0o644)
        cached.write_text(damage)
        path.write_text("weights")
        os.utime(path)
        cache.add(path)
        assert cached.read_text() == "weights", f"a {damage!r} object was kept"
        assert stat.S_IMODE(cached.stat().st_mode) == 0o444


def test_the_same_content_twice_is_one_object_that_is_left_alone(made, cache):
    cache.add(made.write("a", "same"))
    cached = object_of(made.root, md5(b"same"))
    before = cached.stat()
    cache.add(made.write("b", "same"))
    assert cached.stat().st_ino == before.st_ino
    assert cached.stat().st_ctime_ns == before.st_ctime_ns


@pytest.mark.parametrize("size", [0, 1, (1 << 20), (1 << 20) + 1, (8 << 20) - 1, 17 << 20])
def test_every_way_in_gives_the_same_bytes(made, cache, size):
    data = (os.urandom(1 << 16) * (size // (1 << 16) + 1))[:size]
    path = made.root / "model.pt"
    path.write_bytes(data)
    added = cache.add(path)
    assert added.hashed.md5 == md5(data)
    assert added.hashed.size == size
    assert object_of(made.root, md5(data)).read_bytes() == data
    assert len(objects(made.root)) == 1, "something half-made was left"


# -- DVC's configuration -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["copy", "hardlink", "symlink", "reflink,copy"])
def test_the_workspace_holds_what_cache_type_says(made, cache, kind, monkeypatch):
    configure(made.root, "cache.type", kind)
    path = made.write("model.pt", "weights")
    made.write("data/x", "x")
    cache.add(path)
    cache.add(made.root / "data")
    for one, digest in ((path, md5(b"weights")), (made.root / "data" / "x", md5(b"x"))):
        cached = object_of(made.root, digest)
        assert one.is_symlink() == (kind == "symlink")
        assert (one.stat().st_ino == cached.stat().st_ino) == (kind in ("hardlink", "symlink"))
        assert stat.S_IMODE(cached.stat().st_mode) == 0o444
    reads = Reads(monkeypatch)
    cache.add(path)
    cache.add(made.root / "data")
    assert dvc_inside("status", cwd=made.root).strip().endswith("up to date.")
    assert reads.paths == []


def test_of_files_with_equal_bytes_the_one_becomes_the_object_that_dvc_add_takes(made, cache):
    configure(made.root, "cache.type", "hardlink,copy")
    for top in ("theirs", "ours"):
        for name in ("b", "data/a", "data/k", "other/x/c", "other/q", "z"):
            made.write(f"{top}/{name}", f"the same, {top}")
    dvc_inside("add", "theirs", cwd=made.root)
    cache.add(made.root / "ours")
    theirs, ours = (
        [
            path.relative_to(top)
            for path in top.rglob("*")
            if path.is_file() and path.stat().st_nlink > 1
        ]
        for top in (made.root / "theirs", made.root / "ours")
    )
    assert len(theirs) == 1, "`dvc add` does not make one of equal files the object any more"
    assert ours == theirs, "another file is read-only now than after `dvc add`"


def test_another_cache_type_counts_for_a_folder_that_did_not_change(made, cache):
    configure(made.root, "cache.type", "symlink")
    for name in ("a", "b"):
        made.write(f"data/{name}", name)
    cache.add(made.root / "data")
    assert (made.root / "data/a").is_symlink(), "the first kind was not applied"
    cache.close()
    configure(made.root, "cache.type", "copy")
    cache.add(made.root / "data")
    assert not any(path.is_symlink() for path in (made.root / "data").iterdir()), "links were left"


def test_two_versions_never_share_an_inode_in_the_cache(made, cache):
    configure(made.root, "cache.type", "hardlink")
    path = made.write("model.pt", "first")
    os.link(path, made.root / "best.pt")
    cache.add(path)
    (made.root / "best.pt").write_text("written through")
    assert object_of(made.root, md5(b"first")).read_text() == "first"


def test_data_put_into_the_cache_alone_stays_the_users_own_file(made, cache):
    configure(made.root, "cache.type", "hardlink")
    path = made.write("data.csv", "1,2")
    before = made.state()
    hashed = cache.hash_into_cache(path)
    assert hashed.md5 == md5(b"1,2")
    assert object_of(made.root, hashed.md5).stat().st_nlink == 1
    assert os.access(path, os.W_OK)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert made.state() == before
    assert not path.with_name("data.csv.dvc").exists()


def test_the_cache_is_where_the_configuration_says(made, cache, tmp_path):
    configure(made.root, "cache.dir", str(tmp_path / "elsewhere"))
    cache.add(made.write("model.pt", "weights"))
    digest = md5(b"weights")
    assert (tmp_path / "elsewhere" / "files" / "md5" / digest[:2] / digest[2:]).exists()
    assert objects(made.root) == []


def test_a_shared_cache_lets_the_group_in(made, cache):
    configure(made.root, "cache.shared", "group")
    cache.add(made.write("model.pt", "weights"))
    cached = object_of(made.root, md5(b"weights"))
    assert stat.S_IMODE(cached.parent.stat().st_mode) == 0o2775
    assert stat.S_IMODE(cached.stat().st_mode) == 0o444


def test_a_strict_umask_still_gives_objects_that_dvc_trusts(made):
    path = made.write("model.pt", "weights")
    (made.root / "big").write_bytes(b"x" * (2 << 20))
    before = os.umask(0o077)
    try:
        opened = ArtifactCache(made.root, made.root)
        opened.add(path)
        opened.add(made.root / "big")
        opened.close()
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in objects(made.root)} == {0o444}


def test_autostage_puts_pointer_and_gitignore_into_the_index(made, cache):
    cache.add(made.write("a.pt", "a"))
    assert made.git("diff", "--cached", "--name-only") == ""
    cache.close()
    configure(made.root, "core.autostage", "true")
    cache.add(made.write("b.pt", "b"))
    assert made.git("diff", "--cached", "--name-only").split() == [".gitignore", "b.pt.dvc"]


def test_autostage_leaves_a_gitignore_alone_that_got_no_line(made, cache):
    configure(made.root, "core.autostage", "true")
    made.write(".gitignore", "/a.pt\n/mine\n")
    cache.add(made.write("a.pt", "a"))
    staged = made.git("diff", "--cached", "--name-only").split()
    assert staged == ["a.pt.dvc"], "the user's own `.gitignore` was staged"


def test_autostage_stages_a_pointer_that_is_right_and_not_in_the_index(made, cache):
    path = made.write("a.pt", "a")
    cache.add(path)
    cache.close()
    configure(made.root, "core.autostage", "true")
    assert not cache.add(path).changed
    assert made.git("diff", "--cached", "--name-only").split() == ["a.pt.dvc"], "as `dvc add` does"
    index = (made.root / ".git" / "index").stat().st_ino
    assert not cache.add(path).changed
    assert (made.root / ".git" / "index").stat().st_ino == index, "staged twice"


@pytest.mark.parametrize("mended", ["by hand", "by the next logging"])
def test_that_git_could_not_stage_is_told_once_with_the_command_that_does(
    made, cache, caplog, mended
):
    configure(made.root, "core.autostage", "true")
    lock = made.root / ".git" / "index.lock"
    lock.touch()
    path = made.write("sub folder/a.pt", "a")
    for _ in range(2):
        assert cache.add(path).pointer.is_file(), "not cached"
    [record] = caplog.records
    text = record.getMessage()
    assert "index.lock': File exists." in text, "Git's own words are missing"
    lock.unlink()
    command = text.split("Run `")[1].split("`")[0]
    wanted = ["sub folder/.gitignore", "sub folder/a.pt.dvc"]
    if mended == "by hand":
        run("sh", "-c", command, cwd=made.root)
    else:
        cache.add(path)
    assert made.git("diff", "--cached", "--name-only").splitlines() == wanted, command
    assert len(caplog.records) == 1, caplog.text


def test_without_git_in_dvcs_configuration_nothing_is_ignored(made, cache):
    configure(made.root, "core.no_scm", "true")
    added = cache.add(made.write("a.pt", "a"))
    assert added.gitignore is None
    assert not (made.root / ".gitignore").exists()


def test_one_job_is_enough(made, cache):
    configure(made.root, "core.checksum_jobs", "1")
    for number in range(600):
        made.write(f"data/{number}", str(number))
    assert cache.add(made.root / "data").hashed.nfiles == 600
    assert dvc_inside("status", cwd=made.root).strip().endswith("up to date.")


@pytest.fixture
def no_more_threads():
    """No thread can be started: none has room for so large a stack."""
    before = threading.stack_size(1 << 46)
    yield
    threading.stack_size(before)


def test_data_is_cached_where_no_thread_can_be_started(made, cache, no_more_threads):
    with pytest.raises(RuntimeError, match="start new thread"):
        threading.Thread(target=int).start()
    configure(made.root, "core.checksum_jobs", "4")
    for number in range(600):
        made.write(f"data/{number}", str(number))
    large = made.write("large.bin", "x" * (TWO_THREADS + 1))
    assert cache.add(made.root / "data").hashed.nfiles == 600
    assert cache.add(large).pointer.exists()
    threading.stack_size(0)
    assert dvc_inside("status", cwd=made.root).strip().endswith("up to date.")


@pytest.mark.parametrize("rule", ["*.log", "data/sub/", "skip\n!data/skip", "/data/x"])
def test_what_dvcignore_names_is_left_out(made, cache, rule):
    (made.root / ".dvcignore").write_text(rule)
    for name in ("x", "a.log", "sub/y", "sub/skip", "skip", ".git/config", "repo/.dvc/x"):
        made.write(f"data/{name}", name)
    ours = cache.add(made.root / "data").hashed
    text = (made.root / "data.dvc").read_text()
    dvc_inside("add", "data", cwd=made.root)
    assert (made.root / "data.dvc").read_text() == text
    assert 0 < ours.nfiles < 5


def test_an_edited_dvcignore_counts_at_once(made, cache):
    made.write("data/a", "a")
    made.write("data/b.log", "b")
    assert cache.add(made.root / "data").hashed.nfiles == 2
    (made.root / ".dvcignore").write_text("*.log\n")
    assert cache.add(made.root / "data").hashed.nfiles == 1


def test_a_dvc_project_below_the_top_of_git_is_served(repos):
    made = repos.make("dvc_subdirectory")
    root = next(path.parent for path in made.root.rglob(".dvc") if path.is_dir())
    assert root != made.root, "the situation is not what it should be"
    opened = ArtifactCache(root, made.root)
    path = root / "models" / "model.pt"
    path.parent.mkdir()
    path.write_text("weights")
    opened.add(path)
    with pytest.raises(ArtifactError, match="copy=True"):
        opened.add(made.write("outside.pt", "x"))
    opened.close()
    assert "up to date" in dvc("status", cwd=root)
    assert not (made.root / "outside.pt.dvc").exists()


# -- what cannot be an artifact ----------------------------------------------------------------


def untouched(made, path: Path):
    return made.state(), objects(made.root), path.with_name(f"{path.name}.dvc").exists()


@pytest.mark.parametrize(
    ("case", "kind", "says"),
    [
        ("missing", ArtifactNotFoundError, "does not exist"),
        ("below a file", ArtifactNotFoundError, "does not exist"),
        ("dangling", ArtifactError, "leads nowhere"),
        ("loop", ArtifactError, "leads to itself"),
        ("fifo", ArtifactError, "FIFO"),
        ("socket", ArtifactError, "socket"),
        ("outside", ArtifactError, "copy=True"),
        ("linked folder", ArtifactError, "symbolic link"),
        ("through a linked folder", ArtifactError, "symbolic link"),
        ("git", ArtifactError, "Git's or DVC's own"),
        ("dvc", ArtifactError, "Git's or DVC's own"),
        ("root", ArtifactError, "outside"),
        ("pointer", ArtifactError, "Rename"),
        ("gitignore", ArtifactError, "Rename"),
        ("dvc.yaml", ArtifactError, "Rename"),
        ("dvcignored", ArtifactError, "ignored by DVC"),
        ("tracked", ArtifactConflictError, "git rm --cached"),
        ("hidden pointer", ArtifactError, "Git ignores"),
        ("foreign pointer", ArtifactConflictError, "points to"),
        ("broken pointer", ArtifactConflictError, "YAML"),
        ("pointer is a folder", ArtifactConflictError, "not a .dvc file"),
        ("no utf-8", ArtifactError, "UTF-8"),
        ("line break", ArtifactError, "line break"),
        ("cache", ArtifactError, "cache"),
        ("fifo inside", ArtifactError, "FIFO"),
        ("dangling inside", ArtifactError, "leads nowhere"),
        ("loop inside", ArtifactError, "leads nowhere"),
        ("dvcignore inside", ArtifactError, ".dvcignore"),
        ("no utf-8 inside", ArtifactError, "UTF-8"),
        ("repository", ArtifactError, "DVC repository"),
    ],
)
def test_a_path_that_cannot_be_an_artifact_is_refused_with_nothing_written(  # noqa: C901, PLR0912 - a line or two for each case
    made, cache, tmp_path, case, kind, says
):
    server = None
    path = made.root / "thing"
    inside = path / "deep"
    if case.endswith("inside") or case == "repository":
        inside.mkdir(parents=True)
        (inside / "file").write_text("x")
    if case == "below a file":
        path = made.write("file", "x") / "thing"
    elif case == "dangling":
        path.symlink_to("nowhere")
    elif case == "loop":
        path.symlink_to("thing")
    elif case == "fifo":
        os.mkfifo(path)
    elif case == "socket":
        server = socket.socket(socket.AF_UNIX)
        server.bind("thing")
        path = Path.cwd() / "thing"
    elif case == "outside":
        path = tmp_path / "outside"
        path.write_text("x")
    elif case == "linked folder":
        made.write("real/x", "x")
        path.symlink_to("real")
    elif case == "through a linked folder":
        made.write("real/x", "x")
        path.symlink_to("real")
        path = path / "x"
    elif case in ("git", "dvc"):
        path = made.root / f".{case}" / "config"
    elif case == "root":
        path = made.root
    elif case == "pointer":
        path = made.write("thing.dvc", "x")
    elif case == "gitignore":
        path = made.write(".gitignore", "x\n")
    elif case == "dvc.yaml":
        path = made.write("sub/dvc.yaml", "x: 1\n")
    elif case == "dvcignored":
        (made.root / ".dvcignore").write_text("thing\n")
        path.write_text("x")
    elif case == "tracked":
        path.write_text("x")
        made.git("add", "thing")
    elif case == "hidden pointer":
        made.write(".gitignore", "*.dvc\n")
        path.write_text("x")
    elif case == "foreign pointer":
        path.write_text("x")
        made.write("thing.dvc", "outs:\n- md5: x\n  path: other\n")
    elif case == "broken pointer":
        path.write_text("x")
        made.write("thing.dvc", "outs: [")
    elif case == "pointer is a folder":
        path.write_text("x")
        made.write("thing.dvc/x", "x")
    elif case == "no utf-8":
        path = made.root / "caf\udce9"
        path.write_text("x")
    elif case == "line break":
        path = made.write("a\nb", "x")
    elif case == "cache":
        configure(made.root, "cache.dir", str(made.root / "thing" / "store"))
        made.write("thing/store/x", "x")
    elif case == "fifo inside":
        os.mkfifo(inside / "pipe")
    elif case == "dangling inside":
        (inside / "link").symlink_to("nowhere")
    elif case == "loop inside":
        (inside / "link").symlink_to("link")
    elif case == "dvcignore inside":
        (inside / ".dvcignore").write_text("")
    elif case == "no utf-8 inside":
        (inside / "caf\udce9").write_text("x")
    elif case == "repository":
        (path / ".dvc").mkdir()
    before = untouched(made, path)
    with pytest.raises(kind, match=says) as caught:
        cache.add(path)
    if case != "no utf-8":
        assert path.name.split("\n")[0] in str(caught.value), "the text does not name the path"
    assert untouched(made, path) == before
    if server is not None:
        server.close()


@pytest.mark.parametrize("name", ["remote:x", "S3:model", "http:x", "memory:m", "a\x85b"])
def test_a_name_that_dvc_would_read_as_something_else_is_refused(made, cache, name):
    path = made.write(name, "x")
    before = made.state()
    with pytest.raises(ArtifactError, match="Rename it"):
        cache.add(path)
    assert made.state() == before, "something was written"
    assert objects(made.root) == []


@pytest.mark.parametrize("name", ["foo:bar", "git:x", "12:30", "a\x9fb", "a\u2028b", "remote"])
def test_a_name_that_only_looks_odd_is_one_that_dvc_reads_back(made, cache, name):
    cache.add(made.write(name, "x"))
    assert dvc_inside("status", cwd=made.root).strip().endswith("up to date.")


def test_a_file_that_may_not_be_read_is_named(made, cache):
    # One that not even root may read, as tests often run as root.
    unreadable = Path("/proc/sys/vm/compact_memory")
    if not unreadable.exists() or os.access(unreadable, os.R_OK, effective_ids=True):
        with contextlib.suppress(OSError), unreadable.open():
            pytest.skip("no file that cannot be read")
    made.write("data/open", "x")
    secret = made.root / "data" / "sub" / "secret"
    secret.parent.mkdir()
    secret.symlink_to(unreadable)
    with pytest.raises(ArtifactError, match="Cannot read") as caught:
        cache.add(made.root / "data")
    assert str(secret) in str(caught.value)
    assert not (made.root / "data.dvc").exists()


def test_a_repository_that_dvc_cannot_open_is_told(made, cache):
    (made.root / ".dvc" / "config").write_text("[core\n")
    with pytest.raises(RepositoryError, match="dvc"):
        cache.add(made.write("model.pt", "x"))
    assert not (made.root / "model.pt.dvc").exists()


def test_links_above_the_repository_are_no_hindrance(made, cache, tmp_path):
    (tmp_path / "way in").symlink_to(made.root)
    made.write("sub/model.pt", "x")
    added = cache.add(tmp_path / "way in" / "sub" / "model.pt")
    assert added.path == made.root / "sub" / "model.pt"


def test_a_linked_file_is_cached_by_content_as_dvc_does(made, cache, tmp_path):
    (tmp_path / "real").write_text("weights")
    path = made.root / "model.pt"
    path.symlink_to(tmp_path / "real")
    cache.add(path)
    assert not path.is_symlink()
    assert path.read_text() == "weights"
    assert (tmp_path / "real").read_text() == "weights"


def test_an_empty_folder_is_an_artifact_as_it_is_for_dvc(made, cache):
    (made.root / "data").mkdir()
    text = cache.add(made.root / "data").pointer.read_text()
    (made.root / "data.dvc").unlink()
    dvc_inside("add", "data", cwd=made.root)
    assert (made.root / "data.dvc").read_text() == text


def test_linked_folders_inside_are_left_out_and_told(made, cache, tmp_path, caplog):
    (tmp_path / "aside").mkdir()
    (tmp_path / "aside" / "x").write_text("x")
    made.write("data/y", "y")
    (made.root / "data" / "link").symlink_to(tmp_path / "aside")
    with caplog.at_level("WARNING", "dvclive_dvc"):
        assert cache.add(made.root / "data").hashed.nfiles == 1
    assert "data/link" in caplog.text


# -- trouble in the middle ---------------------------------------------------------------------


@pytest.mark.parametrize("existing", [None, b"*.log\r\n"])
def test_a_pointer_that_cannot_be_written_leaves_no_rule_behind(made, cache, monkeypatch, existing):
    from dvclive_dvc.repo import cache as module

    path = made.write("sub/model.pt", "x")
    gitignore = made.root / "sub" / ".gitignore"
    if existing is not None:
        gitignore.write_bytes(existing)
    real = module.files.replace

    def full(target, *args, **kwargs):
        if target.name == "model.pt.dvc":
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        real(target, *args, **kwargs)

    monkeypatch.setattr(module.files, "replace", full)
    with pytest.raises(OSError, match="No space"):
        cache.add(path)
    assert not (made.root / "sub" / "model.pt.dvc").exists()
    assert (gitignore.read_bytes() if gitignore.exists() else None) == existing


@pytest.mark.parametrize("size", [5000, 3 << 20, 20 << 20])
def test_a_full_disk_leaves_nothing_half_written(made, size):
    (made.root / "model.pt").write_bytes(os.urandom(size))
    (made.root / "data").mkdir()
    for number in range(3):
        (made.root / "data" / str(number)).write_bytes(os.urandom(size))
    script = """
import os, resource, signal, sys
from pathlib import Path
from dvclive_dvc.repo.cache import ArtifactCache
root = Path(sys.argv[1])
cache = ArtifactCache(root, root)
(root / "warm").write_text("x")
cache.add(root / "warm")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
limit = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
for name in ("model.pt", "data"):
    try:
        cache.add(root / name)
    except OSError as error:
        print(name, error.errno, error.filename)
"""
    done = run(sys.executable, "-c", script, made.root, str(size // 2))
    where = made.root / ".dvc" / "cache" / "files" / "md5"
    said = [f"{name} {errno.EFBIG} {where}" for name in ("model.pt", "data")]
    assert done.stdout.splitlines() == said, f"not told, or not where: {done.stderr}"
    left = [path for path in objects(made.root) if path != object_of(made.root, md5(b"x"))]
    assert left == []
    assert [path.name for path in made.root.glob("?*.dvc")] == ["warm.dvc"]
    assert (made.root / ".gitignore").read_text() == "/warm\n"


def test_what_a_killed_process_left_in_the_cache_is_swept(made):
    folder = made.root / ".dvc" / "cache" / "files" / "md5"
    folder.mkdir(parents=True)
    dead = folder / ".99999999-1-1.dvclive-tmp"
    living = folder / f".{os.getpid()}-1-1.dvclive-tmp"
    for path in (dead, living):
        path.write_text("half")
    opened = ArtifactCache(made.root, made.root)
    opened.add(made.write("model.pt", "x"))
    opened.close()
    assert not dead.exists()
    assert living.exists()


@pytest.mark.parametrize("where", ["alone", "in a folder"])
def test_a_file_that_changes_while_it_is_read_is_told_and_the_hash_fits_the_bytes(
    made, cache, caplog, where
):
    path = made.write("model.pt" if where == "alone" else "data/x", "")
    path.write_bytes(os.urandom(1 << 20) * 48)
    stop = threading.Event()

    def write() -> None:
        number = 0
        with path.open("r+b", buffering=0) as file:
            while not stop.is_set():
                number += 1
                os.pwrite(file.fileno(), number.to_bytes(8, "big"), (number * 7919) % (40 << 20))

    thread = threading.Thread(target=write)
    thread.start()
    try:
        with caplog.at_level("WARNING", "dvclive_dvc"):
            cache.add(path if where == "alone" else path.parent)
    finally:
        stop.set()
        thread.join()
    assert "changed while being cached" in caplog.text
    for cached in objects(made.root):
        name = cached.parent.name + cached.name.removesuffix(".dir")
        assert md5(cached.read_bytes()) == name, "an object does not hold what its name says"
    # What stands there now is looked at again, and then all is well.
    cache.add(path if where == "alone" else path.parent)
    assert dvc_inside("status", cwd=made.root).strip().endswith("up to date.")


@pytest.mark.parametrize("kind", ["copy", "symlink", "hardlink,symlink"])
@pytest.mark.parametrize("where", ["alone", "in a folder"])
@pytest.mark.parametrize("writing", ["in place", "by a rename"])
def test_what_is_written_after_a_file_was_cached_is_left_in_the_workspace(
    made, cache, caplog, monkeypatch, kind, where, writing
):
    configure(made.root, "cache.type", kind)
    path = made.write("model.pt" if where == "alone" else "data/x", "older")
    made.write("data/y" if where != "alone" else "y", "steady")
    real = GitView.hide

    def hide(*args, **kwargs):
        # Between the caching and what is done to the workspace, as another process would.
        if writing == "in place" and kind != "hardlink,symlink":
            path.write_text("newer!")
        else:
            made.write("aside", "newer!").replace(path)
        return real(*args, **kwargs)

    artifact = path if where == "alone" else path.parent
    with monkeypatch.context() as patch:
        patch.setattr(GitView, "hide", hide)
        with caplog.at_level("WARNING", "dvclive_dvc"):
            cache.add(artifact)
    assert path.read_text() == "newer!", "bytes that were in no object are lost"
    assert object_of(made.root, md5(b"older")).read_bytes() == b"older"
    if kind != "copy" or where == "alone":
        assert "changed while being cached" in caplog.text
    assert "data" in dvc_inside("status", cwd=made.root) or where == "alone", "DVC sees it"
    cache.add(artifact)
    assert dvc_inside("status", cwd=made.root).strip().endswith("up to date.")
    assert object_of(made.root, md5(b"newer!")).read_bytes() == b"newer!"


def test_a_file_that_is_replaced_while_it_is_read_is_told(made, cache, caplog, monkeypatch):
    path = made.write("model.pt", "older")
    from dvclive_dvc.repo.objects import Objects

    real = Objects.put_bytes

    def put_bytes(*args):
        made.write("aside", "newer").replace(path)
        return real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(Objects, "put_bytes", put_bytes)
        with caplog.at_level("WARNING", "dvclive_dvc"):
            assert cache.add(path).hashed.md5 == md5(b"older")
    assert caplog.text.count("changed while being cached") == 1
    assert cache.add(path).hashed.md5 == md5(b"newer"), "the older hash was kept for it"


def test_a_file_that_vanishes_while_the_folder_is_read_is_left_out_and_told(
    made, cache, caplog, monkeypatch
):
    from dvclive_dvc.repo import listing

    for name in ("a", "b", "c"):
        made.write(f"data/{name}", name)
    real = listing.scan

    def scan(*args, **kwargs):
        found = real(*args, **kwargs)
        (made.root / "data" / "b").unlink(missing_ok=True)
        return found

    monkeypatch.setattr(listing, "scan", scan)
    with caplog.at_level("WARNING", "dvclive_dvc"):
        assert cache.add(made.root / "data").hashed.nfiles == 2
    assert "removed while" in caplog.text
    assert dvc_inside("status", cwd=made.root).strip().endswith("up to date.")


def test_a_state_database_that_cannot_be_used_is_told_with_the_way_to_find_out(made, cache):
    cache.add(made.write("warm", "x"))
    cache.close()
    for database in Path(os.environ["DVC_SITE_CACHE_DIR"]).rglob("cache.db"):
        for beside in database.parent.glob("cache.db*"):
            beside.unlink()
        database.write_bytes(b"this is no database" * 100)
    # DVC itself cannot open such a repository either.
    with pytest.raises(RepositoryError, match="dvc doctor"):
        cache.add(made.write("model.pt", "weights"))
    assert not (made.root / "model.pt.dvc").exists()


def test_several_threads_may_add_at_once(made, cache):
    paths = [made.write(f"m{number}.pt", str(number)) for number in range(16)]
    threads = [threading.Thread(target=cache.add, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(made.root.glob("*.pt.dvc"))) == 16
    assert sorted((made.root / ".gitignore").read_text().split()) == sorted(
        f"/{path.name}" for path in paths
    )
    assert dvc_inside("status", cwd=made.root).strip().endswith("up to date.")


def test_several_processes_may_add_at_once(made):
    script = """
import sys
from pathlib import Path
from dvclive_dvc.repo.cache import ArtifactCache
root = Path(sys.argv[1])
cache = ArtifactCache(root, root)
for number in range(10):
    path = root / f"{sys.argv[2]}-{number}.pt"
    path.write_text("the same everywhere" + str(number))
    cache.add(path)
"""
    running = [
        subprocess.Popen([sys.executable, "-c", script, str(made.root), name]) for name in "abc"
    ]
    assert [one.wait() for one in running] == [0, 0, 0]
    lines = (made.root / ".gitignore").read_text().split()
    assert sorted(lines) == sorted(f"/{name}-{n}.pt" for name in "abc" for n in range(10))
    assert dvc_inside("status", cwd=made.root).strip().endswith("up to date.")


# -- what it costs -----------------------------------------------------------------------------


def test_no_other_file_of_the_repository_is_looked_at(made, cache):
    """An add in a large repository opens nothing but what is the artifact's own."""
    for number in range(30):
        made.write(f"others/{number}.dvc", f"outs:\n- md5: {md5(b'x')}\n  path: '{number}'\n")
    made.write("others/dvc.yaml", "stages: [this is no valid file\n")
    path = made.write("model.pt", "x")
    cache.add(path)
    opened: list[str] = []

    def audit(event: str, args: tuple) -> None:
        if event in ("open", "os.listdir", "os.scandir") and isinstance(args[0], str):
            opened.append(args[0])

    sys.addaudithook(audit)
    path.write_text("y")
    cache.add(path)
    seen = [name for name in opened if "/others" in name]
    opened.clear()
    assert seen == []


def test_nothing_is_opened_before_the_first_artifact(made):
    script = """
import sys
from pathlib import Path
from dvclive_dvc.repo.cache import ArtifactCache
root = Path(sys.argv[1])
cache = ArtifactCache(root, root)
cache.close()
print([name for name in ("dvc", "dvc_data", "pygit2", "sqlite3") if name in sys.modules])
"""
    assert run(sys.executable, "-c", script, made.root).stdout == "[]\n"


def test_a_folder_of_many_files_needs_little_memory(made):
    data = made.root / "data"
    for folder in range(20):
        (data / str(folder)).mkdir(parents=True)
        for number in range(200):
            (data / str(folder) / f"{number}.txt").write_bytes(b"%d %d" % (folder, number))
    script = """
import resource, sys
from pathlib import Path
from dvclive_dvc.repo.cache import ArtifactCache
root = Path(sys.argv[1])
cache = ArtifactCache(root, root)
(root / "warm").write_text("x")
cache.add(root / "warm")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
cache.add(root / "data")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    grown = int(run(sys.executable, "-c", script, made.root).stdout)
    assert grown < 30_000, f"4,000 files took {grown} KiB"


def test_a_bar_is_drawn_for_what_takes_long_and_only_on_a_terminal(made):
    """Nothing is said on a stderr that is no terminal, nor of what is quick."""
    import fcntl
    import pty
    import struct
    import termios

    (made.root / "quick").write_text("x")
    script = """
import sys, time
from pathlib import Path
from dvclive_dvc.repo import objects
from dvclive_dvc.repo.cache import ArtifactCache
root = Path(sys.argv[1])
cache = ArtifactCache(root, root)
cache.add(root / "quick")
real = objects.files.write_whole
def slow(*args):
    time.sleep(0.4)
    real(*args)
objects.files.write_whole = slow
cache.add(root / "slow")
"""
    (made.root / "slow").write_bytes(os.urandom(6 << 20))
    quiet = run(sys.executable, "-c", script, made.root)
    assert quiet.stderr == ""
    shutil.rmtree(made.root / ".dvc" / "cache")
    (made.root / "slow").touch()
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 25, 100, 0, 0))
    try:
        done = subprocess.Popen(
            [sys.executable, "-c", script, str(made.root)], stderr=follower, stdin=follower
        )
        os.close(follower)
        said = b""
        while True:
            try:
                piece = os.read(leader, 4096)
            except OSError:
                break
            if not piece:
                break
            said += piece
        assert done.wait() == 0
    finally:
        os.close(leader)
    assert b"Caching slow" in said
    assert b"Caching quick" not in said

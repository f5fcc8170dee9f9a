"""Copies of artifacts in the run's own folder."""

from __future__ import annotations

import errno
import os
import socket
import sys
import time
from typing import TYPE_CHECKING

import pytest
from situations import run

from dvclive_dvc.errors import ArtifactConflictError, ArtifactError, ArtifactNotFoundError
from dvclive_dvc.layout import Layout
from dvclive_dvc.logs.artifacts import copy_into

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def layout(tmp_path):
    return Layout.at(tmp_path / "dvclive")


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def settle(*paths: Path) -> None:
    """Lets the paths look as if they were written well before any copy of them."""
    deadline = max(path.stat().st_ctime_ns for path in paths) + 2_050_000_000
    time.sleep(max(0.0, (deadline - time.time_ns()) / 1e9))


def test_a_file_is_copied_under_its_name(layout, tmp_path):
    source = tmp_path / "elsewhere" / "model.pt"
    source.parent.mkdir()
    source.write_text("weights")
    taken = {}
    copy = copy_into(layout, source, taken)
    assert copy == layout.artifacts_dir / "model.pt"
    assert copy.read_text() == "weights"
    assert taken == {"model.pt": source}
    assert names_in(layout.artifacts_dir) == ["model.pt"], "something half-made was left"


def test_a_folder_is_copied_with_all_that_is_in_it(layout, tmp_path):
    source = tmp_path / "data"
    (source / "deep" / "er").mkdir(parents=True)
    (source / "deep" / "er" / "x").write_text("1")
    (source / "empty").mkdir()
    (source / "y").write_text("2")
    copy = copy_into(layout, source, {})
    assert contents(copy) == {"deep/er/x": "1", "y": "2"}
    assert (copy / "empty").is_dir()


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_link_is_followed_at_the_top(layout, tmp_path, kind):
    real = tmp_path / "real"
    if kind == "file":
        real.write_text("x")
    else:
        real.mkdir()
        (real / "inside").write_text("x")
    link = tmp_path / "link"
    link.symlink_to(real)
    copy = copy_into(layout, link, {})
    assert copy.name == "link"
    assert not copy.is_symlink()
    assert (copy if kind == "file" else copy / "inside").read_text() == "x"


def test_links_inside_a_folder_are_followed(layout, tmp_path):
    (tmp_path / "aside").mkdir()
    (tmp_path / "aside" / "z").write_text("z")
    source = tmp_path / "data"
    source.mkdir()
    (source / "file").symlink_to(tmp_path / "aside" / "z")
    (source / "folder").symlink_to(tmp_path / "aside")
    copy = copy_into(layout, source, {})
    assert contents(copy) == {"file": "z", "folder/z": "z"}
    assert not (copy / "folder").is_symlink()


def test_copying_again_replaces_the_whole_folder(layout, tmp_path):
    source = tmp_path / "data"
    source.mkdir()
    (source / "old").write_text("old")
    (source / "same").write_text("same")
    taken = {}
    copy = copy_into(layout, source, taken)
    (copy / "left by someone").write_text("?")
    (source / "old").unlink()
    (source / "new").write_text("new")
    (source / "same").write_text("changed")
    copy_into(layout, source, taken)
    assert contents(copy) == {"new": "new", "same": "changed"}


def test_a_folder_takes_the_place_of_a_file_and_the_other_way_round(layout, tmp_path):
    source = tmp_path / "thing"
    source.write_text("file")
    taken = {}
    copy = copy_into(layout, source, taken)
    source.unlink()
    source.mkdir()
    (source / "x").write_text("1")
    copy_into(layout, source, taken)
    assert contents(copy) == {"x": "1"}
    (source / "x").unlink()
    source.rmdir()
    source.write_text("file again")
    assert copy_into(layout, source, taken).read_text() == "file again"


def test_links_that_dvc_left_are_replaced_and_not_written_through(layout, tmp_path):
    source = tmp_path / "model.pt"
    source.write_text("first")
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "x").write_text("first")
    taken = {}
    copy, copied_folder = copy_into(layout, source, taken), copy_into(layout, folder, taken)
    cached = tmp_path / "cache-object"
    cached.write_text("first")
    cached.chmod(0o444)
    for path in (copy, copied_folder / "x"):
        path.unlink()
        path.symlink_to(cached)
    source.write_text("second")
    (folder / "x").write_text("second")
    copy_into(layout, source, taken)
    copy_into(layout, folder, taken)
    assert cached.read_text() == "first", "the object in the cache was overwritten"
    assert copy.read_text() == (copied_folder / "x").read_text() == "second"
    assert not copy.is_symlink()


def test_a_copy_that_dvc_made_read_only_is_replaced(layout, tmp_path):
    source = tmp_path / "model.pt"
    source.write_text("first")
    taken = {}
    copy = copy_into(layout, source, taken)
    other_name = tmp_path / "object"
    os.link(copy, other_name)
    copy.chmod(0o444)
    source.write_text("second")
    copy_into(layout, source, taken)
    assert (copy.read_text(), other_name.read_text()) == ("second", "first")


def test_an_unchanged_file_is_not_copied_again(layout, tmp_path):
    source = tmp_path / "model.pt"
    source.write_text("weights")
    settle(source)
    taken = {}
    before = copy_into(layout, source, taken).stat()
    after = copy_into(layout, source, taken).stat()
    assert (after.st_ino, after.st_ctime_ns) == (before.st_ino, before.st_ctime_ns)


def test_of_a_folder_only_what_changed_is_copied_again(layout, tmp_path):
    source = tmp_path / "data"
    (source / "sub").mkdir(parents=True)
    for name in ("a", "sub/b"):
        (source / name).write_text(name)
    settle(source / "a", source / "sub" / "b")
    taken = {}
    copy = copy_into(layout, source, taken)
    inodes = {name: (copy / name).stat().st_ino for name in ("a", "sub/b")}
    folder = copy.stat().st_ino
    copy_into(layout, source, taken)
    assert copy.stat().st_ino == folder, "an unchanged folder was built anew"
    (source / "a").write_text("A")
    copy_into(layout, source, taken)
    assert contents(copy) == {"a": "A", "sub/b": "sub/b"}
    assert (copy / "sub/b").stat().st_ino == inodes["sub/b"], "an unchanged file was copied"


def test_a_change_within_one_tick_of_the_clock_is_not_missed(layout, tmp_path):
    source = tmp_path / "model.pt"
    source.write_text("one")
    taken = {}
    copy = copy_into(layout, source, taken)
    times = source.stat()
    source.write_text("two")
    os.utime(source, ns=(times.st_atime_ns, times.st_mtime_ns))
    copy_into(layout, source, taken)
    assert copy.read_text() == "two"


def test_permissions_to_execute_are_kept_and_the_copy_can_be_replaced(layout, tmp_path):
    source = tmp_path / "tool.sh"
    source.write_text("#!/bin/sh\n")
    source.chmod(0o555)
    assert copy_into(layout, source, {}).stat().st_mode & 0o777 == 0o755


def test_a_second_artifact_of_the_same_name_is_refused(layout, tmp_path):
    paths = [tmp_path / "a" / "model.pt", tmp_path / "b" / "model.pt"]
    for path in paths:
        path.parent.mkdir()
        path.write_text(path.parent.name)
    taken = {}
    copy = copy_into(layout, paths[0], taken)
    with pytest.raises(ArtifactConflictError, match="already copied") as caught:
        copy_into(layout, paths[1], taken)
    assert str(paths[0]) in str(caught.value)
    assert copy.read_text() == "a"
    copy_into(layout, paths[0], taken)  # the same one again is no conflict


def test_a_copy_is_not_copied_onto_itself(layout, tmp_path):
    source = tmp_path / "model.pt"
    source.write_text("x")
    copy = copy_into(layout, source, {})
    assert copy_into(layout, copy, {}) == copy
    assert copy.read_text() == "x"


@pytest.mark.parametrize("case", ["missing", "dangling", "loop", "fifo", "socket", "holds dir"])
def test_what_cannot_be_copied_is_refused_with_nothing_written(layout, tmp_path, case):
    path = tmp_path / "artifact"
    expected = ArtifactError
    server = None
    if case == "missing":
        expected = ArtifactNotFoundError
    elif case == "dangling":
        path.symlink_to("nowhere")
    elif case == "loop":
        path.symlink_to("artifact")
    elif case == "fifo":
        os.mkfifo(path)
    elif case == "socket":
        server = socket.socket(socket.AF_UNIX)
        os.chdir(tmp_path)
        server.bind("artifact")
    else:
        path = tmp_path
    with pytest.raises(expected) as caught:
        copy_into(layout, path, {})
    assert str(path) in str(caught.value)
    assert not layout.root.exists()
    if server is not None:
        server.close()


def test_the_folder_of_the_copies_is_not_copied_into_itself(layout, tmp_path):
    (tmp_path / "model.pt").write_text("x")
    copy_into(layout, tmp_path / "model.pt", {})
    with pytest.raises(ArtifactError, match="Log what is to be kept"):
        copy_into(layout, layout.artifacts_dir, {})
    assert names_in(layout.artifacts_dir) == ["model.pt"]


def test_a_path_that_no_file_system_takes_is_refused_as_an_artifact(layout, tmp_path):
    with pytest.raises(ArtifactError, match="no path that a file system takes"):
        copy_into(layout, tmp_path / "x\0y", {})


@pytest.mark.parametrize("case", ["fifo", "dangling", "loop"])
def test_a_folder_that_holds_such_a_thing_is_refused_and_the_old_copy_stays(layout, tmp_path, case):
    source = tmp_path / "data"
    source.mkdir()
    (source / "a").write_text("1")
    copy = copy_into(layout, source, {})
    if case == "fifo":
        os.mkfifo(source / "thing")
    elif case == "dangling":
        (source / "thing").symlink_to("nowhere")
    else:
        (source / "thing").symlink_to(source)
    with pytest.raises(ArtifactError, match="thing"):
        copy_into(layout, source, {})
    assert contents(copy) == {"a": "1"}
    assert names_in(layout.artifacts_dir) == ["data"], "something half-made was left"


@pytest.mark.parametrize("name", ["x.dvc", ".gitignore", "dvc.yaml"])
def test_a_name_that_git_or_dvc_read_is_refused(layout, tmp_path, name):
    (tmp_path / name).write_text("x")
    with pytest.raises(ArtifactError, match="Rename"):
        copy_into(layout, tmp_path / name, {})
    assert not layout.root.exists()


def test_what_a_killed_copy_left_is_swept(layout, tmp_path):
    layout.artifacts_dir.mkdir(parents=True)
    dead = layout.artifacts_dir / ".data.99999999-1.dvclive-tmp"
    dead.mkdir()
    (dead / "half").write_text("half")
    living = layout.artifacts_dir / f".data.{os.getpid()}-1.dvclive-tmp"
    living.write_text("in the making")
    source = tmp_path / "model.pt"
    source.write_text("x")
    copy_into(layout, source, {})
    assert not dead.exists()
    assert living.exists(), "another thread's copy was taken away"


def test_a_copy_that_cannot_be_written_leaves_the_old_one(layout, tmp_path):
    source = tmp_path / "model.pt"
    source.write_text("old")
    copy = copy_into(layout, source, {})
    source.write_text("x" * 100)
    script = """
import resource, signal, sys
from pathlib import Path
from dvclive_dvc.layout import Layout
from dvclive_dvc.logs.artifacts import copy_into
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
try:
    copy_into(Layout.at(sys.argv[1]), Path(sys.argv[2]), {})
except OSError as error:
    sys.exit(error.errno)
"""

    done = run(sys.executable, "-c", script, layout.root, source, check=False)
    assert done.returncode == errno.EFBIG, done.stderr
    assert copy.read_text() == "old"
    assert names_in(layout.artifacts_dir) == ["model.pt"]

"""Many small files are cached by several processes, and any of them may fail."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from dvclive_dvc.repo import crew
from dvclive_dvc.repo.objects import Objects

COUNT = 2000


class Cache:
    """As much of DVC's cache as `Objects` asks for."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def makedirs(self, path: str) -> None:
        Path(path).mkdir(parents=True, exist_ok=True)


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    paths = [folder / f"{number:04}" for number in range(COUNT)]
    for number, path in enumerate(paths):
        path.write_text(f"{number}\n" * 20)
    return paths


@pytest.fixture
def objects(tmp_path):
    (tmp_path / "cache").mkdir()
    return Objects(Cache(tmp_path / "cache"))


def run(objects, files, helpers, *, do=None):
    """What came of each file, and the files that this process did itself."""
    mine = []

    def here(path):
        mine.append(path)
        return (do or (lambda one: objects.put(str(one))))(path)

    found = dict(
        crew.shared_out(files, objects, helpers, asked=lambda one: (str(one), False), do=here)
    )
    return found, mine


def assert_all_cached(objects, found, files):
    assert sorted(found) == files, "a file was passed over or done twice"
    for path, stored in found.items():
        content = path.read_bytes()
        assert stored.md5 == hashlib.md5(content).hexdigest()
        assert Path(objects.path(stored.md5)).read_bytes() == content
        now = path.stat()
        kept = (stored.status.st_ino, stored.status.st_mtime, stored.status.st_ctime_ns)
        assert kept == (now.st_ino, now.st_mtime, now.st_ctime_ns)
    assert not list(Path(objects.root).glob(".*")), "a half-written object was left"


def children():
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


def test_helpers_do_their_part_and_leave(objects, files):
    found, mine = run(objects, files, helpers=2)
    assert_all_cached(objects, found, files)
    assert len(mine) < COUNT, "the helpers did nothing"
    assert not children(), "a helper outlived its work"


def test_without_helpers_it_is_done_here(objects, files):
    found, mine = run(objects, files, helpers=0)
    assert_all_cached(objects, found, files)
    assert mine == files


def test_a_killed_helper_costs_nothing(objects, files):
    killed = []

    def do(path):
        for pid in children() if not killed else ():
            os.kill(int(pid), signal.SIGKILL)
            killed.append(pid)
        return objects.put(str(path))

    found, _ = run(objects, files, helpers=2, do=do)
    assert killed
    for left in Path(objects.root).glob(".*"):
        left.unlink()  # as the next run's sweep does
    assert_all_cached(objects, found, files)


def test_where_no_interpreter_can_be_started_it_is_done_here(objects, files, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    found, mine = run(objects, files, helpers=2)
    assert_all_cached(objects, found, files)
    assert sorted(mine) == files


def test_trouble_of_a_helper_is_raised_here(objects, files):
    bad = files[COUNT // 2]
    bad.unlink()
    bad.mkdir()
    with pytest.raises(OSError, match=r"directory|regular"):
        run(objects, files, helpers=2)
    assert not children(), "a helper outlived the error"


def test_folders_of_the_cache_are_made_as_here(objects, files):
    run(objects, files, helpers=2)
    modes = {path.stat().st_mode for path in Path(objects.root).iterdir()}
    assert len(modes) == 1, "helpers make folders of other permissions"


def test_a_helper_imports_no_more_than_it_needs(objects, files, tmp_path):
    (tmp_path / "site").mkdir()
    shutil.copytree(Path(crew.__file__).parent.parent, tmp_path / "site" / "dvclive_dvc")
    (tmp_path / "site" / "dvclive_dvc" / "__init__.py").write_text("raise SystemExit(7)")
    before = crew.__file__
    crew.__file__ = str(tmp_path / "site" / "dvclive_dvc" / "repo" / "crew.py")
    try:
        _, mine = run(objects, files, helpers=1)
    finally:
        crew.__file__ = before
    assert len(mine) < COUNT, "a helper imports the whole logger"

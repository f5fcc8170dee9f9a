"""What DVC's state is told, read back by DVC's own `State`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dvclive_dvc.repo import hashes


@pytest.fixture
def repo(repos):
    from dvc.repo import Repo

    opened = Repo(str(repos.make("git_and_dvc").root))
    yield opened
    opened.close()


def written(repo, *names: str) -> list[tuple[str, str, os.stat_result]]:
    rows = []
    for number, name in enumerate(names):
        path = Path(repo.root_dir) / name
        path.write_text(name)
        rows.append((str(path), f"{number:032x}", path.stat()))
    return rows


def known_to_dvc(repo, path: str) -> str | None:
    info = repo.fs.info(path)
    answer = repo.state.get(path, repo.fs, info)[1]
    return answer.value if answer is not None else None


def test_dvc_reads_the_rows_as_its_own(repo):
    rows = written(repo, "a", "dés données", 'quote"\\', "new\nline")
    hashes.keep(repo, rows)
    assert [known_to_dvc(repo, name) for name, _, _ in rows] == [md5 for _, md5, _ in rows]


def test_a_file_that_changed_is_not_known(repo):
    rows = written(repo, "a")
    hashes.keep(repo, rows)
    os.utime(rows[0][0], ns=(0, 0))
    assert known_to_dvc(repo, rows[0][0]) is None


def test_where_dvc_counts_otherwise_its_own_way_is_taken(repo, monkeypatch):
    from dvc_data.hashfile import state

    theirs = state._checksum
    monkeypatch.setattr(state, "_checksum", lambda info: f"other {theirs(info)}")
    rows = written(repo, "a", "b")
    hashes.keep(repo, rows)
    assert [known_to_dvc(repo, name) for name, _, _ in rows] == [md5 for _, md5, _ in rows]


def test_what_dvc_knows_of_a_folder_is_told(repo):
    folder = Path(repo.root_dir) / "data"
    folder.mkdir()
    rows = written(repo, "data/a", "data/b", "data0", "dat")
    asked = [(at, name, repo.fs.info(name)) for at, (name, _, _) in enumerate(rows)]
    hashes.keep(repo, rows[2:])
    assert list(hashes.told(repo, str(folder), asked[:2])) == [], "only its neighbours are known"
    repo.state.save(rows[0][0], repo.fs, hashes.hash_info(rows[0][1]), None)
    assert list(hashes.told(repo, str(folder), asked[:2])) == [(0, rows[0][1])]


def test_dvc_finds_the_links_it_may_take_away(repo):
    ((path, _, status),) = written(repo, "a")
    hashes.keep_link(repo, path, status.st_ino, "token")
    repo.close()
    with repo.state.links as links:
        assert links["a"] == (status.st_ino, "token")

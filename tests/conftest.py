"""What every test starts with: an environment sealed from the machine, and real repositories.

- `home` (autouse): HOME, XDG folders, Git's and DVC's configuration and DVC's site cache are the
  test's own; dates and author are fixed (Ada Tester); no GIT_*, DVC_*, DVCLIVE_*, RANK, SLURM_*,
  OMPI_* variable is left over; the working directory is `tmp_path`.
- `repos.make("git_and_dvc")`: a fresh copy of a situation of `fixtures/repos/` as a real
  repository; the test is then in its working directory.
- `tests/situations.py` (`from situations import ...`): `git`, `dvc`, `dvc_inside`, `python` run
  the real programs; `state_of(root, ignoring=[...])` or `repo.state("dvclive", ...)` is all that
  is the user's, to be compared before and after:

      before = repo.state("dvclive")
      ...
      assert repo.state("dvclive") == before
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from situations import Situations, State, sealed

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of this session share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(autouse=True)
def home(
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    shared_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """The test's own home folder; its environment is sealed and its cwd is `tmp_path`."""
    home = tmp_path_factory.mktemp("home")
    environ = sealed(home, os.environ, shared=shared_folder)
    for name in set(os.environ) - set(environ):
        monkeypatch.delenv(name)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    _seal_libgit2(home)
    monkeypatch.chdir(tmp_path)
    return home


def _seal_libgit2(home: Path) -> None:
    # libgit2 reads HOME once, when it is loaded; the process outlives many homes.
    import pygit2

    levels = pygit2.enums.ConfigLevel
    pygit2.settings.search_path[levels.GLOBAL] = str(home)
    pygit2.settings.search_path[levels.XDG] = str(home / ".config" / "git")
    pygit2.settings.search_path[levels.SYSTEM] = str(home / "no-system-config")


@pytest.fixture
def repos(home: Path, tmp_path: Path, shared_folder: Path) -> Situations:
    """Makes real repositories: `repos.make("git_and_dvc")`."""
    return Situations(shared_folder / "situations", tmp_path, dict(os.environ))


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Shows of two unequal states only what differs."""
    if op == "==" and isinstance(left, State) and isinstance(right, State):
        return ["the user's state is not what it was (left: now)", *right.changes(left)]
    return None

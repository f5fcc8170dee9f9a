"""What `.dvcignore` says, compared with DVC's own filter."""

from __future__ import annotations

import pytest

from dvclive_dvc.repo.dvcignore import DvcIgnore


@pytest.fixture
def made(repos):
    return repos.make("git_and_dvc")


@pytest.fixture
def repo(made):
    from dvc.repo import Repo

    opened = Repo(str(made.root))
    yield opened
    opened.close()


@pytest.fixture
def filters(monkeypatch):
    """How often DVC's filter was made."""
    from dvc import ignore

    made: list[str] = []
    init = ignore.DvcIgnoreFilter.__init__

    def counted(self, fs, root):
        made.append(root)
        init(self, fs, root)

    monkeypatch.setattr(ignore.DvcIgnoreFilter, "__init__", counted)
    return made


def test_without_rules_dvc_is_asked_once_for_each_folder(made, repo, filters):
    ignore = DvcIgnore(repo)
    for name in ("a/data", "a/data", "a/other"):
        assert ignore.rule(made.root / name) is None
        assert ignore.below(made.root / name) is None
    assert len(filters) == 1


@pytest.mark.parametrize("where", ["", "a/", "a/b/"])
def test_a_rule_written_later_anywhere_above_counts_at_once(made, repo, where):
    ignore = DvcIgnore(repo)
    path = made.write("a/b/c/x", "x").parent
    assert ignore.rule(path) is None
    made.write(f"{where}.dvcignore", "c\n")
    assert "c" in ignore.rule(path)
    made.write(f"{where}.dvcignore", "*.log\n")
    assert ignore.rule(path) is None
    assert ignore.below(path)(str(path), [], ["x", "x.log"]) == ([], ["x"])
    (made.root / where / ".dvcignore").unlink()
    assert ignore.rule(path) is None
    assert ignore.below(path) is None


@pytest.mark.parametrize("name", [".hg", ".hg/x"])
def test_what_dvc_leaves_out_by_itself_is_told(made, repo, name):
    ignore = DvcIgnore(repo)
    made.write(".hg/x", "x")
    assert ignore.rule(made.root / "other") is None
    assert ignore.rule(made.root / name) is not None

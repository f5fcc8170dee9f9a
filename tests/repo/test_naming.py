"""A name is the wished one where Git and DVC take it and it is free."""

from __future__ import annotations

import logging
import random
import re

import pytest
from saved_runs import saved

from dvclive_dvc.repo import context, naming


def test_a_name_is_the_wished_one_or_that_of_the_environment(repos, monkeypatch):
    repos.make("git_and_dvc")
    monkeypatch.setenv("DVC_EXP_NAME", "from-shell")
    assert naming.choose_name(context.detect(), "mine") == "mine"
    assert naming.choose_name(context.detect(), None) == "from-shell"


def test_random_names_are_dvcs_own_and_follow_no_seed(repos):
    repos.make("git_and_dvc")
    here = context.detect()
    made = set()
    for _ in range(5):
        random.seed(0)
        made.add(naming.choose_name(here, None))
    assert len(made) > 1, "a seeded training must not get the same name each time"
    assert all(re.fullmatch(r"[a-z]{5}-[a-z]{4}", name) for name in made)


@pytest.mark.parametrize(
    "name",
    [
        "a/b", "with space", "two..dots", "-option", "ends.lock", "a~1",
        pytest.param("x" * 300, id="long"),
        pytest.param("a\0b", id="null"),
    ],
)  # fmt: skip
def test_a_name_that_git_or_dvc_refuse_gives_a_warning_and_a_fresh_one(repos, caplog, name):
    repos.make("git_and_dvc")
    with caplog.at_level(logging.WARNING, "dvclive_dvc"):
        chosen = naming.choose_name(context.detect(), name)
    assert chosen != name
    assert f"'{name}'" in caplog.text
    assert chosen in caplog.text


@pytest.mark.parametrize("packed", [False, True])
def test_a_taken_name_gives_a_warning_and_a_fresh_one(repos, caplog, packed):
    repo = repos.make("git_and_dvc")
    saved(repo)
    if packed:
        repo.git("pack-refs", "--all")
    with caplog.at_level(logging.WARNING, "dvclive_dvc"):
        chosen = naming.choose_name(context.detect(), "first-run")
    assert chosen != "first-run"
    assert "'first-run'" in caplog.text


def test_a_name_taken_on_another_commit_is_free(repos):
    repo = repos.make("git_and_dvc")
    saved(repo)
    repo.git("commit", "-q", "--allow-empty", "-m", "next")
    assert naming.choose_name(context.detect(), "first-run") == "first-run"

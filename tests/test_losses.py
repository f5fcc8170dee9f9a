"""Writes that fail are forgiven: one warning a file, one count at the end."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from dvclive_dvc.losses import Losses


@pytest.fixture
def losses():
    return Losses()


def fail(losses: Losses, path: str) -> None:
    with losses.forgiven(Path(path)):
        raise OSError(errno.ENOSPC, "No space left on device")


def said(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_each_file_is_complained_of_once_and_counted_at_the_end(losses, caplog):
    for _ in range(3):
        fail(losses, "a.tsv")
    fail(losses, "b.tsv")
    assert said(caplog) == [
        f"Cannot write '{name}': No space left on device. The training goes on; what was written "
        "before is still there."
        for name in ("a.tsv", "b.tsv")
    ]
    losses.tell()
    assert "4 writes failed during this run, in 2 files: a.tsv, b.tsv." in said(caplog)[-1]


def test_what_was_told_is_not_told_again(losses, caplog):
    fail(losses, "a.tsv")
    losses.tell()
    caplog.clear()
    losses.tell()
    assert not said(caplog)


def test_a_run_that_lost_nothing_says_nothing(losses, caplog):
    with losses.forgiven(Path("a.tsv")):
        pass
    losses.tell()
    assert not said(caplog)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, ZeroDivisionError])
def test_only_trouble_of_the_disk_is_forgiven(losses, error):
    with pytest.raises(error), losses.forgiven(Path("a.tsv")):
        raise error

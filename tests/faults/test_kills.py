"""A training is killed: at random moments, at each change it makes, and with fifteen others."""

from __future__ import annotations

import random

import pytest
from faults.rounds import (
    BEGIN,
    END,
    ROUNDS,
    SEED,
    Training,
    duration,
    next_run_works,
    of_runs,
    prepare,
    recover,
    some,
    violations,
)


def test_a_training_killed_at_any_moment_loses_nothing_it_logged(repos, figures):
    repo = repos.make("git_and_dvc")
    prepare(repo)
    chance = random.Random(SEED)
    takes = duration(repo)
    before = repo.state(*of_runs("dvclive"))
    trainings: list[Training] = []
    for number in range(ROUNDS):
        training = Training(repo, f"run-{number}")
        # The first part is the interpreter's start, which is nobody's business.
        training.start().killed_after(takes * chance.uniform(0.2, 1))
        trainings.append(training)
        figures.rounds += 1
        figures.kills += training.code == -9
        if training.code != -9:
            takes *= 0.9  # the machine is less busy than when that was measured
        # Every other one is left to the next training, as a user would.
        if number % 2:
            figures.found(f"round {number}", recover(repo))
            figures.found(f"round {number}", violations(repo, before, trainings[-2:]))
    figures.found("at the end", next_run_works(repo, "last"))
    figures.found("at the end", violations(repo, before, trainings))
    assert figures.kills > ROUNDS // 3, "enough rounds must end by a kill to say anything"


@pytest.mark.parametrize(("begin", "how"), [(BEGIN, "kill"), (END, "kill"), (BEGIN, "torn")])
def test_a_training_killed_at_any_change_it_makes_is_saved_once(
    repos, figures, faults, changes, begin, how
):
    repo = repos.make("git_and_dvc")
    prepare(repo)
    # The first run makes what later ones find; the second shows the changes.
    made = [changes(Training(repo, name), begin) for name in ("first", "second")][1]
    assert len(made) >= 5, f"too few changes for a saving: {made}"
    before = repo.state(*of_runs("dvclive"))
    trainings: list[Training] = []
    for number in some(made, *(["write"] if how == "torn" else [])):
        training = Training(repo, f"run-{number}")
        training.start(**faults(begin, number, how)).wait()
        trainings.append(training)
        figures.rounds += 1
        figures.kills += training.code == -9
        # Every other one is left to the next training.
        if len(trainings) % 2 == 0:
            where = f"{how} at change {number} ({made[number - 1]})"
            figures.found(where, recover(repo))
            figures.found(where, violations(repo, before, trainings[-2:]))
    figures.found("at the end", next_run_works(repo, "last"))
    figures.found("at the end", violations(repo, before, trainings))
    assert figures.kills > len(trainings) // 2, f"{figures.kills} of {len(trainings)} were killed"


def test_of_sixteen_trainings_at_once_half_are_killed_and_none_is_lost(repos, figures):
    repo = repos.make("git_and_dvc")
    prepare(repo)
    chance = random.Random(SEED)
    takes = duration(repo)
    folders = [f"dvclive-{number}" for number in range(16)]
    before = repo.state(*of_runs("dvclive", *folders))
    for turn in range(max(1, ROUNDS // 100)):
        trainings = [
            Training(repo, f"run-{turn}-{number}", folder).start()
            for number, folder in enumerate(folders)
        ]
        for training in chance.sample(trainings, 8):
            training.killed_after(takes * chance.uniform(0.2, 1))
            figures.kills += training.code == -9
        for training in trainings:
            if training.code is None:
                training.wait()
                if training.code != 0 or not training.ended:
                    figures.found(training.name, [f"code {training.code}: {training.stderr}"])
        figures.rounds += len(trainings)
        figures.found(f"turn {turn}", recover(repo))
        figures.found(f"turn {turn}", next_run_works(repo, f"last-{turn}"))
        trainings_and_last = [*trainings, Training(repo, f"last-{turn}")]
        figures.found(f"turn {turn}", violations(repo, before, trainings_and_last))

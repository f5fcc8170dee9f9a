"""The contract of the seam: what the docstrings of `Backend` promise, for every backend.

`BackendContract` is one class of tests; a backend is judged by a subclass that says how to make
one (`make`) and in which place (`place`). One written elsewhere is judged the same way.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import re
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
from recording import RecordingBackend
from ruamel.yaml import YAML
from situations import State, git, state_of

import dvclive_dvc.backend as seam
from dvclive_dvc import Live
from dvclive_dvc.backend import (
    Artifact,
    Backend,
    Entries,
    Mode,
    Outcome,
    Plot,
    Request,
    Run,
    Status,
    Tracked,
)
from dvclive_dvc.errors import ArtifactError, CallerError, RepositoryError
from dvclive_dvc.layout import Layout
from dvclive_dvc.null import NullBackend


@dataclass
class Begun:
    """A backend, the folder it was begun in, and the run's layout."""

    backend: Backend
    folder: Path
    layout: Layout

    def file(self, name: str, text: str = "weights") -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def state(self, *ignoring: str) -> State:
        return state_of(self.folder, ignoring=ignoring)

    def entries(self) -> dict:
        if not self.layout.dvcyaml.exists():
            return {}
        return YAML(typ="safe").load(self.layout.dvcyaml) or {}


class BackendContract:
    """Every promise of the protocol's docstrings; `make` is the one thing a subclass gives."""

    @pytest.fixture
    def place(self, repos) -> Path:
        """The working directory that the backend is made in."""
        raise NotImplementedError

    def make(self) -> Backend:
        """A backend for the present working directory, not yet begun."""
        raise NotImplementedError

    @pytest.fixture
    def begin(self, place):
        """Begins a backend in `place`; all that were begun are closed after the test."""
        begun = []

        def begin(folder="dvclive", dvcyaml=True, **request) -> Begun:
            layout = Layout.at(folder, dvcyaml)
            backend = self.make()
            backend.begin(layout, Request(**request))
            begun.append(backend)
            return Begun(backend, place, layout)

        yield begin
        for backend in begun:
            backend.close()

    # -- the protocol ----------------------------------------------------------------------

    def test_it_has_every_member_of_the_protocol(self, place):
        assert isinstance(self.make(), Backend)

    # -- run -------------------------------------------------------------------------------

    def test_the_run_is_fixed_once_begin_returned(self, begin):
        begun = begin()
        run = begun.backend.run
        begun.backend.track(begun.file("model.pt"))
        begun.backend.describe(Entries())
        begun.backend.step(0)
        begun.layout.root.mkdir(exist_ok=True)
        begun.backend.save(Outcome())
        assert begun.backend.run == run

    def test_the_run_says_where_it_is_in_the_values_the_protocol_names(self, begin):
        run = begin().backend.run
        assert isinstance(run, Run)
        assert isinstance(run.mode, Mode)
        assert run.baseline is None or re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", run.baseline)

    def test_a_wished_name_that_is_free_is_the_runs_name(self, begin):
        assert begin(name="first-try").backend.run.name == "first-try"

    def test_a_run_that_is_not_to_be_saved_says_so(self, begin):
        assert not begin(save=False).backend.run.saves

    # -- begin -----------------------------------------------------------------------------

    def test_begin_writes_nothing_below_the_runs_folder(self, begin):
        begun = begin(folder="results/dvclive")
        assert not begun.layout.root.exists()

    def test_begin_leaves_what_is_below_the_runs_folder_alone(self, place, begin):
        (place / "dvclive").mkdir()
        (place / "dvclive" / "metrics.json").write_text('{"loss": 1}')
        before = state_of(place / "dvclive")
        begin()
        assert state_of(place / "dvclive") == before

    def test_begin_refuses_a_dvcyaml_that_cannot_be_read(self, place, begin):
        (place / "dvc.yaml").write_text("stages: [\n  unclosed")
        before = (place / "dvc.yaml").read_bytes()
        with pytest.raises(RepositoryError, match=r"line \d"):
            begin(dvcyaml="dvc.yaml")
        assert (place / "dvc.yaml").read_bytes() == before
        assert not (place / "dvclive").exists(), "nothing is written for a run that must not start"

    def test_begin_takes_a_folder_an_earlier_run_has_left(self, begin):
        first = begin()
        first.layout.root.mkdir()
        first.backend.describe(Entries())
        first.backend.save(Outcome())
        first.backend.close()
        second = begin()
        assert second.backend.run.mode is first.backend.run.mode

    # -- track -----------------------------------------------------------------------------

    @pytest.mark.parametrize("cache", [True, False])
    def test_track_answers_for_the_path_it_was_given(self, begin, cache):
        begun = begin()
        path = begun.file("model.pt")
        tracked = begun.backend.track(path, cache=cache)
        assert isinstance(tracked, Tracked)
        assert tracked.path == path

    @pytest.mark.parametrize("cache", [True, False])
    @pytest.mark.parametrize("link", ["above", "inside"])
    def test_track_resolves_the_links_of_the_folders_over_the_path(self, begin, link, cache):
        begun = begin()
        path = begun.file("model.pt")
        folder = begun.folder.with_name("above") if link == "above" else begun.folder / "inside"
        folder.symlink_to(begun.folder)
        assert begun.backend.track(folder / "model.pt", cache=cache).path == path

    def test_a_path_that_is_a_link_stays_itself(self, begin):
        begun = begin()
        path = begun.folder / "latest.pt"
        path.symlink_to(begun.file("model.pt"))
        assert begun.backend.track(path, cache=False).path == path

    def test_a_pointer_that_track_names_is_there(self, begin):
        begun = begin()
        pointer = begun.backend.track(begun.file("model.pt")).pointer
        assert pointer is None or (pointer.suffix == ".dvc" and pointer.is_file())

    def test_track_takes_folders(self, begin):
        begun = begin()
        begun.file("data/a/one.csv", "1")
        begun.file("data/two.csv", "2")
        assert begun.backend.track(begun.folder / "data").path == begun.folder / "data"

    def test_track_may_be_repeated_as_the_file_changes(self, begin):
        begun = begin()
        for epoch in range(3):
            path = begun.file("model.pt", f"weights of epoch {epoch}")
            assert begun.backend.track(path).path == path
        assert path.read_text() == "weights of epoch 2", "an artifact itself is never changed"

    def test_track_without_cache_writes_nothing(self, begin):
        begun = begin()
        path = begun.file("model.pt")
        before = begun.state()
        assert begun.backend.track(path, cache=False).pointer is None
        assert begun.state() == before

    @pytest.mark.parametrize("cache", [True, False])
    def test_track_refuses_a_path_that_is_not_there_and_writes_nothing(self, begin, cache):
        begun = begin()
        before = begun.state()
        with pytest.raises(ArtifactError, match=r"missing\.pt"):
            begun.backend.track(begun.folder / "missing.pt", cache=cache)
        assert begun.state() == before

    def test_a_refused_path_spoils_nothing_for_the_next(self, begin):
        begun = begin()
        with pytest.raises(CallerError):
            begun.backend.track(begun.folder / "missing.pt")
        path = begun.file("model.pt")
        assert begun.backend.track(path).path == path

    # -- describe --------------------------------------------------------------------------

    def test_describe_puts_the_entries_into_the_dvcyaml(self, begin):
        begun = begin()
        layout = begun.layout
        layout.root.mkdir()
        begun.backend.describe(
            Entries(
                params=(layout.params_file,),
                metrics=(layout.metrics_file,),
                plots=(Plot(layout.metrics_dir, {"x": "step"}), Plot(layout.images_dir)),
                artifacts={"mymodel": Artifact(begun.file("model.pt"), type="model")},
            )
        )
        assert begun.entries() == {
            "params": ["params.yaml"],
            "metrics": ["metrics.json"],
            "plots": [{"plots/metrics": {"x": "step"}}, "plots/images"],
            "artifacts": {"mymodel": {"path": "../model.pt", "type": "model"}},
        }

    def test_describe_replaces_what_it_put_there_before(self, begin):
        begun = begin()
        layout = begun.layout
        layout.root.mkdir()
        begun.backend.describe(
            Entries(params=(layout.params_file,), metrics=(layout.metrics_file,))
        )
        begun.backend.describe(Entries(metrics=(layout.metrics_file,)))
        assert begun.entries() == {"metrics": ["metrics.json"]}

    def test_describe_leaves_the_entries_of_others(self, place, begin):
        (place / "dvc.yaml").write_text("# mine\nmetrics:\n  - scores.json\n")
        begun = begin(dvcyaml="dvc.yaml")
        begun.layout.root.mkdir()
        begun.backend.describe(Entries(metrics=(begun.layout.metrics_file,)))
        assert begun.entries() == {"metrics": ["scores.json", "dvclive/metrics.json"]}
        assert "# mine\n" in (place / "dvc.yaml").read_text()

    def test_describe_does_not_raise_when_the_dvcyaml_broke_meanwhile(self, place, begin):
        begun = begin(dvcyaml="dvc.yaml")
        begun.layout.root.mkdir()
        (place / "dvc.yaml").write_text("stages: [\n  unclosed")
        begun.backend.describe(Entries(metrics=(begun.layout.metrics_file,)))
        assert (place / "dvc.yaml").read_text() == "stages: [\n  unclosed"

    # -- step ------------------------------------------------------------------------------

    def test_step_may_come_from_any_thread(self, begin):
        begun = begin()
        failures = []

        def tell(start: int) -> None:
            try:
                for step in range(start, start + 10):
                    begun.backend.step(step)
            except Exception as error:  # noqa: BLE001 - any at all would end a thread unseen
                failures.append(error)

        threads = [threading.Thread(target=tell, args=(10 * n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures

    def test_step_writes_nothing_of_the_users(self, begin):
        begun = begin()
        before = begun.state()
        begun.backend.step(0)
        begun.backend.step(7)
        assert begun.state() == before

    # -- save ------------------------------------------------------------------------------

    @pytest.mark.parametrize("status", list(Status))
    def test_save_returns_a_full_hash_where_the_run_said_it_saves(self, begin, status):
        begun = begin()
        begun.layout.root.mkdir()
        begun.layout.metrics_file.write_text("{}")
        saved = begun.backend.save(Outcome(status))
        if begun.backend.run.saves:
            assert re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", saved or "")
        else:
            assert saved is None

    def test_save_returns_none_where_it_was_not_asked_for(self, begin):
        begun = begin(save=False)
        begun.layout.root.mkdir()
        assert begun.backend.save(Outcome()) is None

    def test_save_touches_nothing_of_the_users(self, begin):
        begun = begin()
        begun.layout.root.mkdir()
        begun.layout.metrics_file.write_text("{}")
        begun.file("notes.txt", "mine")
        before = begun.state("dvclive")
        begun.backend.save(Outcome())
        assert begun.state("dvclive") == before

    # -- close -----------------------------------------------------------------------------

    def test_close_may_be_called_again(self, begin):
        begun = begin()
        begun.backend.close()
        begun.backend.close()

    def test_close_may_be_called_before_begin(self, place):
        self.make().close()

    def test_close_lets_go_of_everything(self, begin):
        first = begin(name="one")
        first.backend.close()
        before = set(Path("/dev/fd").iterdir())
        for number in range(3):
            begin(folder=f"run-{number}").backend.close()
        after = set(Path("/dev/fd").iterdir())
        assert len(after) <= len(before) + 1, "each closed run leaves a file open"

    def test_close_does_not_raise_when_the_place_is_gone(self, place, begin):
        begun = begin()
        os.chdir("/")
        shutil.rmtree(place)
        begun.backend.close()
        assert not place.exists(), "what the user removed stays removed"

    # -- trouble of the repository ---------------------------------------------------------

    def test_no_call_raises_when_the_repository_is_gone(self, place, begin, caplog):
        begun = begin()
        begun.layout.root.mkdir()
        begun.layout.metrics_file.write_text("{}")
        path = begun.file("model.pt")
        saves = begun.backend.run.saves
        for name in (".git", ".dvc"):
            if (place / name).exists():
                (place / name).rename(place / f"was{name}")
        (place / "here").symlink_to(place)
        with caplog.at_level(logging.WARNING):
            assert begun.backend.track(path).path == path
            assert begun.backend.track(place / "here" / path.name).path == path
            begun.backend.describe(Entries(metrics=(begun.layout.metrics_file,)))
            begun.backend.step(3)
            saved = begun.backend.save(Outcome())
            begun.backend.close()
        if saves and saved is None:
            told = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
            assert any("`" in text for text in told), f"no warning names a command: {told}"

    def test_a_mistake_of_the_caller_still_raises_when_the_repository_is_gone(self, place, begin):
        begun = begin()
        for name in (".git", ".dvc"):
            if (place / name).exists():
                (place / name).rename(place / f"was{name}")
        with pytest.raises(CallerError):
            begun.backend.track(begun.folder / "missing.pt")

    # -- the logger on top -----------------------------------------------------------------

    def test_the_logger_runs_on_it(self, place):
        (place / "model.pt").write_text("weights")
        backend = self.make()
        with Live(backend=backend, report=None) as live:
            live.log_param("lr", 0.1)
            live.log_metric("loss", 0.5)
            live.next_step()
            live.log_artifact("model.pt", type="model", name="mymodel")
        document = YAML(typ="safe").load(Path("dvclive/dvc.yaml"))
        assert document["params"] == ["params.yaml"]
        assert document["artifacts"] == {"mymodel": {"path": "../model.pt", "type": "model"}}
        assert Path("dvclive/plots/metrics/loss.tsv").read_text() == "step\tloss\n0\t0.5\n"


class TestNullBackend(BackendContract):
    @pytest.fixture
    def place(self, repos):
        return repos.make("no_git").cwd

    def make(self):
        return NullBackend("There is no Git repository here. Run `git init && dvc init`.")


class TestRecordingBackend(BackendContract):
    @pytest.fixture
    def place(self, repos):
        return repos.make("no_git").cwd

    def make(self):
        return RecordingBackend()


class TestDvcBackend(BackendContract):
    @pytest.fixture
    def place(self, repos):
        return repos.make("git_and_dvc").cwd

    def make(self):
        from dvclive_dvc.repo import backend as repository

        found = repository.find()
        assert not isinstance(found, str), found
        return found

    def test_a_run_that_was_closed_unsaved_is_saved_before_the_next(self, place, begin):
        first = begin(name="cut-short")
        first.layout.root.mkdir()
        first.layout.metrics_file.write_text("{}")
        first.backend.close(Outcome(Status.INTERRUPTED))
        second = begin(name="next")
        assert second.backend.run.name == "next"
        names = git("for-each-ref", "--format=%(refname)", "refs/exps", cwd=place)
        assert names.endswith("/cut-short"), f"not recovered: {names!r}"

    def test_of_a_run_that_was_closed_before_it_began_nothing_is_left(self, place, begin):
        begin(name="refused").backend.close()
        begin(name="next")
        names = git("for-each-ref", "--format=%(refname)", "refs/exps", cwd=place)
        assert names == "", "a run that never began was saved"


# -- the values that cross the seam ----------------------------------------------------------

VALUES = [Run, Request, Artifact, Plot, Entries, Outcome, Tracked]


@pytest.mark.parametrize("value", VALUES)
def test_values_that_cross_the_seam_are_frozen(value):
    needed = {f.name for f in dataclasses.fields(value) if f.default is dataclasses.MISSING}
    one = value(*([Path("a")] if "path" in needed else []))
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(one, dataclasses.fields(value)[0].name, None)


def test_every_value_of_the_seam_is_judged_here():
    there = {
        thing
        for thing in vars(seam).values()
        if dataclasses.is_dataclass(thing) and thing.__module__ == seam.__name__
    }
    assert there == set(VALUES)


def test_the_protocol_has_at_most_seven_members():
    members = [name for name in vars(Backend) if not name.startswith("_")]
    assert sorted(members) == ["begin", "close", "describe", "run", "save", "step", "track"]

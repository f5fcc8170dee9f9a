"""The source that is loaded when a run begins is the source that its experiment holds."""

from __future__ import annotations

import importlib
import logging
import sys
import types
from typing import TYPE_CHECKING

import pytest
from saved_runs import record_of, write_run
from situations import python

from dvclive_dvc.backend import Outcome
from dvclive_dvc.repo import context, experiments, sources

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def load(monkeypatch):
    """Makes a file count as loaded, as the main program or as a module."""

    def loaded(path: Path | str, name: str = "a_module") -> None:
        module = types.ModuleType(name)
        module.__file__ = str(path)
        monkeypatch.setitem(sys.modules, name, module)

    return loaded


def names(found):
    return [source.path for source in found]


def test_loaded_sources_of_the_repository_are_kept(repos, load):
    repo = repos.make("detached_head")
    load(repo.root / "src" / "train.py", "__main__")
    load(repo.root / "src" / "model.py", "model")
    found = sources.loaded(context.detect())
    assert names(found) == ["src/model.py", "src/train.py"]
    for source in found:
        assert repo.git("rev-parse", f"HEAD:{source.path}") == source.blob


def test_what_is_committed_writes_no_object(repos, load):
    repo = repos.make("git_and_dvc")
    load(repo.root / "src" / "train.py", "__main__")
    before = repo.git("count-objects")
    sources.loaded(context.detect())
    assert repo.git("count-objects") == before


@pytest.mark.parametrize("mark", ["pyvenv.cfg", "conda-meta/history", ".git/HEAD"])
def test_an_environment_inside_the_repository_is_no_source(repos, load, mark):
    repo = repos.make("git_and_dvc")
    repo.write(f"env/{mark}", "")
    load(repo.write("env/lib/numpy.py", "x = 1\n"))
    repo.git("add", "-f", "env/lib/numpy.py", check=False)
    load(repo.write("lib/site-packages/torch.py", "x = 1\n"), "another")
    assert sources.loaded(context.detect()) == ()


def test_sources_elsewhere_and_untracked_ones_are_left_out(repos, load, tmp_path):
    repo = repos.make("git_and_dvc")
    load(tmp_path / "elsewhere.py", "elsewhere")
    load(repo.write("helper.py", "x = 1\n"), "helper")
    assert sources.loaded(context.detect()) == ()


def test_a_staged_new_module_is_tracked(repos, load):
    repo = repos.make("git_and_dvc")
    load(repo.write("helper.py", "x = 1\n"), "helper")
    repo.git("add", "helper.py")
    assert names(sources.loaded(context.detect())) == ["helper.py"]


def test_a_module_edited_during_the_run_is_saved_as_it_ran(repos, load, caplog):
    repo = repos.make("git_and_dvc")
    load(repo.write("src/train.py", "EPOCHS = 5\n"), "__main__")
    record = record_of(repo, sources=sources.loaded(context.detect()))
    write_run(record.dir)
    repo.write("src/train.py", "EPOCHS = 6  # for the next one\n")
    before = repo.state()

    with caplog.at_level(logging.WARNING, "dvclive_dvc"):
        commit = experiments.save(record, Outcome())

    assert repo.state() == before
    assert repo.git("show", f"{commit}:src/train.py") == "EPOCHS = 5"
    assert "'src/train.py' changed after it was loaded" in caplog.text


def test_a_module_deleted_during_the_run_is_saved_as_it_ran(repos, load):
    repo = repos.make("git_and_dvc")
    load(repo.root / "src" / "train.py", "__main__")
    record = record_of(repo, sources=sources.loaded(context.detect()))
    write_run(record.dir)
    (repo.root / "src" / "train.py").unlink()
    commit = experiments.save(record, Outcome())
    assert "src/train.py" in repo.git("ls-tree", "-r", "--name-only", commit).splitlines()


def test_a_script_that_is_taken_out_of_the_index_did_not_change(repos, load, caplog):
    repo = repos.make("git_and_dvc")
    repo.git("rm", "-q", "--cached", "src/train.py")
    load(repo.root / "src" / "train.py", "__main__")
    sources.script(context.detect())
    found = sources.loaded(context.detect())
    record = record_of(repo, sources=found)
    write_run(record.dir)
    commit = experiments.save(record, Outcome())
    assert repo.git("show", f"{commit}:src/train.py") == repo.git("show", "HEAD:src/train.py")
    (warning,) = caplog.messages
    assert warning.startswith("Git no longer tracks 'src/train.py', which was loaded;"), "untrue"


def test_of_a_module_that_became_a_folder_the_folder_is_saved_and_told(repos, load, caplog):
    repo = repos.make("git_and_dvc")
    repo.write("model.py", "x = 1\n")
    repo.commit("model.py")
    load(repo.root / "model.py")
    found = sources.loaded(context.detect())
    record = record_of(repo, sources=found)
    write_run(record.dir)
    (repo.root / "model.py").unlink()
    repo.write("model.py/inner.py", "x = 2\n")
    repo.git("add", "model.py")
    commit = experiments.save(record, Outcome())
    assert repo.git("show", f"{commit}:model.py/inner.py") == "x = 2"
    (warning,) = caplog.messages
    assert "has the folder, and not the version that ran" in warning, "untrue"


def test_a_module_that_another_commit_lacks_is_saved_as_it_ran(repos, load, caplog):
    repo = repos.make("git_and_dvc")
    load(repo.root / "src" / "train.py", "__main__")
    record = record_of(repo, sources=sources.loaded(context.detect()))
    write_run(record.dir)
    repo.git("mv", "src/train.py", "src/main.py")
    repo.git("commit", "-qm", "renamed while it trains")
    with caplog.at_level(logging.WARNING, "dvclive_dvc"):
        commit = experiments.save(record, Outcome())
    there = repo.git("ls-tree", "-r", "--name-only", commit).splitlines()
    assert "src/train.py" in there, "the source that ran is lost"
    assert "'src/train.py' changed after it was loaded" in caplog.text


def test_a_repository_that_cannot_be_written_to_stops_no_run(repos, load, caplog):
    repo = repos.make("git_and_dvc")
    load(repo.write("src/train.py", "EPOCHS = 7\n"))
    blob = repo.git("hash-object", "src/train.py")
    # A file where the object's folder belongs: root as well cannot write there.
    (repo.root / ".git" / "objects" / blob[:2]).write_text("")
    with caplog.at_level(logging.WARNING, "dvclive_dvc"):
        assert sources.loaded(context.detect()) == ()
    assert "'src/train.py' differs from its commit and cannot be kept" in caplog.text


def test_unchanged_sources_say_nothing(repos, load, caplog):
    repo = repos.make("git_and_dvc")
    load(repo.write("src/train.py", "EPOCHS = 5\n"), "__main__")
    record = record_of(repo, sources=sources.loaded(context.detect()))
    write_run(record.dir)
    with caplog.at_level(logging.WARNING, "dvclive_dvc"):
        experiments.save(record, Outcome())
    assert not caplog.records


def test_line_endings_do_not_count_as_a_change(repos, load, caplog):
    repo = repos.make("autocrlf")
    load(repo.root / "src" / "train.py", "__main__")
    record = record_of(repo, sources=sources.loaded(context.detect()))
    write_run(record.dir)
    with caplog.at_level(logging.WARNING, "dvclive_dvc"):
        experiments.save(record, Outcome())
    assert not caplog.records


def test_an_untracked_script_is_warned_about_with_the_way_out(repos, load, caplog):
    repo = repos.make("git_and_dvc")
    load(repo.write("new.py", "EPOCHS = 5\n"), "__main__")
    with caplog.at_level(logging.WARNING, "dvclive_dvc"):
        assert sources.script(context.detect()) == "new.py"
    assert "git add new.py" in caplog.text
    assert "include=['new.py']" in caplog.text


@pytest.mark.parametrize("way", ["committed", "staged", "included", "folder included"])
def test_a_script_that_will_be_in_the_experiment_is_not_warned_about(repos, load, caplog, way):
    repo = repos.make("split_index" if way == "staged" else "git_and_dvc")
    path = repo.root / "src" / "train.py"
    include = ()
    if way != "committed":
        path = repo.write("tools/new.py", "EPOCHS = 5\n")
        include = {"included": (path,), "folder included": (path.parent,)}.get(way, ())
    if way == "staged":
        repo.git("add", "tools/new.py")
    load(path, "__main__")
    with caplog.at_level(logging.WARNING, "dvclive_dvc"):
        assert sources.script(context.detect(), include=include)
    assert not caplog.records


def test_untracked_modules_are_named_with_the_way_out(repos, load, caplog):
    repo = repos.make("git_and_dvc")
    for number, name in enumerate(("helper.py", "lib/more.py")):
        load(repo.write(name, "x = 1\n"), f"module_{number}")
    sources.loaded(context.detect())
    (message,) = caplog.messages
    assert "loaded 'helper.py' and 1 more, not tracked by Git" in message
    assert "Live(include=['helper.py', ...])" in message
    caplog.clear()
    repo.git("add", "helper.py")
    sources.loaded(context.detect())
    assert "loaded 'lib/more.py', not tracked by Git" in caplog.text
    caplog.clear()
    sources.loaded(context.detect(), include=[repo.root / "lib"])
    assert caplog.messages == [], "warned of what will be there"


def test_modules_that_git_ignores_are_not_warned_about(repos, load, caplog):
    repo = repos.make("git_and_dvc")
    repo.write(".gitignore", "_version.py\n")
    load(repo.write("_version.py", "x = 1\n"))
    load(repo.write("train.py", "x = 1\n"), "__main__")
    sources.loaded(context.detect())
    assert caplog.messages == [], "what is generated is left out on purpose"


def test_included_files_and_folders_enter_without_git_add(repos):
    repo = repos.make("git_and_dvc")
    repo.write("new.py", "x = 1\n")
    repo.write("notes/a.md", "a\n")
    repo.write("notes/deep/b.md", "b\n")
    repo.write("other.txt", "mine alone\n")
    record = record_of(repo, include=("new.py", "notes"))
    write_run(record.dir)
    commit = experiments.save(record, Outcome())
    files = repo.git("ls-tree", "-r", "--name-only", commit).splitlines()
    assert {"new.py", "notes/a.md", "notes/deep/b.md"} <= set(files)
    assert "other.txt" not in files


def test_a_program_of_an_environment_inside_the_repository_is_no_script(repos, load, caplog):
    repo = repos.make("git_and_dvc")
    repo.write(".venv/pyvenv.cfg", "")
    load(repo.write(".venv/bin/yolo", "x = 1\n"), "__main__")
    assert sources.script(context.detect()) is None
    assert not caplog.messages, "nobody adds an installed program to Git"


@pytest.mark.parametrize(
    "spelt", ["./src/train.py", "src/../src/train.py", "src//train.py", "../{name}/src/train.py"]
)
def test_a_script_started_by_another_spelling_of_its_path_is_known(repos, load, caplog, spelt):
    repo = repos.make("git_and_dvc")
    # Python joins the working directory and what was typed, and leaves it at that.
    load(f"{repo.root}/{spelt.format(name=repo.root.name)}", "__main__")
    assert sources.script(context.detect()) == "src/train.py", "the script was not recognised"
    assert not caplog.messages, "a tracked script was warned about"
    assert names(sources.loaded(context.detect())) == ["src/train.py"]


def test_a_module_found_through_an_upward_entry_of_sys_path_is_known(repos, load):
    repo = repos.make("detached_head")
    (repo.root / "notebooks").mkdir()
    load(f"{repo.root}/notebooks/../src/model.py", "model")
    assert names(sources.loaded(context.detect())) == ["src/model.py"]


def test_a_program_read_from_standard_input_is_no_script(repos, load, caplog):
    repos.make("git_and_dvc")
    load("<stdin>", "__main__")
    assert sources.script(context.detect()) is None
    assert sources.loaded(context.detect()) == ()
    assert not caplog.records


def test_a_program_run_by_a_module_of_the_interpreter_is_not_warned_about(repos):
    repos.make("git_and_dvc")
    run = "from dvclive_dvc import Live; Live(report=None).end()"
    # As `python -m runpy FILE`: the main program is `runpy`, frozen into the interpreter.
    module = "import sys, runpy; main = sys.modules['__main__']; main.__spec__ = runpy.__spec__; "
    frozen = "main.__file__ = runpy.__spec__.origin; "
    done = python(module + frozen + run)
    assert "not tracked" not in done.stderr, "'frozen' is no file of the user's"


def test_an_interactive_session_has_no_script(repos, monkeypatch):
    repos.make("git_and_dvc")
    monkeypatch.setitem(sys.modules, "__main__", types.ModuleType("__main__"))
    assert sources.script(context.detect()) is None


def test_a_module_that_loads_itself_when_touched_is_not_touched(repos, monkeypatch):
    repos.make("git_and_dvc")

    class Lazy(types.ModuleType):
        def __getattr__(self, name):
            raise AssertionError(f"{name} was asked for")

    monkeypatch.setitem(sys.modules, "lazy", Lazy("lazy"))
    assert names(sources.loaded(context.detect())) == []


# -- links, marks, and several runs of one process -----------------------------------------------


def test_a_script_that_is_a_link_is_saved_with_what_it_leads_to_as_both_were(repos, load, caplog):
    repo = repos.make("git_and_dvc")
    link = repo.root / "train.py"
    link.symlink_to("src/one.py")
    repo.write("src/one.py", "VERSION = 1\n")
    repo.write("src/two.py", "VERSION = 2\n")
    repo.git("add", "-A")
    repo.commit()
    link.unlink()
    link.symlink_to("src/two.py")
    load(link, "__main__")
    assert sources.script(context.detect()) == "train.py"
    record = record_of(repo, sources=sources.loaded(context.detect()))
    write_run(record.dir)
    repo.write("src/two.py", "VERSION = 3\n")
    link.unlink()
    link.symlink_to("src/one.py")
    commit = experiments.save(record, Outcome())
    assert repo.git("show", f"{commit}:train.py") == "src/two.py", "the link is a later one"
    assert repo.git("show", f"{commit}:src/two.py") == "VERSION = 2", "the code is a later one"
    assert repo.git("ls-tree", commit, "train.py").startswith("120000"), "the link is none any more"


def test_a_link_to_a_script_that_git_does_not_track_is_warned_about(repos, load, caplog):
    repo = repos.make("git_and_dvc")
    link = repo.root / "train.py"
    link.symlink_to("new.py")
    repo.git("add", "train.py")
    repo.commit()
    repo.write("new.py", "VERSION = 1\n")
    load(link, "__main__")
    with caplog.at_level(logging.WARNING, "dvclive_dvc"):
        assert sources.script(context.detect()) == "train.py"
    assert "git add new.py" in caplog.text, "the experiment will hold a link to nothing"


def test_a_module_found_through_a_linked_folder_is_known(repos, load):
    repo = repos.make("git_and_dvc")
    (repo.root / "package").symlink_to("src")
    load(repo.root / "package" / "train.py")
    assert names(sources.loaded(context.detect())) == ["src/train.py"]


@pytest.mark.parametrize("shape", ["assume_unchanged", "skip_worktree"])
def test_a_file_that_git_is_told_to_overlook_did_not_change_during_the_run(
    repos, load, caplog, shape
):
    repo = repos.make(shape)
    load(repo.root / "src" / "model.py", "model")
    record = record_of(repo, sources=sources.loaded(context.detect()))
    write_run(record.dir)
    with caplog.at_level(logging.WARNING, "dvclive_dvc"):
        commit = experiments.save(record, Outcome())
    assert "after it was loaded" not in caplog.text, "it is the version that was loaded"
    assert "'src/model.py' differs from what Git tracks" in caplog.text, "what ran is not in there"
    assert "WIDTH = 99" not in repo.git("show", f"{commit}:src/model.py"), (
        "what Git is told to overlook is in the experiment"
    )


def test_a_later_run_of_the_process_is_saved_with_the_source_that_was_loaded(repos, load, caplog):
    repo = repos.make("git_and_dvc")
    load(repo.write("src/train.py", "EPOCHS = 5\n"), "__main__")
    sources.loaded(context.detect())
    repo.write("src/train.py", "EPOCHS = 6  # for the next process\n")
    record = record_of(repo, sources=sources.loaded(context.detect()))
    write_run(record.dir)
    with caplog.at_level(logging.WARNING, "dvclive_dvc"):
        commit = experiments.save(record, Outcome())
    assert repo.git("show", f"{commit}:src/train.py") == "EPOCHS = 5", "that code never ran"
    assert "'src/train.py' changed after it was loaded" in caplog.text


def test_a_module_that_was_reloaded_between_two_runs_is_saved_as_it_is_then(repos, monkeypatch):
    repo = repos.make("git_and_dvc")
    monkeypatch.syspath_prepend(str(repo.root / "src"))
    repo.write("src/hyper.py", "EPOCHS = 5\n")
    repo.git("add", "-A")
    repo.commit()
    module = importlib.import_module("hyper")
    monkeypatch.setitem(sys.modules, "hyper", module)
    sources.loaded(context.detect())
    repo.write("src/hyper.py", "EPOCHS = 60\n")
    importlib.reload(module)
    assert module.EPOCHS == 60
    record = record_of(repo, sources=sources.loaded(context.detect()))
    write_run(record.dir)
    commit = experiments.save(record, Outcome())
    assert repo.git("show", f"{commit}:src/hyper.py") == "EPOCHS = 60", "that code ran before"


def test_sources_that_there_is_no_time_to_keep_are_counted(repos, load, monkeypatch, caplog):
    repo = repos.make("detached_head")
    load(repo.root / "src" / "train.py", "__main__")
    load(repo.root / "src" / "model.py", "model")
    monkeypatch.setattr(sources, "_BUDGET", -1.0)
    with caplog.at_level(logging.WARNING, "dvclive_dvc"):
        assert sources.loaded(context.detect()) == ()
    assert "2 of the repository's 2 loaded source files are not kept" in caplog.text

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from situations import python

from dvclive_dvc.backend import Outcome, Status
from dvclive_dvc.repo import journal
from dvclive_dvc.repo.record import Process, Record, Source

if TYPE_CHECKING:
    from collections.abc import Iterator

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def record_in(root: Path, **changes) -> Record:
    """The record of a run of this process in the project `root`."""
    (root / ".dvc").mkdir(parents=True, exist_ok=True)
    record = Record(
        id="1" * 32,
        git_root=root,
        dvc_root=root,
        dir=root / "dvclive",
        dvcyaml=root / "dvclive" / "dvc.yaml",
        baseline="a" * 40,
        name="first-run",
        message="of\nmany lines",
        script="train.py",
        include=(root / "notes",),
        commit_data=True,
        sources=(Source("train.py", "b" * 40, 0o100644),),
        inputs=(Source("params.yaml", "d" * 40, 0o100644),),
        pointers=(root / "model.pt.dvc",),
        process=journal.this_process(),
        started="2026-01-02T03:04:05+00:00",
        git={"GIT_DIR": str(root / "elsewhere.git")},
        reflog=1234,
        merging=("c" * 40,),
    )
    return dataclasses.replace(record, **changes)


def without_its_lock(record: Record) -> None:
    """Lets go of a journal that this process wrote for another, as if that had died."""
    journal._let_go(record)


def only(root: Path) -> journal.Entry:
    entries, unreadable = journal.read_all(root)
    assert unreadable == []
    assert len(entries) == 1
    return entries[0]


def process_running(source: str, *args: object) -> subprocess.Popen[str]:
    """A process that ran `source`, said 'ready', and goes on until it is killed."""
    code = f"{source}\nprint('ready', flush=True)\nimport time; time.sleep(60)"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, args)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


ENTER = """
import dataclasses, sys
from pathlib import Path
from dvclive_dvc.repo import journal
root = Path(sys.argv[1])
record = journal.read_all(root)[0][0].record
process = journal.this_process()
if len(sys.argv) > 2:
    process = dataclasses.replace(process, born=process.born.replace(*sys.argv[2].split(",")))
journal.write(dataclasses.replace(record, process=process))
"""


# -- on disk ---------------------------------------------------------------------------------


def test_a_journal_reads_back_as_it_was_written(tmp_path):
    record = record_in(tmp_path)
    journal.write(record)
    assert only(tmp_path).record == record
    assert only(tmp_path).outcome is None


@pytest.mark.parametrize(("fact", "nothing"), [("reflog", None), ("merging", None), ("inputs", ())])
def test_a_journal_of_a_version_that_knew_less_is_read(tmp_path, fact, nothing):
    record = record_in(tmp_path)
    journal.write(record)
    path = journal.path_of(record)
    document, end = json.JSONDecoder().raw_decode(path.read_text())
    del document["run"][fact]
    path.write_text(json.dumps(document) + path.read_text()[end:])
    assert only(tmp_path).record == dataclasses.replace(record, **{fact: nothing})


# Surrogates are what Python makes of a file name that is not UTF-8.
NAMES = st.text(
    st.characters(exclude_characters="/\0") | st.sampled_from("\udc80\udcff"), min_size=1
).filter(lambda name: name not in {".", ".."})


@settings(max_examples=30, deadline=None)
@given(name=NAMES, message=st.none() | st.text(), file=NAMES)
def test_whatever_stands_in_a_journal_reads_back(tmp_path_factory, name, message, file):
    root = tmp_path_factory.mktemp("project")
    record = record_in(root, name=name, message=message, pointers=(root / file,), dvcyaml=None)
    journal.write(record)
    assert only(root).record == record
    journal.remove(record)


def test_a_removed_journal_leaves_no_file(tmp_path):
    record = record_in(tmp_path)
    journal.write(record)
    journal.write(dataclasses.replace(record, pointers=()))
    assert [path.name for path in journal.folder(tmp_path).iterdir()] == [f"{record.id}.json"]
    journal.remove(record)
    journal.remove(record)
    assert list(journal.folder(tmp_path).iterdir()) == []


def test_how_a_run_ended_that_could_not_be_saved_is_kept(tmp_path):
    outcome = Outcome(Status.FAILED, "builtins.ValueError", "train.py:3", 1, None)
    record = record_in(tmp_path)
    journal.write(record)
    journal.keep(record, outcome)
    assert only(tmp_path).outcome == outcome
    assert only(tmp_path).record == record


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"version": 1, "run": {}}', "\xff\x00"])
def test_a_journal_that_cannot_be_read_is_kept_and_named(tmp_path, text):
    record = record_in(tmp_path)
    journal.write(record)
    damaged = journal.folder(tmp_path) / "damaged.json"
    damaged.write_bytes(text.encode("latin-1"))
    entries, unreadable = journal.read_all(tmp_path)
    assert [entry.record for entry in entries] == [record], "the others are read"
    assert unreadable == [damaged]
    assert damaged.read_bytes() == text.encode("latin-1")


@pytest.mark.parametrize(
    "change",
    [
        {"started": 5}, {"name": None}, {"baseline": 1}, {"id": "another"}, {"git": {"GIT_DIR": 1}},
        {"process": {"pid": "x", "host": "h", "born": ""}},
        {"process": {"pid": 1, "host": "h", "born": None}},
        {"sources": [{"path": 1, "blob": "b", "mode": 1}]}, {"include": "abc"}, {"commit_data": 1},
        {"inputs": [{"path": "a"}]},
    ],
)  # fmt: skip
def test_a_journal_whose_values_are_of_wrong_types_is_kept_and_named(tmp_path, change):
    journal.write(record_in(tmp_path))
    (path,) = journal.folder(tmp_path).iterdir()
    document = json.loads(path.read_bytes())
    path.write_text(json.dumps({**document, "run": {**document["run"], **change}}))
    assert journal.read_all(tmp_path) == ([], [path])
    assert path.exists()


def test_a_journal_that_is_nested_too_deep_is_kept_and_named(tmp_path):
    path = journal.folder(tmp_path) / "deep.json"
    path.parent.mkdir(parents=True)
    path.write_text("[" * 100_000 + "]" * 100_000)
    assert journal.read_all(tmp_path) == ([], [path])


def test_a_journal_of_a_later_version_is_kept_and_named(tmp_path):
    journal.write(record_in(tmp_path))
    (path,) = journal.folder(tmp_path).iterdir()
    document = json.loads(path.read_bytes())
    path.write_text(json.dumps({**document, "version": document["version"] + 1}))
    assert journal.read_all(tmp_path) == ([], [path])


def test_a_project_without_journals_has_none(tmp_path):
    assert journal.read_all(tmp_path) == ([], [])


def as_others_see(root: Path) -> dict[str, object]:
    """How the one run ended, by its journal alone; None where that is not told."""
    source = f"""
import dataclasses, json
from pathlib import Path
from dvclive_dvc.repo import journal
((entry,), _) = journal.read_all(Path({str(root)!r}))
ended = entry.outcome
print(json.dumps(ended and {{**dataclasses.asdict(ended), "status": ended.status.value}}))
"""
    return json.loads(python(source).stdout)


@contextlib.contextmanager
def unwritable(*paths: Path) -> Iterator[None]:
    """No file can be made in these folders, and these files not written; also by root."""
    if shutil.which("chattr") is None:
        pytest.skip("needs the program `chattr`")
    if subprocess.run(["chattr", "+i", *paths], check=False, capture_output=True).returncode:
        pytest.skip("`chattr +i` needs root and a file system that has it")
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", *paths], check=True)


FAILED = Outcome(Status.FAILED, "builtins.ValueError", "train.py:3", 1, None)


def test_a_journal_that_cannot_be_written_is_one_warning(tmp_path, caplog):
    record = record_in(tmp_path, id="2" * 32)
    (tmp_path / ".dvc" / "tmp").write_text("a file where the folder should be")
    journal.write(record)
    journal.write(record)
    assert len(caplog.messages) == 1
    assert "first-run" in caplog.text
    assert journal.keep(record, Outcome()) is False
    assert "it cannot be recovered. `dvc exp save" in caplog.messages[1]


def test_a_journal_that_could_not_be_written_is_written_when_that_is_tried_again(tmp_path):
    record = record_in(tmp_path)
    in_the_way = tmp_path / ".dvc" / "tmp"
    in_the_way.write_text("a file where the folder should be")
    journal.write(record)
    journal.retry()
    in_the_way.unlink()
    journal.retry()
    assert as_others_see(tmp_path) is None, "the run goes on"
    assert only(tmp_path).record == record
    assert only(tmp_path).locked


def test_how_a_run_ended_is_noted_where_there_is_no_room_for_a_new_file(tmp_path, caplog):
    record = record_in(tmp_path)
    journal.write(record)
    with unwritable(journal.folder(tmp_path)):
        assert journal.keep(record, FAILED) is True
    assert caplog.messages == []
    assert as_others_see(tmp_path) == {**dataclasses.asdict(FAILED), "status": "failed"}
    assert [path.suffix for path in journal.folder(tmp_path).iterdir()] == [".json"]


def test_when_the_end_of_a_run_cannot_be_noted_its_beginning_stays(tmp_path, caplog):
    record = record_in(tmp_path)
    journal.write(record)
    folder = journal.folder(tmp_path)
    with unwritable(*folder.iterdir(), folder):
        assert journal.keep(record, FAILED) is True
        assert "recovery will call it interrupted" in caplog.text
        assert as_others_see(tmp_path) is None
        assert only(tmp_path).outcome == FAILED, "its own process knows better"
    assert [path.suffix for path in folder.iterdir()] == [".json"]
    journal.retry()
    assert as_others_see(tmp_path)["status"] == "failed"


def test_a_run_that_another_process_saved_does_not_come_back(tmp_path):
    record = record_in(tmp_path)
    journal.write(record)
    folder = journal.folder(tmp_path)
    with unwritable(*folder.iterdir(), folder):
        journal.keep(record, FAILED)
    for path in folder.iterdir():
        path.unlink()
    assert journal.read_all(tmp_path) == ([], [])
    journal.retry()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("kept", range(0, 110, 10))
def test_a_note_that_was_cut_short_is_as_none(tmp_path, kept):
    record = record_in(tmp_path)
    journal.write(record)
    (path,) = journal.folder(tmp_path).iterdir()
    journal.keep(record, FAILED)
    noted = path.read_bytes()
    begin = noted.index(b'{"status"')
    path.write_bytes(noted[: begin + kept].ljust(len(noted)))
    assert only(tmp_path).outcome is None
    assert only(tmp_path).record == record


def test_an_end_that_takes_more_than_its_room_is_noted(tmp_path):
    record = record_in(tmp_path)
    journal.write(record)
    outcome = Outcome(Status.FAILED, "module." + "VeryLongName" * 500)
    journal.keep(record, outcome)
    assert only(tmp_path).outcome == outcome


@pytest.mark.parametrize("below", ["", "models/digits"])
def test_a_project_that_moved_takes_its_journals_along(tmp_path, below):
    old = tmp_path / "old"
    record = record_in(
        old / below,
        git_root=old,
        process=Process(1, "gone"),
        git={"GIT_DIR": str(old / "x.git"), "GIT_PREFIX": "a/"},
        include=(Path("/elsewhere"),),
    )
    journal.write(record)
    new = tmp_path / "deeper" / "new"
    shutil.copytree(old, new)
    journal.remove(record)
    moved = only(new / below).record
    assert moved.git_root == new
    assert moved.dvc_root == new / below
    assert moved.dir == new / below / "dvclive"
    assert moved.dvcyaml == new / below / "dvclive" / "dvc.yaml"
    assert moved.pointers == (new / below / "model.pt.dvc",)
    assert moved.include == (Path("/elsewhere"),)
    assert moved.git == {"GIT_DIR": str(new / "x.git"), "GIT_PREFIX": "a/"}


# -- whose process is alive ------------------------------------------------------------------


def fate(root: Path, process: Process) -> bool | None:
    record = record_in(root, process=process)
    journal.write(record)
    without_its_lock(record)
    return journal.alive(only(root))


def test_a_running_process_is_alive(tmp_path):
    assert fate(tmp_path, journal.this_process()) is True


def test_a_killed_process_is_not_alive_even_before_its_parent_looked(tmp_path):
    journal.write(record_in(tmp_path))
    with process_running(ENTER, tmp_path) as child:
        assert only(tmp_path).record.process.pid == child.pid
        assert journal.alive(only(tmp_path)) is True
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, and still a zombie
        assert journal.alive(only(tmp_path)) is False
    assert journal.alive(only(tmp_path)) is False


@linux
def test_another_process_that_got_the_same_number_is_not_taken_for_it(tmp_path):
    process = journal.this_process()
    boot, namespace, born = process.born.split("/")
    earlier = dataclasses.replace(process, born=f"{boot}/{namespace}/{int(born) - 1}")
    assert fate(tmp_path, earlier) is False


@linux
def test_a_process_from_before_the_machine_was_started_anew_is_dead(tmp_path):
    process = journal.this_process()
    _, namespace, born = process.born.split("/")
    assert fate(tmp_path, dataclasses.replace(process, born=f"other/{namespace}/{born}")) is False


@pytest.mark.parametrize("born", ["other/pid:[1]/5", "", "1700000000.5"])
def test_of_a_process_on_another_host_nothing_is_known(tmp_path, born):
    assert fate(tmp_path, Process(os.getpid(), "another-host", born)) is None


@linux
@pytest.mark.parametrize("born", ["other/{namespace}/5", "{boot}/{namespace}/5"])
def test_who_holds_the_lock_of_a_journal_is_alive_though_all_else_speaks_against_it(tmp_path, born):
    # As on a shared file system, of a machine of the same name.
    process = journal.this_process()
    journal.write(record_in(tmp_path))
    boot, namespace, _ = process.born.split("/")
    born = born.format(boot=boot, namespace=namespace)
    other = f"process=journal.Process(process.pid, process.host, {born!r})"
    source = ENTER.replace("process=process", other)
    with process_running(source, tmp_path) as child:
        assert only(tmp_path).record.process.born != process.born
        assert journal.alive(only(tmp_path)) is True
        child.kill()
    assert journal.alive(only(tmp_path)) is False


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_does_not_hold_its_parents_lock(tmp_path):
    journal.write(record_in(tmp_path))
    source = f"""{ENTER}
import os, time
if os.fork() == 0:
    print("forked", os.getpid(), flush=True)
time.sleep(60)
"""
    child = subprocess.Popen(
        [sys.executable, "-c", source, tmp_path],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with child:
        assert child.stdout is not None
        forked = int(child.stdout.readline().split()[1])
        child.kill()
        child.wait()
        try:
            assert journal.alive(only(tmp_path)) is False
        finally:
            os.kill(forked, signal.SIGKILL)


@linux
def test_a_process_whose_birth_is_unknown_is_taken_for_alive(tmp_path):
    assert fate(tmp_path, dataclasses.replace(journal.this_process(), born="")) is True


@linux
def test_a_process_of_another_container_is_told_by_its_lock(tmp_path):
    namespace = journal.this_process().born.split("/")[1]
    journal.write(record_in(tmp_path))
    with process_running(ENTER, tmp_path, f"{namespace},pid:[1]") as child:
        assert "pid:[1]" in only(tmp_path).record.process.born
        assert journal.alive(only(tmp_path)) is True
        child.kill()
    assert journal.alive(only(tmp_path)) is False


@linux
def test_a_process_in_a_real_namespace_of_its_own_is_alive_until_it_is_killed(tmp_path):
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-pf", "true"], check=False).returncode:
        pytest.skip("`unshare --pid` needs root")
    journal.write(record_in(tmp_path))
    code = f"{ENTER}\nprint('ready', flush=True)\nimport time; time.sleep(60)"
    with subprocess.Popen(
        [unshare, "-pf", "--kill-child", sys.executable, "-c", code, tmp_path],
        stdout=subprocess.PIPE, text=True,
    ) as child:  # fmt: skip
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        entry = only(tmp_path)
        assert entry.record.process.pid == 1, "the first process of its namespace"
        assert journal.alive(entry) is True
        child.kill()
        child.wait()
        child.stdout.read()  # ends when the process inside has ended too
    assert journal.alive(only(tmp_path)) is False


# -- whose folder it is ----------------------------------------------------------------------


def test_the_holder_of_a_folder_is_the_live_run_in_just_that_folder(tmp_path):
    journal.write(record_in(tmp_path))
    with process_running(ENTER, tmp_path) as child:
        holder = journal.holder_of(tmp_path / "dvclive", tmp_path)
        assert holder == only(tmp_path).record
        assert holder.process.pid == child.pid
        assert journal.holder_of(tmp_path / "dvclive2", tmp_path) is None
        assert journal.holder_of(tmp_path / "dvclive" / "eval", tmp_path) is None
        assert journal.enter(record_in(tmp_path, id="2" * 32)) == holder
        assert only(tmp_path).record == holder, "the second was not written"
        child.kill()


def test_a_run_of_this_process_that_never_began_stands_in_nobodys_way(tmp_path):
    journal.write(record_in(tmp_path))
    assert journal.holder_of(tmp_path / "dvclive", tmp_path) is None
    again = record_in(tmp_path, id="2" * 32)
    assert journal.enter(again) is None
    assert only(tmp_path).record == again, "nor is it recovered one day"


def test_a_dead_or_ended_run_holds_no_folder_and_one_of_another_host_does(tmp_path):
    record = record_in(tmp_path)
    journal.write(record)
    journal.keep(record, Outcome())
    assert journal.holder_of(record.dir, tmp_path) is None
    journal.write(dataclasses.replace(record, process=Process(2**22 + 1, journal.this_host())))
    without_its_lock(record)
    assert journal.holder_of(record.dir, tmp_path) is None
    journal.write(dataclasses.replace(record, process=Process(1, "another-host")))
    assert journal.holder_of(record.dir, tmp_path) is not None


def test_of_many_that_enter_a_folder_together_one_gets_it(tmp_path):
    journal.write(record_in(tmp_path, dir=tmp_path / "pattern"))
    code = """
import dataclasses, sys, time, uuid
from pathlib import Path
from dvclive_dvc.repo import journal
root = Path(sys.argv[1])
record = journal.read_all(root)[0][0].record
mine = dataclasses.replace(record, id=uuid.uuid4().hex, dir=root / "dvclive",
                           process=journal.this_process())
while not (root / "go").exists():
    time.sleep(0.001)
print("refused" if journal.enter(mine) else "entered", flush=True)
time.sleep(60)
"""
    children = [
        subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    try:
        (tmp_path / "go").touch()
        said = [child.stdout.readline() for child in children if child.stdout is not None]
        assert sorted(said) == ["entered\n"] + ["refused\n"] * 5
    finally:
        for child in children:
            child.send_signal(signal.SIGKILL)
            child.communicate()


def test_a_journal_is_written_whole_or_not_at_all(tmp_path):
    # The journal of a run of many sources, written over and over, and read meanwhile.
    sources = tuple(Source(f"src/{number}.py", "c" * 40, 0o100644) for number in range(2000))
    journal.write(record_in(tmp_path, sources=sources))
    with process_running("import threading\n" + _OVER_AND_OVER, tmp_path) as child:
        for _ in range(100):
            assert len(only(tmp_path).record.sources) == 2000
        child.kill()


_OVER_AND_OVER = """
import sys
from pathlib import Path
from dvclive_dvc.repo import journal
record = journal.read_all(Path(sys.argv[1]))[0][0].record
def work():
    while True:
        journal.write(record)
threading.Thread(target=work, daemon=True).start()
"""

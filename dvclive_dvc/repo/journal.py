"""The journal: one small file a run, from `Live()` on, that says all it takes to save it later."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import socket
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import files, forks
from ..backend import Outcome, Status
from ..notices import logger
from .record import Process, Record, Source, own_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Raised when an older version of the package could not read the file any more.
_VERSION = 1
# random(4): made anew each time the machine starts; containers on one machine share it.
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# Bytes at the end of the file for how the run ended: a full disk has no room for a new file then.
_ROOM = 1024


@dataclass(frozen=True)
class Entry:
    """One run's journal as it is on disk.

    outcome: how the run ended, where it ended and could not be saved; None while it runs, or
             when it was killed.
    locked:  whether its process holds a lock on the file for as long as it lives.
    """

    path: Path
    record: Record
    outcome: Outcome | None = None
    locked: bool = False


def folder(dvc_root: Path) -> Path:
    """Where the journals of a project are."""
    return own_folder(dvc_root) / "runs"


def path_of(record: Record) -> Path:
    """Where the journal of a run is."""
    return folder(record.dvc_root) / f"{record.id}.json"


# -- writing -------------------------------------------------------------------------------

# The journals of this process's runs, held open and locked; see `_write`.
_held: dict[str, int] = {}
_warned: set[str] = set()
# What could not be written, whether an earlier state is on disk, and when that was, in
# nanoseconds; see `retry`.
_unwritten: dict[Path, tuple[Entry, bool, int]] = {}


def enter(record: Record) -> Record | None:
    """Writes the journal of a run that begins, unless another live run has its folder.

    That other run is returned then, and nothing is written. Of two that begin together one
    gets the folder.
    """
    path = path_of(record)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
    with files.locked(path):
        holder = holder_of(record.dir, record.dvc_root)
        if holder is None:
            for entry in _in_folder(record.dir, record.dvc_root):
                # Of this process: a run whose `Live()` failed after its journal was written.
                remove(entry.record)
            write(record)
        return holder


def write(record: Record) -> None:
    """Writes the run's journal, whole or not at all.

    Trouble is one warning: the run can still be saved by its own process, and `retry` may do it.
    """
    try:
        _write(path_of(record), record, None)
    except OSError as error:
        _remember(record, None)
        if record.id not in _warned:
            _warned.add(record.id)
            logger.warning(
                "The journal of the run '%s' cannot be written to '%s' (%s): should the process "
                "be killed, the run will not be recovered.",
                record.name,
                path_of(record).parent,
                error.strerror or error,
            )


def retry() -> None:
    """Writes what could not be written before; costs nothing where there is no such thing."""
    for entry, was_there, when in list(_unwritten.values()):
        if _taken_away(entry, was_there=was_there):
            del _unwritten[entry.path]
            continue
        with contextlib.suppress(OSError):
            _write(entry.path, entry.record, entry.outcome)
            # Its time says when the run was last heard of, not when there was room again.
            os.utime(entry.path, ns=(when, when))


def _taken_away(entry: Entry, *, was_there: bool) -> bool:
    """Whether another process has saved, or given up, a run of this one that had ended."""
    return entry.outcome is not None and was_there and not entry.path.exists()


def keep(record: Record, outcome: Outcome) -> bool:
    """Notes how a run ended that could not be saved, so that it can be later, just so.

    Where that fails, this process remembers it for its next run, and the journal of the run's
    beginning stays. False, with a warning, where there is none either.
    """
    path = path_of(record)
    there = True
    try:
        _write(path, record, outcome)
    except OSError as error:
        _remember(record, outcome)
        there = path.exists()
        try:
            _note_in_place(path, outcome)
        except OSError:
            logger.warning(
                "How the run '%s' ended cannot be noted (%s): %s",
                record.name,
                error.strerror or error,
                "recovery will call it interrupted."
                if there
                else f"it cannot be recovered. `dvc exp save -I '{record.dir}'` saves its files.",
            )
    _let_go(record)
    return there


def _remember(record: Record, outcome: Outcome | None) -> None:
    path = path_of(record)
    _unwritten[path] = (Entry(path, record, outcome), path.exists(), time.time_ns())


def _note_in_place(path: Path, outcome: Outcome) -> None:
    """Writes how a run ended over the room that its journal has for this."""
    ending = _ending(outcome)
    if len(ending) > _ROOM:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    with path.open("r+b", buffering=0) as file:
        file.seek(-_ROOM, os.SEEK_END)
        file.write(ending)


def _write(path: Path, record: Record, outcome: Outcome | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if outcome is not None:
        files.replace(path, _text(record, outcome, locked=False))
        _unwritten.pop(path, None)
        return
    # A process of another container on this machine cannot see our number, but it can see this
    # lock, and the kernel takes it from the dead. So the file is locked before it is there.
    temp = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.dvclive-tmp")
    with forks.held_off:
        fd = os.open(temp, os.O_RDWR | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o666)
        try:
            locked = _lock(fd)
            with open(fd, "wb", closefd=False) as file:
                file.write(_text(record, None, locked=locked))
            temp.replace(path)
        except BaseException:
            os.close(fd)
            with contextlib.suppress(OSError):
                temp.unlink()
            raise
        _unwritten.pop(path, None)
        _let_go(record)
        if locked:
            _held[record.id] = fd
        else:
            os.close(fd)


def _lock(fd: int) -> bool:
    try:
        import fcntl

        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):
        return False
    return True


def remove(record: Record) -> bool:
    """Removes the journal of a run that is saved, or that is given up; False where it stays.

    Then the run is not saved twice for it: `recovery` looks for its experiment.
    """
    path = path_of(record)
    _unwritten.pop(path, None)
    with contextlib.suppress(OSError):
        path.unlink()
    _let_go(record)
    return not os.path.lexists(path)


def _let_go(record: Record) -> None:
    with forks.held_off:
        fd = _held.pop(record.id, None)
        if fd is not None:
            with contextlib.suppress(OSError):
                os.close(fd)


def _forget_in_child() -> None:
    # The parent's lock would outlive it here; its runs are its own to note.
    for fd in _held.values():
        with contextlib.suppress(OSError):
            os.close(fd)
    _held.clear()
    _unwritten.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)


# -- reading -------------------------------------------------------------------------------


def read_all(dvc_root: Path) -> tuple[list[Entry], list[Path]]:
    """Every run's journal of a project, oldest first, and the files that cannot be read."""
    found = {path: _read(path, dvc_root) for path in sorted(folder(dvc_root).glob("*.json"))}
    for path, (entry, was_there, _) in list(_unwritten.items()):
        if path.parent == folder(dvc_root) and not _taken_away(entry, was_there=was_there):
            found[path] = entry
    entries = [entry for entry in found.values() if isinstance(entry, Entry)]
    unreadable = [path for path, entry in found.items() if entry is _UNREADABLE]
    return sorted(entries, key=lambda entry: entry.record.started), unreadable


_UNREADABLE = "unreadable"


def _read(path: Path, dvc_root: Path) -> Entry | str | None:
    """A journal; None where the run was saved meanwhile."""
    try:
        text = path.read_bytes().decode("utf-8", "surrogatepass").lstrip()
        document, end = json.JSONDecoder().raw_decode(text)
        if document["version"] != _VERSION:
            return _UNREADABLE
        record = _record(document["run"])
        if record.id != path.stem:
            return _UNREADABLE
        return Entry(
            path,
            _relocated(record, dvc_root),
            _outcome(text[end:]),
            locked=bool(document["locked"]),
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return _UNREADABLE


def _text(record: Record, outcome: Outcome | None, *, locked: bool) -> bytes:
    """A journal: the run, and then how it ended, or the room for that."""
    document = {"version": _VERSION, "run": _plain(record), "locked": locked}
    return files.dump_json(document) + _ending(outcome)


def _ending(outcome: Outcome | None) -> bytes:
    text = json.dumps(_plain(outcome)).encode() if outcome is not None else b""
    return text.ljust(_ROOM - 1) + b"\n"


def _outcome(text: str) -> Outcome | None:
    """How a run ended; None where that is not said, or was cut short by a crash of the machine."""
    try:
        fields = json.loads(text)
        return Outcome(**{**fields, "status": Status(fields["status"])})
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Status):
        return value.value
    if dataclasses.is_dataclass(value):
        return {
            field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "items"):
        return dict(value)
    return value


def _record(run: Mapping[str, Any]) -> Record:
    """The run of a journal; TypeError where a value is not what it has to be."""
    return Record(
        id=_is(str, run["id"]),
        git_root=Path(run["git_root"]),
        dvc_root=Path(run["dvc_root"]),
        dir=Path(run["dir"]),
        dvcyaml=Path(run["dvcyaml"]) if run["dvcyaml"] is not None else None,
        baseline=_is(str, run["baseline"]),
        name=_is(str, run["name"]),
        message=_is(_TEXT_OR_NONE, run["message"]),
        script=_is(_TEXT_OR_NONE, run["script"]),
        include=tuple(map(Path, _is(list, run["include"]))),
        commit_data=_is(bool, run["commit_data"]),
        sources=_sources(run["sources"]),
        pointers=tuple(map(Path, _is(list, run["pointers"]))),
        process=Process(
            _is(int, run["process"]["pid"]),
            _is(str, run["process"]["host"]),
            _is(str, run["process"]["born"]),
        ),
        started=_is(str, run["started"]),
        git={_is(str, name): _is(str, value) for name, value in run["git"].items()},
        reflog=_is((int, type(None)), run.get("reflog")),
        merging=_texts_or_none(run.get("merging")),
        inputs=_sources(run.get("inputs", [])),
    )


def _sources(listed: Any) -> tuple[Source, ...]:
    return tuple(
        Source(_is(str, one["path"]), _is(str, one["blob"]), _is(int, one["mode"]))
        for one in listed
    )


_TEXT_OR_NONE = (str, type(None))


def _texts_or_none(value: Any) -> tuple[str, ...] | None:
    return None if value is None else tuple(_is(str, one) for one in _is(list, value))


def _is(kinds: type | tuple[type, ...], value: Any) -> Any:
    if not isinstance(value, kinds):
        raise TypeError(value)
    return value


def _relocated(record: Record, dvc_root: Path) -> Record:
    """The record seen from where the project is now: moved, copied, or mounted elsewhere.

    A container has the project under another path than the machine that recovers its runs.
    """
    if record.dvc_root == dvc_root:
        return record
    below = len(record.dvc_root.relative_to(record.git_root).parts)
    old, new = str(record.git_root), dvc_root.parents[below - 1] if below else dvc_root

    def moved(path: Path) -> Path:
        return new / path.relative_to(old) if path.is_relative_to(old) else path

    return dataclasses.replace(
        record,
        git_root=new,
        dvc_root=dvc_root,
        dir=moved(record.dir),
        dvcyaml=moved(record.dvcyaml) if record.dvcyaml else None,
        include=tuple(map(moved, record.include)),
        pointers=tuple(map(moved, record.pointers)),
        git={
            name: str(moved(Path(value))) if os.path.isabs(value) else value  # noqa: PTH117 - text
            for name, value in record.git.items()
        },
    )


# -- whose process is alive ----------------------------------------------------------------


def this_process() -> Process:
    """The process that runs, as a journal names it."""
    pid = os.getpid()
    return Process(pid, this_host(), _born(pid) or "")


def this_host() -> str:
    """The machine's (or container's) name."""
    return socket.gethostname()


def alive(entry: Entry) -> bool | None:
    """Whether the process of a run is there; None where that cannot be told from here.

    It cannot on another host. Of another container on this machine the file's lock tells; and a
    file that is locked has somebody who holds it, whatever else speaks against that: another
    machine may bear the same name.
    """
    seen = _seen(entry)
    return True if seen is False and entry.locked and _is_locked(entry.path) else seen


def _seen(entry: Entry) -> bool | None:
    process = entry.record.process
    if process.born.count("/") == _LINUX:
        boot, namespace, _ = process.born.split("/")
        if boot != _boot():
            # Another machine, or this one before it was started anew.
            return None if process.host != this_host() else False
        if namespace != _namespace():
            return _is_locked(entry.path) if entry.locked else None
    elif process.host != this_host():
        return None
    if not files.process_alive(process.pid):
        return False
    born = _born(process.pid)
    # Not to be read (hidepid, another user): somebody of that number is there, so be it.
    return born != _GONE and (not born or not process.born or born == process.born)


_LINUX = 2  # slashes in `born` there: boot id, process-id namespace, jiffies since boot
_GONE = "gone"


def _born(pid: int) -> str | None:
    """What tells a process from a later one of the same number; `_GONE` for a zombie."""
    if sys.platform == "linux":
        try:
            # proc(5): the name, in brackets, may hold anything; state is the first field after
            # it, starttime the twentieth.
            fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2]
        except OSError:
            return None
        state, *rest = fields.split()
        return _GONE if state in "ZX" else f"{_boot()}/{_namespace()}/{rest[18]}"
    import psutil

    try:
        process = psutil.Process(pid)
        return _GONE if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time()}"
    except psutil.Error:
        return None


def _boot() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


def _namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _is_locked(path: Path) -> bool | None:
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        import fcntl

        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (ImportError, OSError):
        return None
    finally:
        os.close(fd)
    return False


def holder_of(directory: Path, dvc_root: Path) -> Record | None:
    """The run of another process that writes into a folder.

    One that is alive, or that may be (on another host). Of the runs of this process `Live` knows
    more than a journal does.
    """
    own = this_process()
    for entry in _in_folder(directory, dvc_root):
        if entry.record.process != own and alive(entry) is not False:
            return entry.record
    return None


def others(record: Record) -> Iterator[Record]:
    """The runs of the project beside this one that go on, or wait to be saved."""
    for entry in read_all(record.dvc_root)[0]:
        if entry.record.id != record.id:
            yield entry.record


def _in_folder(directory: Path, dvc_root: Path) -> Iterator[Entry]:
    """Journals of the runs in a folder that have not told their end."""
    for entry in read_all(dvc_root)[0]:
        if entry.record.dir == directory and entry.outcome is None:
            yield entry


@contextlib.contextmanager
def held(dvc_root: Path) -> Iterator[None]:
    """Holds off all others who look for dead runs in the project, or enter a new one."""
    with files.locked(folder(dvc_root) / "any"):
        yield

"""Many small files into DVC's cache on all cores, by processes that read and write beside this one.

A small file's way into the cache is Python from end to end, so threads would take turns at it.
The helpers are fresh interpreters that know `objects` and no more: a forked copy of a training
would bring its threads, its GPU and its memory along.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import select
import struct
import subprocess
import sys
from collections import deque
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from .. import files
from .objects import Objects, Stamp, Stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_Job = TypeVar("_Job")

# Below so many files a helper costs what it saves: it starts for as long as hundreds take.
WORTH_IT = 2000
_SHARE = 128  # files asked for at a time
_AHEAD = 2  # shares that wait at a helper, so that it never waits for this process
_PATIENCE = 10.0  # seconds for a helper to finish its shares
_LENGTH = struct.Struct("<I")
# Without the packages' own `__init__`, which would import the whole logger.
_START = """\
import sys
from types import ModuleType
root = sys.argv[1]
for name, path in (("dvclive_dvc", root), ("dvclive_dvc.repo", root + "/repo")):
    sys.modules[name] = ModuleType(name)
    sys.modules[name].__path__ = [path]
from dvclive_dvc.repo import crew
crew.serve()
"""


def shared_out(
    jobs: Iterable[_Job],
    objects: Objects,
    helpers: int,
    *,
    asked: Callable[[_Job], tuple[str, bool]],
    do: Callable[[_Job], Stored | None],
) -> Iterator[tuple[_Job, Stored | None]]:
    """Each job with what came of it, in any order; this process does its part.

    asked: the path of a job's file and whether the file itself may become the object, as
           `Objects.put` takes them.
    do:    the job, done here. What a helper cannot do, for whatever reason, is done by it, so
           that the trouble is raised here. None stands for a file that is gone.
    """
    rest = iter(jobs)
    # The first one shows where folders are made, and how.
    for job in islice(rest, 1):
        yield job, do(job)
    with _started(objects, helpers) as crew:
        while True:
            for one in crew:
                while len(one.shares) < _AHEAD and (share := list(islice(rest, _SHARE))):
                    one.ask(share, [asked(job) for job in share])
            own = list(islice(rest, _SHARE))
            for job in own:
                yield job, do(job)
            busy = [one for one in crew if one.shares]
            if not own and not busy:
                return
            for one in _ready(busy, wait=not own):
                for job, stored in one.answer():
                    yield job, stored or do(job)


class _Helper:
    """One helping process. When it fails, its jobs come back undone."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None  # noqa: S101 - for the type checker
        assert process.stdout is not None  # noqa: S101 - for the type checker
        self.process = process
        self.requests = process.stdin
        self.answers = process.stdout
        self.shares: deque[list[Any]] = deque()

    def ask(self, share: list[Any], request: Any) -> None:
        self.shares.append(share)
        with contextlib.suppress(OSError):  # then its answer is missing too
            _send(self.requests, request)

    def answer(self) -> Iterator[tuple[Any, Stored | None]]:
        """A share's jobs with what came of them; None for what is undone."""
        share = self.shares.popleft()
        try:
            told = _receive(self.answers)
        except (OSError, EOFError, ValueError, TypeError):
            told = [None] * len(share)
        for job, one in zip(share, told, strict=True):
            if one is None:
                yield job, None
            else:
                md5, size, stamp = one
                yield job, Stored(md5, size, Stamp(*stamp) if stamp else None)

    def end(self) -> None:
        with contextlib.suppress(OSError):
            # A worker of the training's may have the pipe as well, which never ends then.
            _send(self.requests, None)
            self.requests.close()
        try:
            self.process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.answers.close()


@contextlib.contextmanager
def _started(objects: Objects, count: int) -> Iterator[list[_Helper]]:
    crew: list[_Helper] = []
    try:
        # An interpreter within another program has no program of its own to start.
        if os.name == "posix" and sys.executable:
            with contextlib.suppress(OSError):
                crew.extend(_Helper(_process(objects)) for _ in range(count))
        yield crew
    finally:
        for one in crew:
            one.end()


def _process(objects: Objects) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            sys.executable, "-I", "-S", "-c", _START,
            str(Path(__file__).parent.parent), objects.root, str(objects.folder_mode or ""),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        close_fds=False,  # see `programs`
    )  # fmt: skip


def _ready(busy: list[_Helper], *, wait: bool) -> list[_Helper]:
    ready = select.poll()
    by_number = {one.answers.fileno(): one for one in busy}
    for number in by_number:
        ready.register(number, select.POLLIN | select.POLLHUP)
    return [by_number[number] for number, _ in ready.poll(None if wait else 0)]


# -- in the helper -------------------------------------------------------------------------------


class _AskDvcError(Exception):
    """What only DVC can say or do, and so the process that asked for help."""


class _Elsewhere:
    """DVC's cache as a helper knows it, without DVC."""

    def __init__(self, root: str) -> None:
        self.path = root

    def makedirs(self, path: str) -> None:
        raise _AskDvcError(path)

    def check(self, md5: str) -> None:
        raise _AskDvcError(md5)


def serve() -> None:
    """Does what comes in at standard input until that says no more, or ends, and leaves."""
    os.setsid()  # Ctrl-C is for the training; a helper ends when it is told to
    _, _, root, mode = sys.argv
    objects = Objects(_Elsewhere(root), folder_mode=int(mode) if mode else None)
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    with contextlib.suppress(EOFError, OSError):
        while (share := _receive(requests)) is not None:
            _send(answers, [_done(objects, path, link=link) for path, link in share])
    os._exit(0)  # nothing is left to be tidied up


def _done(objects: Objects, path: str, *, link: bool) -> tuple[object, ...] | None:
    try:
        stored = objects.put(path, link=link)
    except Exception:  # noqa: BLE001 - whatever it is, it is raised where the work was asked for
        return None
    status = stored.status
    if status is None:
        return stored.md5, stored.size, None
    stamp = (
        status.st_mode, status.st_ino, status.st_size, status.st_mtime, status.st_ctime_ns,
    )  # fmt: skip
    return stored.md5, stored.size, stamp


def _send(file: IO[bytes], message: Any) -> None:
    data = marshal.dumps(message)
    files.write_whole(file.fileno(), _LENGTH.pack(len(data)) + data)


def _receive(file: IO[bytes]) -> Any:
    (length,) = _LENGTH.unpack(_exactly(file, _LENGTH.size))
    return marshal.loads(_exactly(file, length))  # noqa: S302 - from a process of our own


def _exactly(file: IO[bytes], count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = file.read(count - len(data))
        if not more:
            raise EOFError
        data += more
    return data

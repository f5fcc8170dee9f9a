"""Programs run beside this one, whose own end is waited for and not that of a pipe.

A worker that another thread forks meanwhile (`multiprocessing`, a DataLoader) has the ends of all
pipes, also of the one by which `subprocess` hears that a program was started. Who waits for their
end waits for that worker's, which may be that of the training. So there are none: what goes in and
comes out is in files in memory, and posix_spawn(3) starts the program.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, BinaryIO

from .. import files

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


_LOST = 255
# Python's own `subprocess` takes a status that somebody else has fetched for 0.
_REPORTER = """\
import signal, subprocess, sys
signal.signal(signal.SIGCHLD, signal.SIG_DFL)
sys.stderr.write(f"\\n{subprocess.call(sys.argv[1:])}")
"""


class Program:
    """A program that runs beside this one.

    arguments: the program's path, with its folder, and what follows it.
    given:     what it reads from standard input.
    written:   what it wrote to standard output, once it has ended.
    overheard: whether what it writes to standard error is kept; else it goes where ours goes.
    """

    def __init__(
        self,
        arguments: Sequence[str | os.PathLike[str]],
        *,
        env: Mapping[str, str] | None = None,
        given: bytes = b"",
        overheard: bool = True,
    ) -> None:
        self.written = self._complained = b""
        self._code: int | None = None
        self._reported = overheard and _reaped_elsewhere()
        if self._reported:
            arguments = [sys.executable, "-I", "-S", "-c", _REPORTER, *arguments]
        with contextlib.ExitStack() as opened:
            self._out = opened.enter_context(_file())
            self._complaint = opened.enter_context(_file()) if overheard else None
            with _file(given) as given_file:
                # Without a folder to go to, and with descriptors left as they are (Python's own
                # are closed in another program), `subprocess` takes posix_spawn.
                self._process = subprocess.Popen(
                    arguments,
                    env=env,
                    stdin=given_file,
                    stdout=self._out,
                    stderr=self._complaint,
                    close_fds=False,
                )
            self._opened = opened.pop_all()

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def code(self) -> int | None:
        """What it ended with; None while it runs."""
        if self._process.poll() is not None:
            self._collect()
        return self._code

    def wait(self, seconds: float | None = None) -> int:
        """Waits for its end: what it ended with. Raises TimeoutError after so many seconds."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError from error
        return self._collect()

    def kill(self) -> None:
        """Ends it, where it runs still."""
        with contextlib.suppress(OSError):
            self._process.kill()
            self._process.wait()
            self._collect()

    def complaint(self) -> str:
        """What it wrote to standard error, once it has ended."""
        return self._complained.decode("utf-8", "replace").strip()

    def _collect(self) -> int:
        if self._code is not None:
            return self._code
        with self._opened:
            self.written = _content(self._out)
            if self._complaint is not None:
                self._complained = _content(self._complaint)
        self._code = self._process.returncode
        if self._reported:
            self._complained, _, code = self._complained.rpartition(b"\n")
            self._code = int(code) if re.fullmatch(rb"-?\d+", code) else _LOST
        return self._code


def run(
    arguments: Sequence[str | os.PathLike[str]],
    *,
    env: Mapping[str, str] | None = None,
    given: bytes = b"",
) -> Program:
    """Runs a program to its end. Whatever ends the waiting (a second Ctrl-C) ends the program."""
    program = Program(arguments, env=env, given=given)
    finish(program)
    return program


def finish(program: Program) -> int:
    """Waits for a program's end; see `run`."""
    try:
        return program.wait()
    except BaseException:
        program.kill()
        raise


def _reaped_elsewhere() -> bool:
    """Whether what a program ended with may not come to us.

    With SIGCHLD ignored the system drops it (wait(2)), and a handler of the user's may fetch it.
    A process between then says it in words.
    """
    if not hasattr(signal, "SIGCHLD") or not sys.executable:
        return False
    return signal.getsignal(signal.SIGCHLD) is not signal.SIG_DFL


def _file(content: bytes = b"") -> BinaryIO:
    file: BinaryIO
    try:
        # A full disk has no room for what `git` says.
        file = open(os.memfd_create("dvclive"), "w+b", buffering=0)  # noqa: PTH123, SIM115 - a descriptor
    except (AttributeError, OSError):
        file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - its caller closes it
    if content:
        files.write_whole(file.fileno(), content)
        file.seek(0)
    return file


def _content(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read()

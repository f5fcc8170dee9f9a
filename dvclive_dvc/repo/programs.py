"""Programs run beside this one, whose own end is waited for and not that of a pipe.

A worker that another thread forks meanwhile (`multiprocessing`, a DataLoader) has the ends of all
pipes, also of the one by which `subprocess` hears that a program was started. Who waits for their
end waits for that worker's, which may be that of the training. So there are none: what goes in and
comes out is in files in memory, and posix_spawn(3) starts the program.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from typing import TYPE_CHECKING, BinaryIO

from .. import files

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


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
        return self._process.poll()

    def wait(self, seconds: float | None = None) -> int:
        """Waits for its end: what it ended with. Raises TimeoutError after so many seconds."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError from error
        self._collect()
        return code

    def kill(self) -> None:
        """Ends it, where it runs still."""
        with contextlib.suppress(OSError):
            self._process.kill()
            self._process.wait()
            self._collect()

    def complaint(self) -> str:
        """What it wrote to standard error, once it has ended."""
        return self._complained.decode("utf-8", "replace").strip()

    def _collect(self) -> None:
        if self._out.closed:
            return
        with self._opened:
            self.written = _content(self._out)
            if self._complaint is not None:
                self._complained = _content(self._complaint)


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

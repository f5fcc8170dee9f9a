"""A saved experiment and its artifacts sent to the remotes, where DVC is told to do so.

A process of its own does the sending: a remote may never answer, and neither Ctrl-C nor a signal
that ends the training shall wait for it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from typing import TYPE_CHECKING

from ..notices import logger
from . import dvcconfig
from .git import Git, read_ref
from .programs import Program
from .record import reference

if TYPE_CHECKING:
    from .record import Record

# Seconds of silence after which a Git remote is given up; one that goes on sending may take long.
_SILENCE = 60.0
_LOOK = 0.1  # seconds between two looks for a signal
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
_START = """\
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from dvclive_dvc.repo import autopush
autopush.serve()
"""


def push(record: Record, commit: str) -> None:
    """Pushes as `dvc exp save` would, when `exp.auto_push` or DVC_EXP_AUTO_PUSH is on.

    A remote that does not answer is one warning with the command that pushes later; the
    experiment itself is saved. Where pushing is off DVC is not imported.
    """
    if not dvcconfig.auto_push(record.dvc_root, os.environ):
        return
    remote = dvcconfig.git_remote(record.dvc_root, os.environ)
    name = _name_of(record, commit)
    trouble: str | None = _not_pushed(remote, "it was interrupted")
    try:
        logger.info("Pushing the experiment to '%s'.", remote)
        ref = reference(record.baseline, name)
        trouble = _pushed(str(record.dvc_root), remote, ref, commit)
    except Exception as error:  # noqa: BLE001 - a remote must not cost the run
        trouble = _not_pushed(remote, _first_line(error))
        logger.debug("pushing failed", exc_info=True)
    finally:
        if trouble:
            logger.warning(
                "The experiment '%s' is saved but %s. Push it later: dvc exp push %s %s",
                name,
                trouble,
                remote,
                name,
            )


def _name_of(record: Record, commit: str) -> str:
    """The name the experiment got: the record's, or that with a suffix."""
    git = Git(record.git_root, record.git)
    folder = git.common_dir / reference(record.baseline, record.name)
    names = [record.name]
    with contextlib.suppress(OSError):
        names += sorted(os.listdir(folder.parent))  # noqa: PTH208 - names are wanted
    for name in names:
        if read_ref(git.common_dir, reference(record.baseline, name)) == commit:
            return name
    return record.name


def _pushed(*what: str) -> str | None:
    """What could not be pushed, and why; None where all is. `what` is as `_push` takes it."""
    if os.name != "posix" or not sys.executable:
        return _push(*what)  # a program that embeds Python has none to start
    path = json.dumps([one for one in sys.path if isinstance(one, str)])
    arguments = [sys.executable, "-I", "-c", _START, path, str(_SILENCE), *what]
    program = Program(arguments, overheard=False)
    before = _dispositions()
    try:
        while True:
            with contextlib.suppress(TimeoutError):
                code = program.wait(_LOOK)
                break
            if _dispositions() != before:
                # A signal has come, and whoever looks after the run's end gave it back its default
                # action (`ending`): it kills as soon as this returns.
                return _not_pushed(what[1], "a signal ended it")
    finally:
        if program.code is None:
            with contextlib.suppress(OSError):
                os.killpg(program.pid, signal.SIGKILL)
            program.kill()
    if code:
        return _not_pushed(what[1], f"its process ended with {code}")
    told: str | None = json.loads(program.written)
    return told


def _dispositions() -> list[object]:
    return [signal.getsignal(number) for number in _SIGNALS]


def serve() -> None:
    """Pushes as the arguments of this process say, and writes what could not be pushed."""
    os.setsid()  # it and what it starts are ended together
    _, _, silence, *what = sys.argv
    if sys.stderr is None:  # closed, as by `2>&-`; DVC and `git` write to it all the same
        sys.stderr = open(os.devnull, "w", encoding="ascii")  # noqa: PTH123, SIM115
    with open(os.dup(1), "w", encoding="ascii") as answers:  # noqa: PTH123 - a descriptor
        os.dup2(2, 1)  # whatever else is printed is no answer
        json.dump(_push(*what, silence=float(silence)), answers)


def _push(
    dvc_root: str, remote: str, ref: str, commit: str, *, silence: float | None = None
) -> str | None:
    import socket

    from dvc.config import Config
    from dvc.repo import Repo

    pushed = False
    try:
        # DVC reads a commit's configuration in Git's file system, whose top is "/" (dvc/repo/
        # brancher.py): a relative remote would be a folder there. So it gets them as on disk.
        remotes = Config(os.path.join(dvc_root, Repo.DVC_DIR))["remote"]  # noqa: PTH118
        with contextlib.closing(Repo(dvc_root, config={"remote": remotes})) as repo:
            # As dvc/repo/experiments/executor/base.py does: both remotes are looked at first, and
            # the cache goes along.
            repo.scm.validate_git_remote(remote)
            repo.cloud.get_remote_odb()
            socket.setdefaulttimeout(silence)
            result = repo.experiments.push(remote, ref)
            if not (result.get("success") or result.get("up_to_date")):
                return _not_pushed(remote, "another experiment of that name is there")
            pushed = True
            socket.setdefaulttimeout(None)  # storage has timeouts of its own
            repo.push(revs=[commit], workspace=False, run_cache=True)
    except Exception as error:  # noqa: BLE001 - all kinds of libraries talk to remotes
        if pushed:
            return f"only its commit is on '{remote}', its data is not: {_first_line(error)}"
        return _not_pushed(remote, _first_line(error))
    return None


def _not_pushed(remote: str, why: str) -> str:
    return f"could not be pushed to '{remote}': {why}"


def _first_line(error: Exception) -> str:
    text = str(error.__cause__ or error) or type(error).__name__
    return " ".join(text.split())[:300]

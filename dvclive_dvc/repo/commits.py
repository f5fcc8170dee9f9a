"""An experiment's commit, and the reference by which DVC finds it."""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import socket
import time
from datetime import datetime
from typing import TYPE_CHECKING

from .. import files
from ..errors import RepositoryError, SaveError
from ..notices import logger
from .git import Git, make_folder, packed_ref
from .record import reference

if TYPE_CHECKING:
    from pathlib import Path

    from ..backend import Outcome
    from .record import Record

_INTERNAL_DATE = re.compile(r"@?(\d+)(?: ([+-])(\d\d)(\d\d))?")


def create(git: Git, record: Record, outcome: Outcome, tree: bytes) -> str:
    """Commits the tree on the run's baseline as the experiment of its name, or of `NAME-2`.

    Returns the full hash. Raises SaveError where no such name is free.
    """
    lines = (
        f"tree {tree.hex()}",
        f"parent {record.baseline}",
        f"author {_identity(git, 'author')}",
        f"committer {_identity(git, 'committer')}",
        "",
        message(record, outcome, tree.hex()),
    )
    commit = git.write("commit", "\n".join(lines).encode("utf-8", "replace")).hex()
    name = record.name
    for number in range(2, 10_000):
        if _create_reference(git.common_dir, reference(record.baseline, name), commit):
            if name != record.name:
                logger.warning(
                    "The name '%s' was taken while the run was going; the experiment is '%s'.",
                    record.name,
                    name,
                )
            return commit
        name = f"{record.name}-{number}"
    raise SaveError(f"No free name like '{record.name}' was found.")


def message(record: Record, outcome: Outcome, fingerprint: str) -> str:
    """The commit's message: the user's or DVC's, then how the run ended, as trailers.

    The run's id tells a later recovery that the run is saved already.

    No argument, variable or exception's text: those hold secrets, and experiments are pushed.
    """
    trailers = {
        "Dvclive-Status": outcome.status.value,
        "Dvclive-Run": record.id,
        "Dvclive-Script": record.script,
        "Dvclive-Exception": outcome.exception,
        "Dvclive-Raised-At": outcome.raised_at,
        "Dvclive-Exit-Code": outcome.exit_code,
        "Dvclive-Signal": outcome.signal,
    }
    lines = [f"{key}: {_one_line(str(it))}" for key, it in trailers.items() if it is not None]
    text = (record.message or f"dvc: commit experiment {fingerprint}").replace("\0", "").strip()
    return text.encode("utf-8", "replace").decode() + "\n\n" + "\n".join(lines) + "\n"


def _one_line(text: str) -> str:
    return " ".join(text.encode("utf-8", "replace").decode().split())


def _identity(git: Git, role: str) -> str:
    """Who commits and when, as Git finds it (ident.c): variables, configuration, the system.

    Git refuses where it would have to guess; a run is not lost for that, so the guess is taken.
    """

    def first(*keys: str) -> str | None:
        for key in keys:
            value = os.environ.get(key) or (git.setting(key) if "." in key else None)
            # Git strips what would break the line (ident.c, strbuf_addstr_without_crud).
            value = re.sub(r"[<>\n\0]", "", value or "").strip(" .,:;\"'\\")
            if value:
                return value
        return None

    upper = f"GIT_{role.upper()}"
    name = first(f"{upper}_NAME", f"{role}.name", "user.name") or _system_name()
    email = first(f"{upper}_EMAIL", f"{role}.email", "user.email", "EMAIL")
    when, offset = _moment(git, upper)
    hours, minutes = divmod(abs(offset), 60)
    zone = f"{'-' if offset < 0 else '+'}{hours:02}{minutes:02}"
    return _as_utf8(f"{name} <{email or _system_email()}> {when} {zone}")


def _as_utf8(text: str) -> str:
    """Text of the system as a commit has it: bytes that are no UTF-8 are Latin-1 to Git."""
    # commit.c, verify_utf8
    read = os.fsencode(text).decode("utf-8", "surrogateescape")
    return re.sub("[\udc80-\udcff]", lambda byte: chr(ord(byte[0]) - 0xDC00), read)


def _system_name() -> str:
    with contextlib.suppress(Exception):
        import pwd

        name = pwd.getpwuid(os.getuid()).pw_gecos.split(",")[0].strip()
        if name:
            return name
    with contextlib.suppress(Exception):
        return getpass.getuser()
    return "unknown"


def _system_email() -> str:
    user = "unknown"
    with contextlib.suppress(Exception):
        user = getpass.getuser()
    return f"{user}@{socket.gethostname() or 'localhost'}"


def _moment(git: Git, role: str) -> tuple[int, int]:
    """Seconds since the epoch and minutes east of Greenwich, from a GIT_*_DATE or the clock."""
    given = os.environ.get(f"{role}_DATE")
    if given:
        # "Git internal format" of git-commit(1); "@" marks it.
        match = _INTERNAL_DATE.fullmatch(given.strip())
        if match is None:
            # Of the other forms Git takes more than it tells of (date.c).
            with contextlib.suppress(RepositoryError):
                names = {f"{role}_NAME": "-", f"{role}_EMAIL": "-"}
                said = git.ask("var", f"{role}_IDENT", variables=names).decode("ascii")
                match = _INTERNAL_DATE.fullmatch(said.rpartition(">")[2].strip())
        if match:
            minutes = int(match[3] or 0) * 60 + int(match[4] or 0)
            return int(match[1]), -minutes if match[2] == "-" else minutes
        with contextlib.suppress(ValueError):  # there may be no `git` to ask
            moment = datetime.fromisoformat(given.strip().replace("Z", "+00:00")).astimezone()
            return int(moment.timestamp()), _minutes(moment)
        logger.warning(
            "%s_DATE='%s' is no date that Git knows, so the experiment bears the present one. "
            "git-commit(1), DATE FORMATS, has the forms.",
            role,
            given,
        )
    return int(time.time()), _minutes(datetime.now().astimezone())


def _minutes(moment: datetime) -> int:
    offset = moment.utcoffset()
    return int(offset.total_seconds() // 60) if offset else 0


def _create_reference(common: Path, name: str, commit: str) -> bool:
    """Creates a reference from nothing; False where it exists already.

    libgit2 checks for an existing one before it takes its lock, so of two runs that end
    together one would replace the other. Here the kernel decides: a finished file without a
    name is linked to its name, which fails when that is there; a kill leaves nothing behind.
    """
    path = common / name
    if packed_ref(common, name) is not None:
        return False
    for _ in range(100):
        try:
            make_folder(path.parent)
            if not files.link_new_file(path, f"{commit}\n".encode("ascii")):
                _create_by_lock(path, f"{commit}\n".encode("ascii"))
        except FileExistsError:
            return False
        except FileNotFoundError:
            continue  # `git pack-refs` removed the empty folder between the two calls
        if packed_ref(common, name) not in (None, commit):
            # Packed by Git between the look and the link: it was there first.
            path.unlink()
            return False
        return True
    raise FileNotFoundError(f"The folder of {path} vanishes as soon as it is made.")


def _create_by_lock(path: Path, data: bytes) -> None:
    """As Git itself does it, where the file system has no nameless files."""
    lock = path.with_name(path.name + ".lock")
    fd = os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        with open(fd, "wb") as file:  # noqa: PTH123 - a descriptor
            file.write(data)
        if os.path.lexists(path):
            raise FileExistsError(path)
        lock.replace(path)
    finally:
        lock.unlink(missing_ok=True)

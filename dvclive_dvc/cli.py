"""The command `dvclive-dvc`: runs that go on, runs that were lost, and a first look."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import __version__
from .errors import DvcLiveError, RepositoryError
from .notices import listen

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .repo.journal import Entry
    from .repo.recovery import Found, Recovered

_ABOUT = """\
Looks after the runs that dvclive_dvc logs in this DVC project.

A run is saved as a DVC experiment when it ends, also when it fails or is
interrupted. One that was killed, or that could not be saved because the disk
was full or the repository broken, leaves its files and a note of itself (its
journal); `recover` makes the experiment from these. The next run in the
project does so by itself.
"""
_EXAMPLES = """\
examples:
  dvclive-dvc demo              make a small project, train in it, look at the result
  dvclive-dvc status            what is training here, and how far it is
  dvclive-dvc recover --list    runs that ended without being saved
  dvclive-dvc recover           save them as experiments

exit codes: 0 done; 1 a run could not be saved, or there is no project here;
2 the command was not understood; 130 stopped by Ctrl-C.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Carries out one command and returns the exit code."""
    given = _parser().parse_args(arguments)
    listen()
    try:
        return int(given.command(given))
    except DvcLiveError as error:
        sys.stderr.write(f"dvclive-dvc: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("dvclive-dvc: stopped by Ctrl-C; what is not done yet can be done again\n")
        return 128 + signal.SIGINT
    except _OutputError as error:
        # Python would complain at exit that it cannot write the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error.__cause__, BrokenPipeError):
            return 0  # whoever read the output has seen enough (`| head`)
        sys.stderr.write(f"dvclive-dvc: cannot write the output: {error}\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dvclive-dvc",
        description=_ABOUT,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"dvclive_dvc {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    recover = commands.add_parser(
        "recover",
        help="save runs that were killed or could not be saved",
        description="Saves runs that ended without being saved as experiments. Runs that go on "
        "are left alone, and nothing is saved twice.",
    )
    recover.set_defaults(command=_recover)
    recover.add_argument("names", nargs="*", metavar="NAME", help="only these runs (default: all)")
    instead = recover.add_mutually_exclusive_group()
    instead.add_argument("--list", action="store_true", help="only show them; save nothing")
    recover.add_argument(
        "--other-hosts",
        action="store_true",
        help="also runs of other machines that share this folder. Whether those go on cannot be "
        "seen from here, so make sure that they do not",
    )
    instead.add_argument(
        "--discard",
        action="store_true",
        help="give up the named runs: they will not be saved; their files stay",
    )
    _json_option(recover)

    status = commands.add_parser(
        "status",
        help="show the runs that go on in this project",
        description="Shows the runs that go on in this project: name, step, since when, and "
        "which process. A run that is not to be saved as an experiment (save_dvc_exp=False, or "
        "inside a pipeline) keeps no note of itself and is not shown.",
    )
    status.set_defaults(command=_status)
    _json_option(status)

    demo = commands.add_parser(
        "demo",
        help="make a small project and train in it",
        description="Makes a small Git and DVC project, runs a training of two seconds in it "
        "three times, and shows where to look. It needs the program `git`.",
    )
    demo.set_defaults(command=_demo)
    demo.add_argument(
        "folder", nargs="?", type=Path, help="a new folder (default: a temporary one)"
    )
    return parser


def _json_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


class _OutputError(Exception):
    """Nothing more can be written to the standard output."""


def _say(text: str = "") -> None:
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except OSError as error:
        raise _OutputError(error.strerror or error) from error


def _project() -> Path:
    from .repo import context

    root = context.detect().dvc_root
    if root is None:
        raise RepositoryError(
            "There is no DVC project here. Go to the folder (or one below it) that holds '.dvc'."
        )
    return root


# -- recover -------------------------------------------------------------------------------


def _recover(given: argparse.Namespace) -> int:
    from . import report
    from .repo import recovery

    root = _project()
    if given.discard:
        return _discard(root, given)
    if given.list:
        return _list(recovery.look(root), as_json=given.json)
    names = set(given.names) or None
    done = recovery.recover(root, names=names, other_hosts=given.other_hosts, redraw=report.redraw)
    left = recovery.look(root)
    if given.json:
        _say_json(
            {
                "recovered": [_told(one) for one in done],
                "elsewhere": [_shown(entry) for entry in left.elsewhere],
                "unreadable": [str(path) for path in left.unreadable],
            }
        )
    else:
        for one in done:
            _say(_sentence(one))
        if not done:
            _say("There is no run to recover.")
        _say_left(left)
    unknown = (names or set()) - {one.record.name for one in done}
    for name in sorted(unknown):
        sys.stderr.write(f"dvclive-dvc: {_why_not(name, left)}\n")
    return 1 if unknown or any(one.commit is None for one in done) else 0


def _why_not(name: str, left: Found) -> str:
    """Why a run that was named was not recovered."""
    for entry in (*left.running, *left.elsewhere):
        process = entry.record.process
        if entry.record.name == name and entry in left.elsewhere:
            return (
                f"'{name}' is a run of another machine ({process.host}): once you know that it "
                f"does not go on, `dvclive-dvc recover --other-hosts {name}` saves it"
            )
        if entry.record.name == name:
            return f"'{name}' goes on (process {process.pid}): it is saved when it ends"
    return f"no such run to recover: {name}"


def _discard(root: Path, given: argparse.Namespace) -> int:
    from .repo import recovery

    if not given.names:
        raise RepositoryError("Name the runs to give up; `recover --list` shows them.")
    given_up = recovery.discard(root, given.names)
    if given.json:
        _say_json({"discarded": [record.name for record in given_up]})
    else:
        for record in given_up:
            _say(f"{record.name}: given up; its files are still in {_near(record.dir)}")
    unknown = set(given.names) - {record.name for record in given_up}
    if unknown:
        sys.stderr.write(f"dvclive-dvc: no such run to give up: {', '.join(sorted(unknown))}\n")
    return 1 if unknown else 0


def _list(found: Found, *, as_json: bool) -> int:
    if as_json:
        _say_json(
            {
                "dead": [_shown(entry) for entry in found.dead],
                "elsewhere": [_shown(entry) for entry in found.elsewhere],
                "unreadable": [str(path) for path in found.unreadable],
            }
        )
        return 0
    if found.dead:
        _say_table(found.dead)
        _say("\n`dvclive-dvc recover` saves them as experiments.")
    else:
        _say("There is no run to recover.")
    _say_left(found)
    return 0


def _say_left(found: Found) -> None:
    if found.elsewhere:
        _say("\nOf other machines, so that nobody here knows whether they go on:")
        _say_table(found.elsewhere)
        _say("`dvclive-dvc recover --other-hosts` saves them, once you know that they do not.")
    _say_unreadable(found)


def _say_unreadable(found: Found) -> None:
    for path in found.unreadable:
        _say(f"\n{path}\n  is no journal that this version can read; it is kept.")


def _sentence(one: Recovered) -> str:
    if one.commit is None:
        return f"{one.record.name}: not saved: {one.error}"
    return f"{one.record.name}: saved as experiment {one.commit[:7]} ({one.outcome.status.value})"


def _told(one: Recovered) -> dict[str, Any]:
    return {
        "name": one.record.name,
        "dir": str(one.record.dir),
        "status": one.outcome.status.value,
        "commit": one.commit,
        "error": one.error,
        "edited": list(one.edited),
    }


# -- status --------------------------------------------------------------------------------


def _status(given: argparse.Namespace) -> int:
    from .repo import recovery

    found = recovery.look(_project())
    if given.json:
        _say_json(
            {
                "running": [_shown(entry) for entry in found.running],
                "elsewhere": [_shown(entry) for entry in found.elsewhere],
                "dead": [_shown(entry) for entry in found.dead],
                "unreadable": [str(path) for path in found.unreadable],
            }
        )
        return 0
    if found.running:
        _say_table(found.running)
    else:
        _say("No run that is to be saved as an experiment goes on in this project.")
    if found.elsewhere:
        _say("\nOn other machines, if they still go on:")
        _say_table(found.elsewhere)
    if found.dead:
        _say(f"\nEnded without being saved: {len(found.dead)}. See `dvclive-dvc recover --list`.")
    _say_unreadable(found)
    return 0


def _shown(entry: Entry) -> dict[str, Any]:
    record = entry.record
    return {
        "name": record.name,
        "dir": str(record.dir),
        "step": _step(record.dir),
        "started": record.started,
        "process": {"pid": record.process.pid, "host": record.process.host},
        "status": entry.outcome.status.value if entry.outcome else None,
    }


def _step(folder: Path) -> int | None:
    from . import report
    from .layout import Layout

    return report.last_step(Layout(str(folder), folder, folder))


def _say_table(entries: Iterable[Entry]) -> None:
    rows = [("NAME", "STEP", "SINCE", "PROCESS", "DIR")]
    for entry in entries:
        record, step = entry.record, _step(entry.record.dir)
        rows.append(
            (
                record.name,
                "-" if step is None else str(step),
                record.started,
                f"{record.process.pid} on {record.process.host}",
                _near(record.dir),
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        _say("  ".join(cells).rstrip())


def _near(path: Path) -> str:
    """A path as one would type it here, when it is not far."""
    near = os.path.relpath(path)
    return str(path) if near.startswith(os.path.join("..", "..", "")) else near  # noqa: PTH118 - text


def _say_json(document: Any) -> None:
    _say(json.dumps(document, indent=4))


# -- demo ----------------------------------------------------------------------------------

_TRAIN = """\
import random
import sys
import time

from dvclive_dvc import Live

lr = float(sys.argv[1])
weight = 0.0

with Live() as live:
    live.log_param("lr", lr)
    for epoch in range(10):
        weight += lr * (3 - weight) + random.gauss(0, 0.01)
        live.log_metric("loss", (3 - weight) ** 2)
        live.next_step()
        time.sleep(0.2)
    with open("model.txt", "w") as file:
        file.write(str(weight))
    live.log_artifact("model.txt", type="model", name="demo")
"""


def _demo(given: argparse.Namespace) -> int:
    if shutil.which("git") is None:
        raise RepositoryError("The demo needs the program `git`, which is not on the PATH.")
    folder = given.folder or Path(tempfile.mkdtemp(prefix="dvclive-demo-"))
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RepositoryError(f"'{folder}' is not empty. Name a folder that does not exist yet.")
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.py").write_text(_TRAIN)
    _say(f"A new project in {folder}, with this train.py:\n\n{_TRAIN}")
    _run(folder, "git", "init", "--quiet")
    # The machine may know no author yet, and commits need one.
    _run(folder, "git", "config", "user.name", "Demo")
    _run(folder, "git", "config", "user.email", "demo@example.com")
    _run(folder, "dvc", "init", "--quiet")
    _run(folder, "git", "add", ".")
    _run(folder, "git", "commit", "--quiet", "--message", "A script to train with")
    for rate in ("0.1", "0.3", "0.5"):
        _run(folder, "python", "train.py", rate)
    _run(folder, "dvc", "exp", "show", "--no-pager", "--drop", "Created")
    report = folder / "dvclive" / "report.html"
    _say(
        "\nEach run is an experiment; Git's branches, index and your files are as they were.\n"
        f"\n  cd {folder}"
        "\n  dvc exp show               the table above"
        "\n  dvc plots show             the curves, in the browser"
        "\n  dvc exp apply NAME         bring a run's files, model included, back to the folder"
        "\n  dvc exp branch NAME BRANCH make a Git branch of it"
        f"\n\nThe last run's report: {report.as_uri()}"
    )
    return 0


def _run(folder: Path, program: str, *arguments: str) -> None:
    """Runs a command under its own text, so that all of this can be repeated by hand."""
    _say("$ " + shlex.join((program, *arguments)))
    real = {"python": [sys.executable], "dvc": [sys.executable, "-m", "dvc"]}
    done = subprocess.run(
        [*real.get(program, [program]), *arguments],
        cwd=folder,
        env={"COLUMNS": "120", "DVC_NO_ANALYTICS": "1", **os.environ},
        check=False,
    )
    if done.returncode:
        raise RepositoryError(f"`{program} {arguments[0]}` ended with {done.returncode}.")

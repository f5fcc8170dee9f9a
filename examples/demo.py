"""Runs DVCLive's own example in a new repository and shows what it left: `make demo`.

    python examples/demo.py FOLDER

FOLDER is made anew each time. Git and DVC are asked as programs, and each command is shown, so
that all of this can be repeated by hand.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).with_name("how_it_works.py")
MARK = ".made-by-make-demo"


def shown(*command: str) -> None:
    """Runs a command under its own text; its output goes to the terminal."""
    print("\n$", shlex.join(command), flush=True)
    program = shutil.which(command[0], path=os.environ["PATH"])
    if program is None:
        sys.exit(f"The program '{command[0]}' is not there; install it and run this again.")
    done = subprocess.run([program, *command[1:]], check=False)
    if done.returncode:
        sys.exit(f"`{shlex.join(command)}` ended with {done.returncode}.")


def fresh(folder: Path) -> None:
    """An empty folder; only one that this script made is removed."""
    if folder.exists():
        if any(folder.iterdir()) and not (folder / ".git" / MARK).exists():
            sys.exit(f"'{folder}' was not made by this demo; name another folder.")
        shutil.rmtree(folder)
    folder.mkdir(parents=True)


def print_tree(folder: Path, indent: str = "") -> None:
    """The files below `folder`, without Git's and DVC's own."""
    entries = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    for number, entry in enumerate(entries):
        last = number == len(entries) - 1
        print(indent + ("└── " if last else "├── ") + entry.name)
        if entry.is_dir():
            print_tree(entry, indent + ("    " if last else "│   "))


def main(folder: Path) -> None:
    """Makes the repository, runs the example, shows the result."""
    scripts = str(Path(sys.executable).parent)
    os.environ["PATH"] = os.pathsep.join((scripts, os.environ.get("PATH", os.defpath)))
    os.environ.setdefault("DVC_NO_ANALYTICS", "1")
    os.environ["DVC_PAGER"] = "cat"
    os.environ.setdefault("COLUMNS", "120")
    fresh(folder)
    os.chdir(folder)
    shutil.copy(EXAMPLE, "train.py")

    shown("git", "init", "--quiet", "--initial-branch=main")
    Path(".git", MARK).touch()
    # The machine may know no author yet; the demo's commits need one.
    shown("git", "config", "user.name", "Demo")
    shown("git", "config", "user.email", "demo@example.com")
    shown("dvc", "init", "--quiet")
    shown("git", "add", ".")
    shown("git", "commit", "--quiet", "--message", "A script to train with")

    print("\nThe script, train.py:\n")
    print(Path("train.py").read_text(encoding="utf-8").rpartition('"""')[2].strip())
    shown("python", "train.py")

    print("\nWhat is there now:\n")
    print(folder.name)
    print_tree(Path())
    shown("git", "status")
    shown("dvc", "exp", "show", "--no-pager", "--drop", "Created")
    print(f"\nThe report: {Path('dvclive', 'report.html').resolve().as_uri()}")
    print(f"The repository: {Path.cwd()}")
    print(f"`dvc` and `dvclive-dvc` for it: {scripts}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]).absolute())

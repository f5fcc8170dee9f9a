"""Real repositories for tests: situations built from plain trees, programs to run in them, and
what of the user's they hold.

A situation is a folder `fixtures/repos/<name>/` (a plain tree; a leading `dot-` in a name stands
for a dot, so that our own Git does not obey it) and beside it `fixtures/repos/<name>.sh`, the
shell lines that make it a repository. In the script:

    # workdir: sub/deep   where a test starts, relative to the tree (default: its top)
    # root: main          where the Git repository's top is (default: the tree's top)
    # tree: pipeline      the tree of another situation (default: the one of this name)
    #: each copy          the lines below run in every copy, for what holds absolute paths

The lines above `#: each copy` run once a session, with real `git` and `dvc`, sealed as the tests
are, and the result is copied for each test. A script without a tree beside it starts empty. To
add a situation, add those two; nothing here names them.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

PROJECT = Path(__file__).resolve().parents[1]
FIXTURES = PROJECT / "fixtures" / "repos"

# -- the sealed environment ----------------------------------------------------------------

# What a shell, a pipeline, a launcher or a CI could leave in the environment.
_UNSEALED = re.compile(
    r"^(GIT_|DVC(?!LIVE_DVC_REQUIRE_)|STUDIO_|XDG_|SLURM_|OMPI_|PMI_|PMIX_|MPI_|TORCHELASTIC_"
    r"|(LOCAL_|GROUP_|NODE_)?RANK$|WORLD_SIZE$|PYTHON(PATH|STARTUP|WARNINGS)$"
    r"|EMAIL$|VISUAL$|PAGER$|SSH_ASKPASS$|NO_COLOR$|FORCE_COLOR$|LC_|LANG)"
)
_GITCONFIG = """\
[user]
    name = Ada Tester
    email = ada@example.com
[init]
    defaultBranch = main
[advice]
    detachedHead = false
    defaultBranchName = false
[gc]
    auto = 0
[maintenance]
    auto = false
"""
DATE = "2026-01-02T03:04:05+00:00"


def sealed(home: Path, environ: Mapping[str, str], *, shared: Path) -> dict[str, str]:
    """`environ` without the machine's own configuration, its home at `home` (filled here).

    `shared` is a folder for caches that are no configuration and dear to make again (fonts).
    """
    (home / ".config").mkdir(parents=True, exist_ok=True)
    (home / ".gitconfig").write_text(_GITCONFIG)
    dvc_config = home / "dvc-global"
    dvc_config.mkdir(exist_ok=True)
    (dvc_config / "config").write_text("[core]\n    analytics = false\n    check_update = false\n")
    # Git's own templates are a dozen sample hooks, which every copy of a repository would copy.
    template = home / "git-template"
    (template / "hooks").mkdir(parents=True, exist_ok=True)
    (template / "info").mkdir(exist_ok=True)
    (template / "info" / "exclude").write_text("")

    kept = {name: value for name, value in environ.items() if not _UNSEALED.match(name)}
    programs = str(Path(sys.executable).parent)
    return {
        **kept,
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "XDG_DATA_HOME": str(home / ".local" / "share"),
        "XDG_STATE_HOME": str(home / ".local" / "state"),
        "GIT_CONFIG_GLOBAL": str(home / ".gitconfig"),
        "GIT_CONFIG_SYSTEM": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TEMPLATE_DIR": str(template),
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_EDITOR": "true",
        "GIT_PAGER": "cat",
        "GIT_AUTHOR_DATE": DATE,
        "GIT_COMMITTER_DATE": DATE,
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(home / "dvc-site-cache"),
        "DVC_GLOBAL_CONFIG_DIR": str(dvc_config),
        "DVC_SYSTEM_CONFIG_DIR": str(home / "dvc-system"),
        "DVC_PAGER": "cat",
        "EDITOR": "true",
        "PAGER": "cat",
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "COLUMNS": "250",
        "MPLBACKEND": "Agg",
        "MPLCONFIGDIR": str(shared / "matplotlib"),
        "DVCLIVE_DVC_CACHE": str(shared / "dvclive-cache"),
        "PYTHONPATH": str(PROJECT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PATH": os.pathsep.join((programs, kept.get("PATH", os.defpath))),
    }


# -- programs ------------------------------------------------------------------------------


def run(
    *command: str | Path,
    cwd: Path | None = None,
    check: bool = True,
    env: Mapping[str, str] | None = None,
    **more,
) -> subprocess.CompletedProcess[str]:
    """Runs a program with its output caught as text; a failure shows all that it said.

    `env` holds variables on top of the present ones.
    """
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        text=True,
        capture_output=True,
        check=False,
        env={**os.environ, **env} if env else None,
        encoding="utf-8",
        errors="surrogateescape",
        **more,
    )
    if check and done.returncode:
        raise AssertionError(
            f"`{' '.join(map(str, command))}` ended with {done.returncode}\n"
            f"--- stdout\n{done.stdout}\n--- stderr\n{done.stderr}"
        )
    return done


def git(*args: str | Path, cwd: Path | None = None, **more) -> str:
    """Runs the real `git` and returns its stdout without the last newline."""
    return run("git", *args, cwd=cwd, **more).stdout.removesuffix("\n")


def dvc(*args: str | Path, cwd: Path | None = None, **more) -> str:
    """Runs the real `dvc` as a program (about half a second) and returns its stdout."""
    return run(sys.executable, "-m", "dvc", *args, cwd=cwd, **more).stdout


def dvc_inside(*args: str | Path, cwd: Path | None = None) -> str:
    """Runs a `dvc` command inside this process, without the half second; returns its stdout.

    The command is the same code behind the same arguments. Use `dvc` where the process itself
    matters (locks, `exp run`, environment).
    """
    from dvc.cli import main

    said = io.StringIO()
    complaints = io.StringIO()
    before = Path.cwd()
    os.chdir(cwd or before)
    # Without it `--json` goes to the stdout that colorama found when it began (dvc/ui).
    os.environ["DVC_TEST"] = "1"
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(complaints):
            code = main([str(arg) for arg in args])
    finally:
        os.chdir(before)
        del os.environ["DVC_TEST"]
    assert code == 0, (
        f"`dvc {' '.join(map(str, args))}` ended with {code}\n{said.getvalue()}"
        f"{complaints.getvalue()}"
    )
    return said.getvalue()


def python(
    source: str, *args: str | Path, cwd: Path | None = None, **more
) -> subprocess.CompletedProcess[str]:
    """Runs Python source in a fresh interpreter, as a training script's process would be."""
    return run(sys.executable, "-c", source, *args, cwd=cwd, **more)


# -- situations ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Situation:
    """One copy of a situation, made for one test.

    top:  the folder all of it is in.
    root: the top of the Git repository (the tree's own top where there is none).
    cwd:  the working directory that the situation names.
    """

    name: str
    top: Path
    root: Path
    cwd: Path

    def git(self, *args: str | Path, **more) -> str:
        """`git` in the repository's root."""
        return git(*args, cwd=self.root, **more)

    def dvc(self, *args: str | Path, **more) -> str:
        """`dvc` in the situation's working directory."""
        return dvc(*args, cwd=self.cwd, **more)

    def write(self, path: str, text: str) -> Path:
        """Writes a file, relative to the root, its folders made."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        return target

    def commit(self, *paths: str, message: str = "more") -> str:
        """Commits the paths (everything when none is named) and returns the commit's hash."""
        self.git("add", "--", *(paths or (".",)))
        self.git("commit", "-q", "-m", message)
        return self.git("rev-parse", "HEAD")

    def experiments(self) -> dict[str, str]:
        """Name -> commit of every experiment in the repository."""
        lines = self.git(
            "for-each-ref", "--format=%(refname) %(objectname)", "refs/exps"
        ).splitlines()
        found = (line.split() for line in lines)
        return {ref.rsplit("/", 1)[1]: sha for ref, sha in found if len(ref.split("/")) == 5}

    def state(self, *ignoring: str) -> State:
        """`state_of` this repository, leaving out the given paths (relative to the root)."""
        return state_of(self.root, ignoring=ignoring)


@dataclass(frozen=True)
class _Script:
    once: str
    each: str
    workdir: str
    root: str
    tree: str


def _read_script(path: Path) -> _Script:
    text = path.read_text()
    once, _, each = text.partition("#: each copy\n")
    headers = dict(re.findall(r"^# (workdir|root|tree): (\S+)$", text, re.MULTILINE))
    root = headers.get("root", ".")
    tree = headers.get("tree", path.stem)
    return _Script(once, each, headers.get("workdir", root), root, tree)


def _shell(lines: str, cwd: Path, env: Mapping[str, str]) -> None:
    if any(line.strip() and not line.startswith("#") for line in lines.splitlines()):
        done = subprocess.run(
            ["sh", "-eu"],
            input=lines,
            cwd=cwd,
            env=env,
            text=True,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, (
            f"the situation's script failed in {cwd}:\n{lines}\n{done.stdout}\n{done.stderr}"
        )


def _undotted(tree: Path) -> None:
    for folder, folders, names in os.walk(tree, topdown=False):
        for name in (*names, *folders):
            if name.startswith("dot-"):
                Path(folder, name).rename(Path(folder, "." + name.removeprefix("dot-")))


def situation_names() -> list[str]:
    """Every situation there is."""
    return sorted(path.stem for path in FIXTURES.glob("*.sh"))


@dataclass
class Situations:
    """Makes situations for one test; `templates` keeps what is built once a session."""

    templates: Path
    place: Path
    environ: Mapping[str, str]
    _made: set[Path] = field(default_factory=set)

    def make(self, name: str, *, at: str | None = None, enter: bool = True) -> Situation:
        """Makes a fresh copy of the situation and changes into its working directory.

        `at` names the copy's folder in the test's own (default: the situation's name), so that
        one test may have several; `enter=False` leaves the working directory alone.
        """
        script_file = FIXTURES / f"{name}.sh"
        assert script_file.exists(), f"no situation '{name}'; there are {situation_names()}"
        script = _read_script(script_file)
        template = self._template(name, script)
        top = self.place / (at or name)
        shutil.copytree(template, top, symlinks=True)
        _shell(script.each, top, self.environ)
        root = top / script.root
        if (root / ".git").exists():
            # A copy has other inodes; with a refreshed index it is as if made in place.
            run("git", "update-index", "-q", "--refresh", cwd=root, check=False)
        made = Situation(name, top, root, top / script.workdir)
        if enter:
            os.chdir(made.cwd)
        return made

    def _template(self, name: str, script: _Script) -> Path:
        template = self.templates / name
        with _exclusive(self.templates / f"{name}.lock"):
            if not template.exists():
                building = self.templates / f"{name}.building"
                shutil.rmtree(building, ignore_errors=True)
                if (FIXTURES / script.tree).is_dir():
                    shutil.copytree(FIXTURES / script.tree, building, symlinks=True)
                    _undotted(building)
                else:
                    building.mkdir(parents=True)
                home = self.templates / f"{name}.home"
                _shell(
                    script.once,
                    building,
                    sealed(home, self.environ, shared=self.templates),
                )
                # What DVC keeps of the place it was built at would be untrue of a copy.
                shutil.rmtree(building / ".dvc" / "tmp", ignore_errors=True)
                building.rename(template)
        return template


@contextlib.contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    # The workers of one test session share the templates.
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


# -- the user's state ----------------------------------------------------------------------


class State(dict[str, str]):
    """All that is the user's in a repository: one line of text for each thing.

    Compare two with `==`; tests/conftest.py makes pytest print only what differs.
    """

    def changes(self, after: Mapping[str, str]) -> list[str]:
        """What a reader wants to see of the difference, one line for each thing."""
        lines = []
        for key in sorted({*self, *after}):
            old, new = self.get(key), after.get(key)
            if old == new:
                continue
            if old is None:
                lines.append(f"new:     {key}: {new}")
            elif new is None:
                lines.append(f"gone:    {key}: {old}")
            else:
                lines += [f"changed: {key}", f"         from {old}", f"         to   {new}"]
        return lines


_LEFTOVER = re.compile(r"(^|[._-])(lock|rwlock|tmp|temp)([._-]|$)|^tmp|dvclive-tmp$")
# Objects only ever join, experiments are what a run is for, reftable hides refs in binary
# files (they are read by for-each-ref), and .dvc/cache is where artifacts go.
_NOT_COMPARED = ("objects", "refs/exps", "logs/refs/exps", "reftable", "worktrees")


def state_of(root: Path, *, ignoring: Iterable[str] = ()) -> State:
    """Everything of the user's at and below `root`, in a form to compare.

    HEAD, every ref but refs/exps, the reflogs, index, configuration, hooks and whatever else
    lies in the repository's folder, byte for byte; stashes; `git status --porcelain=v2`;
    content, mode and mtime of each working file; and lock or temporary files in `.git` and
    `.dvc`. `ignoring` are paths relative to `root` (with all below them) that the run may
    write. Reading takes no lock and refreshes nothing.
    """
    state = State()
    left_out = tuple(path.rstrip("/") for path in ignoring)

    def is_left_out(path: str) -> bool:
        return any(path == one or path.startswith(one + "/") for one in left_out)

    if (root / ".git").exists():
        _git_state(root, state, is_left_out)
    for path in _walk(root):
        name = path.relative_to(root).as_posix()
        inside_dvc = re.search(r"(^|/)\.dvc/(tmp|cache)/", name)
        if not inside_dvc and not is_left_out(name):
            state[f"file {name}"] = _file_state(path)
        elif inside_dvc and _LEFTOVER.search(path.name):
            state[f"leftover {name}"] = "there"
    return state


def _walk(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        if ".git" in folders:
            folders.remove(".git")
        for name in names:
            yield Path(folder, name)
        for name in folders:
            if Path(folder, name).is_symlink():
                yield Path(folder, name)


def _digest(path: Path) -> str:
    data = path.read_bytes()
    if len(data) <= 200:
        return repr(data)
    return f"{len(data)} bytes, sha1 {hashlib.sha1(data).hexdigest()[:12]}"


def _file_state(path: Path) -> str:
    info = path.lstat()
    if stat.S_ISLNK(info.st_mode):
        return f"link to {path.readlink()}"
    if not stat.S_ISREG(info.st_mode):
        return f"mode {info.st_mode:o}"
    return f"mode {info.st_mode:o}, mtime {info.st_mtime_ns}, {_digest(path)}"


def _git_state(root: Path, state: State, is_left_out) -> None:
    def ask(*args: str) -> str:
        return run("git", *args, cwd=root, env={"GIT_OPTIONAL_LOCKS": "0"}, check=False).stdout

    git_dir = Path(ask("rev-parse", "--absolute-git-dir").strip())
    common = Path(ask("rev-parse", "--path-format=absolute", "--git-common-dir").strip())
    for base in dict.fromkeys((git_dir, common)):
        _git_folder_state(base, state)
    for line in ask("for-each-ref", "--format=%(refname) %(objectname)").splitlines():
        ref, sha = line.split()
        if not ref.startswith("refs/exps/"):
            state[f"ref {ref}"] = sha
    state["HEAD"] = ask("rev-parse", "--symbolic-full-name", "HEAD") + ask("rev-parse", "HEAD")
    state["stash"] = ask("stash", "list", "--format=%H %gs")
    for number, line in enumerate(ask("reflog", "--format=%H %gs").splitlines()):
        state[f"reflog {number}"] = line
    listing = ask("status", "--porcelain=v2", "--untracked-files=all", "--ignored=no", "-z")
    for line in listing.split("\0"):
        words = line.split(" ")
        path = " ".join(words[1:]) if line[:1] in "?!" else " ".join(words[8:])
        if line and not is_left_out(path):
            state[f"status {line}"] = "so"


def _git_folder_state(base: Path, state: State) -> None:
    for path in sorted(base.rglob("*")):
        name = path.relative_to(base).as_posix()
        if any(name == no or name.startswith(no + "/") for no in _NOT_COMPARED):
            if name.endswith(".lock"):
                state[f"leftover {base.name}/{name}"] = "there"
        elif name == "packed-refs":
            lines = path.read_text().splitlines()
            state["git packed-refs"] = "\n".join(x for x in lines if "refs/exps/" not in x)
        elif path.is_file():
            state[f"git {base.name}/{name}"] = _digest(path)


def without_address(value: object) -> str:
    """A parameter's name in a test's: the workers of one session must agree on it."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))

"""Keeps an artifact out of Git: one exact line in the `.gitignore` of its own folder.

What Git ignores and tracks is asked of libgit2, whose answers follow every `.gitignore`, the
global excludes file and `.git/info/exclude`, without a process for each artifact.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import files
from ..errors import ArtifactConflictError, ArtifactError, RepositoryError
from ..notices import logger
from .git import PLAIN_PATHSPECS
from .programs import run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .programs import Program

NAME = ".gitignore"
_PLAIN = re.compile(r"[\w./@+,=~ -]*[\w./@+,=~-]")


def line_for(name: str) -> bytes:
    """The rule that ignores the file or folder `name` beside the `.gitignore`, and nothing else.

    The leading slash anchors it, and makes `#` and `!` ordinary. Raises ArtifactError for a name
    that no rule can hold.
    """
    if "\n" in name or name.endswith("\r"):
        raise ArtifactError(
            f"Artifact name {name!r} holds a line break, which no .gitignore rule can name. "
            "Rename it."
        )
    # gitignore(5): these are special, and trailing spaces are dropped unless quoted.
    escaped = "".join(f"\\{char}" if char in "\\*?[" else char for char in name)
    body = escaped.rstrip(" ")
    return b"/" + os.fsencode(body + "\\ " * (len(escaped) - len(body)))


def with_line(text: bytes, line: bytes) -> bytes:
    """`text` with `line` at its end: in the file's own line ending, and never twice."""
    return text if line in _lines(text) else _appended(text, line)


def with_last_line(text: bytes, line: bytes) -> bytes:
    """`text` with `line` below every other rule, so that none there takes it back."""
    rules = [one for one in _lines(text) if one.strip() and not one.startswith(b"#")]
    return text if rules[-1:] == [line] else _appended(text, line)


def _lines(text: bytes) -> list[bytes]:
    return [one.removesuffix(b"\r") for one in text.split(b"\n")]


def _appended(text: bytes, line: bytes) -> bytes:
    eol = b"\r\n" if text.count(b"\r\n") * 2 > text.count(b"\n") else b"\n"
    glue = b"" if not text or text.endswith(b"\n") else eol
    return text + glue + line + eol


def without_line(text: bytes, line: bytes) -> bytes:
    """`text` without the last line that is `line`."""
    lines = text.splitlines(keepends=True) if b"\r" not in text else _split(text)
    for place in range(len(lines) - 1, -1, -1):
        if lines[place].rstrip(b"\r\n") == line:
            return b"".join(lines[:place] + lines[place + 1 :])
    return text


def _split(text: bytes) -> list[bytes]:
    # bytes.splitlines also breaks at a lone CR, which Git takes for part of a name.
    lines = [one + b"\n" for one in text.split(b"\n")]
    lines[-1] = lines[-1][:-1]
    return [one for one in lines if one]


@dataclass(frozen=True)
class Edit:
    """A line this package added to a `.gitignore`; `undo` takes it out again."""

    path: Path
    line: bytes
    before: bytes | None
    after: bytes

    def undo(self, scratch: Path | None = None) -> None:
        """Puts the file back as it was; keeps what others wrote to it meanwhile."""
        with contextlib.suppress(OSError), files.locked(self.path):
            now = self.path.read_bytes()
            if now == self.after and self.before is None:
                self.path.unlink()
            else:
                restored = self.before if now == self.after else without_line(now, self.line)
                files.replace(self.path, restored or b"", scratch=scratch)


class GitView:
    """What Git tracks and ignores in one working tree, asked cheaply again and again."""

    def __init__(self, git_root: Path, scratch: Path | None = None) -> None:
        self._root = git_root
        self._scratch = scratch
        self._repo: Any = None
        self._index: Any = None
        self._ignored: set[str] = set()  # what Git said so of
        self._told: set[str] = set()
        self._unstaged: list[Path] = []

    def check(self, path: Path, pointer: Path, *, isdir: bool) -> None:
        """Raises where `path` must not become an artifact: Git has it, or would hide `pointer`.

        Writes nothing.
        """
        line_for(path.name)
        if self.tracks(path):
            shown = self._relative(path)
            flag = "-r " if isdir else ""
            raise ArtifactConflictError(
                f"Artifact '{shown}' is already tracked by Git. To let DVC track it instead:\n"
                f"    git rm {flag}--cached '{shown}'\n"
                f'    git commit -m "stop tracking {shown}"'
            )
        if self.ignores(pointer):
            shown = self._relative(pointer)
            folder = self._ignored_folder(shown)
            advice = (
                f"Git looks at nothing in '{folder}' then, so that a rule for the file alone would "
                f"not help: change that one (to `{folder}*`, with `!{folder}*.dvc` below it)"
                if folder
                else f"Change that rule (for example, add `!{pointer.name}` below it)"
            )
            raise ArtifactError(
                f"Git ignores '{shown}', the file that would point to the artifact, by "
                f"{self.rule_of(pointer)}. {advice}, or log the artifact from where no such rule "
                "holds: copy=True puts a copy into the run's folder."
            )

    def hide(self, path: Path, *, isdir: bool) -> Edit | None:
        """Makes Git ignore `path`; None when it does already. Raises OSError, nothing changed."""
        if self.ignores(path, isdir=isdir):
            return None
        line = line_for(path.name)
        target = path.parent / NAME
        if target.is_symlink():
            # Git opens it with O_NOFOLLOW (since 2.32); libgit2 and `dvc add` go by what it names.
            self._tell_of_link(path, target, line)
            return None
        with files.locked(target):
            try:
                before: bytes | None = target.read_bytes()
            except FileNotFoundError:
                before = None
            if with_line(before or b"", line) == before and self.ignores(path, isdir=isdir):
                return None  # another run was first
            after = with_last_line(before or b"", line)
            if after == before:
                self._tell_of_other_rule(path, target)
                return None
            files.replace(target, after, scratch=self._scratch)
        return Edit(target, line, before, after)

    def _tell_of_link(self, path: Path, target: Path, line: bytes) -> None:
        rel = self._relative(path)
        if not self._check_ignore(rel):
            self._warn_once(
                f"Git does not ignore '{rel}': '{target}' is a symbolic link, which Git does not "
                "follow, so nothing was written there. Put a copy of the file that it names in "
                f"its place, with the line `{os.fsdecode(line)}`, to keep the data out of Git."
            )

    def _tell_of_other_rule(self, path: Path, target: Path) -> None:
        rel = self._relative(path)
        if not self._check_ignore(rel):
            self._warn_once(
                f"Git does not ignore '{rel}', though the last rule in '{target}' is for it: a "
                "rule elsewhere takes it back. Remove that rule to keep the data out of Git."
            )

    def _warn_once(self, text: str) -> None:
        """Warns once, though a checkpoint is logged every epoch."""
        if text not in self._told:
            self._told.add(text)
            logger.warning("%s", text)

    def tracks(self, path: Path) -> bool:
        """Whether Git's index holds `path`, or anything below it."""
        rel = self._relative(path)
        try:
            index = self._fresh_index()
            return rel in index or _has_folder(index, rel)
        except Exception as error:  # noqa: BLE001 - pygit2 raises several kinds of its own
            # Split and sparse indexes are what Git reads and libgit2 does not.
            logger.debug("libgit2 cannot read the index (%s); asking git", error)
            return bool(self._git("ls-files", "--cached", "-z", "--", f":(literal){rel}"))

    def ignores(self, path: Path, *, isdir: bool = False) -> bool:
        """Whether a rule keeps `path` out of Git."""
        rel = self._relative(path)
        if not _PLAIN.fullmatch(rel):
            # libgit2 reads some rules for odd names differently (it drops any white space at
            # their end), and Git's own answer is the one that counts.
            return bool(self._check_ignore(rel))
        ask = self._repository().path_is_ignored
        if self._ignored_folder(rel) is None and not ask(f"{rel}/" if isdir else rel):
            return False
        return self._surely_ignores(path, rel)

    def _ignored_folder(self, rel: str) -> str | None:
        """The outermost folder over a path that is ignored: no rule takes back what is below one.

        libgit2 would hear such a rule, other than Git (gitignore(5)).
        """
        ask = self._repository().path_is_ignored
        parts = rel.split("/")
        above = ("/".join(parts[:depth]) + "/" for depth in range(1, len(parts)))
        return next((folder for folder in above if ask(folder)), None)

    def _surely_ignores(self, path: Path, rel: str) -> bool:
        """Whether Git agrees with libgit2, which takes `x` and a tab for a rule about `x`.

        Nor does it hear some rules that take back what one with a star ignores.
        """
        if rel not in self._ignored:
            if not (_has_line(path) or self._check_ignore(rel)):
                return False
            self._ignored.add(rel)
        return True

    def rule_of(self, path: Path) -> str:
        """The rule that ignores `path`, as `file:line: rule`, for an error's text."""
        told = self._check_ignore(self._relative(path))
        return f"the rule {told!r}" if told else "one of its ignore rules"

    def stage(self, paths: list[Path]) -> None:
        """Adds `paths` to Git's index; what `core.autostage` of DVC asks for.

        What Git does not take, which is told, it is given again with the next ones.
        """
        new = [path for path in paths if not self._has_staged(path)]
        if not new:
            return
        left = [path for path in self._unstaged if path not in new and path.exists()]
        names = [f":(literal){self._relative(path)}" for path in (*left, *new)]
        done = self._run("add", "--", *names)
        untold = [self._relative(path) for path in new if path not in self._unstaged]
        self._unstaged = [*left, *new] if done.code else []
        if done.code and untold:
            # Git's first paragraph: what follows is advice about other processes.
            said = " ".join(done.complaint().split("\n\n")[0].split())
            logger.warning(
                "`core.autostage` is on, but Git could not stage what points to the artifact "
                "(%s). Run `%s` in '%s' when that is mended.",
                said, shlex.join(["git", "add", "--", *untold]), self._root,
            )  # fmt: skip

    def _has_staged(self, path: Path) -> bool:
        """Whether the index surely has the bytes of a file: most loggings change no pointer."""
        import pygit2

        try:
            return bool(self._fresh_index()[self._relative(path)].id == pygit2.hashfile(str(path)))
        except Exception as error:  # noqa: BLE001 - pygit2 raises several kinds of its own
            logger.debug("'%s' is given to `git add`: %s", path, error)
            return False

    def close(self) -> None:
        """Lets go of the repository."""
        repo, self._repo, self._index = self._repo, None, None
        if repo is not None:
            repo.free()

    def _repository(self) -> Any:
        if self._repo is None:
            import pygit2

            try:
                self._repo = pygit2.Repository(str(self._root))
            except pygit2.GitError as error:
                raise RepositoryError(
                    f"Cannot open the Git repository at '{self._root}': {error}."
                ) from error
        return self._repo

    def _fresh_index(self) -> Any:
        if self._index is None:
            self._index = self._repository().index
        # Parses the file again only when its stat changed: a large index costs once.
        self._index.read(False)  # noqa: FBT003 - pygit2's own argument, by position in old versions
        return self._index

    def _relative(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix()

    def _check_ignore(self, rel: str) -> str:
        # A name that starts with a colon would be read as pathspec magic, which it cannot do. A
        # rule that takes a path back is told as well, and ignores nothing.
        told = self._git("check-ignore", "--no-index", "-v", "--", f"./{rel}")
        rule = told.rpartition("\t")[0]
        return "" if rule.split(":", 2)[-1].startswith("!") else rule

    def _git(self, *arguments: str) -> str:
        return os.fsdecode(self._run(*arguments).written)

    def _run(self, *arguments: str) -> Program:
        git = shutil.which("git") or "git"
        done = run([git, "-C", self._root, *arguments], env={**os.environ, **PLAIN_PATHSPECS})
        if done.complaint():
            logger.debug("git %s: %s", arguments[0], done.complaint())
        return done


def _has_line(path: Path) -> bool:
    """Whether the `.gitignore` beside `path` has the line that `hide` would write."""
    target = path.parent / NAME
    try:
        rules = b"" if target.is_symlink() else target.read_bytes()
    except OSError:
        return False
    return with_line(rules, line_for(path.name)) == rules


def _has_folder(index: Any, rel: str) -> bool:
    prefix = os.fsencode(rel + "/")
    place = _first(len(index), lambda at: os.fsencode(index[at].path) >= prefix)
    return place < len(index) and os.fsencode(index[place].path).startswith(prefix)


def _first(count: int, holds: Callable[[int], bool]) -> int:
    # The index is sorted by the bytes of its paths, so a folder's entries stand together.
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low

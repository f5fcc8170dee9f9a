"""What `.dvcignore` files say of an artifact: asked of DVC's own filter when they changed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    Stamp = tuple[tuple[int, int, int] | None, ...]

NAME = ".dvcignore"
_BUILT_IN = frozenset({".hg/", ".git/", ".git", ".dvc/"})
_OWN_NAMES = frozenset(rule.rstrip("/") for rule in _BUILT_IN)


class DvcIgnore:
    """The rules of one DVC repository (`repo`, dvc's Repo), as they are at each question.

    Where the folders over a path bring none but DVC's built-in ones that is remembered, with the
    stat of each `.dvcignore` on the way: DVC's filter lists all those folders when it is made.
    """

    def __init__(self, repo: Any) -> None:
        self._repo = repo
        self._plain: dict[Path, Stamp] = {}

    def rule(self, path: Path) -> str | None:
        """The rule that keeps `path` out of DVC, for an error's text; None where none does."""
        if self._only_built_in(path):
            return None
        stamp = self._stamp(path.parent)
        ignore = self._filter()
        # As `dvc add` asks (dvc/output.py, `_validate_output_path`).
        if ignore.is_ignored(self._repo.fs, str(path), ignore_subrepos=False):
            rules = ignore.check_ignore(str(path)).pattern_infos
            return str(rules[-1]) if rules else "one of its rules"
        if _is_plain(ignore, path.parent):
            self._plain[path.parent] = stamp
        return None

    def below(self, path: Path) -> Any:
        """DVC's rules for what is in the folder `path`, or None where they are only its built-in.

        Those are a handful of names; DVC's general answer costs several microseconds a file.
        """
        if self._only_built_in(path):
            return None
        ignore = self._filter()
        return None if _is_plain(ignore, path) else ignore

    def _only_built_in(self, path: Path) -> bool:
        was = self._plain.get(path.parent)
        return (
            was is not None
            and _OWN_NAMES.isdisjoint(path.parts)
            and was == self._stamp(path.parent)
        )

    def _stamp(self, folder: Path) -> Stamp:
        """The `.dvcignore` files from the root to `folder`, as they are."""
        root = Path(self._repo.root_dir)
        name, found = str(root), [seen(f"{root}{os.sep}{NAME}")]
        for part in folder.relative_to(root).parts:
            name = f"{name}{os.sep}{part}"
            found.append(seen(f"{name}{os.sep}{NAME}"))
        return tuple(found)

    def _filter(self) -> Any:
        # Made anew each time: it remembers a verdict on every path it was asked about, and a
        # `.dvcignore` may have been edited since.
        from dvc.ignore import DvcIgnoreFilter

        return DvcIgnoreFilter(self._repo.fs, self._repo.root_dir)


def leaves_out(file: Path, root: Path) -> bool:
    """Whether a rule keeps a dvc.yaml or `.dvc` file of the project at `root` from DVC.

    DVC is not loaded where no `.dvcignore` over the file has a rule: `dvc init` writes one of
    comments alone.
    """
    if not any(_has_rule(folder / NAME) for folder in file.parents if folder.is_relative_to(root)):
        return False
    from dvc.fs import localfs
    from dvc.ignore import DvcIgnoreFilter

    # As DVC asks before it loads one (dvc/dvcfile.py, `FileMixin._load`).
    return bool(DvcIgnoreFilter(localfs, str(root)).is_ignored_file(str(file)))


def _has_rule(file: Path) -> bool:
    try:
        lines = file.read_bytes().splitlines()
    except OSError:
        return False
    return any(line.strip() and not line.startswith(b"#") for line in lines)


def _is_plain(ignore: Any, folder: Path) -> bool:
    ignore(str(folder), [], [])  # makes it read the `.dvcignore` files on the way
    try:
        rules = ignore.ignores_trie_fs.longest_prefix(ignore._get_key(str(folder))).value  # noqa: SLF001 - guarded: without it only the fast way is lost
        return {rule.patterns for rule in rules.pattern_list} == _BUILT_IN
    except (AttributeError, KeyError, TypeError):
        return False


def seen(path: str) -> tuple[int, int, int] | None:
    """By what a file is known to be as it was; None where there is none."""
    try:
        status = os.stat(path)  # noqa: PTH116 - called for every artifact and folder over it
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size

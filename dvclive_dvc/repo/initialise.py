"""`dvc init` for a Git repository that has no DVC yet, with nothing staged."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..errors import RepositoryError
from ..notices import logger
from . import trees
from .git import Git
from .snapshot import in_index, named_like

if TYPE_CHECKING:
    from pathlib import Path

    from .context import Context

# What `dvc init` writes and `git add`s. An experiment takes them along, tracked or not yet: DVC
# reads no commit that lacks the project's folder (dvc.repo.brancher, "does not contain a DVC
# repo"), and whoever gets the experiment from a remote gets a project.
OWN_FILES = (".dvc/config", ".dvc/.gitignore", ".dvcignore")
_NAMED = 5  # projects that a message has room for


def initialise(git: Git) -> None:
    """Makes the top of `git` a DVC project, in the steps of `dvc.repo.init.init`, nothing staged.

    Where projects are below it already, a warning names them: the run may be meant for one.
    Raises RepositoryError where DVC cannot be initialised.
    """
    root = git.root
    from dvc.config import Config
    from dvc.exceptions import DvcException
    from dvc.ignore import init as init_dvcignore
    from dvc.repo import Repo

    try:
        (root / ".dvc").mkdir(exist_ok=True)
        Config.init(str(root / ".dvc"))
        init_dvcignore(str(root))
        Repo(str(root)).close()
    except (DvcException, OSError) as error:
        raise RepositoryError(
            f"DVC cannot be initialised in '{root}': {error}. Run `dvc init` there to see why, or "
            "pass save_dvc_exp=False."
        ) from error
    logger.info(
        "Initialised DVC in '%s'. Keep it with `git add %s && git commit`.",
        root,
        " ".join(OWN_FILES),
    )
    below = _projects_below(git)
    if below:
        logger.warning(
            "There are DVC projects in '%s' already, and the run belongs to none of them: %s. To "
            "have it in one of those, start it in its folder or give it a folder in there, such "
            "as Live(dir='%s/dvclive'), and remove '.dvc' and '.dvcignore' from '%s' again.",
            root,
            ", ".join(f"'{name}'" for name in below[:_NAMED])
            + (f" and {len(below) - _NAMED} more" if len(below) > _NAMED else ""),
            below[0],
            root,
        )


def _projects_below(git: Git) -> list[str]:
    """The folders of the DVC projects that Git knows, but for one at the top."""
    try:
        configs = named_like(git, "", "/.dvc/config")
    except RepositoryError:  # an index that cannot be read; saving tells of it
        return []
    return [name.removesuffix("/.dvc/config") for name in configs]


def not_checked_out(context: Context, folder: Path) -> str | None:
    """What to say where Git has DVC's configuration and the working tree lacks it.

    Looked for at and above the working directory and the run's folder. To initialise DVC there
    would put an empty configuration in the place of the user's.
    """
    root = context.git_root
    if root is None:
        return None
    git = Git(root, context.git)
    tree = trees.of_commit(git.repo, context.baseline) if context.baseline else None
    for place in dict.fromkeys((context.cwd, *context.cwd.parents, folder, *folder.parents)):
        if not place.is_relative_to(root) or (place / ".dvc" / "config").exists():
            continue
        path = os.fsencode((place / ".dvc" / "config").relative_to(root))
        if (tree and trees.find(git, tree, path)) or in_index(git, [path]):
            own = (place / ".dvc").relative_to(root).as_posix()
            return (
                f"DVC's configuration '{place}/.dvc/config' is in Git and not in the working tree. "
                f"Run `git -C '{root}' sparse-checkout add '{own}'` where a sparse checkout leaves "
                f"it out, or `git -C '{root}' restore '{own}'` where it was deleted; commit the "
                "deletion where that was meant."
            )
    return None


def own_files(context: Context) -> tuple[Path, ...]:
    """DVC's own files of the project that are there, but for those that Git ignores.

    What the user keeps out of Git may hold the password of a remote, and experiments are pushed.
    """
    root, project = context.git_root, context.dvc_root
    if root is None or project is None:
        return ()
    git = Git(root, context.git)
    paths = (path for name in OWN_FILES if (path := project / name).is_file())
    return tuple(path for path in paths if not _is_ignored(git, path))


def _is_ignored(git: Git, path: Path) -> bool:
    name = os.fsencode(path.relative_to(git.root))
    return not in_index(git, [name]) and git.ignores(name)

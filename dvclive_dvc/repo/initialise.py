"""`dvc init` for a Git repository that has no DVC yet, with nothing staged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import RepositoryError
from ..notices import logger

if TYPE_CHECKING:
    from pathlib import Path

# What `dvc init` writes and `git add`s. An experiment takes them along, tracked or not: DVC
# reads no commit that lacks them (dvc.repo.brancher.switch, "does not contain any DVC repo").
OWN_FILES = (".dvc/config", ".dvc/.gitignore", ".dvcignore")


def initialise(root: Path) -> None:
    """Makes `root` a DVC project, in the steps of `dvc.repo.init.init` but for its `git add`.

    Raises RepositoryError where DVC cannot be initialised.
    """
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


def own_files(dvc_root: Path) -> tuple[Path, ...]:
    """DVC's own files of the project, as far as they are there."""
    return tuple(path for name in OWN_FILES if (path := dvc_root / name).is_file())

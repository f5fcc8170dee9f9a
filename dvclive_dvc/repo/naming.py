"""An experiment's name: the one that is wished for, or one as DVC makes them."""

from __future__ import annotations

import contextlib
import os
import random
import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from ..notices import logger
from .git import common_dir, packed_ref
from .record import reference

if TYPE_CHECKING:
    from collections.abc import Callable

    from .context import Context

# Of 255 bytes a file system gives a name, some are Git's (`.lock`) and some for a suffix.
_MAX_NAME = 200


def choose_name(context: Context, wanted: str | None) -> str:
    """The experiment's name: the wished one, `DVC_EXP_NAME`, else one as DVC makes them.

    One that cannot be a reference, or is taken on this baseline, gives a warning and a fresh
    name: at start, not after ten hours. Costs two look-ups, however many experiments there are.
    """
    name = wanted or context.exp_name
    if name:
        trouble = _trouble_with(name)
        if trouble is None and not _taken(context, name):
            return name
        fresh = _fresh_name(context)
        logger.warning(
            "The experiment cannot be named '%s': %s. It will be '%s'. Choose another name by "
            "`Live(exp_name=...)` or DVC_EXP_NAME.",
            name,
            trouble or "an experiment of that name exists on this commit",
            fresh,
        )
        return fresh
    return _fresh_name(context)


def _trouble_with(name: str) -> str | None:
    import pygit2

    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        return "it is no text that UTF-8 could hold"
    if length > _MAX_NAME:
        return f"it becomes a file's name, which has room for {_MAX_NAME} bytes of it"
    if "/" in name:
        # dvc/repo/experiments/refs.py: ExpRefInfo.from_ref takes no more than five parts.
        return "DVC cannot read a name with '/'"
    if name.startswith("-"):
        return "a name that begins with '-' reads as an option of `dvc exp`"
    if "\0" in name or not pygit2.reference_is_valid_name(f"refs/exps/ab/cd/{name}"):
        return "Git takes no such name for a reference (see `git check-ref-format --help`)"
    return None


def _taken(context: Context, name: str) -> bool:
    if context.git_dir is None or context.baseline is None:
        return False
    common = common_dir(context.git_dir)
    ref = reference(context.baseline, name)
    return os.path.lexists(common / ref) or packed_ref(common, ref) is not None


def _fresh_name(context: Context) -> str:
    make = _generator()
    for _ in range(50):
        name = make()
        if not _taken(context, name):
            return name
    return f"{make()}-{secrets.token_hex(3)}"


def _generator() -> Callable[[], str]:
    """DVC's own `gen_random_name`, without importing DVC.

    Importing dvc.repo.experiments.utils loads all of DVC (0.3 s), for a function that needs
    nothing but `random` and its own word lists; so it is taken out of the file by itself, and
    imported the usual way only where that fails.
    """
    import importlib.util

    with contextlib.suppress(Exception):
        spec = importlib.util.find_spec("dvc")
        folder = spec.submodule_search_locations[0]  # type: ignore[union-attr, index]
        text = Path(folder, "repo", "experiments", "utils.py").read_text(encoding="utf-8")
        match = re.search(r"^def gen_random_name\(.*?(?=^\S)", text, re.MULTILINE | re.DOTALL)
        names: dict[str, object] = {"random": random}
        exec(match.group(), names)  # type: ignore[union-attr]  # noqa: S102 - DVC's own source
        made = names["gen_random_name"]
        if isinstance(made(), str):  # type: ignore[operator]
            return made  # type: ignore[return-value]
    from dvc.repo.experiments.utils import gen_random_name

    return gen_random_name  # type: ignore[no-any-return]

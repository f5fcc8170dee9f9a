"""Names of metrics, plots and images: which are taken, and how they become paths."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ..errors import InvalidDataTypeError, InvalidNameError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# A tab or the end of a line would break the .tsv's header, NUL no file system takes.
FORBIDDEN = frozenset(map(chr, (*range(32), 127, 0x85, 0x2028, 0x2029)))
_MAX_PART = 200


def checked(name: Any, what: str) -> str:
    """The name with `/` between its parts, fit to be a path below the run's folder.

    Raises:
        InvalidDataTypeError: `name` is no string.
        InvalidNameError: it is empty, leaves the folder, or holds a control character.
    """
    if not isinstance(name, (str, os.PathLike)):
        raise InvalidDataTypeError(name, type(name), f"a string as the {what}'s name")
    text = os.fspath(name)
    if isinstance(text, bytes):
        raise InvalidDataTypeError(name, bytes, f"a string as the {what}'s name")
    text = str(text)
    if os.sep != "/":
        text = text.replace(os.sep, "/")
    problem = _problem(text)
    if problem:
        raise InvalidNameError(
            f"The {what}'s name {text!r} {problem}. Give it a relative name such as "
            "'loss' or 'train/loss': parts between '/' become folders."
        )
    return text


def check_spelling(folder: Path, name: str, what: str) -> None:
    """Raises InvalidNameError where a case-blind file system has another name's file there."""
    if not os.path.lexists(folder / name):
        return
    spelt = []
    for part in name.split("/"):
        there = os.listdir(folder)  # noqa: PTH208 - the names as they are spelt
        alike = (one for one in there if one.casefold() == part.casefold())
        spelt.append(part if part in there else next(alike, part))
        folder /= spelt[-1]
    other = "/".join(spelt)
    if other != name:
        raise InvalidNameError(
            f"{what} '{name}' differs from '{other}', which is there already, only by upper and "
            "lower case, and this file system takes both for one file. Rename one of them."
        )


def check_shown(table: Mapping[Any, Any], what: str) -> None:
    """Raises InvalidNameError where two values of a nested table would be shown under one name."""
    seen: set[str] = set()
    for name in _dotted(table):
        if name in seen:
            raise InvalidNameError(
                f"Two {what} would both be shown as {name!r}, because DVC joins nested names by "
                "dots, and `dvc exp show` would fail on them. Rename one of them."
            )
        seen.add(name)


def _dotted(table: Mapping[Any, Any]) -> list[str]:
    found = []
    for key, value in table.items():
        if isinstance(value, dict) and value:
            found += [f"{key}.{rest}" for rest in _dotted(value)]
        else:
            found.append(str(key))
    return found


def _problem(text: str) -> str | None:  # noqa: PLR0911 - one line a fault
    if not text.strip():
        return "is empty"
    bad = sorted(set(text) & FORBIDDEN)
    if bad:
        return f"holds the control character {bad[0]!r}"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "holds a lone surrogate, which is no Unicode"
    if text.startswith("/") or (len(text) > 1 and text[1] == ":" and os.name == "nt"):
        return "is absolute, so it leaves the run's folder"
    for part in text.split("/"):
        if part == "":
            return "has an empty part"
        if part in {".", ".."}:
            return f"has the part {part!r}, which may leave the run's folder"
        if len(part.encode()) > _MAX_PART:
            return f"has a part of more than {_MAX_PART} bytes, longer than file systems take"
    return None

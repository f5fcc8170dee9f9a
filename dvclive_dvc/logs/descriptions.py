"""How an artifact is described in a dvc.yaml: its key, and fields that DVC and GTO can read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..backend import Artifact
from ..errors import InvalidDataTypeError
from ..notices import logger
from .params import converted

if TYPE_CHECKING:
    from pathlib import Path

# GTO's rule for artifact names (gto.constants.name), which DVC checks too: a name against it
# breaks `dvc artifacts get` and `gto show` for the whole file.
_NAME = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9-/_]*[a-zA-Z0-9])?")


def described(
    path: Path,
    *,
    type: str | None,  # noqa: A002 - the field's name in dvc.yaml
    name: str | None,
    desc: str | None,
    labels: Iterable[str] | None,
    meta: Mapping[str, Any] | None,
) -> tuple[str, Artifact] | None:
    """The key and entry for what was said of an artifact; None where nothing was said.

    The key is `name`, else the file's name without its last ending. A key that GTO would not
    take is said and left out: the artifact is cached all the same.

    Raises InvalidDataTypeError or InvalidParameterTypeError for values that YAML cannot hold.
    """
    for field, value in (("type", type), ("name", name), ("desc", desc)):
        if value is not None and not isinstance(value, str):
            raise InvalidDataTypeError(field, value.__class__, "a string, or None")
    marks = _labels(labels)
    if meta is not None and not isinstance(meta, Mapping):
        raise InvalidDataTypeError("meta", meta.__class__, "a dict, or None")
    facts = converted("meta", meta or {})
    if not any((type, name, desc, marks, facts)):
        return None
    key = name or path.stem
    if not _NAME.fullmatch(key):
        logger.warning(
            "Artifact name '%s' is not written to dvc.yaml: DVC takes letters, digits, '-', '_' "
            "and '/', with a letter or digit at both ends. The artifact itself is tracked; "
            "pass another name= to describe it.",
            key,
        )
        return None
    return key, Artifact(path, type=type, desc=desc, labels=marks, meta=facts)


def _labels(labels: Iterable[str] | None) -> tuple[str, ...]:
    if labels is None:
        return ()
    allowed = "a list of strings, such as ['vision']"
    if isinstance(labels, (str, bytes, Mapping)) or not isinstance(labels, Iterable):
        raise InvalidDataTypeError("labels", labels.__class__, allowed)
    marks = tuple(labels)
    for label in marks:
        if not isinstance(label, str):
            raise InvalidDataTypeError("labels", label.__class__, allowed)
    return marks

"""The summary: the last value of each metric, nested by `/`, as `metrics.json`.

DVC reads the file as a metrics file, so it is strict JSON: NaN and infinities are strings.
"""

from __future__ import annotations

import contextlib
import json
import math
from typing import TYPE_CHECKING, Any

from .. import files
from ..errors import InvalidDataTypeError, InvalidNameError
from . import names

if TYPE_CHECKING:
    from pathlib import Path


def put(summary: dict[str, Any], name: str, value: Any) -> None:
    """Sets `a/b/c` as `summary["a"]["b"]["c"]`.

    Raises InvalidNameError, with the summary unchanged, where a part of the name is a metric
    itself: `a` and `a/b` cannot both be read from one JSON document.
    """
    parts = name.split("/")
    node, depth = _deepest(summary, name, parts)
    for part in parts[depth:-1]:
        node[part] = node = {}
    node[parts[-1]] = value


def check(summary: dict[str, Any], name: str) -> None:
    """Raises as `put` would, and changes nothing."""
    _deepest(summary, name, name.split("/"))


def _deepest(summary: dict[str, Any], name: str, parts: list[str]) -> tuple[dict[str, Any], int]:
    """The innermost group on the way to `name` that is there already, and how deep it lies."""
    node = summary
    for depth in range(len(parts) - 1):
        child = node.get(parts[depth])
        if child is None:
            return node, depth
        if not isinstance(child, dict):
            raise _clash(name, "/".join(parts[: depth + 1]))
        node = child
    there = node.get(parts[-1])
    if isinstance(there, dict):
        raise _clash(name, f"{name}/{next(iter(there), '')}")
    return node, len(parts) - 1


def get(summary: dict[str, Any], name: str) -> Any:
    """The value under this name; None where there is none."""
    node: Any = summary
    for part in name.split("/"):
        if not isinstance(node, dict) or part not in node:
            return None
        node = node[part]
    return node


def _clash(name: str, other: str) -> InvalidNameError:
    value = min(name, other, key=len)
    return InvalidNameError(
        f"Metric {name!r} cannot stand beside metric {other!r}: {value!r} would have to be a value "
        f"and a group at once in metrics.json. Rename one of them: {value!r}, for example, to "
        f"'{value}/value' or '{value}_value'."
    )


def plain(value: Any) -> Any:
    """The value as strict JSON can hold it: NaN and infinities become their names."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return value


def write(path: Path, summary: dict[str, Any]) -> None:
    """Replaces metrics.json; values the user put in by hand are made plain on the way.

    Raises InvalidDataTypeError where those values contain themselves, or an integer of more digits
    than Python reads back, and InvalidNameError where DVC would show two of them under one name,
    at which it fails; the file stays as it was.
    """
    try:
        data = files.dump_json(summary)
        if not data.isascii():
            data.decode()  # a lone surrogate is no Unicode
    except (TypeError, ValueError, RecursionError):
        try:
            data = files.dump_json(_cleaned(summary))
        except RecursionError as error:
            raise InvalidDataTypeError(
                "summary", type(summary), "values that do not contain themselves"
            ) from error
        except ValueError as error:
            raise InvalidDataTypeError(
                "summary", int, "integers of 4,300 digits at most"
            ) from error
    if _has_dots(summary):
        names.check_shown(summary, "metrics")
    files.put(str(path), data)


def _has_dots(table: dict[Any, Any]) -> bool:
    # Without a dot in a key no two names can meet: the usual summary costs this look alone.
    try:
        if "." in "".join(table):
            return True
    except TypeError:  # a key of the user's that is no string
        return True
    return any(type(value) is dict and _has_dots(value) for value in table.values())


def _cleaned(value: Any) -> Any:
    if isinstance(value, dict):
        return {_cleaned(str(key)): _cleaned(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_cleaned(item) for item in value]
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, (int, float)) or value is None:
        return plain(value)
    # Scalars of NumPy, torch and jax are their `item()`; an array of several has none.
    for name in ("item", "tolist"):
        method = getattr(value, name, None)
        if callable(method):
            with contextlib.suppress(TypeError, ValueError, RuntimeError):
                return _cleaned(method())
    return str(value)


def read(path: Path) -> dict[str, Any]:
    """What metrics.json holds; empty when there is none."""
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    return document if isinstance(document, dict) else {}

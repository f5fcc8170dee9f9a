"""Parameters: values made plain, and `params.yaml`, which DVC and every YAML reader read alike.

DVC reads YAML 1.2 (ruamel), much of the world 1.1 (PyYAML): `yes`, `1e5` and `12:30` mean other
things to each. So the file is written in what both share: strings that could be anything else
are quoted, floats have a dot and a signed exponent.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import json
import math
import os
import re
import sys
import types
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .. import files, yamltext
from ..errors import InvalidNameError, InvalidParameterTypeError
from . import names

if TYPE_CHECKING:
    from pathlib import Path

_ALLOWED = (
    "Allowed: dicts, lists, numbers, strings, booleans, None; NumPy scalars and arrays, paths, "
    "enums, dates and dataclasses are converted."
)
# DVC's own flattening of params recurses, so deeper ones could not be shown.
_MAX_DEPTH = 100
_TIMES = (dt.date, dt.time)


def converted(name: str, value: Any) -> Any:
    """The value in dicts, lists, str, int, float, bool and None.

    Raises InvalidParameterTypeError for what DVC could not read back, or would not be able to
    show: sets, bytes, tuples as keys, structures that contain themselves, objects.
    """
    return _plain(name, value, ())


def converted_all(params: Mapping[str, Any]) -> dict[str, Any]:
    """All parameters made plain; a namespace or dataclass is taken for the dict of its fields.

    Raises InvalidParameterTypeError as `converted` does, InvalidNameError for an empty name
    or one of several lines.
    """
    table = _plain("params", params, (), top=True)
    if not isinstance(table, dict):
        raise InvalidParameterTypeError(
            f"Parameters must be a dict of names and values, not {type(params)}. "
            "Call log_params({'lr': 0.1}) or log_param('lr', 0.1)."
        )
    return table


def merged(former: Mapping[str, Any], fresh: Mapping[str, Any]) -> dict[str, Any]:
    """The former parameters with the fresh ones in their place.

    Raises InvalidNameError where two would be shown under one name: DVC joins nested keys by
    dots, and `dvc exp show` fails on the whole repository when two meet (dvc.utils.flatten).
    """
    together = {**former, **fresh}
    names.check_shown(together, "parameters")
    return together


def _is(value: Any, module: str, name: str) -> bool:
    """Whether the value is of a class whose module need not be imported to know that it is not."""
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(value, getattr(loaded, name))


def _refused(name: str, why: str) -> InvalidParameterTypeError:
    return InvalidParameterTypeError(f"Parameter '{name}' {why}. {_ALLOWED}")


def _plain(name: str, value: Any, above: tuple[int, ...], *, top: bool = False) -> Any:
    if value is None or isinstance(value, (bool, str, int, float)):
        return _scalar(name, value)
    if id(value) in above:
        raise _refused(name, "contains itself")
    if len(above) > _MAX_DEPTH:
        raise _refused(name, f"is nested more than {_MAX_DEPTH} deep")
    inside = (*above, id(value))
    fields = _fields(name, value)
    if fields is not None:
        return _table(name, fields, inside, top=top)
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray, memoryview)):
        return [_plain(f"{name}[{i}]", item, inside) for i, item in enumerate(value)]
    other = _unwrapped(name, value)
    if other is value:
        raise _refused(name, f"has not supported type {type(value)}")
    return _plain(name, other, inside)


def _scalar(name: str, value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, enum.Enum):
        return _scalar(name, value.value)
    if isinstance(value, int):
        number = int(value)
        try:
            str(number)
        except ValueError as error:
            raise _refused(name, "is an integer of more digits than Python reads") from error
        return number
    if isinstance(value, float):
        return yamltext.real(value)
    text = str.__str__(value)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _refused(
            name, f"is the text {text!r}, which holds a lone surrogate and so is no Unicode"
        ) from error
    return text


def _fields(name: str, value: Any) -> Mapping[Any, Any] | None:
    """The keys and values of what is a table in one dress or another."""
    if isinstance(value, Mapping):
        try:
            return dict(value.items())
        except Exception as error:
            # OmegaConf raises its own errors for `???` and interpolations that lead nowhere.
            raise _refused(name, f"cannot be read: {error}") from error
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, types.SimpleNamespace) or _is(value, "argparse", "Namespace"):
        return dict(vars(value))
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return dict(value._asdict())
    dump = getattr(value, "model_dump", None)  # pydantic's models
    if callable(dump) and not isinstance(value, type):
        found = dump()
        return found if isinstance(found, Mapping) else None
    return None


def _table(
    name: str, fields: Mapping[Any, Any], inside: tuple[int, ...], *, top: bool
) -> dict[Any, Any]:
    table: dict[Any, Any] = {}
    for key, item in fields.items():
        plain_key = _key(name, key, top=top)
        if plain_key in table and type(plain_key) is str:
            raise _refused(name, f"has two keys that are both {plain_key!r} once written")
        table[plain_key] = _plain(str(plain_key) if top else f"{name}.{key}", item, inside)
    return table


def _key(name: str, key: Any, *, top: bool) -> Any:
    plain = key if isinstance(key, (str, bool, int, float)) or key is None else None
    if plain is None and key is not None:
        plain = None if isinstance(key, (tuple, bytes)) else _unwrapped(name, key)
        if not isinstance(plain, (str, bool, int, float)):
            raise _refused(name, f"has a key of type {type(key)} ({key!r}); use a string")
    plain = _scalar(name, plain)
    if not top:
        return plain
    # A parameter's own name: `dvc exp show` and `dvc params diff` fail on anything but a string.
    if plain is None or isinstance(plain, bool):
        raise _refused(str(plain), f"has a name of type {type(key)}; use a string")
    text = str(plain)
    if not text.strip():
        raise InvalidNameError(f"The parameter's name {key!r} is empty. Give it one, such as 'lr'.")
    if not names.FORBIDDEN.isdisjoint(text):
        # `dvc exp show` would break its table's line there.
        raise InvalidNameError(
            f"The parameter's name {key!r} holds a control character. Use one line of text, such "
            "as 'lr'."
        )
    return text


def _unwrapped(name: str, value: Any) -> Any:  # noqa: PLR0911 - one line a kind of wrapping
    """One step from a wrapped value towards a plain one; the value itself where there is none."""
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, _TIMES):
        return value.isoformat()  # DVC's --json output fails on a date
    if isinstance(value, dt.timedelta) or _is(value, "uuid", "UUID"):
        return str(value)
    if _is(value, "decimal", "Decimal"):
        return math.nan if value.is_nan() else float(value)  # float() refuses a signalling one
    # NumPy, torch and jax, scalars and arrays alike, without importing any of them.
    tolist = getattr(value, "tolist", None)
    if callable(tolist) and not isinstance(value, (type, memoryview)):
        try:
            return tolist()
        except (TypeError, ValueError, RuntimeError) as error:
            raise _refused(name, f"cannot be read: {error}") from error
    return value


# -- params.yaml ---------------------------------------------------------------------------


def write(path: Path, params: Mapping[str, Any]) -> None:
    """Replaces params.yaml unless it says just that; `params` are plain already."""
    files.replace_if_changed(path, dumped(params))


def dumped(params: Mapping[str, Any]) -> bytes:
    """The YAML of plain parameters, in the order they were logged."""
    lines: list[str] = []
    _emit_table(params, 0, lines)
    return "".join(lines or ["{}\n"]).encode()


def dumped_as_dvclive(params: Mapping[str, Any]) -> bytes:
    """The YAML that the public `dvclive` writes of them, for knowing its runs again."""
    import io

    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.default_flow_style = False
    stream = io.BytesIO()
    yaml.dump(dict(params), stream)
    return stream.getvalue()


def read(path: Path) -> dict[str, Any]:
    """What params.yaml holds, empty when there is none.

    Raises ValueError where it is no YAML mapping, as a crash of another writer may leave it.
    """
    from ruamel.yaml.error import YAMLError

    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return {}
    try:
        document = yamltext.parser().load(text.decode())
    except YAMLError as error:
        msg = f"{path} is not YAML: {error}"
        raise ValueError(msg) from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        msg = f"{path} holds no mapping"
        raise ValueError(msg)  # noqa: TRY004 - the file's fault, as a YAML error is
    return document


# Readable without quotes and a string to everyone: no digit, sign or dot in front, no colon, and
# no word below.
_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*(?: [A-Za-z0-9_(][A-Za-z0-9_./()-]*)*")
# What YAML 1.1 or 1.2 takes for a boolean or null.
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
# json.dumps leaves these as they are, YAML does not take them or folds them into a space.
_ESCAPED = re.compile("[\x7f-\xa0\u2028\u2029\ufeff\ufffe\uffff]")
_MAX_KEY = 100  # YAML gives up on a plain key after 1,024 characters


def _emit_table(table: Mapping[Any, Any], depth: int, lines: list[str]) -> None:
    indent = "  " * depth
    for key, value in table.items():
        shown = _scalar_text(key)
        head = f"{indent}{shown}:" if len(shown) <= _MAX_KEY else f"{indent}? {shown}\n{indent}:"
        _emit_below(head, value, depth, lines)


def _emit_list(values: Sequence[Any], depth: int, lines: list[str]) -> None:
    for value in values:
        _emit_below("  " * depth + "-", value, depth, lines)


def _emit_below(head: str, value: Any, depth: int, lines: list[str]) -> None:
    if isinstance(value, dict) and value:
        lines.append(f"{head}\n")
        _emit_table(value, depth + 1, lines)
    elif isinstance(value, list) and value:
        lines.append(f"{head}\n")
        _emit_list(value, depth + 1, lines)
    else:
        lines.append(f"{head} {_scalar_text(value)}\n")


def _scalar_text(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _float_text(value)
    if isinstance(value, str):
        if _BARE.fullmatch(value) and value.lower() not in _WORDS:
            return value
        quoted = json.dumps(value, ensure_ascii=False)
        return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", quoted)
    return "{}" if value == {} else "[]" if value == [] else str(value)


def _float_text(value: float) -> str:
    if math.isnan(value):
        return ".nan"
    if math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    # YAML 1.1 takes a number without dot and sign, such as Python's 1e20, for a string.
    digits, exponent, power = repr(value).partition("e")
    if "." not in digits:
        digits += ".0"
    if exponent and power[0] not in "+-":
        power = f"+{power}"
    return digits + exponent + power

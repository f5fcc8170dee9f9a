"""YAML as text: values written so that every parser reads them alike, files edited in place.

A round-trip dump would re-wrap, re-quote and re-indent what the user wrote. So a file is only
cut and added to, at the places a parser's marks give.
"""

from __future__ import annotations

import datetime as dt
import math
import re
import warnings
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from .errors import InvalidDataTypeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import SafeConstructor

# What YAML 1.1 counts as a line break (ruamel.yaml's scanner, which DVC reads with, does too).
BREAKS = "\r\n\x85\u2028\u2029"

# -- values -> text ------------------------------------------------------------------------

# Safe unquoted wherever they stand: no indicator, no comment, no flow bracket, no colon.
_PLAIN = re.compile(r"(?!\s)[\w./](?:[\w./()+=@^ -]*[\w./()+=@^-])?")
# Anything YAML 1.1 or 1.2 might take for a number, a date or a version of either.
_NUMBER_LIKE = re.compile(
    r"[-+.0-9][0-9a-fA-F_.:xXoObBeE+\-TtZz ]*|[-+]?\.(?:inf|nan)", re.IGNORECASE
)
_WORDS = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
# A simple key ends within 1024 characters (YAML 1.1 and 1.2, "implicit keys").
_LONGEST_KEY = 1000


def plain(value: Any, name: str = "meta") -> Any:
    """`value` in the types YAML has: mappings, lists, str, bool, int, float and None.

    Tuples and sets become lists, paths and dates become text, NumPy scalars become numbers.
    `name` is what the error calls the value. Raises errors.InvalidDataTypeError.
    """
    if value is None or isinstance(value, (bool, int, float)):
        return _number(value)
    if isinstance(value, str):
        return str.__add__(value, "")  # an Enum's value too, not its name
    if isinstance(value, (PurePath, dt.date)):
        return value.as_posix() if isinstance(value, PurePath) else value.isoformat()
    if isinstance(value, dict) or hasattr(value, "items"):
        return {_key(key, name): plain(item, name) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item, name) for item in value]
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
        if isinstance(value, (str, bool, int, float)):
            return value if isinstance(value, str) else _number(value)
    raise InvalidDataTypeError(
        name, type(value), "text, numbers, booleans, None, and lists and mappings of these"
    )


def _number(value: bool | float | None) -> Any:
    # The base types' own methods, so that an IntEnum or a NumPy float64 is written as a number.
    if value is None or isinstance(value, bool):
        return value
    return int(value) if isinstance(value, int) else real(value)


def real(value: float) -> float:
    """The plain float, a NaN as the one object `math.nan`, as `parser` gives it.

    No NaN equals another, but lists and mappings are equal where their items are the same object.
    """
    return math.nan if math.isnan(value) else float(value)


def _key(key: Any, name: str) -> Any:
    if isinstance(key, (str, PurePath, bool, int, float)) or key is None:
        return plain(key, name)
    raise InvalidDataTypeError(name, type(key), "keys that are text or numbers")


def scalar(value: Any) -> str:
    """One value on one line, read back the same by YAML 1.1 and 1.2 parsers."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _float(value)
    return _text(value)


def _float(value: float) -> str:
    if math.isnan(value):
        return ".nan"
    if math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    # YAML 1.1 takes `1e-05` for text: it wants the point.
    digits = repr(value)
    return digits if "." in digits else digits.replace("e", ".0e")


def _text(value: str) -> str:
    if (
        _PLAIN.fullmatch(value)
        and not _NUMBER_LIKE.fullmatch(value)
        and value.lower() not in _WORDS
        and _printable(value)
    ):
        return value
    if _printable(value):
        return "'" + value.replace("'", "''") + "'"
    return '"' + "".join(map(_escaped, value)) + '"'


def _printable(value: str) -> bool:
    # `isprintable` leaves out line breaks, odd spaces, surrogates and unassigned characters.
    return value.isprintable()


def _escaped(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    if char.isprintable():
        return char
    # Not JSON's escapes: YAML does not join surrogate pairs.
    return f"\\U{ord(char):08x}"


def _is_block(value: Any) -> bool:
    return isinstance(value, (dict, list)) and bool(value)


def flow(value: Any) -> str:
    """A value on one line, collections in brackets."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{scalar(key)}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    return scalar(value)


def pair_lines(key: Any, value: Any, indent: str = "") -> list[str]:
    """One `key: value` of a mapping, as lines without their ends."""
    name = scalar(key)
    if len(name) > _LONGEST_KEY:
        head = f"{indent}? {name}"
        if _is_block(value):
            return [head, f"{indent}:", *block_lines(value, indent + "  ")]
        return [head, f"{indent}: {flow(value)}"]
    if isinstance(value, dict) and value:
        return [f"{indent}{name}:", *block_lines(value, indent + "  ")]
    if isinstance(value, list) and value:
        return [f"{indent}{name}:", *block_lines(value, indent)]
    return [f"{indent}{name}: {flow(value)}"]


def item_lines(value: Any, indent: str = "") -> list[str]:
    """One `- value` of a list, as lines without their ends."""
    if not _is_block(value):
        return [f"{indent}- {flow(value)}"]
    lines = block_lines(value, indent + "  ")
    return [f"{indent}- {lines[0][len(indent) + 2 :]}", *lines[1:]]


def block_lines(value: Any, indent: str = "") -> list[str]:
    """A mapping or list, one entry a line or more."""
    if isinstance(value, dict):
        return [line for key, item in value.items() for line in pair_lines(key, item, indent)]
    return [line for item in value for line in item_lines(item, indent)]


def emit(document: Mapping[str, Any]) -> str:
    """A whole file; an empty mapping is written as `{}`."""
    if not document:
        return "{}\n"
    return "\n".join(block_lines(document)) + "\n"


# -- text -> values ------------------------------------------------------------------------


class YamlProblem(Exception):  # noqa: N818 - internal: dvcyaml turns it into an error of the tree
    """What a parser stumbled over; `line` and `column` count from one."""

    def __init__(self, problem: str, line: int, column: int) -> None:
        super().__init__(problem)
        self.problem = problem
        self.line = line
        self.column = column


def recognise(text: str) -> Any:
    """The value of a text that `emit` wrote, read without a YAML parser; else None.

    Sound by construction: what is returned is written again and must give the same text.
    """
    if text == "{}\n":
        return {}
    lines = text.split("\n")
    if lines.pop():
        return None
    try:
        value, rest = _read_mapping(lines, 0, "")
        if rest == len(lines) and emit(value) == text:
            return value
    except (ValueError, IndexError, RecursionError):
        pass
    return None


def _read_mapping(lines: list[str], at: int, indent: str) -> tuple[dict[str, Any], int]:
    found: dict[str, Any] = {}
    while (
        at < len(lines)
        and lines[at].startswith(indent)
        and lines[at][len(indent) :][:1] not in " -"
    ):
        head, colon, rest = lines[at][len(indent) :].partition(":")
        name = _read_scalar(head)
        if not colon or name in found:
            raise ValueError(lines[at])
        if rest:
            found[name] = _read_scalar(rest.removeprefix(" "))
            at += 1
        elif lines[at + 1].startswith(indent + "- "):
            found[name], at = _read_list(lines, at + 1, indent)
        else:
            found[name], at = _read_mapping(lines, at + 1, indent + "  ")
    if not found:
        raise ValueError(indent)
    return found, at


def _read_list(lines: list[str], at: int, indent: str) -> tuple[list[Any], int]:
    found: list[Any] = []
    while at < len(lines) and lines[at].startswith(indent + "- "):
        item = lines[at][len(indent) + 2 :]
        if item.endswith(":") or (": " in item and item[0] != "'"):
            deeper = indent + "  "
            lines[at] = deeper + item
            value, at = _read_mapping(lines, at, deeper)
            found.append(value)
        else:
            found.append(_read_scalar(item))
            at += 1
    return found, at


def _read_scalar(text: str) -> str:
    if text.startswith("'") and text.endswith("'") and len(text) > 1:
        return text[1:-1].replace("''", "'")
    if not text:
        raise ValueError(text)
    return text


def parser(*, pure: bool | None = None) -> YAML:
    """A parser of values, to which each NaN is the one that `real` makes of it."""
    from ruamel.yaml import YAML

    yaml = YAML(typ="safe", pure=pure)
    yaml.Constructor = _constructor()
    return yaml


@lru_cache(maxsize=1)
def _constructor() -> type[SafeConstructor]:
    from ruamel.yaml.constructor import SafeConstructor

    return type("Constructor", (SafeConstructor,), {"nan_value": math.nan})


def load(text: str) -> Any:
    """The value DVC would read from `text`. Raises YamlProblem."""
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an anchor used twice is the user's affair
            return parser(pure=True).load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise YamlProblem(str(error.problem or error.context), line, column) from error
    except YAMLError as error:  # a character YAML has no place for
        raise _at(
            text, getattr(error, "position", 0), getattr(error, "reason", "bad character")
        ) from error
    except (ValueError, TypeError, RecursionError, OverflowError) as error:
        raise YamlProblem(str(error), 1, 1) from error


def _at(text: str, index: int, problem: str) -> YamlProblem:
    line = text.count("\n", 0, index)
    return YamlProblem(problem, line + 1, index - text.rfind("\n", 0, index))


# -- text -> spans -------------------------------------------------------------------------


@dataclass
class Node:
    """A value and the part of the text it takes; `pairs` of a mapping, `items` of a list.

    kind: scalar, list, mapping or alias. `end` is where its last visible character ends (a
    block scalar's: where its last line ends), not where the parser noticed.
    """

    kind: str
    start: int
    end: int
    line: int
    column: int
    flow: bool = False
    text: str = ""
    anchored: bool = False
    items: list[Node] = field(default_factory=list)
    pairs: list[tuple[Node, Node]] = field(default_factory=list)


@dataclass
class Spans:
    """Where the values of a file stand. `stop` is where its document ends (`...`, or the end)."""

    root: Node | None
    stop: int


@lru_cache(maxsize=4)
def spans(text: str) -> Spans:
    """Reads where everything stands. The text must have been loaded without a problem."""
    from ruamel.yaml import YAML
    from ruamel.yaml.events import DocumentEndEvent, DocumentStartEvent

    events = iter(YAML(typ="safe", pure=True).parse(text))
    root: Node | None = None
    stop = len(text)
    for event in events:
        if isinstance(event, DocumentStartEvent):
            root = _node(next(events), events, text, event.end_mark.index)
        elif isinstance(event, DocumentEndEvent) and event.explicit:
            stop = event.start_mark.index
    return Spans(root, stop)


def _node(event: Any, events: Iterator[Any], text: str, after: int) -> Node:
    from ruamel.yaml.events import AliasEvent, MappingStartEvent, ScalarEvent, SequenceStartEvent

    start, end = event.start_mark, event.end_mark
    node = Node("scalar", start.index, end.index, start.line + 1, start.column + 1)
    node.anchored = event.anchor is not None
    if isinstance(event, ScalarEvent):
        node.text = event.value
        if start.index == end.index:
            # The parser marks an empty value where it met the next one.
            found = [at for at, char in indicators(text, after, start.index) if char in "-:"]
            node.start = node.end = found[-1] + 1 if found else start.index
    elif isinstance(event, AliasEvent):
        node.kind = "alias"
    elif isinstance(event, SequenceStartEvent):
        node.kind, node.flow = "list", event.flow_style
        node.end = _children(node, events, text)
    elif isinstance(event, MappingStartEvent):
        node.kind, node.flow = "mapping", event.flow_style
        node.end = _children(node, events, text)
    return node


def _children(node: Node, events: Iterator[Any], text: str) -> int:
    from ruamel.yaml.events import MappingEndEvent, SequenceEndEvent

    end = node.start
    for event in events:
        if isinstance(event, (MappingEndEvent, SequenceEndEvent)):
            return event.end_mark.index if node.flow else end
        child = _node(event, events, text, end)
        end = child.end
        if node.kind == "list":
            node.items.append(child)
        else:
            value = _node(next(events), events, text, end)
            node.pairs.append((child, value))
            end = value.end
    return end


def indicators(text: str, start: int, end: int) -> list[tuple[int, str]]:
    """What stands between two values apart from blanks: indicators, `#` for a comment."""
    found = []
    at = start
    while at < end:
        char = text[at]
        if char == "#":
            found.append((at, char))
            while at < end and text[at] not in BREAKS:
                at += 1
            continue
        if char in "-?:,[]{}":
            found.append((at, char))
        elif char in "&!*":
            while at < end and text[at] not in BREAKS + " \t":
                at += 1
        at += 1
    return found


# -- editing in place ----------------------------------------------------------------------


class CannotEditError(Exception):
    """The text has a shape that this module does not cut into; nothing was changed."""


@dataclass
class Edits:
    """Cuts and additions to one text, gathered first and applied at once."""

    text: str
    newline: str = "\n"
    _done: list[tuple[int, int, str, bool]] = field(default_factory=list)

    def cut(self, start: int, end: int, put: str = "") -> None:
        """Replaces text[start:end]."""
        self._done.append((start, end, put, False))

    def put_lines(self, at: int, lines: Sequence[str]) -> None:
        """Adds whole lines at `at`, the start of a line or the end of the text."""
        self._done.append((at, at, "".join(line + self.newline for line in lines), True))

    def apply(self) -> str:
        """The edited text; additions at one place stay in the order they were asked for."""
        out = ""
        at = 0
        for start, end, put, whole_lines in sorted(self._done, key=lambda edit: edit[:2]):
            if start < at:
                raise CannotEditError("entries overlap")
            out += self.text[at:start]
            if whole_lines and put and out.strip("\ufeff") and out[-1] not in BREAKS:
                out += self.newline
            out += put
            at = end
        return out + self.text[at:]

    # places

    def line_start(self, at: int) -> int:
        """Where the line of `at` begins; after the mark that some editors put before a text."""
        while at and self.text[at - 1] not in BREAKS + "\ufeff":
            at -= 1
        return at

    def after_line(self, at: int) -> int:
        """Where the line after `at` begins; `at` itself when it is the start of a line."""
        if at and self.text[at - 1] in BREAKS:
            return at
        while at < len(self.text) and self.text[at] not in BREAKS:
            at += 1
        if self.text.startswith("\r\n", at):
            return at + 2
        return min(at + 1, len(self.text))

    def indicator(self, start: int, end: int, wanted: str) -> int:
        """The last indicator `wanted` between two values."""
        for at, char in reversed(indicators(self.text, start, end)):
            if char == wanted:
                return at
        raise CannotEditError(f"no '{wanted}' found")

    def indent_of(self, at: int) -> str:
        """The blanks before `at` on its line, which must hold nothing else before it."""
        indent = self.text[self.line_start(at) : at]
        if indent.strip(" "):
            raise CannotEditError("an entry begins in the middle of a line")
        return indent


@dataclass
class Change:
    """What becomes of one entry of a collection: `keep`, else replaced by `new` (None: gone)."""

    keep: bool = True
    new: Any = None
    before: list[Any] = field(default_factory=list)
    after: list[Any] = field(default_factory=list)


@dataclass
class Plan:
    """What becomes of a collection: one `Change` an entry it has, then entries at its end.

    An entry of a mapping is a pair `(key, value)`.
    """

    changes: list[Change]
    end: list[Any] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        """Whether anything differs from the collection as it is."""
        return bool(self.end) or any(
            not change.keep or change.before or change.after for change in self.changes
        )

    def result(self, entries: Sequence[Any]) -> list[Any]:
        """The entries as they will be."""
        out: list[Any] = []
        for entry, change in zip(entries, self.changes, strict=True):
            out += change.before
            if change.keep:
                out.append(entry)
            elif change.new is not None:
                out.append(change.new)
            out += change.after
        return out + self.end


def edit_collection(edits: Edits, key: Node, node: Node, plan: Plan) -> None:
    """Carries `plan` out on the list or mapping `node`, the value of `key`."""
    mapping = node.kind == "mapping"
    bounds = (
        [(name.start, value.end) for name, value in node.pairs]
        if mapping
        else [(item.start, item.end) for item in node.items]
    )
    if len(bounds) != len(plan.changes):
        raise CannotEditError("a merge key adds entries to it")
    if node.flow:
        _edit_flow(edits, node, bounds, plan, mapping=mapping)
    else:
        _edit_block(edits, key, bounds, plan, mapping=mapping)


def _edit_block(
    edits: Edits, key: Node, bounds: list[tuple[int, int]], plan: Plan, *, mapping: bool
) -> None:
    heads = [start for start, _ in bounds] if mapping else _dashes(edits, key, bounds)
    indent = edits.indent_of(heads[0])

    def lines(entries: list[Any]) -> list[str]:
        if mapping:
            return [line for key, value in entries for line in pair_lines(key, value, indent)]
        return [line for entry in entries for line in item_lines(entry, indent)]

    for head, (_, end), change in zip(heads, bounds, plan.changes, strict=True):
        edits.indent_of(head)
        begin, stop = edits.line_start(head), edits.after_line(end)
        if change.before:
            edits.put_lines(begin, lines(change.before))
        if not change.keep:
            edits.cut(begin, stop)
            if change.new is not None:
                edits.put_lines(stop, lines([change.new]))
        if change.after:
            edits.put_lines(stop, lines(change.after))
    if plan.end:
        edits.put_lines(edits.after_line(bounds[-1][1]), lines(plan.end))


def _dashes(edits: Edits, key: Node, bounds: list[tuple[int, int]]) -> list[int]:
    """Where the `-` of each entry of a list stands."""
    ends = [key.end, *(end for _, end in bounds)]
    return [edits.indicator(end, start, "-") for end, (start, _) in zip(ends, bounds, strict=False)]


def _edit_flow(
    edits: Edits, node: Node, bounds: list[tuple[int, int]], plan: Plan, *, mapping: bool
) -> None:
    def shown(entry: Any) -> str:
        return f"{scalar(entry[0])}: {flow(entry[1])}" if mapping else flow(entry)

    stays = [change.keep or change.new is not None for change in plan.changes]
    if not any(stays):
        fresh = [shown(entry) for entry in plan.result([None] * len(bounds))]
        start, end = (bounds[0][0], bounds[-1][1]) if bounds else (node.end - 1, node.end - 1)
        _refuse_comment(edits, start, end)
        edits.cut(start, end, ", ".join(fresh))
        return
    last = max(index for index, stay in enumerate(stays) if stay)
    for index, ((start, end), change) in enumerate(zip(bounds, plan.changes, strict=True)):
        if change.before:
            edits.cut(start, start, "".join(shown(entry) + ", " for entry in change.before))
        if change.new is not None:
            edits.cut(start, end, shown(change.new))
        elif not change.keep and index < last:
            edits.cut(start, _flow_entry_stop(edits, end, bounds[index + 1][0]))
        if change.after:
            edits.cut(end, end, "".join(", " + shown(entry) for entry in change.after))
    begin, end = bounds[last][1], bounds[-1][1]
    _refuse_comment(edits, begin, end)
    edits.cut(begin, end, "".join(", " + shown(entry) for entry in plan.end))


def _flow_entry_stop(edits: Edits, end: int, following: int) -> int:
    """How far an entry that goes reaches: to the next one, or to the comma before a comment."""
    gap = indicators(edits.text, end, following)
    comma = next(at for at, char in gap if char == ",")
    return comma + 1 if any(char == "#" for _, char in gap) else following


def _refuse_comment(edits: Edits, start: int, end: int) -> None:
    if any(match["comment"] for match in _QUOTED_OR_COMMENT.finditer(edits.text[start:end])):
        raise CannotEditError("a comment stands between entries that go")


# A quote opens a scalar only where one may begin, and a # a comment only after a blank.
_QUOTED_OR_COMMENT = re.compile(
    r"""(?<![^\s\[{,:])(?:"(?:\\.|[^"\\])*"|'(?:''|[^'])*')|(?<!\S)(?P<comment>\#)""", re.DOTALL
)

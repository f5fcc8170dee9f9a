"""The text of a pointer (`.dvc`) file: fresh as `dvc add` writes it, or an existing one updated.

Pure: text in, text out. An existing text is edited in place, value by value, so that what its
owner wrote there (descriptions, comments, order, line endings) is not touched by a reformatting.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from pprint import pformat
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import ArtifactConflictError, ArtifactError
from ..yamltext import YamlProblem, load

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Content(Protocol):
    """What a pointer says of a content: its hash (`.dir` at the end for a folder) and size."""

    @property
    def md5(self) -> str: ...  # noqa: D102 - the class docstring says it
    @property
    def size(self) -> int: ...  # noqa: D102
    @property
    def nfiles(self) -> int | None: ...  # noqa: D102
    @property
    def isexec(self) -> bool: ...  # noqa: D102


# What YAML reads as the very same text without quotes; ruamel.yaml decides about all others.
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:[.-][A-Za-z0-9_]+)*", re.ASCII)
_YAML_WORDS = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
_MAX_PLAIN = 60  # far below the width at which the writer would fold the line
# A hash of digits alone, or with one `e`, would be read as a number.
_LIKE_A_NUMBER = re.compile(r"[0-9]*e?[0-9]*")
# A text that `fresh` would have written, its values aside.
_OWN_WRITING = re.compile(
    r"outs:\n- md5: [0-9a-f]{32}(?:\.dir)?\n  size: \d+\n(?:  nfiles: \d+\n)?"
    r"(?:  isexec: true\n)?  hash: md5\n  path: (?P<name>[^\n]*)\n"
)
# What DVC keeps of a content besides the hash; all of it is stale once the content changed
# (dvc/output.py: `Output.add` replaces `meta` and drops `files`).
_STALE = ("cloud", "version_id", "etag", "checksum", "files")
_VALUES = ("md5", "size", "nfiles", "isexec", "hash")
_CHECKSUM = re.compile(r"""^["']?md5["']?[ \t]*:""", re.MULTILINE)
_UNCOUNTED = frozenset({
    "desc", "type", "labels", "meta", "locked", "frozen", "metric", "persist", "isexec", "size",
    "nfiles",
})  # fmt: skip


def fresh(name: str, content: Content) -> str:
    """The pointer file for a path of this name that had none, byte for byte DVC's.

    Raises ArtifactError for a name that is no text.
    """
    if (
        len(name) > _MAX_PLAIN
        or not _PLAIN_NAME.fullmatch(name)
        or name.lower() in _YAML_WORDS
        or _LIKE_A_NUMBER.fullmatch(content.md5)
    ):
        _check_is_text(name)
        return _dump({"outs": [{**_values(content), "path": name}]})
    lines = "".join(f"  {key}: {_scalar(value)}\n" for key, value in _values(content).items())
    return f"outs:\n- {lines[2:]}  path: {name}\n"


def _is_empty(text: str) -> bool:
    """Whether there are comments at most."""
    return all(line[:1] in ("", "#") for line in map(str.strip, text.splitlines()))


def check_name(name: str) -> None:
    """Raises ArtifactError for a name that a pointer file would not hold as it is."""
    if len(name) <= _MAX_PLAIN and _PLAIN_NAME.fullmatch(name):
        return
    _check_is_text(name)
    from ruamel.yaml import YAML

    # YAML takes U+0085 for a line break, inside quotes too.
    if YAML(typ="safe").load(_dump({"path": name})) != {"path": name}:
        raise ArtifactError(
            f"Artifact name {name!r} holds a character that DVC would not read back from a .dvc "
            "file. Rename it."
        )


def check(text: str, name: str) -> None:
    """Raises ArtifactConflictError where `text` is not the pointer of one path `name`.

    An empty one may become it: `dvc add` fills it, too.
    """
    own = _OWN_WRITING.fullmatch(text)
    if (own is None or own["name"] != name) and not _is_empty(text):
        _single_output(_parse(text, name)[0], name)


def updated(text: str, name: str, content: Content) -> str:
    """`text` with the content's hash and size; the same text when it says them already.

    `desc`, `meta`, `remote`, `frozen`, comments and keys this package does not know stay as
    they are. Raises ArtifactConflictError where `text` is not the pointer of one path `name`.
    """
    own = _OWN_WRITING.fullmatch(text)
    if own and own["name"] == name:
        return fresh(name, content)
    if _is_empty(text):
        comments = text if text.endswith("\n") else f"{text}\n"
        return _in_eol_of(text, (comments if text.strip() else "") + fresh(name, content))
    document, root = _parse(text, name)
    out = _single_output(document, name)
    if _says(out, content):
        return text
    wanted = _values(content)
    gone = [key for key in (*_VALUES, *_STALE) if key in out and key not in wanted]
    plain = _loaded(text, name)
    kept = {key: value for key, value in plain["outs"][0].items() if key not in gone}
    due = {**plain, "outs": [{**kept, **wanted}]}
    node = _child(root, "outs").value[0]
    new = _edited(text, node, out, wanted, gone) if _can_be_edited(text, node, gone) else text
    if not _reads_as(new, due):
        new = _in_eol_of(text, _rewritten(document, wanted, gone))
    return with_checksum(new if _reads_as(new, due) else _in_eol_of(text, _dump(due)))


def with_checksum(text: str) -> str:
    """`text` with the checksum that DVC keeps of the whole of it, where it has one.

    That is the pointer of imported data (`dvc import`, `dvc import-url`); with one that does not
    fit DVC takes the file for edited by hand.
    """
    if _CHECKSUM.search(text) is None:
        return text
    from ruamel.yaml import YAML

    document = load(text)
    place = _child(YAML(typ="rt", pure=True).compose(text), "md5")
    # dvc/stage/utils.py, `compute_md5`.
    counted = {key: value for key, value in document.items() if key not in {"md5", "meta", "desc"}}
    if counted.get("wdir") == ".":
        del counted["wdir"]
    data = json.dumps(_without(counted, _UNCOUNTED), sort_keys=True).encode()
    checksum = hashlib.md5(data, usedforsecurity=False).hexdigest()
    start, end = place.start_mark.index, place.end_mark.index
    new = text[:start] + _scalar(checksum) + text[end:]
    if _reads_as(new, {**document, "md5": checksum}):
        return new
    kept = YAML(typ="rt").load(text)
    kept["md5"] = checksum
    return _in_eol_of(text, _dump(kept))


def _without(value: Any, names: frozenset[str]) -> Any:
    """A document without the keys of these names, at any depth."""
    if isinstance(value, list):
        return [_without(one, names) for one in value]
    if isinstance(value, dict):
        return {key: _without(one, names) for key, one in value.items() if key not in names}
    return value


def _values(content: Content) -> dict[str, Any]:
    # The order is DVC's (dvc/output.py, `Output.dumpd`; dvc_data, `Meta.to_dict`).
    values: dict[str, Any] = {"md5": content.md5, "size": content.size}
    if content.nfiles is not None:
        values["nfiles"] = content.nfiles
    if content.isexec:
        values["isexec"] = True
    values["hash"] = "md5"
    return values


def _scalar(value: object) -> str:
    if value is True:
        return "true"
    text = str(value)
    return f"'{text}'" if isinstance(value, str) and _LIKE_A_NUMBER.fullmatch(text) else text


def _check_is_text(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise ArtifactError(
            f"Artifact name {name!r} is not UTF-8, as what stands in a .dvc file has to be. "
            "Rename it."
        ) from error


def _dump(document: Any) -> str:
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.default_flow_style = False
    stream = io.StringIO()
    yaml.dump(document, stream)
    return stream.getvalue()


def _parse(text: str, name: str) -> tuple[Any, Any]:
    document: Any
    root: Any
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        document = YAML(typ="rt").load(text)
        root = YAML(typ="rt", pure=True).compose(text)
    except YAMLError as error:
        raise _unreadable(name, error) from error
    return document, root


def _loaded(text: str, name: str) -> Any:
    try:
        return load(text)
    except YamlProblem as problem:  # a tag, which a round trip alone does not mind
        raise _unreadable(name, problem) from problem


def _unreadable(name: str, error: Exception) -> ArtifactConflictError:
    return ArtifactConflictError(
        f"'{name}.dvc' exists and is no YAML that DVC could read ({_first_line(error)}). "
        "Repair it, or delete it, before the artifact is logged."
    )


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]


def _single_output(document: Any, name: str) -> Any:
    outs = document.get("outs") if isinstance(document, dict) else None
    if (
        not isinstance(outs, list)
        or len(outs) != 1
        or not isinstance(outs[0], dict)
        or document.get("wdir", ".") != "."
        or document.get("cmd")
    ):
        raise ArtifactConflictError(
            f"'{name}.dvc' exists and is not the pointer of '{name}' alone. Rename it, or "
            f"`dvc remove {name}.dvc`, before the artifact is logged."
        )
    if outs[0].get("path") not in (name, f"./{name}"):
        raise ArtifactConflictError(
            f"'{name}.dvc' exists and points to '{outs[0].get('path')}', not to '{name}'. "
            f"Rename it, or `dvc remove {name}.dvc`, before the artifact is logged."
        )
    return outs[0]


def _says(out: Any, content: Content) -> bool:
    if "files" in out and content.md5.endswith(".dir"):
        # A cloud-versioned folder names its files instead of the hash of their list.
        return bool(_hash_of_list(out["files"]) == content.md5)
    wanted = _values(content)
    return all(out.get(key) == wanted.get(key) for key in _VALUES)


def _hash_of_list(files: Iterable[Any]) -> str:
    entries = sorted(
        ({"md5": file.get("md5"), "relpath": file.get("relpath")} for file in files),
        key=lambda entry: str(entry["relpath"]),
    )
    data = json.dumps(entries, sort_keys=True).encode()
    return hashlib.md5(data, usedforsecurity=False).hexdigest() + ".dir"


def _child(node: Any, key: str) -> Any:
    return next(value for name, value in node.value if name.value == key)


def _can_be_edited(text: str, node: Any, gone: list[str]) -> bool:
    """Whether an output is laid out in lines of its own keys, and stays so without those `gone`."""
    own = {key.value for key, _ in node.value}
    if node.flow_style or not {"path", *gone}.issubset(own):
        return False
    start, end = _head(node, gone)
    return "#" not in text[start:end]


def _head(node: Any, gone: list[str]) -> tuple[int, int]:
    """The part of an output before its first key that stays: what follows the dash is cut there."""
    kept = next(key for key, _ in node.value if key.value not in gone)
    return node.value[0][0].start_mark.index, kept.start_mark.index


def _reads_as(text: str, document: Any) -> bool:
    """Whether DVC would read just this document from the text.

    An edit goes by the places of values: one with an anchor takes that along, and that of an
    alias is where its anchor stands.
    """
    try:
        # As text, which sorts the keys and takes a NaN for the same as another.
        return pformat(load(text)) == pformat(document)
    except YamlProblem:
        return False


def _rewritten(document: Any, wanted: dict[str, Any], gone: list[str]) -> str:
    # As DVC itself would: through a round trip, which may lay the lines out anew. What an anchor
    # shares with the output has to stay what it is elsewhere.
    out = document["outs"][0] = document["outs"][0].copy()
    for key in gone:
        del out[key]
    for place, (key, value) in enumerate(wanted.items()):
        if key in out:
            out[key] = value
        else:
            out.insert(place, key, value)
    return _dump(document)


def _edited(text: str, node: Any, out: Any, wanted: dict[str, Any], gone: list[str]) -> str:
    edits: list[tuple[int, int, str]] = []
    eol = _eol(text)
    pairs = {key.value: (key, value) for key, value in node.value}
    start, head = _head(node, gone)
    edits.append((start, head, ""))
    for key in gone:
        first, value = pairs[key]
        if first.start_mark.index > head:
            edits.append((_line_start(text, first), _line_end(text, value), ""))
    for key, value in wanted.items():
        if key in pairs:
            old = pairs[key][1]
            if out[key] != value:
                edits.append((old.start_mark.index, old.end_mark.index, _scalar(value)))
    missing = [f"{key}: {_scalar(value)}" for key, value in wanted.items() if key not in pairs]
    if missing:
        # New keys stand before `path`, where DVC has them, unless `path` follows the dash.
        path_key, path_value = pairs["path"]
        indent = " " * path_key.start_mark.column
        if path_key is node.value[0][0]:
            at = _line_end(text, path_value)
            glue = "" if text[:at].endswith("\n") else eol
            edits.append((at, at, glue + "".join(f"{indent}{line}{eol}" for line in missing)))
        else:
            at = _line_start(text, path_key)
            edits.append((at, at, "".join(f"{indent}{line}{eol}" for line in missing)))
    return "".join(_applied(text, edits))


def _applied(text: str, edits: list[tuple[int, int, str]]) -> Iterator[str]:
    done = 0
    for start, end, new in sorted(edits):
        yield text[done:start]
        yield new
        done = end
    yield text[done:]


def _eol(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _in_eol_of(text: str, new: str) -> str:
    return new.replace("\r\n", "\n").replace("\n", _eol(text))


def _line_start(text: str, node: Any) -> int:
    return text.rfind("\n", 0, node.start_mark.index) + 1


def _line_end(text: str, node: Any) -> int:
    # A block value's end mark already stands at the start of the line after it.
    end = node.end_mark.index
    while end > node.start_mark.index and text[end - 1] in " \r\n":
        end -= 1
    found = text.find("\n", end)
    return len(text) if found < 0 else found + 1

"""The run's entries in a dvc.yaml: merged in, read back and taken out, all else left as it is."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import files, yamltext
from .backend import Artifact, Entries, Plot
from .errors import DvcyamlSyntaxError, RepositoryError
from .notices import logger
from .yamltext import CannotEditError, Change, Edits, Plan, YamlProblem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from .layout import Layout
    from .yamltext import Node

SECTIONS = ("params", "metrics", "plots", "artifacts")
# What DVC's schema (dvc.schema.MULTI_STAGE_SCHEMA) asks of a section.
_DUE: dict[str, tuple[type, str]] = {
    "params": (list, "a list"),
    "metrics": (list, "a list"),
    "plots": (list, "a list"),
    "artifacts": (dict, "a mapping"),
    "stages": (dict, "a mapping"),
    "vars": (list, "a list"),
    "datasets": (list, "a list"),
}

# -- whose an entry is ---------------------------------------------------------------------


@dataclass(frozen=True)
class Owned:
    """Which entries of a dvc.yaml are the run's: those inside its folder, and its own of before.

    root:     the run's folder.
    defaults: plots whose configuration is the logger's own default rather than the user's call;
              what the file says of them is the user's wish and wins.
    before:   what this run wrote at its last write, None at its first. A key of a plot that
              differs from it was changed by the user since.
    begun_on: the text as the run found it. What an earlier run had there is taken out until this
              one has it too, and goes back to where it stood.
    """

    root: Path
    defaults: frozenset[Path] = frozenset()
    before: Entries | None = None
    begun_on: str | None = None

    @classmethod
    def by(
        cls, layout: Layout, before: Entries | None = None, begun_on: str | None = None
    ) -> Owned:
        """What the run of this layout owns."""
        defaults = frozenset({layout.metrics_dir, layout.images_dir})
        return cls(layout.root, defaults, before, begun_on)

    def whole(self, file: Path) -> bool:
        """Whether the sections of `file` are the run's altogether: it lies in its folder."""
        return self.root in file.parents

    def holds(self, path: str) -> bool:
        """Whether an absolute, normalised path lies inside the run's folder."""
        return path.startswith(os.path.join(self.root, ""))  # noqa: PTH118 - text, by components


def _resolved(entry: object, folder: Path) -> str | None:
    """The absolute path an entry of a dvc.yaml in `folder` names; None for what is no path."""
    if not isinstance(entry, str) or _is_template(entry) or "://" in entry:
        return None
    path = os.path.join(folder, _read_back(entry))  # noqa: PTH118 - lexical, as DVC does
    return os.path.normpath(path)


def _shown(path: Path, folder: Path) -> str:
    """How a dvc.yaml in `folder` spells a path: relative and POSIX."""
    try:
        text = os.path.relpath(path, folder)
    except ValueError:  # another drive
        text = str(path)
    return str(_literal(text.replace(os.sep, "/"), "path"))


# DVC fills `${name}` from `vars` everywhere in a dvc.yaml, also in keys, and reads nothing of the
# file when there is no such name; `\${name}` is text to it (dvc.parsing.interpolate).
_TEMPLATE, _ESCAPED = "${", r"\${"


def _literal(value: Any, name: str) -> Any:
    """The value as it has to stand in a dvc.yaml, for DVC to read just that."""
    return _each_text(yamltext.plain(value, name), lambda text: text.replace(_TEMPLATE, _ESCAPED))


def _read_back(value: Any) -> Any:
    """What DVC reads from a value without templates."""
    return _each_text(value, lambda text: text.replace(_ESCAPED, _TEMPLATE))


def _is_template(value: Any) -> bool:
    return isinstance(value, str) and _TEMPLATE in value.replace(_ESCAPED, "")


def _each_text(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {_each_text(key, change): _each_text(one, change) for key, one in value.items()}
    return [_each_text(one, change) for one in value] if isinstance(value, list) else value


# -- what becomes of a section's entries ---------------------------------------------------


@dataclass(frozen=True)
class _Section:
    """One section as it shall be.

    mine:   the key of an entry that is the run's, None for a foreign one.
    wanted: key -> what to write, given the run's entry that is in the file (None: there is none).
    """

    mine: Callable[[Any], str | None]
    wanted: Mapping[str, Callable[[Any], Any]]


def _plan(entries: list[Any], section: _Section, begun_on: Callable[[], list[Any]] = list) -> Plan:
    places: dict[str, int] = {}
    changes = []
    for index, entry in enumerate(entries):
        key = section.mine(entry)
        keep = key is None or (key in section.wanted and key not in places)
        if key is not None and keep:
            places[key] = index
        changes.append(Change(keep=keep))
    plan = Plan(changes)
    standing = [places[key] for key in section.wanted if key in places]
    if standing != sorted(standing):
        # Out of order: all go to the end together, with what the user added to them.
        for index in standing:
            changes[index].keep = False
        plan.end = [
            make(entries[places[key]] if key in places else None)
            for key, make in section.wanted.items()
        ]
        return plan
    if standing:
        added = changes[standing[0]].before
    else:
        place = _where_it_stood(entries, section, begun_on())
        added = plan.end if place is None else changes[place].before
    for key, make in section.wanted.items():
        if key not in places:
            added.append(make(None))
            continue
        change = changes[places[key]]
        new = make(entries[places[key]])
        if new != entries[places[key]]:
            change.keep, change.new = False, new
        added = change.after
    return plan


def _where_it_stood(entries: list[Any], section: _Section, begun_on: list[Any]) -> int | None:
    """The entry that came after the run's as it began; None where none of those is there now."""
    own = [place for place, entry in enumerate(begun_on) if section.mine(entry) is not None]
    behind = begun_on[own[0] :] if own else []
    return next((entries.index(one) for one in behind if one in entries), None)


def _begun_on(owned: Owned, file: Path, name: str) -> list[Any]:
    """The entries of a section as the run found them."""
    return _entries_of(_document(owned.begun_on, file)[0].get(name))


def _sections(entries: Entries, file: Path, owned: Owned) -> dict[str, _Section]:
    folder = file.parent
    whole = owned.whole(file)
    before = owned.before or Entries()

    def listed(paths: tuple[Path, ...], earlier: tuple[Path, ...]) -> _Section:
        mine_before = {str(path) for path in earlier}

        def mine(entry: Any) -> str | None:
            path = _resolved(_name(entry), folder)
            if path is not None and (owned.holds(path) or path in mine_before):
                return path
            return str(entry) if whole else None

        def writer(path: Path) -> Callable[[Any], Any]:
            return lambda old: _shown(path, folder) if old is None else old

        return _Section(mine, {str(path): writer(path) for path in paths})

    return {
        "params": listed(entries.params, before.params),
        "metrics": listed(entries.metrics, before.metrics),
        "plots": _plots(entries, folder, owned, whole=whole),
        "artifacts": _artifacts(entries, folder, owned, whole=whole),
    }


def _name(entry: Any) -> Any:
    """What an entry of a list or mapping is called; None for a mapping of several."""
    if isinstance(entry, tuple):
        return entry[0]
    if isinstance(entry, dict):
        return next(iter(entry)) if len(entry) == 1 else None
    return entry


def _config(entry: Any) -> dict[str, Any]:
    """What an entry says under its name; empty for the bare-string form."""
    value: Any = None
    if isinstance(entry, tuple):
        value = entry[1]
    elif isinstance(entry, dict):
        value = next(iter(entry.values()))
    return value if isinstance(value, dict) else {}


def _is_named(entry: Any) -> bool:
    # With a mapping for `y` the sources stand there and the entry's key is only a name
    # (dvc.repo.plots, `_id_is_path`): such a plot is the user's, the logger writes none.
    return isinstance(_config(entry).get("y"), dict)


def _plots(entries: Entries, folder: Path, owned: Owned, *, whole: bool) -> _Section:
    before = {str(plot.path): plot for plot in owned.before.plots} if owned.before else {}

    def mine(entry: Any) -> str | None:
        path = _resolved(_name(entry), folder)
        if path is not None and not _is_named(entry) and (owned.holds(path) or path in before):
            return path
        return str(entry) if whole else None

    def writer(plot: Plot) -> Callable[[Any], Any]:
        def make(old: Any) -> Any:
            asked = _literal(dict(plot.config), "plot")
            config = _with_users_keys(
                asked, old, before.get(str(plot.path)), is_default=plot.path in owned.defaults
            )
            if old is not None and config == _config(old):
                return old
            name = _shown(plot.path, folder) if old is None else _name(old)
            return {name: config} if config else name

        return make

    return _Section(mine, {str(plot.path): writer(plot) for plot in entries.plots})


def _with_users_keys(
    asked: dict[str, Any], old: Any, before: Plot | None, *, is_default: bool
) -> dict[str, Any]:
    """What the run asks of a plot, and what the user changed of its entry in the file."""
    if old is None:
        return asked
    there = _config(old)
    if before is None:
        return {**asked, **there} if is_default else {**there, **asked}
    written = _literal(dict(before.config), "plot")
    unset = object()
    changed = {key: value for key, value in there.items() if written.get(key, unset) != value}
    removed = written.keys() - there.keys()
    kept = {
        key: value for key, value in asked.items() if key not in removed or written[key] != value
    }
    return {**kept, **changed}


def _artifacts(entries: Entries, folder: Path, owned: Owned, *, whole: bool) -> _Section:
    before = owned.before.artifacts if owned.before else {}

    def mine(entry: Any) -> str | None:
        name, value = entry
        if not isinstance(name, str):
            return str(name) if whole else None
        path = _resolved(_spelt(value), folder)
        inside = path is not None and owned.holds(path)
        return name if whole or inside or name in entries.artifacts or name in before else None

    def writer(name: str, artifact: Artifact) -> Callable[[Any], Any]:
        def make(old: Any) -> Any:
            new = _artifact(artifact, folder)
            spelt = _spelt(old[1]) if old is not None else None
            if _resolved(spelt, folder) == str(artifact.path):
                new["path"] = spelt
            return (name, new)

        return make

    return _Section(mine, {name: writer(name, one) for name, one in entries.artifacts.items()})


def _spelt(value: Any) -> Any:
    """The path of an artifact's entry, as it is written there."""
    return value.get("path") if isinstance(value, dict) else None


def _replaced(
    text: str | None, entries: Entries, file: Path, owned: Owned
) -> Iterator[tuple[str, Any]]:
    """Name and path of artifacts of others in whose place the run's own will stand."""
    ours = owned.before.artifacts if owned.before else {}
    fresh = entries.artifacts.keys() - ours.keys()
    if not fresh or owned.whole(file):
        return
    for name, value in _entries_of(_document(text, file)[0].get("artifacts")):
        if name in fresh:
            spelt = _spelt(value)
            path = _resolved(spelt, file.parent)
            inside = path is not None and owned.holds(path)
            if not inside and path != str(entries.artifacts[name].path):
                yield name, spelt


def _artifact(artifact: Artifact, folder: Path) -> dict[str, Any]:
    value: dict[str, Any] = {"path": _shown(artifact.path, folder)}
    for key, given in (("type", artifact.type), ("desc", artifact.desc)):
        if given is not None:
            value[key] = _literal(given, key)
    if artifact.labels:
        value["labels"] = _literal(artifact.labels, "labels")
    if artifact.meta:
        value["meta"] = _literal(dict(artifact.meta), "meta")
    return value


# -- the merge -----------------------------------------------------------------------------


def merge(text: str | None, entries: Entries, *, file: Path, owned: Owned) -> str:
    """The text of the dvc.yaml at `file` with the run's entries as they are now.

    Entries of others, comments, order and all that is written in some way of the user's own come
    through byte for byte. The run's entries stand in the order params, metrics, plots,
    artifacts, where that much is free.

    Raises errors.DvcyamlSyntaxError when `text` is not what DVC could read, and
    errors.RepositoryError when the entries cannot be put in without touching what is not the
    run's (a section that is an alias, for one).
    """
    document, is_plain = _document(text, file)
    plans: dict[str, Plan] = {}
    expected = dict(document)
    for name, section in _sections(entries, file, owned).items():
        there = _entries_of(document.get(name))
        plan = _plan(there, section, partial(_begun_on, owned, file, name))
        if plan.changed:
            plans[name] = plan
            _put(expected, name, plan.result(there))
    if not plans and text and text.strip():
        return text
    whole = owned.whole(file)
    return _rewritten(text or "", document, plans, expected, file, is_plain=is_plain, whole=whole)


def without(text: str, committed: str | None, *, file: Path, lost: Callable[[Path], bool]) -> str:
    """The text of the dvc.yaml at `file` without entries whose path is `lost`.

    For an experiment's own version of a file that several runs share: what another run put there
    names files that this experiment does not have. Entries that stand in `committed`, the text
    at the baseline, stay. For an artifact `lost` is asked about its path, as for any other.

    Raises as `merge` does.
    """
    document, is_plain = _document(text, file)
    kept = _document(committed, file)[0] if committed is not None else {}
    plans: dict[str, Plan] = {}
    expected = dict(document)
    for name in SECTIONS:
        there, stays = _entries_of(document.get(name)), _entries_of(kept.get(name))
        plan = Plan([Change(keep=one in stays or not _is_of(one, file, lost)) for one in there])
        if plan.changed:
            plans[name] = plan
            _put(expected, name, plan.result(there))
    if not plans:
        return text
    return _rewritten(text, document, plans, expected, file, is_plain=is_plain)


def carried_over(text: str, arrived: str, ran: str, *, file: Path, root: Path) -> str:
    """The text of the dvc.yaml at `file` as it was when the run began, with what runs put there.

    For an experiment's own version of a shared file that became another commit's while the run
    went on. `text` is what is there now: `arrived`, the other commit's, with what runs have added
    since. `ran` is that of the commit that ran, `root` the run's folder, whose entries are all as
    they are in `text`.

    Raises as `merge` does.
    """
    now, theirs = _document(text, file)[0], _document(arrived, file)[0]
    document, is_plain = _document(ran, file)
    plans: dict[str, Plan] = {}
    expected = dict(document)

    def mine(entry: Any) -> bool:
        return _is_of(entry, file, lambda path: path.is_relative_to(root))

    for name in SECTIONS:
        foreign = _entries_of(theirs.get(name))
        wanted = {
            str(_name(entry)): entry
            for entry in _entries_of(now.get(name))
            if mine(entry) or entry not in foreign
        }
        there = _entries_of(document.get(name))
        changes = []
        for entry in there:
            new = wanted.pop(str(_name(entry)), None)
            stays = new == entry or (new is None and not mine(entry))
            changes.append(Change(keep=stays, new=None if stays else new))
        plan = Plan(changes, end=list(wanted.values()))
        if plan.changed:
            plans[name] = plan
            _put(expected, name, plan.result(there))
    if not plans:
        return ran
    return _rewritten(ran, document, plans, expected, file, is_plain=is_plain)


def _is_of(entry: Any, file: Path, holds: Callable[[Path], bool]) -> bool:
    """Whether `holds` is true of the path that an entry names, where it names one."""
    config = _config(entry)
    named = config.get("path", _name(entry)) if isinstance(entry, tuple) else _name(entry)
    path = None if _is_named(entry) else _resolved(named, file.parent)
    return path is not None and holds(Path(path))


def _rewritten(
    text: str,
    document: dict[str, Any],
    plans: dict[str, Plan],
    expected: dict[str, Any],
    file: Path,
    *,
    is_plain: bool,
    whole: bool = False,
) -> str:
    """The text with the plans carried out, read back and found to say what is expected."""
    if is_plain:
        return yamltext.emit(_in_order(expected, document, whole=whole))
    try:
        new = _edited(text, document, plans, expected, whole=whole)
        same = _loaded(new) == expected
    except Exception as error:
        raise _cannot_edit(file, str(error)) from error
    if not same:
        raise _cannot_edit(file, "the result would read otherwise")
    return new


@lru_cache(maxsize=4)
def _loaded(text: str) -> Any:
    """What DVC reads from `text`; what one write checks, the next starts from. Not to change."""
    return yamltext.load(text)


def _document(text: str | None, file: Path) -> tuple[dict[str, Any], bool]:
    """The mapping in `text`, and whether the text is just as this package would write it."""
    if text is None or not text.strip():
        return {}, True
    document = yamltext.recognise(text)
    if isinstance(document, dict) and _wrong_kind(document) is None:
        return document, True
    try:
        document = _loaded(text)
    except YamlProblem as problem:
        hint = (
            " It holds the marks of a merge conflict."
            if re.search(r"^<{7} ", text, re.MULTILINE)
            else ""
        )
        raise _syntax_error(
            file, problem.line, problem.column, problem.problem + "." + hint
        ) from problem
    if document is None:
        return {}, False
    _check_kinds(document, text, file)
    return document, False


def _wrong_kind(document: Mapping[Any, Any]) -> str | None:
    for name, (kind, _) in _DUE.items():
        value = document.get(name)
        if value is not None and not isinstance(value, kind):
            return name
    return None


def _check_kinds(document: Any, text: str, file: Path) -> None:
    if not isinstance(document, dict):
        root = yamltext.spans(text).root
        line, column = (root.line, root.column) if root else (1, 1)
        raise _syntax_error(file, line, column, "a mapping of sections is due here.")
    name = _wrong_kind(document)
    if name is None:
        return
    root = yamltext.spans(text).root
    line, column = 1, 1
    for key, value in root.pairs if root else ():
        if key.text == name:
            line, column = value.line, value.column
    raise _syntax_error(file, line, column, f"the section '{name}' must be {_DUE[name][1]}.")


def _syntax_error(file: Path, line: int, column: int, problem: str) -> DvcyamlSyntaxError:
    return DvcyamlSyntaxError(
        f"DVC cannot read '{_for_people(file)}': line {line}, column {column}: {problem} Correct "
        "it there, or pass another file: Live(dvcyaml='path/to/dvc.yaml'). It was left as it is."
    )


def _cannot_edit(file: Path, why: str) -> RepositoryError:
    return RepositoryError(
        f"The run's entries cannot be put into '{_for_people(file)}' without touching yours "
        f"({why}). It was left as it is. Write its params, metrics, plots and artifacts as plain "
        "sections, one entry a line, or pass another file: Live(dvcyaml='path/to/dvc.yaml')."
    )


def _for_people(file: Path) -> str:
    try:
        return str(file.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(file)


def _entries_of(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.items())
    return list(value or ())


def _put(document: dict[str, Any], name: str, entries: list[Any]) -> None:
    if not entries:
        document.pop(name, None)
    else:
        document[name] = _DUE[name][0](entries)


def _in_order(
    expected: dict[str, Any], document: Mapping[str, Any], *, whole: bool
) -> dict[str, Any]:
    """The sections of `expected` where they stood in `document`, new ones at their place."""
    names = [name for name in document if name in expected]
    for name in SECTIONS:
        if name in expected and name not in names:
            names.insert(_place(names, name, whole=whole), name)
    return {name: expected[name] for name in names}


def _place(names: list[str], name: str, *, whole: bool) -> int:
    """Where a new section goes: after the one that precedes it in the run's order, else the end."""
    rank = SECTIONS.index(name)
    for earlier in reversed(SECTIONS[:rank]):
        if earlier in names:
            return names.index(earlier) + 1
    if whole:
        for later in SECTIONS[rank + 1 :]:
            if later in names:
                return names.index(later)
    return len(names)


# -- the merge, carried out on the text ----------------------------------------------------


def _edited(
    text: str,
    document: Mapping[str, Any],
    plans: dict[str, Plan],
    expected: dict[str, Any],
    *,
    whole: bool,
) -> str:
    first_break = re.search(r"\r\n|\n|\r", text)
    edits = Edits(text, first_break[0] if first_break else "\n")
    spans = yamltext.spans(text)
    root = spans.root
    gone = {name for name in plans if name in document and name not in expected}
    fresh = [name for name in SECTIONS if name in plans and name not in document]
    if root is None or root.kind == "scalar" or not root.pairs:
        _fill_empty(edits, root, spans.stop, {name: expected[name] for name in fresh})
        return edits.apply()
    nodes = {key.text: (key, value) for key, value in root.pairs}
    for name in plans.keys() - set(fresh) - gone:
        _edit_section(edits, *nodes[name], plans[name], expected[name], in_flow=root.flow)
    if root.flow:
        changes = [Change(keep=key.text not in gone) for key, _ in root.pairs]
        pairs = Plan(changes, [(name, expected[name]) for name in fresh])
        yamltext.edit_collection(edits, root, root, pairs)
        return edits.apply()
    _edit_root(edits, root, spans.stop, gone, {name: expected[name] for name in fresh}, whole=whole)
    if not expected:
        edits.put_lines(edits.line_start(root.pairs[0][0].start), ["{}"])
    return edits.apply()


def _fill_empty(edits: Edits, root: Node | None, stop: int, sections: dict[str, Any]) -> None:
    """Puts the sections into a document that holds comments at most."""
    lines = yamltext.block_lines(sections) or ["{}"]
    if root is None or root.start == root.end:
        edits.put_lines(edits.line_start(stop) if stop < len(edits.text) else stop, lines)
        return
    if root.anchored:
        raise CannotEditError("an anchor on the whole document")
    start, end = edits.line_start(root.start), edits.after_line(root.end)
    if edits.text[start:end].strip() == edits.text[root.start : root.end]:
        edits.cut(start, end)
    else:
        edits.cut(root.start, root.end)
    edits.put_lines(end, lines)


def _edit_root(
    edits: Edits, root: Node, stop: int, gone: set[str], fresh: dict[str, Any], *, whole: bool
) -> None:
    indent = edits.indent_of(root.pairs[0][0].start)
    names = [key.text for key, _ in root.pairs]
    for key, value in root.pairs:
        if key.text in gone:
            _cut_section(edits, key, value)
    if edits.line_start(stop) != stop and stop < len(edits.text):
        raise CannotEditError("the document ends in the middle of a line")
    last = len(names) - _ends_openly(edits)
    for name, value in fresh.items():
        place = min(_place(names, name, whole=whole), last)
        # After the section it follows, else (and after the last) at the end of the document.
        if place < len(names):
            at = edits.line_start(root.pairs[place][0].start)
            at = edits.after_line(root.pairs[place - 1][1].end) if place else at
        else:
            at = stop
        edits.put_lines(at, yamltext.pair_lines(name, value, indent))


def _ends_openly(edits: Edits) -> bool:
    """Whether a line break at the end would belong to the last value, a block of text."""
    text = edits.text
    return text[-1] not in yamltext.BREAKS and _loaded(text + edits.newline) != _loaded(text)


def _cut_section(edits: Edits, key: Node, value: Node) -> None:
    """Takes a section out line by line, so that the user's comments between them stay."""
    start = edits.line_start(key.start)
    edits.indent_of(key.start)
    if value.kind == "alias" or value.flow or value.kind == "scalar":
        edits.cut(start, edits.after_line(value.end))
        return
    edits.cut(start, edits.after_line(key.end))
    count = len(value.pairs) + len(value.items)
    yamltext.edit_collection(edits, key, value, Plan([Change(keep=False) for _ in range(count)]))


def _edit_section(
    edits: Edits, key: Node, value: Node, plan: Plan, wanted: Any, *, in_flow: bool
) -> None:
    if value.kind == "alias":
        raise CannotEditError(f"the section '{key.text}' is an alias")
    if value.items or value.pairs:
        yamltext.edit_collection(edits, key, value, plan)
        return
    if value.anchored or "#" in edits.text[value.start : value.end]:
        raise CannotEditError(f"the section '{key.text}' is empty but for an anchor or a comment")
    colon = edits.indicator(key.end, max(value.start, key.end + 1), ":")
    if in_flow:
        edits.cut(colon + 1, value.end, " " + yamltext.flow(wanted))
        return
    edits.cut(colon + 1, value.end)
    indent = edits.indent_of(key.start)
    if isinstance(wanted, dict):
        indent += "  "
    edits.put_lines(edits.after_line(value.end), yamltext.block_lines(wanted, indent))


# -- the file ------------------------------------------------------------------------------


def _read(file: Path) -> str | None:
    """The file's text, None where there is no file. Raises errors.DvcyamlSyntaxError, OSError."""
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        return None
    return _decoded(data, file)


def _decoded(data: bytes, file: Path) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        raise _syntax_error(file, line, column, "the text is not UTF-8.") from error


class Writer:
    """The careful write of one run's entries; every backend has one.

    Two runs may share a file: each holds the other off while it reads and replaces it. With
    `resume` the artifacts that the run had logged before it stopped stay in the file.
    """

    def __init__(self, layout: Layout, *, resume: bool) -> None:
        self._layout = layout
        self._before: Entries | None = None
        self._begun_on: str | None = None
        self._logged_earlier: Mapping[str, Artifact] | None = None if resume else {}
        self._said: set[str] = set()

    def check(self) -> None:
        """Refuses a file that the run could not write to at its end. Writes nothing.

        Raises errors.DvcyamlSyntaxError: malformed, a key twice, a list where a mapping is due;
        with line, column and what to do. Raises errors.RepositoryError when it cannot be read, or
        a run's entries cannot be put in.
        """
        file = self._layout.dvcyaml
        if not self._layout.dvcyaml_on:
            return
        try:
            text = _read(file)
            document, _ = _document(text, file)
        except OSError as error:
            raise RepositoryError(
                f"'{_for_people(file)}' cannot be read: {error.strerror or error}. Mend that, or "
                "pass another file: Live(dvcyaml='path/to/dvc.yaml')."
            ) from error
        except DvcyamlSyntaxError:
            # `mend` sees to what a crash left of the run's own.
            if Owned.by(self._layout).whole(file) and _whole_part(file) is not None:
                return
            raise
        # What cannot be merged at the end is better known now.
        merge(text, _one_of_each(self._layout), file=file, owned=Owned.by(self._layout))
        foreign = [str(name) for name in document if name not in SECTIONS]
        if foreign and Owned.by(self._layout).whole(file):
            logger.warning(
                "'%s' holds '%s', which the run keeps, but the file is the run's own and is "
                "rewritten by it. Move that to the dvc.yaml at the root of the repository.",
                _for_people(file),
                "', '".join(foreign),
            )

    def write(self, entries: Entries) -> None:
        """Merges the entries into the file, which is replaced only when something changed.

        Trouble of the file is one warning; the file is then as it was. Raises
        errors.InvalidDataTypeError for a value that YAML has no form for.
        """
        file = self._layout.dvcyaml
        try:
            if self._logged_earlier is None:
                self._logged_earlier = read_entries(self._layout).artifacts
            artifacts = {**self._logged_earlier, **entries.artifacts}
            entries = replace(entries, artifacts=artifacts)
            file.parent.mkdir(parents=True, exist_ok=True)
            with files.locked(file):
                self._merge_into(file, entries)
        except (OSError, RepositoryError) as error:
            self._warn(file, error)
        else:
            self._before = entries

    def _merge_into(self, file: Path, entries: Entries) -> None:
        text = _read(file)
        if self._before is None:
            self._begun_on = text
        owned = Owned.by(self._layout, self._before, self._begun_on)
        for name, path in _replaced(text, entries, file, owned):
            self._say(
                f"The artifact '{name}' in '{_for_people(file)}' was '{path}', put there by "
                "someone else or an earlier run; now it is "
                f"'{_shown(entries.artifacts[name].path, file.parent)}'. Give this one a name of "
                "its own, log_artifact(..., name='...'), to keep both."
            )
        new = merge(text, entries, file=file, owned=owned)
        if new != text:
            # Half-written text lies in the run's own folder, not beside the user's file.
            scratch = self._layout.root if self._layout.root.is_dir() else None
            files.replace(file, new.encode("utf-8"), scratch=scratch)

    def _warn(self, file: Path, error: Exception) -> None:
        text = str(error)
        if isinstance(error, OSError):
            text = (
                f"The run's entries could not be written to '{_for_people(file)}': "
                f"{error.strerror or error}. Mend that and call make_dvcyaml()."
            )
        self._say(text)

    def _say(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            logger.warning("%s", text)


def _one_of_each(layout: Layout) -> Entries:
    return Entries(
        params=(layout.params_file,),
        metrics=(layout.metrics_file,),
        plots=(Plot(layout.metrics_dir, {"x": "step"}),),
        artifacts={"artifact": Artifact(layout.artifacts_dir)},
    )


def mend(layout: Layout, *, unread: bool) -> None:
    """Takes off what a crash left of the last line of the run's own dvc.yaml, with a warning.

    Such a line may read well and yet say something else, so it goes although the file can be read;
    with `unread` only where it cannot.
    """
    file = layout.dvcyaml
    whole = _whole_part(file) if Owned.by(layout).whole(file) else None
    if whole is None or (unread and _is_readable(file.read_bytes(), file)):
        return
    logger.warning(
        "'%s' was only half written, as after a crash; its end is taken off.", _for_people(file)
    )
    files.replace(file, whole)


def _whole_part(file: Path) -> bytes | None:
    """The whole lines of a half-written file; None where it is not one, or is wrong before that."""
    try:
        data = file.read_bytes()
    except OSError:
        return None
    if not data or data.endswith(b"\n"):
        return None
    lines = data.rstrip(b"\0").split(b"\n")[:-1]
    # A text that goes on over several lines is cut before its first.
    for count in range(len(lines), max(0, len(lines) - _LONGEST_ENTRY) - 1, -1):
        kept = b"".join(line + b"\n" for line in lines[:count])
        if _is_readable(kept, file):
            return kept
    return None


_LONGEST_ENTRY = 5  # lines


def _is_readable(data: bytes, file: Path) -> bool:
    try:
        _document(_decoded(data, file), file)
    except DvcyamlSyntaxError:
        return False
    return True


def clear(layout: Layout) -> None:
    """Takes out of `{dir}/dvc.yaml` what an earlier run wrote.

    The file goes too when nothing of the user's is left in it. One that cannot be read is left
    alone, with a warning.
    """
    file = layout.dvcyaml
    try:
        text = _read(file)
        if text is None:
            return
        new = merge(text, Entries(), file=file, owned=Owned.by(layout))
        if not re.sub(r"^(?:---|\.\.\.|\{\s*\})?[ \t]*$", "", new, flags=re.MULTILINE).strip():
            file.unlink()
        elif new != text:
            files.replace(file, new.encode("utf-8"))
    except (OSError, RepositoryError) as error:
        logger.warning("'%s' keeps entries of an earlier run: %s", _for_people(file), error)


def read_entries(layout: Layout) -> Entries:
    """What an earlier run wrote into the layout's dvc.yaml, for a run that goes on with it.

    Plots come with their configuration, the user's keys included. Artifacts are those of
    `{dir}/dvc.yaml`; of a shared file only those inside the run's folder, since whose the others
    are cannot be told (they stay in the file). Raises errors.DvcyamlSyntaxError.
    """
    file = layout.dvcyaml
    text = _read(file)
    document, _ = _document(text, file)
    owned = Owned.by(layout)
    whole = owned.whole(file)

    def paths(section: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for entry in _entries_of(document.get(section)):
            path = _resolved(_name(entry), file.parent)
            if path is not None and owned.holds(path) and not _is_named(entry):
                found.setdefault(path, entry)
        return found

    artifacts = {}
    for name, value in _entries_of(document.get("artifacts")):
        path = _resolved(value.get("path") if isinstance(value, dict) else None, file.parent)
        if path is not None and isinstance(name, str) and (whole or owned.holds(path)):
            value = _read_back(value)  # noqa: PLW2901 - the same, in the user's words
            artifacts[name] = Artifact(
                Path(path),
                type=value.get("type"),
                desc=value.get("desc"),
                labels=tuple(value.get("labels") or ()),
                meta=value.get("meta") or {},
            )
    return Entries(
        params=tuple(map(Path, paths("params"))),
        metrics=tuple(map(Path, paths("metrics"))),
        plots=tuple(
            # A template is the user's and stays in the file, asked for or not.
            Plot(
                Path(path),
                {
                    key: _read_back(value)
                    for key, value in _config(entry).items()
                    if not _is_template(value)
                },
            )
            for path, entry in paths("plots").items()
        ),
        artifacts=artifacts,
    )

"""What an earlier run left in `dir`: told from a user's own files, cleared or resumed."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import itertools
import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import dvcyaml, files
from ..backend import Entries
from ..errors import InvalidDirError, RepositoryError
from ..layout import DRAWN_BY, DVCYAML_NAME
from ..notices import logger
from . import metrics, params, plots, summary

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ..backend import Artifact, Plot
    from ..layout import Layout

# What lies in a folder that people write code or a project in, by name and by ending.
_PROJECT_FILES = frozenset({
    "pyproject.toml", "setup.py", "setup.cfg", "requirements.txt", "package.json", "Cargo.toml",
    "go.mod", "Makefile", "CMakeLists.txt", "Dockerfile", "dvc.lock", "environment.yml",
    "conda.yaml", "tox.ini", ".gitmodules",
})  # fmt: skip
_SOURCES = frozenset({
    ".py", ".pyx", ".pyi", ".ipynb", ".c", ".cc", ".cpp", ".cu", ".h", ".hpp", ".rs", ".go",
    ".java", ".scala", ".jl", ".r", ".js", ".ts",
})  # fmt: skip
_IMAGES = frozenset({".jpg", ".jpeg", ".gif", ".png"})
_JSON = frozenset({".json"})
# What the reports of DVCLive begin with, by dvc-render's templates.
_DRAWN_BY_DVCLIVE = {
    "html": re.compile(rb"\s*<!DOCTYPE html>\s*<html>\s*<head>[^/]*<title>DVC Plot</title>"),
    "md": re.compile(rb"# DVC Report\n"),
}


@dataclass(frozen=True)
class Remains:
    """An earlier run, as far as the next one needs it to go on.

    summary:     what metrics.json says, and rows logged after it was written last.
    next_step:   the step after the last complete one; 0 where there was none.
    plots:       custom and scikit-learn plots with how they are drawn.
    has_metrics: whether any metric has a file.
    """

    summary: dict[str, Any] = field(default_factory=dict)
    next_step: int = 0
    params: dict[str, Any] = field(default_factory=dict)
    plots: tuple[Plot, ...] = ()
    artifacts: Mapping[str, Artifact] = field(default_factory=dict)
    has_images: bool = False
    has_metrics: bool = False


_REPOSITORY_FOLDERS = (".git", ".dvc")

# -- is it a run's folder? -----------------------------------------------------------------


def check_dir(layout: Layout) -> None:
    """Refuses a `dir` that is plainly not a run's; looks only, and only where `dir` exists.

    A repository's root, a folder above the working directory and one that holds source code are
    refused, and so is one whose params.yaml or metrics.json no run can have written. A folder in
    which a run was before is fine whatever else the user put there, and
    so is the working directory itself, `Live(".")`, when none of the above holds: some launchers
    start each job in a fresh folder of its own.

    Raises InvalidDirError.
    """
    if _is_inside_repository_folder(layout.root):
        raise _refused(layout, "is inside the folder that Git or DVC keep for themselves")
    # os.path's: Path's own raise for a name that is too long.
    if os.path.exists(layout.root) and not os.path.isdir(layout.root):  # noqa: PTH110, PTH112 - see above
        raise _refused(layout, "is a file")
    try:
        names = set(os.listdir(layout.root))  # noqa: PTH208 - names, not paths
    except FileNotFoundError:
        return
    except OSError as error:
        raise _refused(layout, f"cannot be read ({error.strerror})") from error
    if {".git", ".dvc"} & names:
        raise _refused(layout, "is the root of a repository")
    # Path.home() raises for a user without one, as in a container.
    home = os.path.expanduser("~")  # noqa: PTH111
    if layout.root in {Path(layout.root.anchor), Path(os.path.realpath(home))}:
        raise _refused(layout, "is the home folder or the root of the file system")
    if names and not _was_a_run(layout):
        _check_strangers(layout, names)


def _is_inside_repository_folder(root: Path) -> bool:
    # Up to the nearest repository and no further: `dvc exp run --temp` puts whole ones below
    # `.dvc/tmp/exps`.
    for folder in (root, *root.parents):
        if folder.name in _REPOSITORY_FOLDERS:
            return True
        if folder != root and any(os.path.lexists(folder / one) for one in _REPOSITORY_FOLDERS):
            return False
    return False


def _check_strangers(layout: Layout, names: set[str]) -> None:
    """Refuses a folder that no run was in yet, by what is in it."""
    if layout.root in Path(os.path.realpath(os.curdir)).parents:
        raise _refused(layout, "is a folder above the working directory")
    source = min(
        (n for n in names if n in _PROJECT_FILES or Path(n).suffix.lower() in _SOURCES), default=""
    )
    if source:
        raise _refused(layout, f"holds source code ('{source}')")
    for path, ours in (
        (layout.params_file, _params_are_ours),
        (layout.metrics_file, _summary_is_ours),
    ):
        if path.name in names and not ours(path):
            raise _refused(layout, f"holds a {path.name} that no run wrote")


def _refused(layout: Layout, why: str) -> InvalidDirError:
    return InvalidDirError(
        f"`dir` '{layout.given}' {why}. A run replaces what an earlier run left in its folder, so "
        "it needs one of its own: Live(dir='dvclive')."
    )


def _was_a_run(layout: Layout) -> bool:
    """Whether something lies there that nothing but a run writes.

    metrics.json and params.yaml alone are no proof: anybody's may look like a run's.
    """
    return (
        any(_has_header(path) for path in _own(layout, layout.metrics_dir))
        or _is_a_runs_dvcyaml(_dvcyaml_text(layout))
        or any(_is_a_report(layout.report_file(mode), mode) for mode in _DRAWN_BY_DVCLIVE)
    )


def _dvcyaml_text(layout: Layout) -> str:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return (layout.root / DVCYAML_NAME).read_text(encoding="utf-8")
    return ""


def _is_a_runs_dvcyaml(text: str) -> bool:
    # A person's has stages, or names files of other places.
    return _sections(text) <= set(dvcyaml.SECTIONS) and bool(_OWN_ENTRY.search(text))


def _sections(text: str) -> set[str]:
    return set(re.findall(r"^([^\s#-][^:\n]*):", text, re.MULTILINE))


_OWN_ENTRY = re.compile(
    r"""^- ['"]?(?:\./)?(?:params\.yaml|metrics\.json|plots/(?:metrics|images|custom|sklearn))\b""",
    re.MULTILINE,
)


def _is_a_report(path: Path, mode: str) -> bool:
    try:
        content = path.read_bytes()
    except OSError:
        return False
    return DRAWN_BY.encode() in content or bool(_DRAWN_BY_DVCLIVE[mode].match(content))


def _has_header(path: Path, *, torn: bool = False) -> bool:
    """Whether a file begins as a metric of its name does; with `torn` half a header will do."""
    try:
        with path.open("rb") as file:
            first = file.readline(_LONGEST_HEADER).partition(b"\0")[0]
    except OSError:
        return False
    for timestamp in (False, True):
        line = metrics.header(path.name.removesuffix(".tsv"), timestamp=timestamp)
        if torn and line.startswith(first):
            return True
        # DVCLive quotes more than need be, and ends lines as the system does.
        if first == line or (first.endswith(b"\n") and _cells(first) == _cells(line)):
            return True
    return False


_LONGEST_HEADER = 1024


def _cells(line: bytes) -> list[str]:
    text = line.decode("utf-8", "replace").rstrip("\r\n")
    # csv refuses fields of more than 128 KiB.
    if '"' in text and len(text) < csv.field_size_limit():
        return next(csv.reader([text], delimiter="\t"), [])
    return text.split("\t")


def _params_are_ours(path: Path) -> bool:
    # A person's file has comments, blank lines or another style.
    try:
        content = path.read_bytes()
        if not content.strip():
            return True
        found = params.read(path)
        return content in {params.dumped(found), params.dumped_as_dvclive(found)}
    except (OSError, ValueError):
        return False


def _summary_is_ours(path: Path) -> bool:
    try:
        content = path.read_bytes().strip()
        if not content:
            return True
        document = json.loads(content)
        # DVCLive spells NaN and what is not ASCII in Python's own way.
        ways = [json.dumps(document, indent=4).encode()]
        with contextlib.suppress(ValueError):
            ways.append(files.dump_json(document).strip())
        return isinstance(document, dict) and content in ways
    except (OSError, ValueError):
        return False


# -- clearing ------------------------------------------------------------------------------


def clear(layout: Layout, report: str | None = None) -> None:
    """Removes what an earlier run wrote, and folders that are empty then; nothing else.

    Nothing is removed where nothing proves that a run was there. Files that are in the new run's
    way, `report` being the mode of its report, and that no run is known to have written are set
    aside as `NAME.orig`; params.yaml not before the run logs parameters, see `make_way`. Copied
    artifacts stay: they are replaced when logged again.
    """
    was_a_run = _was_a_run(layout)
    doomed: list[Path] = []
    strangers: list[Path] = []
    (doomed if was_a_run else strangers).append(layout.metrics_file)
    if was_a_run:
        doomed.append(layout.params_file)
    if report in _DRAWN_BY_DVCLIVE and not _is_a_report(layout.report_file(report), report):
        strangers.append(layout.report_file(report))
    for path in strangers:
        _set_aside(path)
    _tell_of_links(layout)
    if not was_a_run:
        _copy_strange_dvcyaml(layout)
        return
    _uncache_images(layout)
    own = dataclasses.replace(layout, dvcyaml=layout.root / DVCYAML_NAME)
    dvcyaml.mend(own, unread=True)
    clear_reports(layout)
    for path in (*doomed, *_plot_files(own)):
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
    for folder in _folders(layout):
        if not _is_linked(layout, folder):
            _remove_empty(folder)
    with contextlib.suppress(OSError):
        layout.plots_dir.rmdir()
    dvcyaml.clear(own)


def clear_reports(layout: Layout, but: str | None = None) -> None:
    """Removes the earlier run's reports but the one of the mode `but`.

    Also where the run is gone on with: nobody draws the others again, and they would go on telling
    of its first part as if that were all.
    """
    doomed = [
        layout.report_file(mode)
        for mode in _DRAWN_BY_DVCLIVE
        if mode != but and _is_a_report(layout.report_file(mode), mode)
    ]
    if but != "md":
        doomed += _report_pictures(layout)
    for path in doomed:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
    with contextlib.suppress(OSError):
        layout.report_pictures_dir.rmdir()


def _uncache_images(layout: Layout) -> None:
    """Gives the images' folder back to Git: the next run's images are cached if it says so.

    With the pointer there, its experiment would hold that in place of its own images.
    """
    try:
        pointer = layout.images_pointer.read_bytes()
    except OSError:
        return
    if not re.search(rb"^[- ] path: images\r?$", pointer, re.MULTILINE):
        return
    layout.images_pointer.unlink()
    rules = layout.plots_dir / ".gitignore"
    with contextlib.suppress(OSError):
        lines = rules.read_bytes().splitlines(keepends=True)
        kept = b"".join(line for line in lines if line.rstrip(b"\r\n") != b"/images")
        if kept:
            files.replace_if_changed(rules, kept)
        else:
            rules.unlink()


def make_way(path: Path, fresh: dict[str, Any]) -> None:
    """Sets a params.yaml aside that the run's first parameters would be written over.

    Unless it says the same: a pipeline's stage may log what it read from there.
    """
    with contextlib.suppress(ValueError):
        if params.read(path) == fresh:
            return
    _set_aside(path)


def _set_aside(path: Path) -> None:
    """Renames a file that no run is known to have written, unless there is nothing in it."""
    if not path.is_file():
        return
    content = path.read_bytes()
    if content.strip() in {b"", b"{}"}:
        path.unlink()
        return
    kept = _free_name(path, content)
    path.replace(kept)
    logger.warning(
        "'%s' was there before the run, which writes a file of that name: yours is '%s' now.",
        path, kept,
    )  # fmt: skip


def _copy_strange_dvcyaml(layout: Layout) -> None:
    """Keeps a copy of a `{dir}/dvc.yaml` of the user's, whose sections the run takes over.

    It is not renamed: what else is in it, stages for one, is read by DVC from there.
    """
    path = layout.root / DVCYAML_NAME
    if layout.dvcyaml != path or not layout.dvcyaml_on:
        return
    if _sections(_dvcyaml_text(layout)).isdisjoint(dvcyaml.SECTIONS):
        return
    content = path.read_bytes()
    kept = _free_name(path, content)
    files.replace(kept, content)
    logger.warning(
        "The run puts its own params, metrics, plots and artifacts into '%s'; what was there "
        "before is kept as '%s'.", path, kept,
    )  # fmt: skip


def _free_name(path: Path, content: bytes) -> Path:
    """`NAME.orig`, or the first of `.orig2`, `.orig3`... that is free or holds just that."""
    for count in itertools.count(1):
        kept = path.with_name(f"{path.name}.orig{count if count > 1 else ''}")
        if not os.path.lexists(kept) or (kept.is_file() and kept.read_bytes() == content):
            break
    return kept


def _folders(layout: Layout) -> dict[Path, frozenset[str]]:
    """Where a run's plots are, and how its files there end."""
    return {
        layout.metrics_dir: frozenset({".tsv"}),
        layout.images_dir: _IMAGES,
        layout.sklearn_dir: _JSON,
        layout.custom_dir: _JSON,
    }


def _own(layout: Layout, folder: Path) -> Iterator[Path]:
    """The files of a run's folder of plots, none where a link leads to it: they may be anyone's."""
    if not _is_linked(layout, folder):
        yield from _below(folder, _folders(layout)[folder])


def _is_linked(layout: Layout, folder: Path) -> bool:
    on_the_way = (folder, *folder.parents)
    return any(p.is_symlink() for p in on_the_way[: on_the_way.index(layout.root)])


def _tell_of_links(layout: Layout) -> None:
    linked = [f for f, s in _folders(layout).items() if _is_linked(layout, f) and any(_below(f, s))]
    if linked:
        logger.warning(
            "'%s' lies behind a link: what is in there stays, and what the run logs is added to "
            "it. Remove the link for a folder of the run's own.", "', '".join(map(str, linked)),
        )  # fmt: skip


def _metric_files(layout: Layout) -> Iterator[Path]:
    # Also behind a link: a run that goes on writes there.
    for path in _below(layout.metrics_dir, _folders(layout)[layout.metrics_dir]):
        if _has_header(path, torn=True):
            yield path


def _plot_files(layout: Layout) -> Iterator[Path]:
    yield from [p for p in _own(layout, layout.metrics_dir) if _has_header(p, torn=True)]
    yield from _own(layout, layout.images_dir)
    listed = _listed_plots(layout)
    for folder in (layout.sklearn_dir, layout.custom_dir):
        for path in _own(layout, folder):
            if listed is None or path in listed:
                yield path


def _listed_plots(layout: Layout) -> set[Path] | None:
    """The plots that the earlier run's dvc.yaml lists; None where it had none."""
    with contextlib.suppress(OSError, RepositoryError):
        entries = dvcyaml.read_entries(layout)
        if entries != Entries():
            return {plot.path for plot in entries.plots}
    return None


def _report_pictures(layout: Layout) -> Iterator[Path]:
    if _is_linked(layout, layout.report_pictures_dir):
        return
    # As report/markdown.py names them: a user's own picture in there is called otherwise.
    for path in layout.report_pictures_dir.glob("*"):
        if re.fullmatch(r".+-[0-9a-f]{8}\.(png|svg)", path.name):
            yield path


def _below(folder: Path, suffixes: frozenset[str]) -> Iterator[Path]:
    for root, _, names in os.walk(folder):
        for name in names:
            if Path(name).suffix in suffixes:
                yield Path(root, name)


def _remove_empty(folder: Path) -> None:
    for root, _, _ in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):
            Path(root).rmdir()


# -- going on ------------------------------------------------------------------------------


def load(layout: Layout) -> Remains:
    """The earlier run, its files mended first where a crash tore them, with a warning each.

    Raises errors.DvcyamlSyntaxError for a dvc.yaml that cannot be read.
    """
    rows = {}
    for path in _metric_files(layout):
        row = _last_row(path)
        if row is not None:
            rows[_name_of(path, layout.metrics_dir)] = row
    told, torn = _summary_of(layout)
    _add_later_rows(told, rows)
    dvcyaml.mend(layout, unread=False)
    entries = dvcyaml.read_entries(layout)
    own = {layout.metrics_dir, layout.images_dir}
    for path in [p for f in (layout.custom_dir, layout.sklearn_dir) for p in _below(f, _JSON)]:
        _mend_rows(path)
    return Remains(
        summary=told,
        next_step=_next_step(told, rows, torn=torn),
        params=_params_of(layout.params_file),
        plots=tuple(p for p in entries.plots if p.path not in own and p.path.is_file()),
        artifacts=entries.artifacts,
        has_images=any(True for _ in _below(layout.images_dir, _IMAGES)),
        has_metrics=bool(rows),
    )


def _name_of(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix().removesuffix(".tsv")


def _next_step(told: dict[str, Any], rows: dict[str, tuple[int, str]], *, torn: bool) -> int:
    step = told.get("step")
    if isinstance(step, int):
        return step + 1
    last = max((step for step, _ in rows.values()), default=0)
    if torn and rows:
        # What metrics.json said is lost; the rows are what is left to tell.
        told["step"] = last
        return last + 1
    # No step was completed: that would have been written. The one that was begun is done again.
    return last


def _add_later_rows(told: dict[str, Any], rows: dict[str, tuple[int, str]]) -> None:
    """Puts rows into the summary that a kill kept out of metrics.json.

    What the file says of a step it has stays: it may be the user's word, `live.summary["best"]`.
    The files' times are no help, for a checkout gives them new ones.
    """
    last = told.get("step")
    for name, (step, cell) in rows.items():
        there = summary.get(told, name)
        if there is not None and isinstance(last, int) and step <= last:
            continue
        # A cell does not say whether it was a number or text, or held the end of a line.
        if isinstance(there, (bool, int, float, str)) and metrics.to_scalar(name, there)[1] == cell:
            continue
        with contextlib.suppress(ValueError):
            summary.put(told, name, _value_of(cell))


def _value_of(cell: str) -> Any:
    if cell in {"True", "False"}:
        return cell == "True"
    # Text that only looks like a number, such as 007 or 1e5, is none that a number was written as.
    for read in (int, float):
        with contextlib.suppress(ValueError):
            value = read(cell)
            if repr(value) == cell or _LONG_DOUBLE.fullmatch(cell):
                return summary.plain(value)
    return cell


_LONG_DOUBLE = re.compile(r"-?\d{1,20}\.\d{17,}(e[+-]\d+)?")  # more digits than a float has


def _last_row(path: Path) -> tuple[int, str] | None:
    """Step and value of the last whole row; a torn one behind it is cut off."""
    size = path.stat().st_size
    with path.open("rb") as file:
        timed = file.readline().startswith(b"timestamp\t")
        # Most rows are far shorter than a block; the whole file is not read for its end.
        tail, kept, block = b"", b"", _BLOCK
        while kept.count(b"\n") < 2 and len(tail) < size:  # noqa: PLR2004 - around one whole row
            file.seek(max(0, size - block))
            tail = file.read()
            # Zeros are what a file system may leave of a row that never reached the disk.
            kept = _whole_lines(tail.partition(b"\0")[0])
            block *= 16
    if len(kept) < len(tail):
        logger.warning(
            "'%s' ended in the middle of a row, as after a crash; that row is taken off.", path
        )
        _cut(path, size - (len(tail) - len(kept)))
    lines = kept.splitlines()
    if len(lines) < 2:  # noqa: PLR2004 - the header, or the end of an earlier row, and a row
        return None
    cells = _cells(lines[-1])
    with contextlib.suppress(ValueError, IndexError):
        return int(cells[int(timed)]), cells[int(timed) + 1]
    return None


_BLOCK = 1 << 16


def _cut(path: Path, size: int) -> None:
    if size == 0:
        path.unlink()
    else:
        os.truncate(path, size)


def _summary_of(layout: Layout) -> tuple[dict[str, Any], bool]:
    """What metrics.json holds, and whether a crash has taken something of it."""
    path = layout.metrics_file
    try:
        return summary.read(path), False
    except ValueError:
        # Without its end `"step": 120` may read `"step": 1`.
        found = _mended(_whole_lines(path.read_bytes()), "}")
        logger.warning(
            "'%s' was only half written, as after a crash; what could be read is kept, and the "
            "last values are taken from the metrics' own files.", path,
        )  # fmt: skip
        return (found if isinstance(found, dict) else {}), True


def _params_of(path: Path) -> dict[str, Any]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {}
    if not content or content.endswith(b"\n"):
        with contextlib.suppress(ValueError):
            return params.read(path)
    # The last line may read well and yet say something else: `lr: 0.00125` cut after `0.00`.
    logger.warning(
        "'%s' was only half written, as after a crash; its last line is taken off.", path
    )
    aside = path.with_name(f"{path.name}.torn")
    aside.write_bytes(content)
    files.replace(path, _whole_lines(content))
    try:
        found = params.read(path)
    except ValueError:
        logger.warning("'%s' cannot be read; it is kept as '%s'.", path, aside)
        path.unlink()
        return {}
    aside.unlink()
    return found


def _whole_lines(content: bytes) -> bytes:
    content = content.rstrip(b"\0")
    return content[: content.rfind(b"\n") + 1]


def _mend_rows(path: Path) -> None:
    content = path.read_bytes()
    try:
        json.loads(content)
    except ValueError:
        rows, group = _rows_of(_mended(content.rstrip(b"\0"), "]"))
        if not rows:
            logger.warning("'%s' was only half written, as after a crash; it is removed.", path)
            path.unlink()
        else:
            logger.warning(
                "'%s' was only half written, as after a crash; its last line is taken off.", path
            )
            files.put(str(path), plots.table_json(rows, group))


def _rows_of(document: Any) -> tuple[list[Any], str | None]:
    """A plot's rows, and the key they stand under where there is one."""
    if isinstance(document, dict) and len(document) == 1:
        ((group, rows),) = document.items()
        return (rows, group) if isinstance(rows, list) else ([], None)
    return (document, None) if isinstance(document, list) else ([], None)


def _mended(content: bytes, closer: str) -> Any:
    """The longest beginning of a JSON text, cut at a line's end, that closes to a document."""
    lines = content.decode("utf-8", "replace").splitlines()
    for count in range(len(lines), max(0, len(lines) - 3), -1):
        head = "\n".join(lines[:count]).rstrip().rstrip(",")
        for depth in range(_MAX_OPEN):
            for inner in (closer * depth, closer * depth + "}"):
                with contextlib.suppress(ValueError):
                    return json.loads(head + inner)
    return None


_MAX_OPEN = 30

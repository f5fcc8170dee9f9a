"""The floors of the package: each module imports only from floors below its own."""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from situations import PROJECT, python

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = PROJECT / "dvclive_dvc"

# From the top down. A unit is a module, or a package whose modules are one piece.
FLOORS: tuple[frozenset[str], ...] = (
    frozenset({"cli"}),
    frozenset({"live"}),
    frozenset({"ending", "monitor"}),
    frozenset({"logs", "report", "null", "settings", "repo.backend"}),
    frozenset({"repo.recovery"}),
    frozenset({"repo.saving", "repo.catchup"}),
    frozenset(
        {
            "repo.autopush",
            "repo.cache",
            "repo.data",
            "repo.experiments",
            "repo.initialise",
            "repo.join",
            "repo.journal",
            "repo.outputs",
            "repo.sources",
            "repo.templates",
            "repo.watchers",
        }
    ),
    frozenset({"repo.kept", "repo.ran"}),
    frozenset(
        {
            "dvcyaml",
            "repo.belongings",
            "repo.commits",
            "repo.content",
            "repo.dvcconfig",
            "repo.edits",
            "repo.former",
            "repo.gitignore",
            "repo.include",
            "repo.naming",
            "repo.pointer",
            "repo.snapshot",
        }
    ),
    frozenset(
        {
            "repo.context",
            "repo.crew",
            "repo.dvcignore",
            "repo.hashes",
            "repo.listing",
            "repo.trees",
        }
    ),
    frozenset({"repo.git", "repo.merges", "repo.objects", "repo.record", "repo.reflog"}),
    frozenset({"backend"}),
    frozenset({"layout", "losses", "occupied", "repo.programs", "yamltext"}),
    frozenset({"files", "forks"}),
    frozenset({"notices"}),
    frozenset({"errors"}),
)
FLOOR = {unit: number for number, units in enumerate(FLOORS) for unit in units}
PACKAGES = {"logs", "report"}  # their own modules may import one another

REPOSITORY_LIBRARIES = {"dvc", "dvc_data", "dvc_objects", "scmrepo", "pygit2", "dulwich"}
# Slow to import, or not there without an extra: never while the package is being imported.
HEAVY = REPOSITORY_LIBRARIES | {
    "numpy", "pandas", "PIL", "sklearn", "matplotlib", "ruamel", "yaml", "dvc_render",
    "vl_convert", "IPython", "psutil", "pynvml", "tqdm", "funcy", "requests",
}  # fmt: skip


@dataclass(frozen=True)
class Import:
    """One import: of what, on which line, and when it is carried out."""

    target: str
    line: int
    for_types_only: bool
    at_once: bool


def imports_in(source: str, module: str, *, is_package: bool = False) -> list[Import]:
    """Every import in the source, also inside functions, with absolute names."""
    found: list[Import] = []
    inside = module.split(".") if is_package else module.split(".")[:-1]

    def visit(node: ast.AST, *, for_types_only: bool, at_once: bool) -> None:
        if isinstance(node, ast.Import):
            found.extend(Import(a.name, node.lineno, for_types_only, at_once) for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            up = inside[: len(inside) - (node.level - 1)] if node.level else []
            base = ".".join([*up, *(node.module or "").split(".")]).strip(".")
            found.extend(
                Import(f"{base}.{a.name}", node.lineno, for_types_only, at_once) for a in node.names
            )
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            at_once = False
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.body:
                visit(child, for_types_only=True, at_once=False)
            for child in node.orelse:
                visit(child, for_types_only=for_types_only, at_once=at_once)
            return
        for child in ast.iter_child_nodes(node):
            visit(child, for_types_only=for_types_only, at_once=at_once)

    visit(ast.parse(source), for_types_only=False, at_once=True)
    return found


def unit_of(name: str) -> str | None:
    """The unit a dotted name below the package belongs to; None for the package itself."""
    parts = name.split(".")[1:]
    for length in (2, 1):
        unit = ".".join(parts[:length])
        if len(parts) >= length and unit in FLOOR:
            return unit
    return None


def complaints(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """What the imports of one module break; empty when they keep to the floors."""
    told = []
    for one in imports_in(source, module, is_package=is_package):
        where = f"{module}:{one.line} imports {one.target}"
        top = one.target.split(".")[0]
        if top in REPOSITORY_LIBRARIES and not module.startswith("dvclive_dvc.repo"):
            told.append(f"{where}: only dvclive_dvc/repo may")
        if top in HEAVY and one.at_once:
            told.append(f"{where} at once: move it into the function that needs it")
        unit = unit_of(module)
        if top == "dvclive_dvc" and unit is not None:
            told.extend(f"{where}, {why}" for why in _between_floors(unit, one))
    return told


def _between_floors(unit: str, one: Import) -> list[str]:
    target = unit_of(one.target)
    if target is None:
        # The package's public names stand above everything but the command.
        allowed = unit == "cli" and one.target == "dvclive_dvc.__version__"
        return [] if allowed else ["which stands on no floor"]
    if target == unit and unit in PACKAGES:
        return []
    if FLOOR[target] == FLOOR[unit]:
        return ["its neighbour on the same floor"]
    # Types are the one thing that may be named upwards: nothing is imported by that.
    if FLOOR[target] < FLOOR[unit] and not one.for_types_only:
        return ["which stands above it"]
    return []


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(PROJECT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_a_module_imports_only_from_the_floors_below_its_own(path):
    told = complaints(
        path.read_text(encoding="utf-8"), name_of(path), is_package=path.name == "__init__.py"
    )
    assert not told, "\n".join(told)


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_every_module_stands_on_a_floor(path):
    name = name_of(path)
    if name in {"dvclive_dvc", "dvclive_dvc.repo", "dvclive_dvc.__main__"}:
        return
    assert unit_of(name), f"say in tests/test_layers.py on which floor {name} stands"


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        ("dvclive_dvc.layout", "from .live import Live", "above"),
        ("dvclive_dvc.layout", "def f():\n    from .live import Live", "above"),
        ("dvclive_dvc.layout", "from . import live", "above"),
        ("dvclive_dvc.repo.cache", "from ..live import Live", "above"),
        ("dvclive_dvc.repo.cache", "import dvclive_dvc.null", "above"),
        ("dvclive_dvc.repo.cache", "from . import outputs", "neighbour"),
        ("dvclive_dvc.null", "from .report.html import draw", "neighbour"),
        ("dvclive_dvc.logs.images", "from ..report import html", "neighbour"),
        ("dvclive_dvc.live", "def f():\n    import pygit2", "only dvclive_dvc/repo"),
        ("dvclive_dvc.logs.plots", "import numpy as np", "at once"),
        ("dvclive_dvc.repo.cache", "from dvc.repo import Repo", "at once"),
        ("dvclive_dvc.live", "from .nowhere import x", "no floor"),
    ],
)
def test_a_broken_floor_is_noticed(module, source, complaint):
    told = complaints(source, module)
    assert len(told) >= 1, "nothing was noticed"
    assert complaint in told[0]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("dvclive_dvc.live", "from .logs import metrics\nfrom .errors import CallerError"),
        ("dvclive_dvc.logs.images", "from .names import checked"),
        ("dvclive_dvc.repo.cache", "def f():\n    import pygit2"),
        ("dvclive_dvc.logs.plots", "def f():\n    import numpy"),
        (
            "dvclive_dvc.logs.plots",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import pandas",
        ),
    ],
)
def test_a_kept_floor_is_let_be(module, source):
    assert complaints(source, module) == []


# -- what a process pays for -----------------------------------------------------------------


def loaded_after(source: str) -> set[str]:
    code = (
        source + "\nimport sys\nprint('loaded:', *sorted({m.split('.')[0] for m in sys.modules}))"
    )
    lines = python(code).stdout.splitlines()
    return set(lines[-1].removeprefix("loaded: ").split())


def test_importing_the_package_loads_nothing_heavy():
    loaded = loaded_after("import dvclive_dvc\ndvclive_dvc.Live")
    assert "dvclive_dvc" in loaded
    assert not loaded & HEAVY, f"`import dvclive_dvc` loads {sorted(loaded & HEAVY)}"


RUN = """
from dvclive_dvc import Live
with Live({}) as live:
    live.log_metric("loss", 0.5)
    live.log_param("lr", 0.1)
    live.next_step()
"""


def test_a_run_outside_a_repository_never_loads_dvc(repos):
    repos.make("no_git")
    loaded = loaded_after(RUN.format(""))
    assert not loaded & {"dvc", "dvc_data", "numpy", "pandas"}, sorted(loaded)


def test_a_run_without_artifacts_is_saved_without_loading_dvc(repos):
    made = repos.make("git_and_dvc")
    loaded = loaded_after(RUN.format(""))
    assert made.experiments(), "the run was not saved"
    assert "dvc" not in loaded, "saving a plain run has no use for DVC"


def test_this_interpreter_is_one_the_package_supports():
    assert sys.version_info >= (3, 10)

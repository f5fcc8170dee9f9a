"""Counts what the fault tests did, and prints the figures at the end: `make faults`."""

from __future__ import annotations

import errno
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from faults.rounds import ROUNDS, SEED, Training

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAMES = ("rounds", "kills", "faults", "violations")


@dataclass
class Figures:
    """What one test counts; `broken` are its violations, as sentences."""

    rounds: int = 0
    kills: int = 0
    faults: int = 0
    broken: list[str] = field(default_factory=list)

    def found(self, where: str, broken: list[str]) -> None:
        """Keeps what one round broke."""
        self.broken += [f"{where}: {text}" for text in broken]


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Iterator[Figures]:
    """Counts for the summary. A test that broke a promise in any round fails at its end."""
    counted = Figures()
    yield counted
    facts = (counted.rounds, counted.kills, counted.faults, len(counted.broken))
    request.node.user_properties.append(("faults", dict(zip(_NAMES, facts, strict=True))))
    assert not counted.broken, f"FAULT_SEED={SEED}\n" + "\n".join(counted.broken)


# (from where, at which change, how) -> the variables that make it happen; see preload.c.
Faults = Callable[..., dict[str, str]]


@pytest.fixture
def faults(shared_folder: Path) -> Faults:
    """Variables that make a program fail at its n-th change to the file system."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler `cc` to make the failing system calls with")
    library = shared_folder / "preload.so"
    if not library.exists():
        source = Path(__file__).with_name("preload.c")
        made = library.with_name(f"preload-{id(source)}.so")
        command = [compiler, "-shared", "-fPIC", "-O2", "-o", made, source, "-ldl"]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"the failing system calls do not compile here: {done.stderr}")
        made.rename(library)

    def variables(begin: str, at: int = 0, how: str = "", *, log: Path | None = None):
        name = how.removesuffix("+")
        how = how.replace(name, str(getattr(errno, name, name)))
        return {
            "LD_PRELOAD": str(library),
            "FAULT_FROM": begin,
            "FAULT_AT": str(at),
            "FAULT_HOW": how,
            **({"FAULT_LOG": str(log)} if log else {}),
        }

    return variables


@pytest.fixture
def changes(faults: Faults, tmp_path: Path) -> Callable[[Training, str], list[str]]:
    """Runs a training and lists its changes to the file system from a point on."""

    def counted(training: Training, begin: str) -> list[str]:
        log = tmp_path / "changes"
        log.unlink(missing_ok=True)
        training.start(**faults(begin, log=log)).wait()
        assert training.ended, training.stderr
        return log.read_text().splitlines()

    return counted


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line of figures."""
    total: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            # The last phase alone has what the fixture counted.
            if getattr(report, "when", "") == "teardown":
                for name, facts in report.user_properties:
                    if name == "faults":
                        total.update(facts)
    if total:
        figures = ", ".join(f"{total[name]:,} {name}" for name in _NAMES)
        terminalreporter.write_line(f"faults: {figures} (FAULT_ROUNDS={ROUNDS} FAULT_SEED={SEED})")

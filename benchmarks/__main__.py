"""Measures the rows that were asked for and prints the table: `make bench`."""

from __future__ import annotations

import argparse
import fnmatch
import shutil
import sys
import tempfile
import time
from pathlib import Path

from . import machine, table
from .measure import Bench, Row, measure
from .rows import ALL


def chosen(pattern: str | None, *, full: bool) -> list[Row]:
    """The rows whose name matches: a part of it, or a shell pattern."""
    if pattern is None:
        return [row for row in ALL if full or not row.full]
    wild = pattern if "*" in pattern else f"*{pattern}*"
    return [row for row in ALL if fnmatch.fnmatch(row.name.replace("`", "").lower(), wild.lower())]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--public", type=Path, required=True, help="a Python that has dvclive")
    parser.add_argument("--rows", help="a part of the names of the rows to measure (any size)")
    parser.add_argument("--full", action="store_true", help="the rows that take long, too")
    parser.add_argument("--quick", action="store_true", help="the rows of some minutes (default)")
    parser.add_argument("--repeats", type=int, help="rounds instead of each row's own number")
    parser.add_argument("--list", action="store_true", help="names the rows and ends")
    parser.add_argument("--base", type=Path, help="folder for the work (default: a temporary one)")
    asked = parser.parse_args(argv)

    rows = chosen(asked.rows, full=asked.full)
    if asked.list:
        print(*(row.name + ("  (full)" if row.full else "") for row in rows), sep="\n")
        return 0
    if not rows:
        print(f"No row is called like '{asked.rows}'; --list names them.", file=sys.stderr)
        return 2

    base = Path(tempfile.mkdtemp(prefix="dvclive-bench-", dir=asked.base))
    # Neither is resolved: a virtual environment is told by the path of its link.
    bench = Bench(Path(sys.executable).absolute(), asked.public.absolute(), base)
    print(machine.described(bench.ours, bench.public))
    print("Medians of contenders that ran in turn; each in a fresh process.\n")
    print(table.HEAD, flush=True)
    begun = time.monotonic()
    try:
        for number, row in enumerate(rows):
            measured = measure(row, bench, base / str(number), repeats=asked.repeats)
            print(table.line(measured), flush=True)
    finally:
        shutil.rmtree(base, ignore_errors=True)
    print(f"\nMade in {time.monotonic() - begun:.0f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

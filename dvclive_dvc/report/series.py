"""A metric's file, read only as far as it has grown, and kept as an outline of bounded size.

The outline is an M4 aggregation (Jugel et al., VLDB 2014): of each stretch of rows the first,
lowest, highest and last value are kept, so the line drawn from it covers the same pixels as the
line through all rows, and no peak is lost as it may be with largest-triangle-three-buckets.
Stretches grow as the file does; each row is looked at a few times in all, however often
the report is built.
"""

from __future__ import annotations

import decimal
import math
from array import array
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

# Points kept in memory of one metric (16 to 24 bytes each); more than any chart shows.
_KEPT = 4_096
_CHUNK = 1 << 20
_TRUTH = {"true": 1.0, "false": 0.0}
# More words in place of a number than a reader is told of.
_MOST_WORDS = 500


class Series:
    """What `plots/metrics/{name}.tsv` holds so far.

    columns: the names in its header.
    total:   its rows.
    numeric: whether any value is a number (NaN and the infinities are).
    words:   by step what stands in place of a number that could be drawn, the first of them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._forget()

    def _forget(self) -> None:
        self.columns: list[str] = []
        self.total = 0
        self.numeric = False
        self.words: dict[float, str] = {}
        self._offset = 0
        self._width = 1
        self._rows = array("q")
        self._xs = array("d")
        self._ys = array("d")

    def read(self) -> None:
        """Takes in the lines that were added since the last call; a torn last one waits."""
        size = self.path.stat().st_size
        if size < self._offset:
            self._forget()
        if size == self._offset:
            return
        with self.path.open("rb") as file:
            file.seek(self._offset)
            while chunk := file.read(_CHUNK):
                end = chunk.rfind(b"\n") + 1
                if not end:
                    return
                self._take(chunk[:end].decode("utf-8", "surrogatepass"))
                self._offset += end
                file.seek(self._offset)

    def _take(self, text: str) -> None:
        if not self.columns:
            header, _, text = text.partition("\n")
            self.columns = [_unquoted(cell) for cell in header.split("\t")]
        n = len(self.columns)
        cells = text.replace("\n", "\t").split("\t")
        cells.pop()  # after the last newline
        where = self.columns.index("step") if "step" in self.columns else 0
        try:
            xs = list(map(float, cells[where::n]))
            ys = list(map(float, cells[n - 1 :: n]))
            # Rows of other lengths go the slow way as well, and numbers that a float cannot hold.
            plain = len(cells) == text.count("\n") * n
            plain = plain and math.inf not in ys and -math.inf not in ys
        except ValueError:
            plain = False
        if plain:
            self.numeric = self.numeric or bool(ys)
        else:
            xs, ys = self._row_by_row(text, n, where)
        self._fold(xs, ys)

    def _row_by_row(self, text: str, n: int, where: int) -> tuple[list[float], list[float]]:
        """Rows among which some have a word for a value, or another number of cells."""
        xs, ys = [], []
        for line in text.split("\n"):
            cells = line.split("\t")
            if len(cells) != n:
                continue
            try:
                x = float(cells[where])
            except ValueError:
                continue
            y, word = _number(cells[-1])
            xs.append(x)
            ys.append(y)
            if word is None:
                self.numeric = True
            elif len(self.words) < _MOST_WORDS:
                self.words[x] = word
        return xs, ys

    def _fold(self, xs: Sequence[float], ys: Sequence[float]) -> None:
        """Adds rows; where stretches are longer than one row, only what is to be kept of them."""
        start = self.total
        self.total += len(xs)
        # Of many rows at once most would be looked at and dropped again: take the stretch that
        # they will end up with at once.
        while len(self._rows) + len(xs) * min(1, 4 / self._width) > 2 * _KEPT:
            self._width *= 2
        width = self._width
        if width == 1:
            self._rows.extend(range(start, self.total))
            self._xs.extend(xs)
            self._ys.extend(ys)
        else:
            chosen = outlined(range(start, self.total), ys, width)
            self._rows.extend(start + i for i in chosen)
            self._xs.extend(xs[i] for i in chosen)
            self._ys.extend(ys[i] for i in chosen)
        while len(self._rows) > _KEPT:
            self._width *= 2
            chosen = outlined(self._rows, self._ys, self._width)
            self._rows = array("q", (self._rows[i] for i in chosen))
            self._xs = array("d", (self._xs[i] for i in chosen))
            self._ys = array("d", (self._ys[i] for i in chosen))

    def outline(self, budget: int) -> tuple[list[float], list[float]]:
        """The steps and values to draw, in the order of their rows, `budget` of them at most."""
        if len(self._rows) <= budget:
            return list(self._xs), list(self._ys)
        width = max(1, math.ceil(self.total / max(1, budget // 5)))
        chosen = outlined(self._rows, self._ys, width)
        return [self._xs[i] for i in chosen], [self._ys[i] for i in chosen]


def _number(cell: str) -> tuple[float, str | None]:
    """The cell's number, and what it says where that is none that a float can hold."""
    try:
        number = float(cell)
    except ValueError:
        truth = _TRUTH.get(cell.lower())
        return (math.nan, _unquoted(cell)) if truth is None else (truth, None)
    if math.isinf(number) and "inf" not in cell.lower():
        return number, f"{decimal.Decimal(cell):.6g}"
    return number, None


def _unquoted(cell: str) -> str:
    """The text of a cell that csv would want in quotes, as one that starts with a quote."""
    quoted = len(cell) > 1 and cell[0] == cell[-1] == '"'
    return cell[1:-1].replace('""', '"') if quoted else cell


def outlined(rows: Sequence[int], ys: Sequence[float], width: int) -> list[int]:
    """Which points to keep so that each stretch of `width` rows keeps its outline.

    Of a stretch these stay: the first, lowest, highest and last finite one, the first that is
    no finite number (so that a gap in the line stays one), and the last.
    """
    kept: list[int] = []
    n = len(rows)
    i = 0
    finite = math.isfinite(math.fsum(ys)) if _summable(ys) else False
    while i < n:
        edge = (rows[i] // width + 1) * width
        j = i + 1
        # Rows are consecutive or nearly so: look where the edge would be before walking to it.
        if i + width <= n and rows[i + width - 1] == rows[i] + width - 1 < edge:
            j = i + width
        while j < n and rows[j] < edge:
            j += 1
        kept.extend(_corners(ys, i, j) if finite else _corners_with_gaps(ys, i, j))
        i = j
    return kept


def _summable(ys: Iterable[float]) -> bool:
    try:
        math.fsum(ys)
    except (OverflowError, ValueError):
        return False
    return True


def _corners(ys: Sequence[float], i: int, j: int) -> list[int]:
    if j - i <= 4:  # noqa: PLR2004 - first, lowest, highest, last
        return list(range(i, j))
    part = ys[i:j]
    return sorted({i, i + part.index(min(part)), i + part.index(max(part)), j - 1})


def _corners_with_gaps(ys: Sequence[float], i: int, j: int) -> list[int]:
    if j - i <= 4:  # noqa: PLR2004 - as above
        return list(range(i, j))
    good = [k for k in range(i, j) if math.isfinite(ys[k])]
    chosen = {j - 1}
    if len(good) < j - i:
        chosen.add(next(k for k in range(i, j) if not math.isfinite(ys[k])))
    if good:
        chosen |= {good[0], min(good, key=ys.__getitem__), max(good, key=ys.__getitem__), good[-1]}
    return sorted(chosen)

"""All rows of the table, in the order they are printed."""

from __future__ import annotations

from . import artifacts, logging, others, saving, starting

ALL = (*starting.ROWS, *logging.ROWS, *saving.ROWS, *artifacts.ROWS, *others.ROWS)

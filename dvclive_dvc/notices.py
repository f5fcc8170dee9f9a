"""What the package says to the person who runs it: one logger, seen without any set-up.

Python shows nothing below WARNING to who configured no logging, and a library must not
configure it for the rest. So a handler of our own is attached to our own logger, only while
nobody else listens.
"""

from __future__ import annotations

import logging
import os
import sys

logger = logging.getLogger("dvclive_dvc")
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def listen() -> None:
    """Makes warnings and notes visible on stderr, unless the user's own logging takes them.

    The level is `DVCLIVE_LOGLEVEL` when that is set, else INFO.
    """
    level = os.environ.get("DVCLIVE_LOGLEVEL", "INFO").upper()
    if logger.level == logging.NOTSET:
        logger.setLevel(level if level in _LEVELS else "INFO")
    if not logger.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("dvclive: %(levelname)s: %(message)s"))
        logger.addHandler(handler)


def on_terminal() -> bool:
    """Whether a person looks at stderr, as a progress bar needs.

    False for what is no file or a closed one: a script may put any object there, or none.
    """
    try:
        return bool(sys.stderr.isatty())
    except (AttributeError, ValueError):
        return False

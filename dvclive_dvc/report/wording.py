"""How a value is written for a reader: in as many digits and characters as one wants to see."""

from __future__ import annotations

import decimal
import json
from typing import Any

# Characters of one value: the file that holds it has the rest.
_LONGEST_TEXT = 600
_LONGEST_WORDS = 80
# Digits of a whole number; longer ones are no longer counted by eye.
_LONGEST_WHOLE = 15


def whole(value: Any) -> str:
    """A value as it was given; of a long one, such as a list of ids, how it begins."""
    if isinstance(value, (list, dict, bool)) or value is None:
        value = json.dumps(value, ensure_ascii=False, default=str)
    return _cut(str(value), _LONGEST_TEXT)


def short(value: Any) -> str:
    """A result at a glance: six digits of a number, the beginning of a text."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int) and abs(value) >= 10**_LONGEST_WHOLE:
        return f"{decimal.Decimal(value):.6g}"
    return _cut(value, _LONGEST_WORDS) if isinstance(value, str) else whole(value)


def _cut(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    return f"{text[:longest]}\u2026 ({len(text):,} characters)"

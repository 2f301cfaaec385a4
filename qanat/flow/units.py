"""Numbers as they are written in a flow: integers, reals, durations and sizes. [pure]"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Final

DURATION_NS: Final = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
    "w": 604_800_000_000_000,
}

SIZE_BYTES: Final = {
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
    "TiB": 1 << 40,
}

# Longest number that is looked at: 2^64 in octal has 22 digits, and Decimal is exact up to 28.
_LENGTH_MAX = 26
_INTEGER_MAX = 1 << 63

_HEXADECIMAL = re.compile(r"-?0[xX][0-9a-fA-F]+\Z")
_DIGITS = re.compile(r"-?[0-9]+\Z")
_REAL = re.compile(r"-?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?\Z")
_WITH_UNIT = re.compile(r"(-?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+))([A-Za-z]+)\Z")


def parse_number(text: str) -> int | float | tuple[Decimal, str]:
    """The number that `text` writes; an amount and its unit for a duration or a size.

    Raises ValueError with a sentence for the user.
    """
    if len(text) > _LENGTH_MAX:
        raise ValueError(f"the number {text[:_LENGTH_MAX]}... is too long")
    if _HEXADECIMAL.match(text):
        return _integer(text, 16)
    if _DIGITS.match(text):
        return _integer(text, 8 if text.lstrip("-").startswith("0") else 10)
    if _REAL.match(text):
        return _real(text)
    if match := _WITH_UNIT.match(text):
        return _with_unit(Decimal(match[1]), match[2])
    raise ValueError(f"{text} is not a number")


def _integer(text: str, base: int) -> int:
    try:
        value = int(text, base)
    except ValueError:
        raise ValueError(
            f"{text} is octal because of its leading 0, and octal has no digits 8 and 9"
        ) from None
    if not -_INTEGER_MAX <= value < _INTEGER_MAX:
        raise ValueError(f"{text} does not fit into 64 bits")
    return value


def _real(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is too large")
    return value


def _with_unit(amount: Decimal, unit: str) -> tuple[Decimal, str]:
    if unit not in DURATION_NS and unit not in SIZE_BYTES:
        raise ValueError(
            f'"{unit}" is not a unit; durations: {" ".join(DURATION_NS)}; sizes: {" ".join(SIZE_BYTES)}'
            + _same_letters(unit)
        )
    if amount.is_signed():
        raise ValueError(f"{amount}{unit}: an amount with a unit can't be negative")
    return amount, unit


def _same_letters(unit: str) -> str:
    alike = [known for known in (*DURATION_NS, *SIZE_BYTES) if known.lower() == unit.lower()]
    return f"; did you mean {' or '.join(alike)}?" if alike else ""

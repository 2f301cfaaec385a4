"""Regular expressions over columns. They are RE2's: https://github.com/google/re2/wiki/Syntax, linear in time whatever comes."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from qanat.decorators.common.rows import by_encoding, texts
from qanat.errors import ConfigError

# What opens a group, and what may hold a parenthesis that doesn't: escapes, \Q...\E, classes (with [:alpha:] in them).
_TOKEN = re.compile(
    r"\\Q.*?(?:\\E|$)|\\.|\[\^?\]?(?:\[:\^?\w+:\]|\\.|[^\]\\])*\]|(?P<named>\(\?P?<(?P<name>[^>!=]+)>)|(?P<other>\(\?)|(?P<plain>\()",
    re.DOTALL,
)


def checked(pattern: str, argument: str) -> str:
    """The pattern. Raises ConfigError when RE2 doesn't take it."""
    try:
        pc.match_substring_regex(pa.array([""]), pattern)
    except pa.ArrowInvalid as error:
        why = str(error).removeprefix("Invalid regular expression: ")
        raise ConfigError(
            f"{argument} {pattern!r} is no regular expression of RE2: {why}. RE2 has no look-around and no back references"
            "; for (?>a) and a++ write (?:a) and a+"
        ) from None
    return pattern


def group_names(pattern: str) -> list[str | None]:
    """For each group, in the order of their numbers, its name."""
    return [found["name"] for found in _TOKEN.finditer(pattern) if found["named"] or found["plain"]]


class Extraction:
    """Groups of a pattern, by number (0: all that matched), as columns."""

    def __init__(self, pattern: str, wanted: Sequence[int], argument: str = "pattern") -> None:
        """Raises ConfigError."""
        checked(pattern, argument)
        count = len(group_names(pattern))
        for number in wanted:
            if not 0 <= number <= count:
                raise ConfigError(
                    f"group {number} was asked for, and {argument} {pattern!r} has {count} groups: "
                    "put what is wanted in parentheses"
                )
        self._pattern = _with_named_groups(pattern, set(wanted))
        self._wanted = tuple(wanted)

    def find(self, column: pa.Array) -> dict[int, pa.Array]:
        """Text by group, null where the pattern doesn't match."""
        if not self._wanted:
            return {}
        found = by_encoding(column, self._extract)
        fields = found.flatten()
        names = [field.name for field in found.type]
        return {number: texts(fields[names.index(f"g{number}")]) for number in self._wanted}

    def _extract(self, column: pa.Array) -> pa.Array:
        found = pc.extract_regex(column, self._pattern)
        if pa.types.is_binary(column.type):
            return found
        # One type, whatever the encoding: what by_encoding has to put together.
        return found.cast(pa.struct([(field.name, pa.binary()) for field in found.type]))


def matches(column: pa.Array, pattern: str) -> pa.Array:
    """Where the pattern is found anywhere; null where the value is."""
    return by_encoding(column, lambda part: pc.match_substring_regex(part, pattern))


def replaced(column: pa.Array, pattern: str, replacement: str) -> pa.Array:
    """Every match replaced; `\\1` in the replacement is a group. Of the type of the column."""
    done = by_encoding(column, lambda part: pc.replace_substring_regex(part, pattern, replacement))
    return done if done.type == column.type else done.cast(column.type)


def rewrite_of(text: str) -> str:
    """A replacement as Java and Flume NG write it (`$1`, `\\$`) as RE2 does (`\\1`, `\\\\`); `\\1` stays a group."""

    def change(found: re.Match[str]) -> str:
        if found["group"]:
            return f"\\{found['group']}"
        literal = found["escaped"] or found[0]
        return "\\\\" if literal == "\\" else literal

    return re.sub(r"[$\\](?P<group>\d)|\\(?P<escaped>.)|\\$", change, text, flags=re.DOTALL)


def _with_named_groups(pattern: str, wanted: set[int]) -> str:
    """The pattern with the wanted groups named by their numbers, and the others capturing nothing, which is faster."""
    number = 0

    def change(found: re.Match[str]) -> str:
        nonlocal number
        if not (found["named"] or found["plain"]):
            return found[0]
        number += 1
        return f"(?P<g{number}>" if number in wanted else "(?:"

    changed = _TOKEN.sub(change, pattern)
    return f"(?P<g0>{changed})" if 0 in wanted else changed


def checked_rewrite(pattern: str, text: str) -> str:
    """`rewrite_of(text)`. Raises ConfigError when it names a group that the pattern lacks."""
    rewrite = rewrite_of(text)
    try:
        pc.replace_substring_regex(pa.array([""]), pattern, rewrite)
    except pa.ArrowInvalid as error:
        raise ConfigError(f"replacement {text!r} does not go with {pattern!r}: {error}") from None
    return rewrite

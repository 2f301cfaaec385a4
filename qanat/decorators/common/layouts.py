"""How times are written: strptime's formats and Java's as regular expressions with a group for each field. [pure]"""

from __future__ import annotations

import re
from dataclasses import dataclass

from qanat.errors import ConfigError

MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_MONTH = "(?i:" + "|".join(f"{month[:3]}(?:{month[3:]})?" if month[3:] else month for month in MONTHS) + ")"
_WEEKDAY = "(?i:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?i:day)?"
_OFFSET = r"Z|z|UTC|GMT|[+-]\d{2}:?\d{2}|[+-]\d{2}"
_TWO = r"\d{2}"
_ONE_OR_TWO = r" ?\d{1,2}"


@dataclass(frozen=True, slots=True)
class Layout:
    """`pattern`: RE2. `fields`: what each of its groups is, in order."""

    pattern: str
    fields: tuple[str, ...]


# RFC 3339, also with a space or without an offset, as many programs write it.
RFC_3339 = Layout(
    rf"(\d{{4}})-(\d{{2}})-(\d{{2}})[Tt _](\d{{2}}):(\d{{2}}):(\d{{2}})(?:[.,](\d+))?(?: ?({_OFFSET}))?",
    ("year", "month", "day", "hour", "minute", "second", "fraction", "offset"),
)
_NAMED = {"rfc3339": RFC_3339, "iso8601": RFC_3339}

# Of strptime (Python's and glibc's), the directives that say a time; the others' values are passed over.
_STRPTIME: dict[str, tuple[str, str | None]] = {
    "Y": (r"\d{4}", "year"),
    "y": (_TWO, "year_2"),
    "m": (r"\d{1,2}", "month"),
    "b": (_MONTH, "month_name"),
    "d": (_ONE_OR_TWO, "day"),
    "H": (_ONE_OR_TWO, "hour"),
    "I": (_ONE_OR_TWO, "hour_12"),
    "p": ("(?i:am|pm)", "half"),
    "M": (_TWO, "minute"),
    "S": (_TWO, "second"),
    "f": (r"\d+", "fraction"),
    "z": (_OFFSET, "offset"),
    "s": (r"\d+", "epoch"),
    "a": (_WEEKDAY, None),
    "j": (r"\d{1,3}", "year_day"),
}
_ALIASES = {"B": "b", "h": "b", "A": "a", "e": "d", "k": "H", "l": "I", "Z": "z"}
_SHORT = {"T": "%H:%M:%S", "R": "%H:%M", "F": "%Y-%m-%d", "D": "%m/%d/%y"}

_JAVA: dict[str, tuple[str, str | None]] = {
    "d": (_ONE_OR_TWO, "day"),
    "H": (_ONE_OR_TWO, "hour"),
    "h": (_ONE_OR_TWO, "hour_12"),
    "a": ("(?i:am|pm)", "half"),
    "m": (r"\d{1,2}", "minute"),
    "s": (r"\d{1,2}", "second"),
    "S": (r"\d{1,9}", "fraction"),
    "E": (_WEEKDAY, None),
    "D": (r"\d{1,3}", "year_day"),
    "z": (_OFFSET, "offset"),
    "Z": (_OFFSET, "offset"),
    "X": (_OFFSET, "offset"),
}


def strptime_layout(text: str) -> Layout:
    """`%d/%b/%Y:%H:%M:%S %z`, or the name of a format: rfc3339, iso8601. Raises ConfigError."""
    if text.lower() in _NAMED:
        return _NAMED[text.lower()]
    parts: list[tuple[str, str | None]] = []
    spread = re.sub(r"%([TRFD])", lambda found: _SHORT[found[1]], text)
    for found in re.finditer(r"%(.?)|\s+|[^%\s]+", spread):
        code = found[1]
        if code is None:
            parts.append((r"\s+" if found[0].isspace() else re.escape(found[0]), None))
        elif code == "%":
            parts.append(("%", None))
        else:
            parts.append(_directive(_ALIASES.get(code, code), text))
    return _layout(parts, text)


def _directive(code: str, text: str) -> tuple[str, str | None]:
    if code not in _STRPTIME:
        known = " ".join(f"%{each}" for each in sorted((*_STRPTIME, *_ALIASES, *_SHORT), key=str.lower))
        raise ConfigError(
            f"format {text!r}: '%{code}' is not known; known are {known} and %%, or rfc3339 as a whole"
        )
    return _STRPTIME[code]


def java_layout(text: str) -> Layout:
    """As java.text.SimpleDateFormat: `yyyy-MM-dd'T'HH:mm:ss`. Raises ConfigError."""
    parts: list[tuple[str, str | None]] = []
    for found in re.finditer(r"'([^']*)'|([A-Za-z])\2*|\s+|[^A-Za-z'\s]+", text):
        run, letter = found[0], found[2]
        if found[1] is not None:
            parts.append((re.escape(found[1] or "'"), None))
        elif letter is None:
            parts.append((r"\s+" if run.isspace() else re.escape(run), None))
        elif letter == "y":
            parts.append((_TWO, "year_2") if len(run) == 2 else (r"\d{4}", "year"))
        elif letter == "M":
            parts.append((_MONTH, "month_name") if len(run) > 2 else (r"\d{1,2}", "month"))
        elif letter in _JAVA:
            parts.append(_JAVA[letter])
        else:
            known = " ".join(sorted(("y", "M", *_JAVA), key=str.lower))
            raise ConfigError(
                f"pattern {text!r}: the letter {letter!r} is not known; known are {known}; others stand in quotes ''"
            )
    return _layout(parts, text)


def _layout(parts: list[tuple[str, str | None]], text: str) -> Layout:
    fields = tuple(field for _, field in parts if field is not None)
    if len(set(fields)) < len(fields):
        raise ConfigError(f"format {text!r} has the same field twice: {', '.join(fields)}")
    if not {"epoch", "day", "hour", "hour_12", "year"} & set(fields):
        raise ConfigError(f"format {text!r} says no time; write one such as '%Y-%m-%d %H:%M:%S', or rfc3339")
    if "year_day" in fields and not {"year", "year_2"} & set(fields):
        raise ConfigError(f"format {text!r} has the day of a year, and no year")
    pattern = "".join(part if field is None else f"({part})" for part, field in parts)
    if "epoch" in fields and "fraction" not in fields:
        return Layout(pattern + r"(?:\.(\d+))?", (*fields, "fraction"))
    return Layout(pattern, fields)

"""String literals of the flow language: Java's, as Flume OG had them. [pure]"""

from __future__ import annotations

import re

_SIMPLE = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "'": "'", "\\": "\\"}
_SHORT = {value: f"\\{letter}" for letter, value in _SIMPLE.items() if letter != "'"}
_ESCAPE = re.compile(r"\\(?:u+([0-9a-fA-F]{4})|([0-3][0-7]{0,2}|[0-7]{1,2})|(.))", re.DOTALL)


class EscapeError(ValueError):
    """A bad escape; `offset` is where it starts in the literal."""

    def __init__(self, offset: int, message: str) -> None:
        super().__init__(message)
        self.offset = offset


def unquote(literal: str) -> str:
    """The string that `literal`, quotes included, stands for. Raises EscapeError."""
    if "\\" not in literal:
        return literal[1:-1]

    def replace(match: re.Match[str]) -> str:
        unicode, octal, simple = match.groups()
        if unicode is not None:
            return chr(int(unicode, 16))
        if octal is not None:
            return chr(int(octal, 8))
        if simple not in _SIMPLE:
            raise EscapeError(match.start(), _advice(simple))
        return _SIMPLE[simple]

    text = _ESCAPE.sub(replace, literal[1:-1])
    try:  # two \u escapes may be the halves of one character
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError:
        raise EscapeError(0, "a \\u escape is half of a surrogate pair, without the other half") from None


def _advice(letter: str) -> str:
    if letter == "u":
        return r"\u needs four hexadecimal digits, such as \u00e9"
    return f'unknown escape \\{letter} in a string; for a backslash (in a regex, say) write "\\\\{letter}"'


def quote(text: str) -> str:
    """A literal that `unquote` turns into `text`."""
    return '"' + "".join(_SHORT.get(c) or (c if c.isprintable() else _unicode(c)) for c in text) + '"'


def _unicode(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))

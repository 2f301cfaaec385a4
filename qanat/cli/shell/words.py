"""A line of the shell as words: Flume OG's quoting, and what its users wished for. [pure]

`'single quotes'` take everything as it stands, and `"double quotes"` Java's escapes (`"tail(\\"/l\\")"`), as in Flume OG's
grammar (FlumeShell.g). Bare words were letters, digits and `:.-_` there; here they may have any character but quotes, so that
paths, `--selector tier=web` and `m1,m2` need none. A quoted text may go on over several lines. `#` begins a comment where a word
would begin.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from qanat.errors import ConfigError
from qanat.flow.strings import EscapeError, unquote

BLANK = " \t\r\n\f\v"
QUOTES = "'\""


class UnfinishedError(ConfigError):
    """A quote is open at the end of the text."""


@dataclass(slots=True)
class Line:
    """`words`: those that are whole. The last may go on: `rest`, as typed, from `start` on, within `quote` if that is open."""

    words: list[str] = field(default_factory=list)
    rest: str = ""
    start: int = 0
    quote: str = ""


def split(text: str) -> list[str]:
    """The words of `text`. Raises ConfigError for what can't be read, UnfinishedError while a quote is open."""
    line = read(text + "\n")
    if line.quote:
        raise UnfinishedError(f"the quote {line.quote} before {_shown(line.rest)} is never closed")
    return line.words


def is_unfinished(text: str) -> bool:
    """Whether more lines have to come before `text` is a command."""
    try:
        return bool(read(text + "\n").quote)
    except ConfigError:
        return False


def read(text: str) -> Line:
    """`text` up to where somebody stopped typing. Raises ConfigError."""
    line = Line()
    at = 0
    while at < len(text):
        if text[at] in BLANK:
            at += 1
        elif text[at] == "#":
            at = _end_of_line(text, at)
        else:
            at = _word(text, at, line)
            if line.quote:
                return line
    if not line.rest:
        line.start = len(text)
    return line


def _word(text: str, at: int, line: Line) -> int:
    """Adds the word that begins at `at`, or says that it goes on. Gives where it ends."""
    start, value = at, ""
    if text[at] not in QUOTES:
        at = _bare_end(text, at)
        value = text[start:at]
    opened = at
    if at < len(text) and text[at] in QUOTES:
        _refuse_inner_quote(value, text[at:])
        end = _closing(text, at)
        if end is None:
            line.rest, line.start, line.quote = text[at + 1 :], at + 1, text[at]
            return len(text)
        value += _unquoted(text[at:end])
        at = end
        if at < len(text) and text[at] not in BLANK:
            raise ConfigError(
                f"after the quote of {_shown(text[opened:at])} comes {_shown(text[at:])}; put a space between"
            )
    if at == len(text) and opened == at:
        line.rest, line.start = value, start
    else:
        line.words.append(value)
    return at


def _refuse_inner_quote(before: str, text: str) -> None:
    """`--flow='a b'` is what shells know; `tail("/l")` without quotes around it would lose its own."""
    if before and not (before.startswith("-") and before.endswith("=")):
        whole = before + text.partition("\n")[0]
        raise ConfigError(
            f"{_shown(whole)} has quotes within; put all of the argument into single quotes, like 'tail(\"/l\")'"
        )


def _bare_end(text: str, at: int) -> int:
    while at < len(text) and text[at] not in BLANK and text[at] not in QUOTES:
        at += 1
    return at


def _closing(text: str, at: int) -> int | None:
    """Behind the quote that closes the one at `at`."""
    quote, at = text[at], at + 1
    while at < len(text):
        if text[at] == quote:
            return at + 1
        at += 2 if text[at] == "\\" and quote == '"' else 1
    return None


def _unquoted(literal: str) -> str:
    if literal.startswith("'"):
        return literal[1:-1]
    try:
        return unquote(literal)
    except EscapeError as error:
        raise ConfigError(f"{_shown(literal)}: {error}") from error


def _end_of_line(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def _shown(text: str) -> str:
    line = " ".join(text.split())
    return f"{line[:30]} ..." if len(line) > 34 else line


def quoted(word: str) -> str:
    """`word` so that `split` gives it back: bare where it can be."""
    if word and not set(word) & {*BLANK, *QUOTES} and not word.startswith("#"):
        return word
    if "'" not in word:
        return f"'{word}'"
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'

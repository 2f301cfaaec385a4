"""Tokens with the comments that belong to them, for the formatter. [pure]

A comment belongs to what it explains: what stands before it on its line, else what comes next.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from qanat.flow.tokens import COMMENT, Source, Token, tokens

END = "END"

# A comment after `a` in `a // why` NEWLINE `, b` is about `a`, and is written after the comma.
_HANGING = {"COMMA", "SEMICOLON", "QMARK"}


@dataclass(frozen=True, slots=True)
class Comment:
    """`after_blank`: there was an empty line before it."""

    text: str
    after_blank: bool = False


@dataclass(slots=True)
class Word:
    """A token. Comments `above` have lines of their own, those `beside` stand before it on its line, those `behind` end it."""

    kind: str
    text: str
    after_blank: bool = False
    above: list[Comment] = field(default_factory=list)
    beside: list[Comment] = field(default_factory=list)
    behind: list[Comment] = field(default_factory=list)


def words(text: str) -> list[Word]:
    """Every token of a text without faults, and an END that has the comments after the last."""
    source = Source(text, "<text>")
    found = [*tokens(source, comments=True), Token(END, "", len(text), source)]
    read: list[Word] = []
    above: list[Comment] = []
    beside: list[Comment] = []
    blank = False
    for index, token in enumerate(found):
        before = text[found[index - 1].end : token.start] if index else text[: token.start]
        blank = blank or before.count("\n") > 1
        if token.type != COMMENT:
            read.append(Word(token.type, token.text, blank, above, beside))
            above, beside, blank = [], [], False
            continue
        comment = Comment(_tidied(token.text), blank)
        after = text[token.end : found[index + 1].start]
        if "\n" not in comment.text and _goes_on(token, found[index + 1], after):
            beside.append(comment)
        elif read and not above and not beside and "\n" not in before + comment.text:
            read[-1].behind.append(comment)
        else:
            above += [*beside, comment]
            beside, blank = [], False
    _hang(read)
    return read


def _goes_on(comment: Token, following: Token, between: str) -> bool:
    """Something that is no comment follows on the same line."""
    return comment.text.startswith("/*") and following.type not in (COMMENT, END) and "\n" not in between


def _tidied(comment: str) -> str:
    return comment.replace("\r\n", "\n").rstrip()


def _hang(read: list[Word]) -> None:
    """Comments that would part a separator from what it follows go behind the separator."""
    for index in range(1, len(read) - 1):
        word, before, after = read[index], read[index - 1], read[index + 1]
        if word.kind not in _HANGING:
            continue
        if before.behind and not word.above and not word.behind:
            word.behind, before.behind = before.behind, []
        if word.above and word.kind != "SEMICOLON":
            after.above[:0] = [replace(comment, after_blank=False) for comment in word.above]
            word.above = []

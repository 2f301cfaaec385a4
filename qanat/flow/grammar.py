"""The grammar, loaded on first use: lark's parser for it, and its terminals as one regular expression. [pure]

lark's own lexer keeps a line and a column for every token and starts anew after an error; ours (tokens.py) takes a fifth of
the time, and finds a place only when it is asked for one.
"""

from __future__ import annotations

import functools
import re
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lark import Lark


@functools.cache
def lark() -> Lark:
    """The parser. What it is fed comes from tokens.py, what it builds from build.py."""
    from lark import Lark

    from qanat.flow.build import Builder

    grammar = resources.files("qanat.flow").joinpath("grammar.lark").read_text(encoding="utf-8")
    # The basic lexer is not used; the contextual one would be prepared for every state of the parser.
    return Lark(grammar, parser="lalr", lexer="basic", start=["entry", "component"], transformer=Builder())


@functools.cache
def refusal() -> type[Exception]:
    """What the parser raises for a token that does not fit."""
    from lark.exceptions import UnexpectedToken

    return UnexpectedToken


@functools.cache
def scanner() -> tuple[re.Pattern[str], dict[str, str]]:
    """A pattern with a group for each terminal that is one in the grammar, and a last group PUNCTUATION; and the names of
    the terminals that are fixed texts, keywords among them."""
    from lark.lexer import PatternStr

    terminals = lark().terminals
    fixed = {each.pattern.value: each.name for each in terminals if isinstance(each.pattern, PatternStr)}
    patterns = sorted(
        (each for each in terminals if not isinstance(each.pattern, PatternStr)), key=lambda t: -t.priority
    )
    groups = [f"(?P<{each.name}>{each.pattern.to_regexp()})" for each in patterns]
    marks = sorted((text for text in fixed if not text.isidentifier()), key=len, reverse=True)
    groups.append(f"(?P<PUNCTUATION>{'|'.join(map(re.escape, marks))})")
    return re.compile("|".join(groups)), fixed

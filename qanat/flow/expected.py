"""What the grammar would have taken where it found something else, in words. [pure]"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qanat.flow.faults import did_you_mean
from qanat.flow.tokens import Token

if TYPE_CHECKING:
    from lark.parsers.lalr_interactive_parser import InteractiveParser

_READABLE = {
    "NAME": "a name",
    "IP": "an address",
    "STRING": "a string",
    "NUMBER": "a number",
    "COLON": '":"',
    "SEMICOLON": '";"',
    "VBAR": '"|"',
    "LPAR": '"("',
    "RPAR": '")"',
    "LSQB": '"["',
    "RSQB": '"]"',
    "LBRACE": '"{"',
    "RBRACE": '"}"',
    "COMMA": '","',
    "EQUAL": '"="',
    "NOT_EQUAL": '"!="',
    "ARROW": '"=>"',
    "LESSTHAN": '"<"',
    "MORETHAN": '">"',
    "QMARK": '"?"',
    "AT": '"@"',
    "BANG": '"!"',
    "$END": "the end",
}
_KEYWORDS = {"FLOW": "flow", "ELSE": "else", "IN": "in", "NOTIN": "notin", "TRUE": "true", "FALSE": "false"}
# Sets of terminals that are one thing to a reader, the larger first.
_TOGETHER = (
    ("a value", {"NAME", "STRING", "NUMBER", "TRUE", "FALSE", "LSQB"}),
    ("a value", {"NAME", "STRING", "NUMBER", "TRUE", "FALSE", "IP"}),
    ("a sink", {"NAME", "LSQB", "LESSTHAN", "LBRACE"}),
)
# Keywords that are names where they can't be meant, and all at once: listed, they would only confuse.
_ALSO_NAMES = {"FLOW", "ELSE", "IN", "NOTIN"}


def fault_at(parser: InteractiveParser, token: Token) -> str:
    """What is wrong with `token`, which `parser` has just refused."""
    accepted = _accepted(parser)
    hint = ""
    if token.type == "NAME":
        hint = did_you_mean(token.text, [word for kind, word in _KEYWORDS.items() if kind in accepted])
    return f"found {token.shown}, expected {_listed(accepted)}{hint}"


def fault_at_end(parser: InteractiveParser) -> str:
    """What is missing when the text ends here."""
    return f"the text ends too early, expected {_listed(_accepted(parser))}"


def _accepted(parser: InteractiveParser) -> set[str]:
    accepted: set[str] = parser.accepts()  # type: ignore[no-untyped-call]
    return accepted


def _listed(accepted: set[str]) -> str:
    rest = accepted - _ALSO_NAMES if accepted >= _ALSO_NAMES else accepted
    names = []
    for thing, terminals in _TOGETHER:
        if terminals <= rest:
            names.append(thing)
            rest = rest - terminals
    names += sorted(_READABLE.get(name) or _KEYWORDS.get(name, name) for name in rest)
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"

"""Putting sink expressions together: what stands before braces, and keywords of branches. [pure]"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qanat.flow.faults import Faults, did_you_mean
from qanat.flow.model import (
    Boolean,
    Branch,
    Call,
    Case,
    Decorated,
    FanOut,
    Rolled,
    SinkExpression,
    Switch,
    Text,
)
from qanat.flow.sinks import REQUIRED, decorated, parts, take_required
from qanat.flow.tokens import Token

ROLLS = ("roll", "collector")
SWITCH = "switch"


@dataclass(frozen=True, slots=True)
class Pattern:
    """`"value" => sink` or `else => sink` (`value` is None)."""

    token: Token
    value: Text | None
    branch: Branch


@dataclass(frozen=True, slots=True)
class Body:
    """`{ sink }`, and what stands before it is not known yet."""

    brace: Token
    sink: SinkExpression


@dataclass(frozen=True, slots=True)
class Cases:
    """`{ "value" => sink, ... }`, likewise."""

    brace: Token
    patterns: tuple[Pattern, ...]


def assemble(children: Sequence[Call | SinkExpression | Body | Cases]) -> SinkExpression:
    """One expression of decorators, braces and sinks that stand side by side."""
    heads = [child for child in children[:-1] if isinstance(child, Call)]
    match children[-1]:
        case Body() as body:
            sink = _rolled(body, heads.pop() if heads else None)
        case Cases() as cases:
            sink = _switch(cases, heads.pop() if heads else None)
        case last:
            sink = last
    rolls = [index for index, head in enumerate(heads) if head.name in ROLLS]
    if not rolls:
        return decorated(tuple(heads), sink)
    # The last one only: each would be a level of nesting, and a roll within a roll is refused as misplaced anyway.
    at = rolls[-1]
    inner = decorated(tuple(heads[at + 1 :]), sink)
    return decorated(tuple(heads[:at]), Rolled(heads[at], inner, heads[at].place))


def _rolled(body: Body, head: Call | None) -> SinkExpression:
    if head is not None and head.name in ROLLS:
        return Rolled(head, body.sink, head.place)
    if head is None:
        body.brace.fault(
            "a sink in braces needs something before them: roll(10m) { sink }, or a decorator within: "
            "{ decorator => sink }"
        )
    else:
        hint = did_you_mean(head.name, ROLLS) or f"; for a decorator write {head.name} without braces"
        body.brace.fault(f'"{head.name}" takes no sink in braces, only roll and collector do{hint}')
    return body.sink


def _switch(cases: Cases, head: Call | None) -> Switch:
    place = cases.brace.place if head is None else head.place
    return Switch(_switched_on(cases, head), _cases(cases), _otherwise(cases), place)


def _switched_on(cases: Cases, head: Call | None) -> Text:
    if head is None or head.name != SWITCH:
        given = "" if head is None else did_you_mean(head.name, [SWITCH])
        cases.brace.fault(
            f'cases need a switch before them: switch("%{{name}}") {{ "value" => sink }}{given}'
        )
        return Text("")
    match head.positional:
        case (Text() as on,) if not head.keywords:
            return on
    cases.brace.fault('a switch is given what to look at, in one string: switch("%{name}") { ... }')
    return Text("")


def _cases(cases: Cases) -> tuple[Case, ...]:
    seen: set[str] = set()
    found = []
    for pattern in cases.patterns:
        if pattern.value is None:
            continue
        if pattern.value.value in seen:
            pattern.token.fault(
                f"the case {pattern.token.shown} is there twice; the second would get nothing"
            )
        seen.add(pattern.value.value)
        found.append(Case(pattern.value, pattern.branch))
    return tuple(found)


def _otherwise(cases: Cases) -> Branch | None:
    found = [pattern for pattern in cases.patterns if pattern.value is None]
    for pattern in found[1:]:
        pattern.token.fault('"else" is there twice; the second would get nothing')
    return found[0].branch if found else None


def branch(sink: SinkExpression) -> Branch:
    """A branch, and whether it is required; anything but true or false there is refused with what is misplaced."""
    taken, keyword = take_required(sink)
    if keyword is None:
        return Branch(sink)
    if not isinstance(keyword.value, Boolean):
        return Branch(sink)
    return Branch(taken, keyword.value.value)


def refuse_misplaced(sink: SinkExpression, faults: Faults) -> None:
    """Words that mean something only in a place where they are not."""
    pending = [(sink, False)]
    while pending:
        here, in_branch = pending.pop()
        match here:
            case Call():
                _refuse_bare(here, faults)
                _refuse_required(here, in_branch, faults)
            case Decorated():
                for decorator in here.decorators:
                    _refuse_decorator(decorator, faults)
        in_branch = in_branch or isinstance(here, FanOut | Switch)
        pending += ((part, in_branch) for part in parts(here))


def _refuse_bare(call: Call, faults: Faults) -> None:
    if call.name in ROLLS:
        faults.add(
            call.place, f"{call.name} rolls a sink, and there is none; write {call.name}(30000) {{ sink }}"
        )
    elif call.name == SWITCH:
        faults.add(
            call.place,
            'a switch has its cases in braces: switch("%{name}") { "value" => sink, else => sink }',
        )


def _refuse_decorator(call: Call, faults: Faults) -> None:
    if call.name in ROLLS:
        faults.add(call.place, f"{call.name} is given twice for the same sink; leave one of them out")
    elif call.name == SWITCH:
        faults.add(
            call.place,
            'a switch has its cases in braces: switch("%{name}") { "value" => sink, else => sink }',
        )


def _refuse_required(call: Call, in_branch: bool, faults: Faults) -> None:
    keyword = next((each for each in call.keywords if each.name == REQUIRED), None)
    if keyword is None:
        return
    if not isinstance(keyword.value, Boolean):
        faults.add(keyword.value.place, f'"{REQUIRED}" is true or false')
    elif in_branch:
        faults.add(
            keyword.place,
            f'"{REQUIRED}" is about the failover as a whole; write it in its first sink: '
            f"[ < a({REQUIRED}=true) ? b >, c ]",
        )
    else:
        faults.add(
            keyword.place,
            f'"{REQUIRED}" is for the branches of a fan-out: [ a({REQUIRED}=true), b ]; a single destination '
            "is always waited for, leave it out",
        )

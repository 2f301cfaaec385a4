"""`switch` as a fan-out: a decorator says to which case each event belongs, and each case lets its own through. [pure]

Both decorators are calls that no flow can contain, as their names are not installed; `qanat.decorators.common.cases` builds them.
The decision is made once, where the switch stands. So in a collector it is in the fan-out's log with the event, and stays what it
was when the cases are changed before a branch has taken it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from qanat.errors import ConfigError
from qanat.flow.model import (
    Boolean,
    Branch,
    Call,
    FanOut,
    Integer,
    Items,
    Keyword,
    SinkExpression,
    Switch,
    Text,
)
from qanat.flow.sinks import decorated, undecorated

DECIDE = "switch"  # (on, cases, otherwise): `otherwise` is whether there is an else
CASE = "case"  # (value); without one it is else
UNNOTED = "unnoted"  # of CASE: whether it takes what was never decided about, too
LOAD_BALANCE = "loadBalance"  # what a flow says, before a fan-out
BALANCE = "balance"  # what that becomes: with the number of branches as its last argument
COUNTING = frozenset({"round_robin", "least_loaded"})  # ways of LOAD_BALANCE that depend on earlier choices
COUNTS = "counts"  # of DECIDE: whether it counts what belongs to no case

_SILENT = Keyword(COUNTS, Boolean(False))
_TAKES_UNNOTED = (Keyword(UNNOTED, Boolean(True)),)


def spread(sink: SinkExpression) -> SinkExpression:
    """The expression; a switch behind its decorators as a fan-out behind one more, and load balancing alike. Raises ConfigError.

    `else` is the first branch, so that a case which is added at the end changes the place of no other."""
    heads, inner = undecorated(sink)
    _refuse_misplaced(heads, inner)
    if isinstance(inner, FanOut) and heads and heads[-1].name == LOAD_BALANCE:
        return _balanced(heads, inner)
    if not isinstance(inner, Switch):
        return sink
    cases = Items(tuple(case.value for case in inner.cases))
    decide = Call(DECIDE, (inner.on, cases, Boolean(inner.otherwise is not None)), place=inner.place)
    branches = [] if inner.otherwise is None else [_of(inner.otherwise, Call(CASE, place=inner.place))]
    branches += [_of(case.branch, Call(CASE, (case.value,), place=case.value.place)) for case in inner.cases]
    return decorated((*heads, decide), FanOut(tuple(branches), inner.place))


def branches(sink: SinkExpression) -> Iterator[Branch]:
    """The destinations: the branches of a fan-out or switch, and of those within it; else one. Each behind all its decorators."""
    heads, inner = undecorated(spread(sink))
    if not isinstance(inner, FanOut):
        yield Branch(sink)
        return
    for branch in inner.branches:
        if isinstance(undecorated(branch.sink)[1], FanOut | Switch):
            found = list(branches(branch.sink))
            _refuse_counting(found)
        else:
            _refuse_misplaced(*undecorated(branch.sink))
            found = [branch]
        for each in found:
            yield Branch(decorated(heads, each.sink), each.required)


def counted_once(chains: Iterable[tuple[Call, ...]]) -> list[tuple[Call, ...]]:
    """The decorators of several branches, where those of one switch stand in several: only the first counts."""
    seen: set[int] = set()
    found = []
    for chain in chains:
        found.append(tuple(_silent(call) if id(call) in seen else call for call in chain))
        seen.update(id(call) for call in chain if call.name == DECIDE)
    return found


def shares_of(call: Call) -> tuple[int, Call]:
    """Among how many BALANCE chooses, and what the flow said about how."""
    shares = call.keywords[-1].value
    assert isinstance(shares, Integer)
    return shares.value, replace(call, name=LOAD_BALANCE, keywords=call.keywords[:-1])


def balancing(chain: tuple[Call, ...]) -> tuple[Call, ...]:
    """Every BALANCE among the decorators of a branch."""
    return tuple(call for call in chain if call.name == BALANCE)


def share_of(chain: tuple[Call, ...]) -> int:
    """What BALANCE calls the branch that has these decorators."""
    at = next(number for number, call in enumerate(chain) if call.name == BALANCE)
    (case,) = chain[at + 1].positional
    assert isinstance(case, Text)
    return int(case.value)


def _balanced(heads: tuple[Call, ...], inner: FanOut) -> SinkExpression:
    """The first, which may have been the only one before, has what waits since then."""
    said = heads[-1]
    shares = Keyword("shares", Integer(len(inner.branches)))
    choose = replace(said, name=BALANCE, keywords=(*said.keywords, shares))
    branches = [
        _of(branch, Call(CASE, (Text(str(number)),), () if number else _TAKES_UNNOTED, place=said.place))
        for number, branch in enumerate(inner.branches)
    ]
    return decorated((*heads[:-1], choose), FanOut(tuple(branches), inner.place))


def _refuse_misplaced(heads: tuple[Call, ...], inner: SinkExpression) -> None:
    at = [number for number, call in enumerate(heads) if call.name == LOAD_BALANCE]
    if at and (at != [len(heads) - 1] or not isinstance(inner, FanOut)):
        raise ConfigError(
            "loadBalance stands right before the destinations that it chooses from: loadBalance [ a, b ]",
            place=heads[at[0]].place,
        )


def _refuse_counting(found: Iterable[Branch]) -> None:
    """Within a branch each of several destinations finds out by itself whose a batch is. They agree where that is a function of
    the batch, and not where it is one of what else was seen."""
    for call in (call for branch in found for call in balancing(undecorated(branch.sink)[0])):
        said = [*call.positional, *(each.value for each in call.keywords if each.name == "by")]
        by = next(
            (
                each.value if isinstance(each, Text) else each.name
                for each in said
                if isinstance(each, Text | Call)
            ),
            "",
        )
        if by in COUNTING:
            raise ConfigError(
                f"loadBalance({by}) is for all destinations of a logical node: loadBalance({by}) [ a, b ]; within a branch of a "
                "fan-out or in a case it is loadBalance or loadBalance(random)",
                place=call.place,
            )


def values(items: Items) -> list[str]:
    """The strings of a list of strings."""
    return [each.value for each in items.values if isinstance(each, Text)]


def _of(branch: Branch, case: Call) -> Branch:
    return Branch(decorated((case,), branch.sink), branch.required)


def _silent(call: Call) -> Call:
    return replace(call, keywords=(_SILENT,)) if call.name == DECIDE else call

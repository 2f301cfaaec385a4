"""What Flume OG had names for and Qanat has arguments for: its way of rolling, and its collector's sink. [pure]

    roll(60000) { file("/data/", "x-") }                        file("/data/", "x-", roll=60000)
    collector(30000) { [ file("/a/"), elasticsearch("es") ] }   [ file("/a/", roll=30000), elasticsearch("es") ]
    collectorSink("file:///data/%Y/", "x-", 5000)               file("/data/%Y/", "x-", roll=5000)

The names of its agent sinks are components: `routes.generalise` translates those.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from qanat.flow.faults import Faults
from qanat.flow.former import RENAMED
from qanat.flow.model import (
    Call,
    Duration,
    Flow,
    Integer,
    Keyword,
    LogicalNode,
    Real,
    Rolled,
    SinkExpression,
    Text,
    Value,
)
from qanat.flow.printer import print_value
from qanat.flow.sinks import with_parts

COLLECTOR_SINK = "collectorSink"

# Whether a sink has an argument `roll`; true for one that is not known, which is reported elsewhere.
TakesRoll = Callable[[str], bool]

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(?://)?")


def translate_flow(flow: Flow, takes_roll: TakesRoll) -> Flow:
    """The flow without Flume OG's forms. Raises FlowError with every one that has no translation."""
    faults = Faults()
    nodes = tuple(translate(node, takes_roll, faults) for node in flow.nodes)
    faults.raise_if_any()
    return replace(flow, nodes=nodes)


def translate(node: LogicalNode, takes_roll: TakesRoll, faults: Faults) -> LogicalNode:
    """The node without Flume OG's forms; what has no translation is added to `faults`, and stays or is left out."""
    return replace(node, sink=_Translation(takes_roll, faults).sink(node.sink, None))


@dataclass(frozen=True, slots=True)
class _Roll:
    """What a sink stands in; `period` is None where it is the sink's own."""

    call: Call
    period: Value | None


@dataclass(frozen=True, slots=True)
class _Translation:
    takes_roll: TakesRoll
    faults: Faults

    def sink(self, sink: SinkExpression, roll: _Roll | None) -> SinkExpression:
        match sink:
            case Call():
                plain = self._plain(sink)
                return plain if roll is None else self._rolled(plain, roll)
            case Rolled():
                if roll is not None:
                    self.faults.add(
                        sink.roll.place,
                        f"{sink.roll.name} within the {roll.call.name} of line {roll.call.place.line}: a sink is rolled "
                        "in one way; leave one of them out",
                    )
                return self.sink(sink.sink, _Roll(sink.roll, self._period(sink.roll)))
            case _:
                return with_parts(sink, lambda part: self.sink(part, roll))

    def _period(self, roll: Call) -> Value | None:
        match roll.positional:
            case (Integer() | Real() | Duration() as period,) if not roll.keywords:
                return period
            case () if not roll.keywords and roll.name == "collector":
                return None
        self.faults.add(
            roll.place,
            f"{print_value(roll)} is given a time and nothing else, {roll.name}(30s); a bare number is milliseconds",
        )
        return None

    def _rolled(self, call: Call, roll: _Roll) -> Call:
        given = next((each for each in call.keywords if each.name == "roll"), None)
        if not self.takes_roll(call.name):
            # Flume OG's collector { } was about acknowledging; whatever has no files needs nothing for that here.
            if roll.call.name != "collector":
                self.faults.add(
                    call.place,
                    f'{call.name} has no argument "roll": there is nothing in it that {roll.call.name}(...) could roll; '
                    "take it out of the braces",
                )
            return call
        if given is not None:
            self.faults.add(
                given.place,
                f"{call.name} is rolled in two ways: here, and by the {roll.call.name} of line {roll.call.place.line}; "
                "leave one of them out",
            )
            return call
        if roll.period is None:
            return call
        return replace(call, keywords=(*call.keywords, Keyword("roll", roll.period, roll.call.place)))

    def _plain(self, call: Call) -> Call:
        call = replace(call, name=RENAMED.get(call.name, call.name))
        if call.name != COLLECTOR_SINK:
            return call
        given: tuple[Value | None, ...] = (*call.positional, None, None, None, None)
        directory, prefix, period, style = given[:4]
        if not isinstance(directory, Text) or call.keywords or len(call.positional) > 4:
            self.faults.add(
                call.place,
                f'{print_value(call)}: Flume OG\'s collectorSink is given ("directory", "prefix", milliseconds, "format"), '
                "the first at least",
            )
            return replace(call, name="")
        keywords = []
        if period is not None:
            keywords.append(Keyword("roll", period, period.place))
        if style is not None:
            keywords.append(Keyword("format", _format(style), style.place))
        where = self._where(directory)
        if where is None:
            return replace(call, name="")
        name, path = where
        positional = (path,) if prefix is None else (path, _without_rolltag(prefix))
        return Call(name, positional, tuple(keywords), call.place)

    def _where(self, directory: Text) -> tuple[str, Text] | None:
        scheme = _SCHEME.match(directory.value)
        if scheme is None:
            return "file", directory
        if scheme[1] == "file":
            return "file", replace(directory, value=directory.value[scheme.end() :])
        if scheme[1] == "hdfs":
            return "hdfs", directory
        self.faults.add(
            directory.place,
            f"collectorSink stores under file: or hdfs:, not {scheme[1]}:; write the sink for it by its name",
        )
        return None


def _format(style: Value) -> Value:
    """Flume OG had both `"raw"` and `raw`."""
    if isinstance(style, Call) and not style.positional and not style.keywords:
        return Text(style.name, style.place)
    return style


def _without_rolltag(prefix: Value) -> Value:
    """Sinks here make names that differ by themselves."""
    if isinstance(prefix, Text):
        return replace(prefix, value=prefix.value.replace("%{rolltag}", ""))
    return prefix

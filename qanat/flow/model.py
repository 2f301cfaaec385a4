"""What a flow file says, as values that compare by meaning: places do not take part. [pure]"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeAlias

from qanat.errors import Place
from qanat.flow.selectors import Selector
from qanat.flow.units import DURATION_NS, SIZE_BYTES

# Of names, which become parts of file names on nodes: a file system takes 255 bytes, and leaves some for what stands around them.
NAME_CHARACTERS_MAX = 200


@dataclass(frozen=True, slots=True)
class SourcePlace(Place):
    """A place that remembers the line it is on, so that whoever finds a fault later can still show it."""

    source_line: str = field(default="", compare=False, repr=False)


NOWHERE = SourcePlace(1, 1, "<built>")


@dataclass(frozen=True, slots=True)
class Text:
    """A string, escapes resolved."""

    value: str
    place: SourcePlace = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Integer:
    """A whole number without a unit, within 64 bits."""

    value: int
    place: SourcePlace = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Real:
    """A finite number with a fraction or an exponent."""

    value: float
    place: SourcePlace = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Boolean:
    """`true` or `false`."""

    value: bool
    place: SourcePlace = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Duration:
    """An amount of time as it was written: `90s` stays 90 seconds. `unit` is a key of `units.DURATION_NS`."""

    amount: Decimal
    unit: str
    place: SourcePlace = field(default=NOWHERE, compare=False, repr=False)

    @property
    def seconds(self) -> float:
        return float(self.amount * DURATION_NS[self.unit] / 1_000_000_000)


@dataclass(frozen=True, slots=True)
class Size:
    """An amount of data as it was written. `unit` is a key of `units.SIZE_BYTES`."""

    amount: Decimal
    unit: str
    place: SourcePlace = field(default=NOWHERE, compare=False, repr=False)

    @property
    def bytes(self) -> Decimal:
        """Exact, so that a fraction of a byte can be refused."""
        return self.amount * SIZE_BYTES[self.unit]


@dataclass(frozen=True, slots=True)
class Items:
    """A list of values."""

    values: tuple[Value, ...]
    place: SourcePlace = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Keyword:
    """`name=value`; `place` is the name's."""

    name: str
    value: Value
    place: SourcePlace = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Call:
    """A component, or a function as an argument; `name` and `name()` are the same."""

    name: str
    positional: tuple[Value, ...] = ()
    keywords: tuple[Keyword, ...] = ()
    place: SourcePlace = field(default=NOWHERE, compare=False, repr=False)


Value: TypeAlias = Text | Integer | Real | Boolean | Duration | Size | Items | Call


@dataclass(frozen=True, slots=True)
class Branch:
    """One destination of a fan-out; the others do not get far ahead of one that is `required`."""

    sink: SinkExpression
    required: bool = False


@dataclass(frozen=True, slots=True)
class FanOut:
    """`[a, b]`: every event goes to each of the branches."""

    branches: tuple[Branch, ...]
    place: SourcePlace = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Failover:
    """`< a ? b >`: every event goes to one of the sinks, the first that works."""

    sinks: tuple[SinkExpression, ...]
    place: SourcePlace = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Decorated:
    """`d1 d2 sink`: what happens to events on the way, in the order of their way. `sink` is not itself decorated."""

    decorators: tuple[Call, ...]
    sink: SinkExpression
    place: SourcePlace = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Rolled:
    """`roll(...) { sink }` or `collector(...) { sink }`; `roll` is what stands before the brace."""

    roll: Call
    sink: SinkExpression
    place: SourcePlace = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Case:
    """`"value" => sink`: the destination of the events for which a switch finds this value."""

    value: Text
    branch: Branch


@dataclass(frozen=True, slots=True)
class Switch:
    """`switch("%{x}") { "v" => a, else => b }`: every event goes to the case of its value, or `otherwise`, or nowhere."""

    on: Text
    cases: tuple[Case, ...]
    otherwise: Branch | None = None
    place: SourcePlace = field(default=NOWHERE, compare=False, repr=False)


SinkExpression: TypeAlias = Call | FanOut | Failover | Decorated | Rolled | Switch

# The flow of the statements that stand in no `flow NAME { ... }`, as Flume OG called it.
DEFAULT_FLOW = "default-flow"


@dataclass(frozen=True, slots=True)
class LogicalNode:
    """`name @ selector : source | channel | sink ;` where selector and channel may be missing.

    Several `sources` are a fan-in. `flow`: automatic chains stay within it.
    """

    name: str
    sources: tuple[Call, ...]
    sink: SinkExpression
    channel: Call | None = None
    selector: Selector | None = None
    flow: str = DEFAULT_FLOW
    place: SourcePlace = field(default=NOWHERE, compare=False, repr=False)

    @property
    def source(self) -> Call:
        """The only source. Raises ValueError when there are several: nobody may run one of them and forget the others."""
        if len(self.sources) != 1:
            raise ValueError(f"{self.name} has {len(self.sources)} sources, not one")
        return self.sources[0]


@dataclass(frozen=True, slots=True)
class Flow:
    """The logical nodes of one text, in its order, with distinct names."""

    nodes: tuple[LogicalNode, ...]
    path: str = field(default="<flow>", compare=False)

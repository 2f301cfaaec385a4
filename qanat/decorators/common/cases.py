"""The decorators of a `switch`: one notes the case of each event, and one before each case lets its own through.

The key is looked at once for all cases. A batch all of whose events belong to one case goes there as it is: when the key is in
the shared attributes, lines stay lines and nothing loads Arrow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC
from typing import TYPE_CHECKING, ClassVar

from qanat import escapes
from qanat.batch import Batch, PayloadForm
from qanat.component import Context
from qanat.decorator import Decorator
from qanat.escapes import Attribute, Literal, Time
from qanat.flow import switching
from qanat.flow.model import Boolean, Call, Items, Text

if TYPE_CHECKING:
    import pyarrow as pa

# The case of an event, as an attribute of the batch or of each event; without one it is else. It never leaves the switch.
NOTE = "qanat:case"

UNMATCHED = "events_unmatched"  # counted: of no case, and there is no else

# Columns that a template looks at under other names than they have.
_COLUMNS = {escapes.NANOS: "timestamp"}


class Decide(Decorator):
    """Notes to which of `cases` each event belongs by what `on`, a template with escapes, comes to for it."""

    name: ClassVar[str] = switching.DECIDE

    def __init__(
        self, on: str, cases: Sequence[str], context: Context, *, otherwise: bool, counts: bool
    ) -> None:
        super().__init__(None, context)
        self._on = on
        self._pieces = escapes.parse(on, "switch", with_body=True)
        self._cases = list(cases)
        self._counts = counts and not otherwise
        self._looked_at = {
            _COLUMNS.get(each.name, each.name) for each in self._pieces if isinstance(each, Attribute)
        }
        if any(isinstance(each, Time) for each in self._pieces):
            self._looked_at.add("timestamp")
        self.takes_lines = escapes.BODY not in self._looked_at

    def apply(self, batch: Batch) -> Batch:
        batch = _without_note(batch)
        if isinstance(batch.payload, bytes) or self._looked_at.isdisjoint(batch.payload.schema.names):
            return self._whole(batch, self._shared_key(batch))
        return self._each(batch)

    def _shared_key(self, batch: Batch) -> str:
        return "".join(_text(piece, batch) for piece in self._pieces)

    def _whole(self, batch: Batch, key: str) -> Batch:
        if key in self._cases:
            return replace(batch, attributes={**batch.attributes, NOTE: key})
        self._count(batch.count)
        return batch

    def _each(self, batch: Batch) -> Batch:
        import pyarrow as pa
        import pyarrow.compute as pc

        cases = pa.array(self._cases, pa.string())
        numbers = pc.index_in(self._keys(batch), value_set=cases)
        if numbers.null_count == len(numbers):
            self._count(batch.count)
            return batch
        bounds = pc.min_max(numbers)
        if not numbers.null_count and bounds["min"] == bounds["max"]:
            return self._whole(batch, self._cases[bounds["min"].as_py()])
        self._count(numbers.null_count)
        assert not isinstance(batch.payload, bytes)
        noted = batch.payload.append_column(NOTE, pa.DictionaryArray.from_arrays(numbers, cases))
        return replace(batch, payload=noted)

    def _keys(self, batch: Batch) -> pa.Array:
        """Text, without nulls: an attribute that an event lacks is empty."""
        import pyarrow as pa

        from qanat import ops
        from qanat.decorators.common import rows
        from qanat.decorators.common.templates import Template

        try:
            match self._pieces:
                case [Attribute(name)] if name not in (escapes.BODY, escapes.NANOS, escapes.PRIORITY):
                    return ops.fill_null(rows.attribute(batch, name), "")
            return rows.texts(Template(self._on, "switch").expand(batch))
        except pa.ArrowException:  # a column that is no text in any way, as a list: no case is meant
            return pa.repeat(pa.scalar("", pa.string()), batch.count)

    def _count(self, events: int) -> None:
        if self._counts and events:
            self.context.count(UNMATCHED, events)


class Case(Decorator):
    """Lets through what belongs to the case `value`; None: what belongs to none. `unnoted`: and what was never decided about."""

    name: ClassVar[str] = switching.CASE
    takes_lines = True

    def __init__(self, value: str | None, context: Context, *, unnoted: bool = False) -> None:
        super().__init__(None, context)
        self._values = (value, None) if unnoted else (value,)
        self._value = value

    def apply(self, batch: Batch) -> Batch:
        if isinstance(batch.payload, bytes) or NOTE not in batch.payload.schema.names:
            if batch.attributes.get(NOTE) in self._values:
                return _without_note(batch)
            return replace(_without_note(batch), count=0, form=PayloadForm.LINES, payload=b"")
        from qanat import columns

        mask = _among(batch.payload.column(NOTE), self._value)
        return columns.kept(_without_note(batch), mask)


def _among(notes: pa.DictionaryArray, value: str | None) -> pa.Array:
    """Which events have this note."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if value is None:
        return pc.is_null(notes)
    number = notes.dictionary.index(pa.scalar(value, pa.string())).as_py()
    return pc.equal(
        notes.indices, pa.scalar(number, notes.indices.type)
    )  # -1, of no event, when the case is younger than the note


def _without_note(batch: Batch) -> Batch:
    attributes = batch.attributes
    if NOTE in attributes:
        attributes = {name: text for name, text in attributes.items() if name != NOTE}
        batch = replace(batch, attributes=attributes)
    if isinstance(batch.payload, bytes) or NOTE not in batch.payload.schema.names:
        return batch
    return replace(batch, payload=batch.payload.drop_columns([NOTE]))


def _text(piece: escapes.Piece, batch: Batch) -> str:
    """What all events of a batch have for it."""
    match piece:
        case Literal(text):
            return text
        case Time():
            return piece.expand(batch.timestamp_ns, UTC)
        case Attribute(escapes.NANOS):
            return str(batch.timestamp_ns)
        case Attribute(name):
            return batch.attributes.get(name, escapes.PRIORITY_DEFAULT if name == escapes.PRIORITY else "")


def _decide(call: Call, context: Context) -> Decorator:
    match call.positional:
        case (Text(on), Items() as cases, Boolean(otherwise)):
            silent = any(each.name == switching.COUNTS for each in call.keywords)
            return Decide(on, switching.values(cases), context, otherwise=otherwise, counts=not silent)
    raise AssertionError(f"{call} is none that qanat.flow.switching made")


def _case(call: Call, context: Context) -> Decorator:
    value = call.positional[0] if call.positional else None
    unnoted = any(each.name == switching.UNNOTED for each in call.keywords)
    return Case(value.value if isinstance(value, Text) else None, context, unnoted=unnoted)


# Beside the installed decorators, by names that no flow can use.
OWN: dict[str, Callable[[Call, Context], Decorator]] = {
    switching.DECIDE: _decide,
    switching.CASE: _case,
}

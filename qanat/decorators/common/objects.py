"""JSON objects of a column as columns of text. The parser is msgspec's, called once for a block of events.

To parse a block as one list, something has to stand between two events that no event can contain, or an event that ends in the
middle of an object could be completed by the next one. That is a random number, drawn for each process: what comes out does not
depend on it.

Measured on one shared core with 200-byte objects of ten members: 320,000 events/s (pyarrow.json: 480,000, but types
that depend on what else is in the block, and no way around a line that is broken).
"""

from __future__ import annotations

import itertools
import operator
import secrets
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
import pyarrow as pa

from qanat.decorators.common import ops
from qanat.errors import PermanentError

_MARK = secrets.randbits(62)
_BETWEEN = b",%d," % _MARK
_END = b",%d]" % _MARK

# Different members of the objects of one batch, when all are asked for: each is a column, and a row of a file format has that
# many. Beyond it somebody uses data for names.
KEYS_MAX = 1000

_encode = msgspec.json.Encoder().encode


class Objects:
    """`keys`: the members that are wanted; none: all."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = tuple(dict.fromkeys(keys))
        flat = self._keys and not any("." in key for key in self._keys)
        kind: Any = dict[str, Any]
        self._values: Callable[[list[Any]], dict[str, Iterable[Any]]] = self._of_dicts
        if flat:
            fields = [(f"f{number}", Any, None) for number in range(len(self._keys))]
            names = {f"f{number}": key for number, key in enumerate(self._keys)}
            kind = msgspec.defstruct("Members", fields, rename=names, gc=False)
            self._values = self._of_structs
        self._block = msgspec.json.Decoder(list[kind | int])
        self._one = msgspec.json.Decoder(kind)
        self._empty = kind()

    def read(self, column: pa.Array) -> tuple[dict[str, pa.Array], pa.Array]:
        """Text by key, null where an object has no such member; and which values are no objects. `column` is binary; null is no
        object. Raises PermanentError when there are more than `KEYS_MAX` keys."""
        objects = self._all(column)
        if objects is None:
            found = [self._each(value) for value in column.to_pylist()]
            failed = pa.array([each is None for each in found], pa.bool_())
            objects = [self._empty if each is None else each for each in found]
        else:
            failed = ops.repeated(False, len(column))
        return {key: text(values) for key, values in self._values(objects).items()}, failed

    def _all(self, column: pa.Array) -> list[Any] | None:
        """None when there is any that is none."""
        if column.null_count:
            return None
        try:
            found = self._block.decode(_joined(column))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        objects, marks = found[0::2], found[1::2]
        if len(objects) != len(column) or len(marks) != len(column) or marks.count(_MARK) != len(marks):
            return None
        return None if int in set(map(type, objects)) else objects

    def _each(self, value: bytes | None) -> Any:
        """One, or None: a Python step for each event, of batches with broken ones only."""
        try:
            return None if value is None else self._one.decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None

    def _of_structs(self, objects: list[Any]) -> dict[str, Iterable[Any]]:
        fields = [f"f{number}" for number in range(len(self._keys))]
        return {
            key: list(map(operator.attrgetter(field), objects))
            for key, field in zip(self._keys, fields, strict=True)
        }

    def _of_dicts(self, objects: list[Any]) -> dict[str, Iterable[Any]]:
        keys = self._keys or sorted(set().union(*objects))
        if len(keys) > KEYS_MAX:
            raise PermanentError(
                f"the objects of one batch have {len(keys)} different members, limit {KEYS_MAX}: list those that are wanted"
            )
        try:  # objects that are all alike
            return {key: list(map(operator.itemgetter(key), objects)) for key in keys}
        except KeyError:
            pass
        return {key: _members(key, objects) for key in keys}


def _members(key: str, objects: list[Any]) -> list[Any]:
    found = list(map(dict.get, objects, itertools.repeat(key)))
    if "." not in key:
        return found
    path = key.split(".")
    return [
        _inner(each, path) if value is None else value for each, value in zip(objects, found, strict=True)
    ]


def _inner(value: Any, path: list[str]) -> Any:
    for name in path:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def _joined(column: pa.Array) -> bytes:
    """`[first,mark,second,mark,...]`."""
    return b"".join((b"[", _BETWEEN.join(column.to_pylist()), _END))


def text(values: Iterable[Any]) -> pa.Array:
    """JSON values as text: the same for a value whatever the others are."""
    try:  # mostly strings: to look first takes as long as to try
        return pa.array(values, pa.string())
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        kinds = set(map(type, values))
    if kinds <= {int, type(None)}:
        try:
            return pa.array(values, pa.int64()).cast(pa.string())
        except (OverflowError, pa.ArrowInvalid):
            pass
    if kinds <= {bool, type(None)}:
        return pa.array(values, pa.bool_()).cast(pa.string())
    if kinds == {float}:
        return pa.array(str(_encode(values), "ascii")[1:-1].split(","), pa.string())
    texts = [
        value if value is None or type(value) is str else str(_encode(value), "utf-8") for value in values
    ]
    return pa.array(texts, pa.string())

"""JSON objects of a column as columns of text. The parser is msgspec's, called once for a block of events.

To parse a block as one list, something has to stand between two events that no event can contain, or an event that ends in the
middle of an object could be completed by the next one. That is a random number, drawn for each process: what comes out does not
depend on it.

Measured on one shared core under load, 200-byte objects of ten members: 310,000 events/s, 450,000 at best (pyarrow.json: 480,000,
but types that depend on what else is in the block, and no way around a line that is broken).
"""

from __future__ import annotations

import contextlib
import itertools
import operator
import secrets
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
import pyarrow as pa

from qanat import ops
from qanat.errors import PermanentError

_MARK = secrets.randbits(62)
_BETWEEN = b",%d," % _MARK
_END = b",%d]" % _MARK

# Different members of the objects of one batch, when all are asked for: each is a column, and a row of a file format has that
# many. Beyond it somebody uses data for names.
KEYS_MAX = 1000

# Members for which a struct is made: as many as logs have. More would be mostly absent, and every absent one is looked at, too.
SEEN_MAX = 100

_encode = msgspec.json.Encoder().encode


class Objects:
    """`keys`: the members that are wanted; none: all."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = tuple(dict.fromkeys(keys))
        kind: Any = dict[str, Any]
        self._values: Callable[[list[Any]], dict[str, Iterable[Any]]] = self._of_dicts
        if self._keys and not any("." in key for key in self._keys):
            with contextlib.suppress(
                ValueError
            ):  # a name with quotes or control characters, which no struct has
                kind = _struct(self._keys)
                self._values = lambda objects: _of_structs(self._keys, objects)
        self._block = msgspec.json.Decoder(list[kind | int])
        self._one = msgspec.json.Decoder(kind)
        self._empty = kind()
        # The members seen so far, when all are wanted: a struct of them is decoded in a quarter of a dictionary's time.
        self._seen: tuple[str, ...] = ()
        self._of_seen: msgspec.json.Decoder[list[Any]] | None = None

    def read(self, column: pa.Array) -> tuple[dict[str, pa.Array], pa.Array]:
        """Text by key, null where an object has no such member; and which values are no objects. `column` is binary; null is no
        object. Raises PermanentError when there are more than `KEYS_MAX` keys."""
        if self._of_seen is not None and (known := _all(column, self._of_seen)) is not None:
            return _texts(_of_structs(self._seen, known), wanted=False), ops.repeated(False, len(column))
        objects = _all(column, self._block)
        if objects is None:
            found = [self._each(value) for value in column.to_pylist()]
            failed = pa.array([each is None for each in found], pa.bool_())
            objects = [self._empty if each is None else each for each in found]
        else:
            failed = ops.repeated(False, len(column))
        values = self._values(objects)
        if not self._keys:
            self._see(values)
        return _texts(values, wanted=bool(self._keys)), failed

    def _see(self, keys: Iterable[str]) -> None:
        seen = tuple(sorted({*self._seen, *keys}))
        if seen == self._seen or len(seen) > SEEN_MAX:
            return
        try:
            self._of_seen = msgspec.json.Decoder(list[_struct(seen, forbid_unknown_fields=True) | int])  # type: ignore[misc]
        except ValueError:  # a name with quotes or control characters, which no struct has
            return
        self._seen = seen

    def _each(self, value: bytes | None) -> Any:
        """One, or None: a Python step for each event, of batches with broken ones only."""
        try:
            return None if value is None else self._one.decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None

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


def _all(column: pa.Array, decoder: msgspec.json.Decoder[list[Any]]) -> list[Any] | None:
    """None when there is any that is no object, or not such a one."""
    if column.null_count:
        return None
    try:
        found = decoder.decode(_joined(column))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    objects, marks = found[0::2], found[1::2]
    if len(objects) != len(column) or len(marks) != len(column) or marks.count(_MARK) != len(marks):
        return None
    return None if int in set(map(type, objects)) else objects


def _struct(keys: Sequence[str], **options: Any) -> Any:
    """Raises ValueError for a name that a struct can't have."""
    fields = [(f"f{number}", Any, None) for number in range(len(keys))]
    names = {f"f{number}": key for number, key in enumerate(keys)}
    return msgspec.defstruct("Members", fields, rename=names, gc=False, **options)


def _of_structs(keys: Sequence[str], objects: list[Any]) -> dict[str, Iterable[Any]]:
    return {key: list(map(operator.attrgetter(f"f{number}"), objects)) for number, key in enumerate(keys)}


def _texts(values: dict[str, Iterable[Any]], *, wanted: bool) -> dict[str, pa.Array]:
    """As text; without what none has, unless it was asked for: which members were seen before makes no difference."""
    found = {key: text(each) for key, each in values.items()}
    return found if wanted else {key: each for key, each in found.items() if each.null_count < len(each)}


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

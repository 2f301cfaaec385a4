"""logfmt by one regular expression over a whole block: a match for each pair, found in C, then columns."""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from qanat import ops
from qanat.decorators.common.objects import KEYS_MAX
from qanat.decorators.common.rows import texts
from qanat.errors import PermanentError

# Words without a value are passed over, all at once; then the end of an event, or a key with a value in quotes or without.
# Nothing is ever given back (`+`), so this is linear in time whatever comes.
_PAIR = re.compile(
    rb'[^\S\n]*+(?:[^\s="]++[^\S\n]++)*+(?:[^\s="]*+(\n)|([^\s="]++)=(?:"((?:[^"\\\n]++|\\[^\n])*+)"?|(\S*+)))'
)

# In quotes it is as in JSON, which is what writers of logfmt use; of another letter only the backslash is left out.
_ESCAPE = re.compile(rb"(?:\\u[0-9A-Fa-f]{4})+|\\(?P<letter>.)", re.DOTALL)
_LETTERS = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"b": b"\b", b"f": b"\f"}


def read(column: pa.Array, keys: Sequence[str]) -> tuple[dict[str, pa.Array], pa.Array]:
    """Text by key, null where there is no such pair; and which values have no `key=value` at all. No keys: all that there are.

    Raises PermanentError when there are more than `KEYS_MAX`."""
    block = _joined(column)
    found = _PAIR.findall(block)
    ends, names, quoted, bare = (
        pa.array(map(operator.itemgetter(at), found), pa.binary()) for at in range(4)
    )
    if b"\\" in block:
        quoted = _unescaped(quoted)
    is_end = ops.not_equal(ends, b"")
    value = ops.if_else(ops.not_equal(quoted, b""), quoted, bare)
    pairs = pa.RecordBatch.from_arrays(
        [pc.cumulative_sum(is_end.cast(pa.int64())), names, value], names=["event", "name", "value"]
    ).filter(pc.invert(is_end))
    wanted = [key.encode() for key in keys] or _names(pairs)
    columns = {key.decode(errors="backslashreplace"): _column(pairs, key, len(column)) for key in wanted}
    with_pairs = pc.unique(pairs.column("event"))
    events = _numbers(len(column))
    return columns, pc.invert(pc.is_in(events, with_pairs))


def _unescaped(quoted: pa.Array) -> pa.Array:
    """Values with a backslash one by one: few have any."""
    which = pc.match_substring(quoted, b"\\")
    values = [_ESCAPE.sub(_meant, each) for each in quoted.filter(which).to_pylist()]
    return pc.replace_with_mask(quoted, which, pa.array(values, pa.binary()))


def _meant(found: re.Match[bytes]) -> bytes:
    if found["letter"] is not None:
        return _LETTERS.get(found["letter"], found["letter"])
    halves = found[0].decode("unicode_escape").encode("utf-16", "surrogatepass")
    return halves.decode("utf-16", "replace").encode()


def _column(pairs: pa.RecordBatch, key: bytes, count: int) -> pa.Array:
    own = pairs.filter(ops.equal(pairs.column("name"), key))
    # The last of several: looked for from behind.
    backwards = own.take(ops.subtract(own.num_rows - 1, _numbers(own.num_rows)))
    at = pc.index_in(_numbers(count), backwards.column("event"))
    return texts(pc.take(backwards.column("value"), at))


def _names(pairs: pa.RecordBatch) -> list[bytes]:
    names: list[bytes] = sorted(pc.unique(pairs.column("name")).to_pylist())
    if len(names) > KEYS_MAX:
        raise PermanentError(
            f"the events of one batch have {len(names)} different keys, limit {KEYS_MAX}: list those that are wanted"
        )
    return names


def _numbers(count: int) -> pa.Array:
    return ops.subtract(pc.cumulative_sum(ops.repeated(1, count)), 1)


def _joined(column: pa.Array) -> bytes:
    """Every value and a line end; null as an empty one. A line end within a value is a space."""
    values = ops.fill_null(column.cast(pa.binary()), b"")
    block = b"\n".join([*values.to_pylist(), b""])
    if block.count(b"\n") == len(values):
        return block
    return b"\n".join([*pc.replace_substring(values, b"\n", b" ").to_pylist(), b""])

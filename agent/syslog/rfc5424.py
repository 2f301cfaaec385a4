"""RFC 5424: `1 TIMESTAMP HOST APP PROCID MSGID STRUCTURED-DATA MSG`, what follows the priority. [pure]"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from datetime import tzinfo

import pyarrow as pa
import pyarrow.compute as pc

from agent.syslog import columns as c
from agent.syslog import times
from qanat import ops

VERSION = b"1 "
_BOM = b"\xef\xbb\xbf"
_FIELDS = 7  # with the version, and with all from the structured data on as one

# Attributes of structured data in one batch, each a column: what goes beyond stays in `structured_data`. A sender has a dozen.
SD_COLUMNS_MAX = 64
SD_NAME_BYTES_MAX = 128  # RFC 5424, 6.3.2: an id and a name have 32 at most, but not everybody knows

_SD = re.compile(rb'((?:\[(?:[^\]\\"]|"(?:[^"\\]|\\.)*")*\])+)(?: (.*))?', re.DOTALL)
_ELEMENT = re.compile(r"\[([!#-<>-\\^-~]+)((?: [!#-<>-\\^-~]+=\"(?:[^\"\\]|\\.)*\")*) ?\]", re.DOTALL)
_PARAM = re.compile(r" ([!#-<>-\\^-~]+)=\"((?:[^\"\\]|\\.)*)\"", re.DOTALL)
_ESCAPED = re.compile(r"\\([\"\\\]])")


def parse(
    rest: pa.Array, zone: tzinfo | None, count: Callable[[str, int], None]
) -> tuple[pa.Array, dict[str, pa.Array]]:
    """Why each is not such a message (null: it is one), and the columns; those of bad ones mean nothing."""
    lists = c.split(rest, b" ", _FIELDS - 1)
    stamp, host, app, procid, msgid, tail = (c.part(lists, number) for number in range(1, _FIELDS))
    stamp = c.unless_nil(stamp)
    timestamp = times.rfc3339(stamp, zone)
    structured, body, faults = _split_tail(tail)
    bad_time = pc.and_(pc.is_valid(stamp), pc.is_null(timestamp))
    if c.is_any(bad_time):
        faults = ops.if_else(bad_time, "bad timestamp", faults)
    columns = {
        "body": c.prefixed(body, _BOM),
        "timestamp": timestamp,
        "host": c.unless_nil(host),
        c.APP: c.unless_nil(app),
        c.PROCID: c.unless_nil(procid),
        c.MSGID: c.unless_nil(msgid),
    }
    if structured is not None:
        columns[c.STRUCTURED_DATA] = c.text(structured)
        columns |= _params(columns[c.STRUCTURED_DATA], count)
    return faults, columns


def _split_tail(tail: pa.Array) -> tuple[pa.Array | None, pa.Array, pa.Array]:
    """Structured data (None: nobody has any), message, and faults."""
    none = pa.nulls(len(tail), pa.string())
    plain = pc.starts_with(tail, pattern=b"- ")
    if c.is_all(plain):
        return None, c.after(tail, 2), none
    plain = pc.or_(plain, ops.equal(tail, b"-"))
    plain = pc.fill_null(plain, False)
    message = c.after(tail, 2)
    begins = pc.fill_null(pc.starts_with(tail, pattern=b"["), False)
    faults = ops.if_else(pc.or_(plain, begins), none, "bad header")
    if not c.is_any(begins):
        return None, message, faults
    lists = c.split(c.without(tail, pc.invert(begins)), b"] ", 1)
    first, second = c.part(lists, 0), c.part(lists, 1)
    is_alone = pc.and_(begins, pc.is_null(second))
    closed = pc.if_else(is_alone, first, ops.join(first, b"]", b""))
    within = pc.fill_null(pc.or_(pc.ends_with(first, pattern=b"\\"), _is_open(closed)), False)
    message = pc.if_else(begins, pc.fill_null(second, b""), message)
    if c.is_any(within):  # "] " in a value is not the end: seldom, and so found one by one
        closed, message = _by_hand(tail, within, closed, message)
    bad = pc.and_(begins, pc.invert(pc.fill_null(_is_closed(closed), False)))
    return closed, message, ops.if_else(bad, "bad structured data", faults)


def _is_open(closed: pa.Array) -> pa.Array:
    """Whether a value may go on: the quotes are odd in number, be it that one of them is escaped."""
    return ops.equal(ops.bit_wise_and(pc.count_substring(closed, pattern=b'"'), 1), 1)


def _is_closed(closed: pa.Array) -> pa.Array:
    return pc.and_(pc.ends_with(closed, pattern=b"]"), pc.invert(pc.ends_with(closed, pattern=b"\\]")))


def _by_hand(
    tail: pa.Array, which: pa.Array, closed: pa.Array, message: pa.Array
) -> tuple[pa.Array, pa.Array]:
    found = [_SD.fullmatch(each) for each in tail.filter(which).to_pylist()]
    parts = [(each[1], each[2] or b"") if each else (b"", b"") for each in found]
    replaced = [pa.array(values, pa.binary()) for values in zip(*parts, strict=True)]
    return (
        pc.replace_with_mask(closed, which, replaced[0]),
        pc.replace_with_mask(message, which, replaced[1]),
    )


def _params(structured: pa.Array, count: Callable[[str, int], None]) -> dict[str, pa.Array]:
    """`id.name` for each parameter, parsed once for each different text."""
    encoded = structured.dictionary_encode()
    parsed = [_parse(each) for each in encoded.dictionary.to_pylist()]
    names = Counter(name for each in parsed for name in each)
    kept = [name for name, _ in names.most_common(SD_COLUMNS_MAX)]
    if len(kept) < len(names):
        count("structured_data_not_columns", len(names) - len(kept))
    return {
        name: pa.array([each.get(name) for each in parsed], pa.string()).take(encoded.indices)
        for name in kept
    }


def _parse(text: str) -> dict[str, str]:
    """What a parameter is, by element and name; what is no element is left out."""
    found: dict[str, str] = {}
    for element in _ELEMENT.finditer(text):
        for param in _PARAM.finditer(element[2]):
            name = f"{element[1]}.{param[1]}"
            if len(name) <= SD_NAME_BYTES_MAX:
                found.setdefault(name, _ESCAPED.sub(r"\1", param[2]))
    return found

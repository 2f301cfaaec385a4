"""The vectorised Avro encoder against fastavro, value by value."""

from __future__ import annotations

import io

import fastavro
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from collector.files.formats import avro_binary
from collector.files.formats.avro import SCHEMA
from collector.files.rows import Rows

INT64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(max_size=200)


@given(st.lists(INT64, min_size=1, max_size=50))
def test_longs_are_those_of_one_value_at_a_time(values):
    encoded = avro_binary.longs(pa.array(values, pa.int64())).to_pylist()
    assert encoded == [avro_binary.long(value) for value in values]


def columns(draw, count, values):
    """One text for all, none, or an array with nulls."""
    shared = draw(st.one_of(st.none(), values, st.just(...)))
    if shared is not ...:
        return shared
    return pa.array(draw(st.lists(st.one_of(st.none(), values), min_size=count, max_size=count)), pa.string())


@st.composite
def some_rows(draw):
    count = draw(st.integers(1, 20))
    times = st.lists(INT64, min_size=count, max_size=count)
    attributes = {
        name: value
        for name in draw(st.lists(TEXT, unique=True, max_size=4))
        if (value := columns(draw, count, TEXT)) is not None
    }
    return Rows(
        count=count,
        stream=draw(TEXT),
        body=pa.array(draw(st.lists(st.binary(max_size=300), min_size=count, max_size=count)), pa.binary()),
        position=pa.array(draw(st.lists(st.integers(0, 2**62), min_size=count, max_size=count)), pa.int64()),
        timestamp_ns=draw(st.one_of(INT64, times.map(lambda ns: pa.array(ns, pa.int64())))),
        host=columns(draw, count, TEXT),
        priority=columns(draw, count, TEXT),
        attributes=attributes,
    )


def at(value, row):
    return value[row].as_py() if isinstance(value, pa.Array) else value


@given(some_rows())
def test_records_are_read_back_by_fastavro(rows):
    schema = fastavro.parse_schema(
        {
            **SCHEMA,
            "fields": [f | ({"type": "long"} if f["name"] == "timestamp" else {}) for f in SCHEMA["fields"]],
        }
    )
    data = io.BytesIO(bytes(avro_binary.records(rows)))
    for row in range(rows.count):
        wanted = {name: at(value, row) for name, value in rows.attributes.items()}
        assert fastavro.schemaless_reader(data, schema, None) == {
            "body": rows.body[row].as_py(),
            "timestamp": at(rows.timestamp_ns, row),
            "host": at(rows.host, row),
            "stream": rows.stream,
            "position": rows.position[row].as_py(),
            "priority": at(rows.priority, row),
            "attributes": {name: value for name, value in wanted.items() if value is not None},
        }
    assert not data.read()

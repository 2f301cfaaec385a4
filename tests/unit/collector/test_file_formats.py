"""What each format makes of events: every byte of every body, and what else readers find."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import orc

from collector.files import formats, staging
from qanat.errors import CorruptError
from tests.integration.file_driver import Driver, avro_records, columns, json_body, lines

TRICKY = [
    b"",
    b'"',
    b"\\",
    b"\x00\x01\x1f\x7f",
    "\u2028\u2029\x85ü😀".encode(),
    b"\xff\xfe",
    b"a,b",
    b"\r",
    b"'",
]


def encode(name: str, batch) -> bytes:
    return b"".join(bytes(buffer) for buffer in formats.create(name).encode(batch))


@given(
    st.lists(st.one_of(st.binary(max_size=12), st.text(max_size=12).map(str.encode)), min_size=1, max_size=12)
)
def test_json_gives_every_body_back_line_by_line(bodies):
    data = encode("json", columns(["h"] * len(bodies), bodies, 7)).decode()
    objects = [json.loads(line) for line in data.splitlines()]
    assert [json_body(found) for found in objects] == bodies
    assert [found["position"] for found in objects] == list(range(7, 7 + len(bodies)))


def test_json_has_the_fields_that_it_documents():
    (line,) = encode("json", lines("web", [b"hi"], 5, file="/x", **{'ä"': "\\"})).splitlines()
    assert json.loads(line) == {
        "timestamp": "2023-11-14T22:13:20.123456789Z",
        "host": "web",
        "stream": "s",
        "position": 5,
        "priority": None,
        "attributes": {"file": "/x", 'ä"': "\\"},
        "body": "hi",
    }


def test_json_takes_values_from_columns_with_their_types():
    (_, line) = encode("json", columns(["a", 'b"'], [b"x", b"y"])).splitlines()
    found = json.loads(line)
    assert (found["host"], found["attributes"]) == ('b"', {"code": 1, "file": "f"})
    assert found["timestamp"] == "2023-11-14T22:13:20.000000000Z"


@given(st.lists(st.binary(max_size=12), min_size=1, max_size=12))
def test_csv_gives_every_body_back(bodies):
    data = encode("csv", columns(["h"] * len(bodies), bodies)).decode("latin-1")
    rows = list(csv.reader(io.StringIO(data, newline=""), strict=True))
    assert [row[-1].encode("latin-1") for row in rows] == bodies
    assert {len(row) for row in rows} == {7}


def test_csv_has_one_header_a_file_and_attributes_as_json(tmp_path):
    driver = Driver(tmp_path, format="csv", compression="gzip").open()
    for number in range(3):
        driver.sink.append(lines('a"b', [b"%d" % number], file='q"'))
        driver.commit()
    driver.finish()
    assert driver.stored() == {'a"b': [b"0", b"1", b"2"]}
    row = next(
        csv.DictReader(
            io.StringIO(encode("csv", lines('a"b', [b"x"], file='q"')).decode(), newline=""),
            fieldnames=["timestamp", "host", "stream", "position", "priority", "attributes", "body"],
        )
    )
    assert (row["host"], json.loads(row["attributes"]), row["priority"]) == ('a"b', {"file": 'q"'}, "")


def test_raw_writes_a_lines_payload_untouched():
    batch = lines("a", TRICKY)
    (buffer,) = formats.create("raw").encode(batch)
    assert buffer is batch.payload


def test_avro_records_hold_everything(tmp_path):
    driver = Driver(tmp_path, format="avro").open()
    driver.sink.append(lines("a", TRICKY, 3, file="/x"))
    driver.finish()
    (path,) = driver.final_files()
    records = avro_records(path)
    assert [record["body"] for record in records] == TRICKY
    first = {name: value for name, value in records[0].items() if name not in ("body", "timestamp")}
    assert first == {
        "host": "a",
        "stream": "s",
        "position": 3,
        "priority": None,
        "attributes": {"file": "/x"},
    }


@pytest.mark.parametrize("name", ["parquet", "orc"])
def test_tables_have_typed_columns_and_one_for_each_attribute(tmp_path: Path, name: str):
    driver = Driver(tmp_path, format=name).open()
    driver.sink.append(columns(["a", "a"], [b"\x00", b"\xff\n"], 9))
    driver.sink.append(lines("a", TRICKY, 3, body="clash", file="/x"))
    driver.finish()
    read = pq.read_table if name == "parquet" else orc.read_table
    extra = [{} if name == "orc" else {"partitioning": None}][0]
    typed, plain = (read(path, **extra) for path in driver.final_files())
    assert typed.drop_columns(["timestamp"]).to_pylist() == [
        {
            "body": b"\x00",
            "host": "a",
            "stream": "s",
            "position": 9,
            "priority": None,
            "code": 0,
            "file": "f",
        },
        {
            "body": b"\xff\n",
            "host": "a",
            "stream": "s",
            "position": 10,
            "priority": None,
            "code": 1,
            "file": "f",
        },
    ]
    assert plain.column("body").to_pylist() == TRICKY
    assert set(plain.column("attribute.body").to_pylist()) == {"clash"}
    assert plain.column("timestamp").cast("int64").to_pylist() == [1_700_000_000_123_456_789] * len(TRICKY)


def test_staging_detects_damage(tmp_path: Path):
    path = tmp_path / "staged"
    data = b"".join(bytes(part) for part in staging.frame(lines("a", [b"x" * 100])))
    for at in (0, 5, 14, 30, len(data) - 1):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        reader = staging.Reader(path)
        with pytest.raises(CorruptError, match="damaged at byte 0"):
            list(reader.batches(len(data)))
        reader.close()

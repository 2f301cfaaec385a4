"""`spoolDir` and `text`: what becomes of files, and of their content."""

from __future__ import annotations

import bz2
import gzip
import io
import os

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from agent.joining.config import Multiline
from agent.sources.spool_dir import SpoolDir, SpoolDirConfig
from agent.sources.text import Text
from qanat.component import Context
from qanat.errors import ConfigError
from tests.integration.spool_driver import SpoolDriver


@pytest.fixture
def make(tmp_path):
    made: list[SpoolDriver] = []

    def make(**options):
        driver = SpoolDriver(tmp_path, **options)
        driver.start()
        made.append(driver)
        return driver

    yield make
    for driver in made:
        driver.close()


# -- what becomes of files --------------------------------------------------------------------------------------------


def test_file_is_read_then_renamed_once_it_is_in_storage(make):
    driver = make()
    driver.drop("a.log", b"1\n2\n3")
    got = driver.read()
    assert driver.names() == ["a.log"]
    driver.commit(got)
    assert driver.names() == ["a.log.COMPLETED"]
    assert driver.bodies() == [b"1", b"2", b"3"]
    assert driver.batches[0].attributes["basename"] == "a.log"


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({"suffix": ".done"}, ["a.log.done"]),
        ({"delete": "immediate"}, []),
        ({"tracking": "tracker_dir", "tracker_dir": ".t"}, [".t/a.log.COMPLETED", "a.log"]),
    ],
)
def test_file_is_completed_as_the_configuration_says(make, options, left):
    driver = make(**options)
    driver.drop("a.log", b"1\n")
    driver.sync()
    driver.sync()
    assert driver.names() == left
    driver.crash()
    driver.start()
    driver.sync()
    assert driver.bodies() == [b"1"]


def test_tracker_files_of_flume_ng_are_honoured(make):
    driver = make(tracking="tracker_dir", tracker_dir=".flumespool")
    (driver.spool / ".flumespool").mkdir()
    (driver.spool / ".flumespool" / "old.log.COMPLETED").touch()
    driver.drop("old.log", b"1\n")
    driver.drop("new.log", b"2\n")
    driver.sync()
    assert driver.bodies() == [b"2"]


@pytest.mark.parametrize(("order", "wanted"), [("oldest", b"123"), ("youngest", b"321")])
def test_files_are_read_in_order_of_their_times(make, order, wanted):
    driver = make(order=order)
    for name in ("c", "a", "b"):
        driver.drop(name, b"%d\n" % (len(driver.names()) + 1))
    driver.sync()
    assert b"".join(driver.bodies()) == wanted


def test_files_in_random_order_are_all_read(make):
    driver = make(order="random")
    for number in range(20):
        driver.drop(f"{number}", b"%d\n" % number)
    driver.sync()
    assert sorted(driver.bodies()) == sorted(b"%d" % number for number in range(20))


def test_more_files_than_are_reported_at_a_time_are_all_read(make):
    driver = make(delete="immediate")
    for number in range(700):
        driver.drop(f"{number:03d}", b"%03d\n" % number)
    for _round in range(5):
        driver.sync()
    assert driver.bodies() == [b"%03d" % number for number in range(700)]
    assert driver.names() == []


def test_names_are_included_and_ignored_by_patterns(make):
    driver = make(include=r".*\.log", ignore=r"no.*")
    for name in ("a.log", "a.txt", "no.log", ".hidden.log", "sub/b.log"):
        driver.drop(name, name.encode() + b"\n")
    driver.sync()
    assert driver.bodies() == [b"a.log"]


def test_directories_below_are_read_when_asked_for(make):
    driver = make(recursive=True)
    driver.drop("x/y/b.log", b"b\n")
    driver.sync()
    driver.drop("x/c.log", b"c\n")
    driver.sync()
    assert driver.bodies() == [b"b", b"c"]
    assert driver.names() == ["x/c.log.COMPLETED", "x/y/b.log.COMPLETED"]


def test_file_that_is_being_written_is_waited_for(make):
    driver = make(stable=5.0)
    path = driver.spool / "a.log"
    path.write_bytes(b"1\n")
    os.utime(path, (driver.clock.wall_ns() / 1e9 + 1e6,) * 2)
    driver.poll()
    driver.poll()
    path.write_bytes(b"1\n2\n")
    os.utime(path, (driver.clock.wall_ns() / 1e9 + 2e6,) * 2)
    assert driver.read() == []
    for _second in range(4):
        driver.sync()
    assert driver.bodies() == [b"1", b"2"]


def test_empty_file_is_completed(make):
    driver = make()
    driver.drop("a.log", b"")
    driver.sync()
    driver.drop("b.log", b"1\n")
    driver.sync()
    assert driver.names() == ["a.log.COMPLETED", "b.log.COMPLETED"]


# -- faults -----------------------------------------------------------------------------------------------------------


def test_file_that_changes_is_set_aside_and_others_are_read(make):
    driver = make()
    path = driver.drop("a.log", b"1\n2\n")
    driver.commit(driver.read(2, batches=1))
    path.write_bytes(b"1\n2\n3\n")
    driver.drop("b.log", b"b\n")
    driver.sync()
    driver.sync()
    assert driver.bodies() == [b"1", b"b"]
    assert driver.names() == ["a.log.FAILED", "b.log.COMPLETED"]
    assert driver.counts["files_lost"] == driver.counts["files_set_aside"] == 1


def test_file_that_changes_after_it_was_read_and_before_it_is_stored_is_set_aside(make):
    driver = make()
    path = driver.drop("a.log", b"1\n2\n")
    got = driver.read()
    path.write_bytes(b"1\n2\n3\n")
    driver.poll()
    driver.commit(got)
    driver.sync()
    assert driver.bodies() == [b"1", b"2"]
    assert driver.names() == ["a.log.FAILED"]


def test_file_that_is_removed_is_over(make):
    driver = make()
    path = driver.drop("a.log", b"1\n2\n")
    driver.commit(driver.read(2, batches=1))
    path.unlink()
    driver.drop("b.log", b"b\n")
    driver.sync()
    driver.sync()
    assert driver.bodies() == [b"1", b"b"]
    assert driver.counts["files_lost"] == 1


@pytest.mark.parametrize("tracking", ["rename", "tracker_dir"])
def test_name_that_is_used_again_is_set_aside_and_others_are_read(make, tracking):
    driver = make(tracking=tracking, tracker_dir=".t")
    driver.drop("a.log", b"1\n")
    driver.sync()
    driver.drop("a.log", b"2\n")
    driver.drop("b.log", b"b\n")
    driver.sync()
    driver.sync()
    assert driver.bodies() == [b"1", b"b"]
    assert any(name.endswith("a.log.FAILED") for name in driver.names())
    assert driver.counts["files_set_aside"] == 1
    driver.crash()
    driver.start()
    driver.sync()
    assert driver.bodies() == [b"1", b"b"]


def test_names_may_be_used_again_when_files_are_deleted(make):
    driver = make(delete="immediate")
    for number in range(3):
        driver.drop("a.log", b"%d\n" % number)
        driver.sync()
    assert driver.bodies() == [b"0", b"1", b"2"]


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("avro", b"no avro"),
        ("parquet", b"PAR1 no parquet"),
        ("line", gzip.compress(b"1\n" * 1000, mtime=0)[:-20]),
        ("json", b"\x1f\x8b no gzip"),
        ("csv", bz2.compress(b"a,b\n1,2\n" * 9)[:-9]),
    ],
)
def test_file_that_can_not_be_understood_is_set_aside_and_others_are_read(make, kind, data):
    driver = make(deserializer=kind, ignore="good.*")
    name = {"line": "a.gz", "json": "a.gz", "csv": "a.bz2"}.get(kind, "a")
    driver.drop(name, data)
    driver.sync()
    assert driver.names() == [f"{name}.FAILED"]
    assert driver.counts["files_set_aside"] == 1


def test_lost_state_is_made_up_for_by_what_collectors_know(make):
    driver = make()
    driver.drop("a.log", b"1\n2\n")
    driver.drop("b.log", b"3\n")
    driver.commit(driver.read(2, batches=1), acknowledge=False)
    driver.crash()
    (driver.state_dir / "spool.state").write_bytes(b"rubbish")
    driver.start()
    driver.sync()
    assert driver.bodies() == [b"1", b"2", b"3"]
    assert driver.counts["state_lost"] == 1


@pytest.mark.parametrize(
    "options",
    [
        {"include": "("},
        {"suffix": ""},
        {"event_bytes": 0},
        {"delimiter": ";;"},
        {"failed_suffix": ".COMPLETED"},
    ],
)
def test_bad_configuration_is_refused(tmp_path, options):
    with pytest.raises(ConfigError):
        SpoolDir(SpoolDirConfig(str(tmp_path), **options), Context("a", "l", "h", tmp_path))


def test_directory_that_is_not_there_is_refused(tmp_path):
    source = SpoolDir(SpoolDirConfig(str(tmp_path / "none")), Context("a", "l", "h", tmp_path))
    with pytest.raises(ConfigError, match="no directory"):
        source.open()


# -- content ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("max_bytes", [1, 7, 1 << 20])
@pytest.mark.parametrize("extension", ["", ".gz", ".bz2", ".zst"])
def test_lines_stay_lines_also_of_compressed_files(make, max_bytes, extension):
    lines = [b"line %d" % number + b"x" * (number % 50) for number in range(500)]
    data = b"\n".join(lines) + b"\n"
    pack = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".zst": _zst}[extension]
    driver = make()
    driver.drop("a" + extension, pack(data))
    driver.commit(driver.read(max_bytes, batches=20), acknowledge=False)
    driver.read(max_bytes, batches=5)
    driver.rewind()
    driver.commit(driver.read(max_bytes))
    driver.sync()
    assert driver.bodies() == lines
    assert all(isinstance(batch.payload, bytes) for batch in driver.batches)
    assert driver.names() == [f"a{extension}.COMPLETED"]


def _zst(data: bytes) -> bytes:
    out = io.BytesIO()
    for part in (data[:1000], data[1000:]):  # two frames, as of `cat`
        with pa.CompressedOutputStream(pa.PythonFile(_Open(out), "w"), "zstd") as packed:
            packed.write(part)
    return out.getvalue()


class _Open(io.BytesIO):
    """Is not closed with its user."""

    def __init__(self, out: io.BytesIO) -> None:
        super().__init__()
        self._out = out

    def write(self, data: bytes) -> int:  # type: ignore[override]
        return self._out.write(data)


@pytest.mark.parametrize(
    ("oversize", "wanted"),
    [
        ("split", [b"1", b"x" * 10, b"x" * 10, b"x" * 5, b"2"]),
        ("truncate", [b"1", b"x" * 10, b"2"]),
        ("dead-letter", [b"1", b"2"]),
    ],
)
def test_line_that_is_too_long_follows_the_policy(make, oversize, wanted):
    driver = make(oversize=oversize, event_bytes=10)
    driver.drop("a", b"1\n" + b"x" * 25 + b"\n2\n")
    driver.sync()
    assert driver.bodies() == wanted
    dead = list((driver.state_dir / "dead-letter").glob("*")) if oversize == "dead-letter" else []
    assert [path.read_bytes() for path in dead] == [b"x" * 25 + b"\n"] * (oversize == "dead-letter")


def test_json_becomes_columns(make):
    driver = make(deserializer="json")
    lines = [b'{"a": 1, "b": "x"}', b"", b'{"a": {"c": [2]}, "position": 3}', b"no json", b"[1]"]
    driver.drop("a", b"\n".join(lines))
    driver.sync()
    rows = driver.rows()
    assert [row["body"] for row in rows] == [line for line in lines if line]
    assert [row["a"] for row in rows] == ["1", '{"c":[2]}', None, None]
    assert rows[1]["attribute.position"] == "3"
    assert [row["format_error"] is None for row in rows] == [True, True, False, False]


def test_json_is_read_on_at_a_byte_after_a_rewind(make):
    driver = make(deserializer="json")
    lines = [b'{"n": %d}' % number for number in range(3000)]
    driver.drop("a.gz", gzip.compress(b"\n".join(lines)))
    driver.commit(driver.read(1000, batches=2), acknowledge=False)
    driver.read(5000, batches=1)
    driver.crash()
    driver.start()
    driver.sync()
    assert driver.bodies() == lines
    assert [row["n"] for row in driver.rows()] == [str(number) for number in range(3000)]


def test_csv_becomes_columns_named_by_its_first_row(make):
    driver = make(deserializer="csv")
    driver.drop("a.csv", b'name,"a b"\r\nx,1\r\n"q ""1""\nnext, line",2\r\n\r\nz,\r\n')
    driver.sync()
    rows = driver.rows()
    assert [row["name"] for row in rows] == ["x", 'q "1"\nnext, line', "z"]
    assert [row["a b"] for row in rows] == ["1", "2", ""]
    assert rows[1]["body"] == b'"q ""1""\nnext, line",2\r'


def test_csv_row_with_another_number_of_values_says_so(make):
    driver = make(deserializer="csv", columns=["a", "b"], delimiter=";")
    driver.drop("a.csv", b"1;2\n3\n4;5;6\n\xff;8\n")
    driver.sync()
    rows = driver.rows()
    assert [row["body"] for row in rows] == [b"1;2", b"3", b"4;5;6", b"\xff;8"]
    assert [row["a"] for row in rows] == ["1", None, None, "\\xff"]
    assert [row["format_error"] is None for row in rows] == [True, False, False, True]


def test_csv_is_read_on_after_a_kill_at_any_row(make):
    driver = make(deserializer="csv", delete="immediate")
    texts = ["plain", "with\nline", 'with "quote"', "comma,"] * 8_000
    quoted = ['"' + text.replace('"', '""') + '"' for text in texts]
    data = "n,t\n" + "".join(f"{number},{text}\n" for number, text in enumerate(quoted))
    driver.drop("a.csv", data.encode())
    while True:
        got = driver.read(batches=1)
        if not got:
            break
        driver.commit(got, acknowledge=False)
        driver.crash()
        driver.start()
    rows = driver.rows()
    assert [row["t"] for row in rows] == texts
    assert [row["n"] for row in rows] == [str(number) for number in range(len(texts))]
    assert len(driver.batches) > 1


RECORDS = [{"n": number, "t": f"text {number}", "b": b"\x00\x01"} for number in range(10_000)]


def _avro(records):
    out = io.BytesIO()
    fields = [{"name": "n", "type": "long"}, {"name": "t", "type": "string"}, {"name": "b", "type": "bytes"}]
    fastavro.writer(out, {"type": "record", "name": "r", "fields": fields}, records, sync_interval=5000)
    return out.getvalue()


def _parquet(records):
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(records), out, row_group_size=3000)
    return out.getvalue()


@pytest.mark.parametrize(("kind", "pack"), [("avro", _avro), ("parquet", _parquet)])
def test_records_become_columns_and_are_read_on_after_a_kill(make, kind, pack):
    driver = make(deserializer=kind)
    driver.drop("a", pack(RECORDS))
    while got := driver.read(batches=1):
        driver.commit(got, acknowledge=False)
        driver.crash()
        driver.start()
    driver.sync()
    rows = driver.rows()
    assert [row["n"] for row in rows] == [str(number) for number in range(10_000)]
    assert rows[5]["body"] == b'{"n":5,"t":"text 5","b":"AAE="}'
    assert [row["position"] for row in rows] == list(range(10_000))
    assert driver.names() == ["a.COMPLETED"]


def test_record_with_a_body_keeps_it(make):
    driver = make(deserializer="parquet")
    table = pa.table(
        {"body": pa.array([b"1\n", b"\xff"], pa.binary()), "time": pa.array([1, 2], pa.timestamp("ns"))}
    )
    out = io.BytesIO()
    pq.write_table(table, out)
    driver.drop("a", out.getvalue())
    driver.sync()
    assert driver.bodies() == [b"1\n", b"\xff"]
    assert driver.rows()[0]["time"] == "1970-01-01 00:00:00.000000001"


@pytest.mark.parametrize(
    ("oversize", "wanted"),
    [
        ("split", [b"abc", b"\n", b"x" * 10, b"y" * 5]),
        ("truncate", [b"abc", b"\n", b"x" * 10]),
        ("dead-letter", [b"abc", b"\n"]),
    ],
)
def test_file_is_one_event_as_a_blob(make, oversize, wanted):
    driver = make(deserializer="blob", event_bytes=10, oversize=oversize)
    for name, data in (("a", b"abc"), ("b", b"\n"), ("c", b"x" * 10 + b"y" * 5)):
        driver.drop(name, data)
    driver.sync()
    assert driver.bodies() == wanted


def test_events_of_several_lines_are_joined(make):
    driver = make(multiline=Multiline(start=r"^\d"))
    driver.drop("a", b"1 a\n b\n2 c\n d")
    driver.drop("b", b" e\n3 f\n")
    driver.sync()
    assert driver.bodies() == [b"1 a\n b", b"2 c\n d", b" e", b"3 f"]


def test_joined_events_of_blocks_of_any_size_are_the_same(make):
    driver = make(multiline=Multiline(start=r"^\d"), event_bytes=100, delete="immediate")
    events = [b"%d" % number + b"\n more" * (number % 7) for number in range(200)]
    driver.drop("a", b"\n".join(events))
    driver.commit(driver.read(1))
    driver.sync()
    assert driver.bodies() == events


# -- text -------------------------------------------------------------------------------------------------------------


def test_text_is_read_once_and_left_as_it_is(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"1\n2")
    driver = SpoolDriver(tmp_path, Text, path=str(path))
    driver.start()
    driver.sync()
    with path.open("ab") as file:
        file.write(b"\n3\n")
    driver.sync()
    driver.close()
    driver.new()
    driver.start()
    driver.sync()
    assert driver.bodies() == [b"1", b"2"]
    driver.close()


def test_text_that_is_not_there_is_waited_for(tmp_path):
    path = tmp_path / "a.txt"
    driver = SpoolDriver(tmp_path, Text, path=str(path))
    driver.start()
    driver.sync()
    path.write_bytes(b"1\n")
    driver.sync()
    assert driver.bodies() == [b"1"]
    driver.close()


def test_text_that_grows_while_it_is_read_ends_where_it_was_when_it_was_found(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"1\n2\n")
    driver = SpoolDriver(tmp_path, Text, path=str(path))
    driver.start()
    driver.commit(driver.read(2, batches=1))
    with path.open("ab") as file:
        file.write(b"3\n")
    driver.sync()
    assert driver.bodies() == [b"1", b"2"]
    assert not driver.counts
    driver.close()

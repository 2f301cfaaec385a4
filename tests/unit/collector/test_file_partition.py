"""Columns by bucket: the same buckets, and the same order, as looking at each event would give."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from collector.files.buckets import parse_buckets
from collector.files.partition import partition
from qanat.batch import Batch, PayloadForm
from qanat.escapes import zone

DAY_NS = 86_400_000_000_000
EVENT = st.tuples(
    st.one_of(st.none(), st.integers(-3 * DAY_NS, 3 * DAY_NS)), st.sampled_from([None, "a", "b", "../x", ""])
)


def columns_batch(events: list[tuple[int | None, str | None]]) -> Batch:
    rows = pa.record_batch(
        {
            "body": pa.array([str(at).encode() for at in range(len(events))], pa.binary()),
            "position": pa.array(range(len(events)), pa.uint64()),
            "timestamp": pa.array([at for at, _ in events], pa.timestamp("ns", "UTC")),
            "level": pa.array([level for _, level in events], pa.string()),
        }
    )
    attributes = {"level": "batch's", "host": "h"}
    return Batch("s", 0, len(events), len(events), PayloadForm.COLUMNS, rows, 5 * DAY_NS, attributes)


@given(st.lists(EVENT, max_size=40), st.sampled_from(["%d/%H", "%S", "%t", "%{nanos}", "x", "%{host}"]))
def test_partition_agrees_with_one_event_at_a_time(events, times):
    buckets = parse_buckets(f"/r/%{{level}}/{times}", "", zone("Asia/Kolkata"))
    batch = columns_batch(events)
    expected: dict[object, list[bytes]] = {}
    for number, (at, level) in enumerate(events):
        attributes = dict(batch.attributes) | ({} if level is None else {"level": level})
        bucket = buckets.bucket(attributes, batch.timestamp_ns if at is None else at)
        expected.setdefault(bucket, []).append(str(number).encode())
    found = {
        bucket: rows.column("body").to_pylist() for bucket, rows in partition(buckets, batch) if rows.num_rows
    }
    assert found == expected


def test_partition_gives_the_batch_itself_when_no_column_decides():
    batch = columns_batch([(1, "a"), (2, "b")])
    ((_, rows),) = partition(parse_buckets("/r/%{host}", "", zone("UTC")), batch)
    assert rows is batch.payload

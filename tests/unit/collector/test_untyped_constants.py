"""What is done for each batch looks for no package: Arrow does that for a bare Python value, to guess its type."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from collector.files.formats import avro_binary
from collector.files.formats.csv import Csv
from collector.files.formats.json import Json
from collector.files.rows import rows
from qanat import columns
from qanat.batch import Batch
from tests.unit.decorators.batches import chain, lines

LINES = lines(b"level=INFO a", b"level=WARN b", b"c", host="web01", file="/l")


class Searches:
    """A finder of modules that finds none, and notes for which it was asked."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def find_spec(self, name: str, *_: object) -> None:
        self.names.append(name)


@pytest.fixture(scope="module")
def keyed() -> Batch:
    return chain(r'regex("level=(\\w+)", 1, "level") timestamp(attribute="at", on_error=ignore)').apply(LINES)


@pytest.mark.parametrize(
    "do",
    [
        lambda keyed: columns.to_columns(LINES),
        lambda keyed: columns.numbered(columns.to_columns(LINES), "channel", 7),
        lambda keyed: columns.join_bodies(keyed.payload),
        lambda keyed: columns.slice_positions(columns.numbered(LINES, "channel", 7), 8, 9),
        lambda keyed: Json("none").encode(keyed),
        lambda keyed: Csv("none").encode(keyed),
        lambda keyed: avro_binary.records(rows(keyed)),
    ],
    ids=["to_columns", "numbered", "join_bodies", "slice_positions", "json", "csv", "avro"],
)
def test_no_import_is_tried_for_a_batch(do: Callable[[Batch], object], keyed, monkeypatch):
    do(keyed)  # the first one may
    searches = Searches()
    monkeypatch.delitem(sys.modules, "dateutil", raising=False)  # what Arrow looks for
    monkeypatch.setattr(sys, "meta_path", [searches, *sys.meta_path])
    do(keyed)
    assert searches.names == []

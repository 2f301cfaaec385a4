"""Batches, and decorators as a flow builds them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qanat import columns
from qanat.batch import Batch, lines_batch
from qanat.chain import Chain, build_chain
from qanat.component import Context
from qanat.decorators.common import rows
from qanat.flow.parser import parse
from qanat.flow.sinks import decorators
from qanat.throttle import Throttles

TIME_NS = 1_788_177_600_000_000_000  # 2026-08-31T12:00:00Z


def context(
    directory: Path = Path("/nonexistent"),
    count: Callable[[str, int], None] = lambda name, number: None,
    throttles: Throttles | None = None,
) -> Context:
    return Context("a1", "web", "web01", directory, count=count, throttles=throttles or Throttles())


def chain(text: str, in_: Context | None = None) -> Chain:
    """What stands before the sink in `text`, opened."""
    node = parse(f"n : s | {text} sink ;").nodes[0]
    built = build_chain(tuple(decorators(node.sink)), in_ or context())
    assert built is not None
    built.open()
    return built


def lines(*bodies: bytes, start: int = 0, stream: str = "s", **attributes: str) -> Batch:
    payload = b"".join(body + b"\n" for body in bodies)
    return lines_batch(stream, start, payload, timestamp_ns=TIME_NS, attributes=attributes)


def events(batch: Batch) -> list[dict[str, Any]]:
    """Every event with its attributes, those of the batch included, without those that are null."""
    columned = columns.to_columns(batch)
    payload = columned.payload
    assert not isinstance(payload, bytes)
    found = []
    for row in payload.to_pylist():
        row.pop("position")
        found.append(
            {**batch.attributes, **{name: value for name, value in row.items() if value is not None}}
        )
    return found


def positions(batch: Batch) -> list[int]:
    found: list[int] = rows.record(columns.to_columns(batch)).column("position").to_pylist()
    return found


def run(text: str, *bodies: bytes, **attributes: str) -> list[dict[str, Any]]:
    """The events that come out."""
    return events(chain(text).apply(lines(*bodies, **attributes)))


class Counts(Counter[str]):
    """As `Context.count`."""

    def __call__(self, name: str, number: int) -> None:
        self[name] += number

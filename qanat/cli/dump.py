"""`qanat dump`: see what a source yields, without a cluster."""

from __future__ import annotations

import base64
import contextlib
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import click
import msgspec

from qanat import limits, registry
from qanat.batch import Batch
from qanat.component import Context, LiveSource, Source, StreamFound
from qanat.flow.bind import bind
from qanat.flow.parser import parse_component
from qanat.inlet import BoundedInlet, placed

# How long a source may be silent before `--no-follow` takes it that it has nothing more.
_SILENCE_S = 0.5
_POLL_S = 1.0
# A source that always has more must still be asked for new streams now and then.
_BATCHES_PER_POLL = 16


@click.command(name="dump")
@click.argument("source", metavar="SOURCE")
@click.option(
    "--json", "as_json", is_flag=True, help="One object an event: stream, position, body, attributes."
)
@click.option("-n", "--count", type=click.IntRange(min=0), metavar="N", help="Stop after N events.")
@click.option("-f", "--follow/--no-follow", default=False, help="Go on with what is new, until interrupted.")
def command(source: str, as_json: bool, count: int | None, follow: bool) -> None:
    """Print what a source yields.

    SOURCE is written as in a flow. It is opened as an agent would open it, but with a state of its own that is thrown
    away afterwards, and nothing is acknowledged: a running agent, and its files, are not disturbed.

    \b
      qanat dump 'tail("/var/log/syslog")' --count 10
      qanat dump 'tail("/var/log/*.log", start="end")' --follow --json

    As text, each event is its body and a line end, byte for byte. With --json a body that is not UTF-8 is given as
    `body_base64` instead of `body`.

    Exit codes: 0 done; 2 the source is misspelt, misconfigured or can't be opened; 3 it is not available now;
    130 interrupted.
    """
    with _opened(source) as opened:
        printer = _Printer(sys.stdout.buffer, as_json, count)
        found = False
        for batch in _batches(opened, follow):
            found = True
            if not printer.print(batch):
                break
        if not found:
            click.echo(f"qanat: {source} has nothing to read: no event, or nothing that it matches", err=True)


@contextlib.contextmanager
def _opened(text: str) -> Iterator[Source | LiveSource]:
    call = parse_component(text, "SOURCE")
    kind = registry.source(call.name)
    config = bind(call, kind.Config)
    with tempfile.TemporaryDirectory(prefix="qanat-dump-") as directory:
        host = socket.gethostname()
        context = Context(physical_node="dump", logical_node="dump", host=host, state_dir=Path(directory))
        source = kind(config, context)
        try:
            source.open()
            if isinstance(source, Source):
                source.recover({})
            yield source
        finally:
            source.close()


def _batches(source: Source | LiveSource, follow: bool) -> Iterator[Batch]:
    """Everything there is. Nothing is acknowledged: to some sources that means that they may delete it."""
    if isinstance(source, LiveSource):
        return _pushed(source, follow)
    return _read(source, follow)


def _pushed(source: LiveSource, follow: bool) -> Iterator[Batch]:
    """What comes by itself. Peers that wait for an answer get none."""
    inlet, end = BoundedInlet(), 0
    source.start(inlet)
    try:
        while True:
            parcels = inlet.take(limits.BATCH_BYTES_TARGET, _POLL_S if follow else _SILENCE_S)
            for events in source.form(parcels) if parcels else ():
                yield placed(events, "dump", end, source.context.clock.wall_ns())
                end += events.count
            if not (parcels or follow):
                return
    finally:
        inlet.lift()
        source.stop()


def _read(source: Source, follow: bool) -> Iterator[Batch]:
    while True:
        events = source.poll(_POLL_S if follow else _SILENCE_S)
        for event in events:
            if isinstance(event, StreamFound):
                source.seek(event.stream, event.position)
        read = False
        for _ in range(_BATCHES_PER_POLL):
            batch = source.read(limits.BATCH_BYTES_TARGET)
            if batch is None:
                break
            read = True
            yield batch
        if not (follow or read or events):
            return


class _Printer:
    """Writes batches until `count` events are written."""

    def __init__(self, out: BinaryIO, as_json: bool, count: int | None) -> None:
        self._out = out
        self._write = self._json if as_json else self._text
        self._left = count

    def print(self, batch: Batch) -> bool:
        """False when there is no need of more."""
        if self._left != 0:
            wanted = batch.count if self._left is None else min(self._left, batch.count)
            self._write(batch, wanted)
            self._out.flush()
            if self._left is not None:
                self._left -= wanted
        return self._left != 0

    def _text(self, batch: Batch, wanted: int) -> None:
        if isinstance(batch.payload, bytes) and wanted == batch.count:
            self._out.write(batch.payload)
            return
        self._out.writelines(body + b"\n" for _, body, _ in _events(batch, wanted))

    def _json(self, batch: Batch, wanted: int) -> None:
        for position, body, columns in _events(batch, wanted):
            event = {"stream": batch.stream, "position": position, **_body(body)}
            event["attributes"] = dict(batch.attributes) | columns
            self._out.write(msgspec.json.encode(event) + b"\n")


def _events(batch: Batch, wanted: int) -> Iterator[tuple[int, bytes, dict[str, Any]]]:
    """Position, body and own attributes of the first `wanted` events."""
    if isinstance(batch.payload, bytes):
        position = batch.start
        for line in batch.payload.split(b"\n", wanted)[:wanted]:
            yield position, line, {}
            position += len(line) + 1
        return
    for row in _readable(batch.payload.slice(0, wanted)).to_pylist():
        yield row.pop("position"), row.pop("body") or b"", {k: v for k, v in row.items() if v is not None}


def _readable(rows: Any) -> Any:
    """Times as text: Python has none in nanoseconds."""
    for number, field in enumerate(rows.schema):
        if str(field.type).startswith("timestamp"):
            rows = rows.set_column(number, field.name, rows.column(number).cast("string"))
    return rows


def _body(body: bytes) -> dict[str, Any]:
    try:
        return {"body": body.decode()}
    except UnicodeDecodeError:
        return {"body_base64": base64.b64encode(body).decode()}

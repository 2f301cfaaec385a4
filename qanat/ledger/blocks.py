"""Stored files as blocks of whole lines, whatever their format and compression, in bounded memory."""

from __future__ import annotations

import base64
import io
import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from qanat.errors import ConfigError, CorruptError, RetryableError
from qanat.ledger.snappy import read_snappy
from qanat.lines import count_lines

# Whole lines, each ended by a line end, and how many there are.
Block: TypeAlias = tuple[memoryview, int]
T = TypeVar("T")

# Read at a time: large enough that what is done once per block does not count, small enough for the caches.
_READ_BYTES = 1 << 20
# A line that does not end within this is no line: the largest event is 1 MiB, at most six times that as JSON.
_LINE_BYTES_MAX = 64 << 20
# Rows of a column file at a time.
_ROWS = 64 << 10

_BASE64_KEY = b'"body_base64":"'
_BASE64 = re.compile(_BASE64_KEY + rb'([A-Za-z0-9+/=]*)"')
_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2", ".lz4": "lz4"}
_SNAPPY = {".snappy", ".sz"}


def read_blocks(path: Path) -> Iterator[Block]:
    """The lines of a file; of avro, parquet and orc its `body` column as lines.

    Raises RetryableError when the file changes or vanishes meanwhile, CorruptError when it can't be decoded.
    """
    try:
        before = os.stat(path)
        yield from _ahead(_reader(path)(path))
        after = os.stat(path)
    except FileNotFoundError as error:
        raise RetryableError(_still_written(path, "vanished")) from error
    except (pa.ArrowException, ValueError, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise RetryableError(f"{path} could not be read: {error.strerror}") from error
        raise CorruptError(f"{path} could not be decoded as {path.suffix or 'text'}: {error}") from error
    if (before.st_ino, before.st_size, before.st_mtime_ns) != (
        after.st_ino,
        after.st_size,
        after.st_mtime_ns,
    ):
        raise RetryableError(_still_written(path, "changed"))


def _still_written(path: Path, what: str) -> str:
    return f"{path} {what} while it was read; verify again when nobody writes there any more"


def _reader(path: Path) -> Callable[[Path], Iterator[Block]]:
    return {".parquet": _parquet, ".orc": _orc, ".avro": _avro}.get(path.suffix, _lines)


def _ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items, the next of them made on another thread meanwhile: decompression leaves the interpreter free."""
    with ThreadPoolExecutor(1) as thread:
        following = thread.submit(next, items, None)
        while (item := following.result()) is not None:
            following = thread.submit(next, items, None)
            yield item


def _lines(path: Path) -> Iterator[Block]:
    if ".json" not in path.suffixes:
        yield from _whole_lines(path)
        return
    for block, count in _whole_lines(path):
        data = bytes(block)
        # What isn't UTF-8 is in JSON as base64, which no pattern finds anything in.
        yield (memoryview(_BASE64.sub(_decoded, data)), count) if _BASE64_KEY in data else (block, count)


def _decoded(match: re.Match[bytes]) -> bytes:
    return b'"body":"' + base64.b64decode(match[1]).replace(b"\n", b" ") + b'"'


def _whole_lines(path: Path) -> Iterator[Block]:
    carry = b""
    for chunk in _chunks(path):
        chunk = carry + chunk
        end = chunk.rfind(b"\n") + 1
        carry = chunk[end:]
        if len(carry) > _LINE_BYTES_MAX:
            raise ValueError(f"no line end within {_LINE_BYTES_MAX} bytes, so this is not a file of lines")
        if end:
            yield memoryview(chunk)[:end], count_lines(chunk)
    if carry:
        yield memoryview(carry + b"\n"), 1


def _chunks(path: Path) -> Iterator[bytes]:
    if path.suffix in _SNAPPY:
        yield from read_snappy(path)
        return
    compression = _COMPRESSIONS.get(path.suffix)
    if path.stat().st_size == 0:
        return
    with pa.input_stream(str(path), compression=compression, buffer_size=None) as stream:
        while chunk := stream.read(_READ_BYTES):
            yield chunk


def _parquet(path: Path) -> Iterator[Block]:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        _require_body(path, file.schema_arrow.names)
        for batch in file.iter_batches(batch_size=_ROWS, columns=["body"]):
            yield bodies_as_lines(batch.column(0))


def _orc(path: Path) -> Iterator[Block]:
    from pyarrow import orc

    file = orc.ORCFile(path)
    _require_body(path, file.schema.names)
    for stripe in range(file.nstripes):
        rows = file.read_stripe(stripe, columns=["body"]).column(0)
        for start in range(0, len(rows), _ROWS):
            yield bodies_as_lines(rows[start : start + _ROWS])


def _avro(path: Path) -> Iterator[Block]:
    try:
        import fastavro
    except ImportError as error:
        raise ConfigError(f"{path} needs fastavro to be read: pip install 'qanat[avro]'") from error
    # fastavro leaves this codec, which our sink writes, to a library that nothing else here needs.
    fastavro.read.BLOCK_READERS["zstandard"] = _avro_zstd_block
    with path.open("rb") as file:
        for block in fastavro.block_reader(file):
            rows: list[Any] = list(block)
            if rows and "body" not in rows[0]:
                _require_body(path, list(rows[0]))
            yield bodies_as_lines(pa.array([row["body"] for row in rows], pa.large_binary()))


def _avro_zstd_block(file: Any) -> io.BytesIO:
    import fastavro

    data = fastavro.schemaless_reader(file, {"type": "bytes"}, None)
    with pa.input_stream(pa.py_buffer(data), compression="zstd") as stream:
        return io.BytesIO(stream.read())


def _require_body(path: Path, columns: list[str]) -> None:
    if "body" not in columns:
        raise ConfigError(f'{path} has no column "body" to match; it has: {", ".join(columns) or "none"}')


def bodies_as_lines(bodies: Any) -> Block:
    """A column of bodies as one block; a line end within a body becomes a space."""
    bodies = bodies.cast(pa.large_binary())
    block = _joined(bodies)
    if count_lines(block) != len(bodies):
        block = _joined(pc.replace_substring(bodies, "\n", " "))
    return memoryview(block), len(bodies)


def _joined(bodies: Any) -> bytes:
    """All bodies, each with a line end: what the data buffer of the column looks like once every value has one."""
    nothing, line_end = pa.scalar(b"", pa.large_binary()), pa.scalar(b"\n", pa.large_binary())
    options = {"null_handling": "replace", "null_replacement": b""}
    _, _, data = pc.binary_join_element_wise(bodies, nothing, line_end, **options).buffers()
    return b"" if data is None else bytes(data.to_pybytes())

"""Drives a `file` sink as the commit loop does, and reads what it stored with other programs' readers."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import shutil
import subprocess
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cramjam
import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import orc

from collector.files.formats import COMPRESSIONS
from collector.sinks.file import Config, File
from qanat.batch import Batch, PayloadForm, lines_batch
from qanat.clock import ManualClock
from qanat.component import Context

EVERY_FORMAT = [(name, compression) for name, valid in COMPRESSIONS.items() for compression in valid]


class Driver:
    """One collector's sink on `root`, through any number of its lives; `token` is the last one committed."""

    def __init__(self, root: Path, directory: str = "%{host}", prefix: str = "p-", **options: Any) -> None:
        self.root = root
        self.config = Config(f"{root}/{directory}", prefix, **options)
        self.clock = ManualClock()
        self.context = Context("node", "coll", "here", root.parent, clock=self.clock)
        self.token: bytes | None = None
        self.sink = File(self.config, self.context)

    @property
    def work(self) -> Path:
        """The working directory of whoever opened the sink last."""
        home = self.root / ".qanat-coll@node"
        (found,) = (path for path in home.iterdir() if path.is_dir() and "aside" not in path.name)
        return found

    def open(self) -> Driver:
        self.sink.open(self.token)
        return self

    def restart(self) -> None:
        """A new life after a kill: nothing of the old one's memory is used."""
        self.sink.close()
        self.sink = File(self.config, self.context)
        self.open()

    def commit(self, *, publish: bool = True) -> bytes:
        prepared = self.sink.prepare()
        prepared.sync()
        self.token = prepared.token
        if publish:
            self.sink.publish(self.token)
        return self.token

    def finish(self) -> None:
        """A clean stop: everything committed and published."""
        self.sink.drain()
        self.commit()
        self.sink.close()

    def final_files(self) -> list[Path]:
        """Published files in order of their names, as a reader that skips hidden ones sees them."""
        visible = (path for path in self.root.rglob("*") if path.is_file())
        return sorted(
            path
            for path in visible
            if not any(part.startswith(".") for part in path.relative_to(self.root).parts)
        )

    def stored(self) -> dict[str, list[bytes]]:
        """Bodies by host's directory, in order of file names."""
        found: dict[str, list[bytes]] = {}
        for path in self.final_files():
            found.setdefault(path.parent.name, []).extend(bodies(path))
        return found


def lines(host: str, events: list[bytes], start: int = 0, **attributes: str) -> Batch:
    payload = b"".join(event + b"\n" for event in events)
    return lines_batch(
        "s", start, payload, timestamp_ns=1_700_000_000_123_456_789, attributes={"host": host, **attributes}
    )


def columns(hosts: list[str], events: list[bytes], start: int = 0) -> Batch:
    """A COLUMNS batch with a host for each event."""
    rows = pa.record_batch(
        {
            "body": pa.array(events, pa.binary()),
            "position": pa.array(range(start, start + len(events)), pa.uint64()),
            "host": pa.array(hosts, pa.string()),
            "timestamp": pa.array([1_700_000_000_000_000_000] * len(events), pa.timestamp("ns", "UTC")),
            "code": pa.array(range(len(events)), pa.int32()),
        }
    )
    end = start + len(events)
    return Batch(
        "s", start, end, len(events), PayloadForm.COLUMNS, rows, 1_700_000_000_000_000_000, {"file": "f"}
    )


def tool(*command: str) -> Callable[[bytes], bytes]:
    return lambda data: subprocess.run(command, input=data, check=True, capture_output=True).stdout


def _unzstd(data: bytes) -> bytes:
    """By the usual tool; on a host without it by Arrow, which is not as independent a witness."""
    if shutil.which("zstd"):
        return tool("zstd", "-dc")(data)
    return bytes(pa.CompressedInputStream(pa.BufferReader(data), "zstd").read())


UNCOMPRESSED: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.decompress,
    ".zst": _unzstd,
    ".bz2": bz2.decompress,
    ".sz": lambda data: bytes(cramjam.snappy.decompress(data)),
}


def bodies(path: Path) -> list[bytes]:
    """The bodies of a finished file."""
    if path.suffix == ".parquet":
        return pq.read_table(path, partitioning=None).column("body").to_pylist()  # type: ignore[no-any-return]
    if path.suffix == ".orc":
        return orc.read_table(path).column("body").to_pylist()  # type: ignore[no-any-return]
    if path.suffix == ".avro":
        return [record["body"] for record in avro_records(path)]
    kind, data = plain_text(path)
    if kind == ".json":
        return [json_body(json.loads(line)) for line in data.split(b"\n")[:-1]]
    if kind == ".csv":
        rows = csv.DictReader(io.StringIO(data.decode("latin-1"), newline=""), strict=True)
        return [row["body"].encode("latin-1") for row in rows]
    return data.split(b"\n")[:-1]


def plain_text(path: Path) -> tuple[str, bytes]:
    """Kind and content of a text file, uncompressed by the usual tool."""
    expand = UNCOMPRESSED.get(path.suffix)
    data = path.read_bytes()
    return (path.suffix, data) if expand is None else (path.suffixes[-2], expand(data))


def json_body(found: dict[str, Any]) -> bytes:
    return b64decode(found["body_base64"]) if "body_base64" in found else found["body"].encode()


def avro_records(path: Path) -> list[dict[str, Any]]:
    """With fastavro; its zstandard needs a library that we don't, so such blocks are expanded here."""
    data = path.read_bytes()
    if b"zstandard" in data[:200]:
        return _zstandard_records(data)
    return list(fastavro.reader(io.BytesIO(data)))  # type: ignore[arg-type]


def _zstandard_records(data: bytes) -> list[dict[str, Any]]:
    source = io.BytesIO(data)
    header = fastavro.schemaless_reader(source, fastavro._read_common.HEADER_SCHEMA)  # type: ignore[attr-defined]
    schema = fastavro.parse_schema(json.loads(header["meta"]["avro.schema"]))
    found = []
    while source.tell() < len(data):
        count = fastavro.schemaless_reader(source, {"type": "long"})
        block = io.BytesIO(_unzstd(fastavro.schemaless_reader(source, {"type": "bytes"})))
        found += [fastavro.schemaless_reader(block, schema) for _ in range(count)]
        assert source.read(16) == header["sync"]
    return found

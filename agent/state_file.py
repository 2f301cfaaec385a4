"""State files: one line with magic and CRC32C, then JSON. Replaced atomically: a crash leaves the old file or the new one."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec
from crc32c import crc32c

from qanat.durable import replace_file
from qanat.errors import CorruptError

T = TypeVar("T")


def load(path: Path, magic: bytes, kind: type[T]) -> T | None:
    """None when there is none. *Blocking*. Raises CorruptError, OSError."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    line, end, body = data.partition(b"\n")
    if line + end != _line(magic, body):
        raise CorruptError(f"State file {path} ({len(data)} bytes) does not match its checksum.")
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise CorruptError(f"State file {path} can't be decoded: {error}") from error


def save(path: Path, magic: bytes, state: msgspec.Struct) -> None:
    """Durably. *Blocking*. Raises OSError; the old file is then still in place."""
    body = msgspec.json.encode(state)
    replace_file(path, [_line(magic, body), body])


def _line(magic: bytes, body: bytes) -> bytes:
    return magic + b" %08x\n" % crc32c(body)

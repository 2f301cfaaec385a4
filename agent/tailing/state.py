"""The state file of `tail`: which streams there are and how far they are in storage.

One line with magic and CRC32C, then JSON. Replaced atomically: a crash leaves the old file or the new one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
from crc32c import crc32c

from qanat.durable import replace_file
from qanat.errors import CorruptError

FILE_NAME = "tail.state"
_MAGIC = b"qanat-tail-1 "
_HEADER_BYTES = len(_MAGIC) + 9


class StreamState(msgspec.Struct, frozen=True, array_like=True):
    """What is remembered of a stream."""

    id: str
    home: str
    where: str | None
    dev: int
    ino: int
    fingerprint_bytes: int
    fingerprint: str
    acked: int
    size: int
    mtime_ns: int
    mark_position: int
    mark: str
    end: int | None = None  # of one that will not grow: a copy, or read to its end
    seen_ns: int | None = None  # of its file, when it was last seen at `home`; None in older state files
    spliced: tuple[int, int] | None = None  # see Stream


class Tomb(msgspec.Struct, frozen=True, array_like=True):
    """A finished file that still exists: if it comes back or grows, `end` is where it goes on. `path`: where it was."""

    dev: int
    ino: int
    fingerprint_bytes: int
    fingerprint: str
    end: int
    home: str = ""
    path: str = ""
    mark: str = ""  # of the bytes before `end`, if they are known


class Home(msgspec.Struct, frozen=True, array_like=True):
    """A watched path without a stream: files of it that were changed before `seen_ns` are known."""

    path: str
    seen_ns: int


class State(msgspec.Struct, frozen=True):
    """The content of the state file."""

    streams: Sequence[StreamState | msgspec.Raw] = ()  # raw: encoded before
    tombs: Sequence[Tomb] = ()
    homes: Sequence[Home] = ()


class Loaded(msgspec.Struct, frozen=True):
    """The content of the state file, read."""

    streams: list[StreamState]
    tombs: list[Tomb]
    homes: list[Home] = []


def load(directory: Path) -> Loaded | None:
    """None when there is none. Raises CorruptError."""
    path = directory / FILE_NAME
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    body = data[_HEADER_BYTES:]
    if data[:_HEADER_BYTES] != _header(body):
        raise CorruptError(f"State file {path} ({len(data)} bytes) does not match its checksum.")
    try:
        return msgspec.json.decode(body, type=Loaded)
    except msgspec.DecodeError as error:
        raise CorruptError(f"State file {path} can't be decoded: {error}") from error


def save(directory: Path, state: State) -> None:
    """Replace the state file, durably. *Blocking*. Raises OSError; the old file is then still in place."""
    body = msgspec.json.encode(state)
    replace_file(directory / FILE_NAME, [_header(body), body])


def _header(body: bytes) -> bytes:
    return _MAGIC + b"%08x\n" % crc32c(body)

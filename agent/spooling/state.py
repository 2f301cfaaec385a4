"""The state file: which files are being read, in their order, and what is to be done with those that are in storage.

One line with magic and CRC32C, then JSON. Replaced atomically: a crash leaves the old file or the new one.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
from crc32c import crc32c

from qanat.durable import replace_file
from qanat.errors import CorruptError

FILE_NAME = "spool.state"
_MAGIC = b"qanat-spool-1 "
_HEADER_BYTES = len(_MAGIC) + 9


class FileState(msgspec.Struct, frozen=True, array_like=True):
    """What is remembered of a file. `done`: it is in storage to its end; what is left is to complete it."""

    id: str
    path: str
    acked: int
    done: bool = False
    fault: str = ""  # of one that is done: why it is to be set aside


class State(msgspec.Struct, frozen=True):
    """The content of the state file. `read`: of a source that leaves files as they are, the paths of those that are done with."""

    files: list[FileState] = []
    read: list[str] = []


def load(directory: Path) -> State | None:
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
        return msgspec.json.decode(body, type=State)
    except msgspec.DecodeError as error:
        raise CorruptError(f"State file {path} can't be decoded: {error}") from error


def save(directory: Path, state: State) -> None:
    """Replace the state file, durably. *Blocking*. Raises OSError; the old file is then still in place."""
    body = msgspec.json.encode(state)
    replace_file(directory / FILE_NAME, [_header(body), body])


def _header(body: bytes) -> bytes:
    return _MAGIC + b"%08x\n" % crc32c(body)

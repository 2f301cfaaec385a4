"""The file sink's token: what a commit record says about its files. [pure]"""

from __future__ import annotations

from typing import Any

import msgspec

from qanat.errors import CorruptError

VERSION = 1


class FileState(msgspec.Struct, frozen=True, array_like=True):
    """One file of the sink, as far as it is committed.

    `sequence` orders the files of a sink and is never used twice. `name` is the final name; while the file is open
    or waits to be published it is a hidden one in the sink's working directory. `directory` is relative to the root.
    `length_bytes` are committed; what lies behind is garbage of an unfinished transaction.
    `format` tells how to go on writing it, or how to finish it, whatever the configuration says by then.
    """

    sequence: int
    directory: str
    prefix: str
    name: str
    shape: str
    format: str
    length_bytes: int
    events: int
    opened_ns: int

    @property
    def bucket(self) -> tuple[str, str, str]:
        """Files of one bucket succeed each other; at most one of them is open."""
        return (self.directory, self.prefix, self.shape)

    @property
    def parts(self) -> list[str]:
        """The directories between the root and the file."""
        return [part for part in self.directory.split("/") if part]


class Token(msgspec.Struct, frozen=True, array_like=True):
    """Everything that is committed: files that are open, and files that are finished and to be published.

    `sequence` and `opened_ms` are those of the last file opened: names go on from there, also when the clock steps
    back. Files are in order of `sequence`, so equal states have equal bytes.
    """

    version: int
    root: str
    sequence: int
    opened_ms: int
    open: tuple[FileState, ...]
    finished: tuple[FileState, ...]


def empty(root: str) -> Token:
    """The token of a sink that never committed."""
    return Token(version=VERSION, root=root, sequence=0, opened_ms=0, open=(), finished=())


def encode(token: Token) -> bytes:
    """Deterministic."""
    return msgspec.msgpack.encode(token)


def decode(data: bytes) -> Token:
    """Raises CorruptError when the bytes are not a token of a known version."""
    try:
        first: Any = msgspec.msgpack.decode(data)
        if isinstance(first, list) and first and isinstance(first[0], int) and first[0] != VERSION:
            raise CorruptError(
                f"the file sink's token has version {first[0]}, this program reads {VERSION}: run the program that wrote it"
            )
        return msgspec.msgpack.decode(data, type=Token)
    except msgspec.MsgspecError as error:
        raise CorruptError(f"{len(data)} bytes are not a token of the file sink: {error}") from error

"""The state file of `tail`: which streams there are and how far they are in storage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from agent import state_file

FILE_NAME = "tail.state"
_MAGIC = b"qanat-tail-1"


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
    """See `state_file.load`."""
    return state_file.load(directory / FILE_NAME, _MAGIC, Loaded)


def save(directory: Path, state: State) -> None:
    """See `state_file.save`."""
    state_file.save(directory / FILE_NAME, _MAGIC, state)

"""What the protocol keeps in the coordination store: claims, fences, commit records [pure].

    /qanat/sinks/<sink>/fence            its version is the fence; moving it aborts the sink's open transaction
    /qanat/sinks/<sink>/commit           Record: positions and sink token, one atomic write
    /qanat/claims/<shard>/<sender>       Claim: which sink may commit this sender's streams

A stream's position is the larger of its claim's base and its owner's record: positions only grow.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import quote

import msgspec

from qanat.errors import CorruptError

Positions = dict[str, int]

# Streams that a record may hold for one sender before they are folded into the claim's base. A record is rewritten at
# every commit, a claim only when it changes hands, so positions that rest belong in the claim. 512 entries are some 25 kB.
RECORD_STREAMS_MAX = 512

# Paths that are remembered, for the senders of one collector: quoting a name costs more than the rest of what is done with it.
_PATHS_MAX = 4096


class Record(msgspec.Struct, frozen=True, array_like=True):
    """A sink's last commit: `transaction` names the attempt, so that an attempt in doubt recognises its own."""

    transaction: str = ""
    positions: dict[str, Positions] = {}
    token: bytes | None = None


class Claim(msgspec.Struct, frozen=True, array_like=True):
    """The right of sink `owner` ("" after a release) to commit the streams of one sender.

    `instance` is the agent process that last said hello, `instance_epoch` orders such processes; the later wins.
    """

    owner: str
    epoch: int
    instance: str
    instance_epoch: int
    base: Positions = {}


def encode(document: Record | Claim) -> bytes:
    """The stored form: MessagePack, deterministic for equal documents."""
    return msgspec.msgpack.encode(document, order="deterministic")


def decode_record(value: bytes, path: str) -> Record:
    """Raises CorruptError when `value` is not a record."""
    try:
        return msgspec.msgpack.decode(value, type=Record) if value else Record()
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CorruptError(
            f"commit record at {path} can't be read ({error}); restore it from a backup"
        ) from error


def decode_claim(value: bytes, path: str) -> Claim:
    """Raises CorruptError when `value` is not a claim."""
    try:
        return msgspec.msgpack.decode(value, type=Claim)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CorruptError(f"claim at {path} can't be read ({error}); restore it from a backup") from error


@lru_cache(maxsize=_PATHS_MAX)
def commit_path(sink: str) -> str:
    return f"/qanat/sinks/{quote(sink, safe='')}/commit"


@lru_cache(maxsize=_PATHS_MAX)
def fence_path(sink: str) -> str:
    return f"/qanat/sinks/{quote(sink, safe='')}/fence"


@lru_cache(maxsize=_PATHS_MAX)
def claim_path(sender: str) -> str:
    """Sharded, so that no directory of the store has to list a million senders."""
    shard = zlib.crc32(sender.encode()) & 0xFF
    return f"/qanat/claims/{shard:02x}/{quote(sender, safe='')}"


def merged(base: Mapping[str, int], recorded: Mapping[str, int]) -> Positions:
    """The position of each stream: the larger of the claim's base and the owner's record."""
    positions = dict(base)
    for stream, position in recorded.items():
        positions[stream] = max(position, positions.get(stream, 0))
    return positions

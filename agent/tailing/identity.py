"""What makes a file the file it was: fingerprints, marks and self-describing stream ids.  [pure]

A stream is one incarnation of a file. Its id carries what was known when it was discovered, so that an agent that lost
its state recognises the file from the id alone: `t1-<inode>-<fingerprint length>-<fingerprint>-<nonce>`, all in hex.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b

# How much of the beginning identifies a file: past the banner that every log of an application begins with.
FINGERPRINT_BYTES = 1024
# How much before a read position is compared before reading on: a line or two, so that a file that was truncated and
# has grown past the position again shows different bytes there.
TAIL_BYTES = 256

_ID = re.compile(r"t1-([0-9a-f]{1,16})-([0-9a-f]{1,3})-([0-9a-f]{16})-([0-9a-f]{1,16})")


def digest(data: bytes) -> str:
    """A 64-bit hash of `data` in hex."""
    return blake2b(data, digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The hash of the first `length` bytes of a file."""

    length: int
    hash: str

    @classmethod
    def of(cls, head: bytes) -> Fingerprint:
        """The fingerprint of a file that begins with `head`."""
        head = head[:FINGERPRINT_BYTES]
        return cls(len(head), digest(head))

    def matches(self, head: bytes) -> bool:
        """Whether a file that begins with `head` (up to FINGERPRINT_BYTES of it) may be the same one, grown."""
        return len(head) >= self.length and digest(head[: self.length]) == self.hash


@dataclass(frozen=True, slots=True)
class Mark:
    """The hash of the last (up to) TAIL_BYTES bytes before a position."""

    position: int
    hash: str


@dataclass(frozen=True, slots=True)
class StreamId:
    """A parsed stream id. `nonce`: ns since 1970 UTC of the discovery, made unique; later incarnations are larger."""

    inode: int
    fingerprint: Fingerprint
    nonce: int

    def __str__(self) -> str:
        return f"t1-{self.inode:x}-{self.fingerprint.length:x}-{self.fingerprint.hash}-{self.nonce:x}"

    @classmethod
    def parse(cls, text: str) -> StreamId | None:
        """None when `text` is not the id of a tailed file."""
        found = _ID.fullmatch(text)
        if found is None:
            return None
        inode, length, hashed, nonce = found.groups()
        return cls(int(inode, 16), Fingerprint(int(length, 16), hashed), int(nonce, 16))


class Known:
    """Streams that are known downstream, to recognise files by when there is no local state."""

    def __init__(self, positions: Mapping[str, int]) -> None:
        self._by_inode: dict[int, list[tuple[StreamId, int]]] = {}
        self.nonce_max = 0
        parsed = ((StreamId.parse(text), position) for text, position in positions.items())
        for stream, position in parsed:
            if stream is not None:
                self._by_inode.setdefault(stream.inode, []).append((stream, position))
                self.nonce_max = max(self.nonce_max, stream.nonce)
        for candidates in self._by_inode.values():
            candidates.sort(key=lambda candidate: -candidate[0].nonce)

    def __contains__(self, inode: int) -> bool:
        return inode in self._by_inode

    def take(self, inode: int, head: bytes, size: int) -> tuple[StreamId, int] | None:
        """The newest known stream that this file can be, with its committed position; each is given out once."""
        candidates = self._by_inode.get(inode, [])
        for at, (stream, position) in enumerate(candidates):
            if size >= position and stream.fingerprint.matches(head):
                # Older incarnations of the inode are over: a file has one newest.
                del candidates[at:]
                return stream, position
        return None

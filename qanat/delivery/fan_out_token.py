"""What a fan-out has in the commit record: tokens of its branches, and where its log is [pure]."""

from __future__ import annotations

import msgspec

from qanat.delivery.fan_out import Mark
from qanat.errors import CorruptError

VERSION = 1
MAGIC = "fan-out"


class LogPlace(msgspec.Struct, frozen=True, array_like=True):
    """Where a log lies: `path` on `host`, and what is written in it to tell it from any other (`identity`)."""

    host: str = ""
    path: str = ""
    identity: str = ""


class Token(msgspec.Struct, frozen=True, array_like=True):
    """`direct`: tokens of the branches written to directly. `marks`: of those fed from the log, committed up to `end`, with so
    many `events` ever written to it."""

    magic: str
    version: int
    direct: dict[str, bytes]
    marks: dict[str, Mark]
    end: int
    events: int = 0
    log: LogPlace = LogPlace()

    def of(self, branch: str) -> bytes | None:
        """The token of a branch's sink."""
        mark = self.marks.get(branch)
        return self.direct.get(branch) if mark is None else mark.token

    @property
    def names(self) -> set[str]:
        """Of the branches that it knows."""
        return self.direct.keys() | self.marks.keys()

    @property
    def slowest(self) -> int:
        """What is before this in the log, every branch has."""
        return min((mark.at for mark in self.marks.values()), default=self.end)


def decode(token: bytes | None, first_branch: str) -> Token:
    """Of a sink that stood alone so far, the token is the first branch's. Raises CorruptError for another version."""
    if token is None:
        return Token(MAGIC, VERSION, {}, {}, 0)
    try:
        decoded = msgspec.msgpack.decode(token, type=Token)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Token(MAGIC, VERSION, {first_branch: token}, {}, 0)
    if decoded.version != VERSION:
        raise CorruptError(
            f"a fan-out's token has version {decoded.version}, this program reads {VERSION}: run the program that wrote it"
        )
    return decoded


def is_fan_out(token: bytes) -> bool:
    """Whether it is of a fan-out, and not of a sink that stands alone."""
    try:
        return msgspec.msgpack.decode(token, type=Token).magic == MAGIC
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False


def encode(token: Token) -> bytes:
    """For the commit record."""
    return msgspec.msgpack.encode(token)

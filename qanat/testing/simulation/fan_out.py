"""A collector's fan-out: one sink made of several. Some are required and written to directly; the others are fed from the
node's log, each by the real cursor. What `collector/fan_out` does with threads and files, in virtual time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from qanat.delivery.fan_out import Mark
from qanat.testing.simulation.branch import Branch
from qanat.testing.simulation.disk import Disk, Tenant

if TYPE_CHECKING:
    from qanat.testing.simulation.collector import Collector


class Token(msgspec.Struct, frozen=True, array_like=True):
    """What the commit record says of each branch, behind the length of the log."""

    required: tuple[bytes, ...]
    marks: tuple[Mark, ...]


def token_of(token: bytes | None) -> Token | None:
    """The branches' part of a node's token."""
    if token is None:
        return None
    return msgspec.msgpack.decode(token.partition(b"|")[2], type=Token)


class FanOut:
    """One process's hold of all these disks; its methods are a `Tenant`'s."""

    def __init__(self, collector: Collector, disk: Disk) -> None:
        self._log = Tenant(disk)
        self._required = [Tenant(each) for each in disk.required]
        self._fed = [Branch(collector, disk, each) for each in disk.fed]
        self._direct = [*self._required, self._log]

    def append(self, stream: str, start: int, end: int, *, is_gap: bool = False) -> str | None:
        """Whoever refuses it first refuses for all: everybody takes the same, or the transaction is undone."""
        for tenant in self._direct:
            reason = tenant.append(stream, start, end, is_gap=is_gap)
            if reason is not None:
                return reason
        return None

    def prepare(self, *, drain: bool) -> bytes:
        """With what each branch that is fed has durable."""
        required = tuple(tenant.prepare(drain=drain) for tenant in self._required)
        length = self._log.prepare(drain=drain)
        marks = tuple(branch.mark for branch in self._fed)
        return length + b"|" + msgspec.msgpack.encode(Token(required, marks))

    def sync(self, length: int) -> None:
        """Everybody who is written to directly has the same, and so the same length."""
        for tenant in self._direct:
            tenant.sync(length)

    def publish(self, token: bytes) -> None:
        """A branch that is fed hears what is recorded, whatever becomes of the others."""
        self._recorded(token)
        for tenant, own in self._owned(token):
            assert own is not None
            tenant.publish(own)

    def discard(self, token: bytes | None) -> None:
        """Of those that are fed nothing: what they have taken was committed."""
        for tenant, own in self._owned(token):
            tenant.discard(own)
        self._recorded(token)

    def claim(self) -> None:
        """A branch that is fed claims when it begins: nobody else has its disk."""
        for tenant in self._direct:
            tenant.claim()

    def open(self, token: bytes | None) -> None:
        """Recover."""
        for tenant, own in self._owned(token):
            tenant.open(own)
        self._recorded(token)

    def ends(self, *, power: bool = False) -> None:
        """Its process does."""
        for tenant in (*self._direct, *(branch.tenant for branch in self._fed)):
            tenant.ends(power=power)

    def _owned(self, token: bytes | None) -> list[tuple[Tenant, bytes | None]]:
        """Everybody who is written to directly, with the own token."""
        found = token_of(token)
        required = [None] * len(self._required) if found is None else found.required
        return [*zip(self._required, required, strict=True), (self._log, token)]

    def _recorded(self, token: bytes | None) -> None:
        found = token_of(token)
        marks = [Mark(None, 0)] * len(self._fed) if found is None else found.marks
        for branch, mark in zip(self._fed, marks, strict=True):
            branch.recorded(mark, token)

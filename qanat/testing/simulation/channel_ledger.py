"""What channels make of what applications wrote: which event every number of their streams is, and where it ended up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from qanat.channels import streams
from qanat.testing.simulation.kernel import Kernel

if TYPE_CHECKING:
    from qanat.testing.simulation.destination import ChannelHost

Identity = tuple[str, int]  # a file, and a position in it


def event(file: str, position: int) -> bytes:
    """An event's body, which says what it is."""
    return b"%b@%d" % (file.encode(), position)


def identity(body: bytes) -> Identity:
    """What an event is."""
    file, _, position = body.decode().rpartition("@")
    return file, int(position)


class ChannelLedger:
    """Follows what agents read from channels, and what of it is stored."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._contents: dict[str, dict[int, Identity]] = {}
        self._hosts: dict[str, ChannelHost] = {}
        self._at: dict[tuple[str, str], int] = {}  # of a stream, for a host, in storage
        self._next: dict[
            tuple[str, str], int
        ] = {}  # of a file, in storage: (stream, file), or (host, file) where exact
        self._stored: Counter[str] = Counter()  # events by host
        self._gaps: Counter[str] = Counter()

    def add_stream(self, host: ChannelHost, stream: str) -> None:
        """Watch this stream."""
        self._contents.setdefault(stream, {})
        self._hosts[host.name] = host

    def read(self, stream: str, start: int, identities: list[Identity]) -> None:
        """An agent read these events; another time they must be the same."""
        contents = self._contents[stream]
        for number, found in enumerate(identities, start):
            known = contents.setdefault(number, found)
            if known != found:
                self._kernel.fail(f"number {number} of {stream} is {found}, and was {known}")

    def is_skipped(self, stream: str, start: int, end: int) -> bool:
        """Whether a log never gave these numbers to anybody: it skips those that a power cut may have taken."""
        contents = self._contents.get(stream)
        return contents is not None and not any(number in contents for number in range(start, end))

    def stored(self, host: ChannelHost, stream: str, start: int, end: int, *, is_gap: bool) -> None:
        """These numbers are committed in storage, as events or as a gap."""
        self._at[host.name, stream] = end
        if is_gap:
            self._gap(host, stream, start, end)
            return
        for number in range(start, end):
            self._store(stream, host, *self._contents[stream][number])

    def _gap(self, host: ChannelHost, stream: str, start: int, end: int) -> None:
        """Where nothing may be lost, only skipped numbers; and what a destination loses that nobody waits for: what all that are
        required have in storage, or else some other."""
        if not host.node.is_exact:
            self._gaps[host.name] += end - start
            return
        contents = self._contents[stream]
        lost = [number for number in range(start, end) if number in contents]
        if not lost:
            return
        others = [other for other in host.node.hosts if other is not host]
        required = [other for other in others if other.required]
        ends = [self._at.get((other.name, stream), 0) for other in required or others]
        if host.required or (min(ends) if required else max(ends)) <= lost[-1]:
            self._kernel.fail(
                f"lost: {start} to {end} of {stream} are a gap for {host.name}; others have {ends}"
            )
        self._gaps[host.name] += len(lost)

    def _store(self, stream: str, host: ChannelHost, file: str, position: int) -> None:
        """Exactly once over all processes; or at least once and in order in each."""
        is_exact = host.node.is_exact
        key = (host.name, file) if is_exact else (f"{host.name} {stream}", file)
        at = self._next.get(key, host.written[file].start if is_exact else 0)
        if position < at or (is_exact and host.required and position > at):
            self._kernel.fail(f"{file} is stored from {position} through {stream}, expected {at}")
        self._next[key] = position + 1
        self._stored[host.name] += 1

    def unfinished_business(self) -> Iterator[str]:
        """What is missing for every event to be stored or counted."""
        for host in self._hosts.values():
            node, missing = host.node, self._missing(host)
            if host.is_first:
                gaps, counted = sum(self._gaps[each.name] for each in node.hosts), node.counted[streams.LOST]
                if gaps > counted:
                    yield f"{host.name} has gaps of {gaps}, counted are {counted}"
            if missing and (node.is_exact or not node.ended):
                yield f"{missing} events of {host.name} are neither stored nor counted"

    def _missing(self, host: ChannelHost) -> int:
        written = sum(file.size - file.start for file in host.written.values())
        dropped = host.node.counted[streams.DROPPED]
        return written - self._stored[host.name] - dropped - self._gaps[host.name]

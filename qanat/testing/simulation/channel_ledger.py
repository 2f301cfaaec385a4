"""What channels make of what applications wrote: which event every number of their streams is, and where it ended up."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from qanat.channels import streams
from qanat.testing.simulation.kernel import Kernel

if TYPE_CHECKING:
    from qanat.testing.simulation.channels import ChannelHost

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
        self._hosts: dict[str, ChannelHost] = {}  # by stream
        self._next: dict[
            Identity | str, int
        ] = {}  # of a file, in storage: (stream, file), or the file where exact
        self._stored: Counter[str] = Counter()  # events by host
        self._gaps: Counter[str] = Counter()

    def add_stream(self, host: ChannelHost, stream: str) -> None:
        """Watch this stream."""
        self._contents[stream] = {}
        self._hosts[stream] = host

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

    def stored(self, stream: str, start: int, end: int, *, is_gap: bool) -> None:
        """These numbers are committed in storage, as events or as a gap."""
        contents, host = self._contents[stream], self._hosts[stream]
        if is_gap and host.is_exact:
            if not self.is_skipped(stream, start, end):
                self._kernel.fail(f"lost: {start} to {end} of {stream} are stored as a gap")
            return
        if is_gap:
            self._gaps[host.name] += end - start
            return
        for number in range(start, end):
            self._store(stream, host, *contents[number])

    def _store(self, stream: str, host: ChannelHost, file: str, position: int) -> None:
        """Exactly once over all processes; or at least once and in order in each."""
        key: Identity | str = file if host.is_exact else f"{stream} {file}"
        at = self._next.get(key, host.written[file].start if host.is_exact else 0)
        if position < at or (host.is_exact and position > at):
            self._kernel.fail(f"{file} is stored from {position} through {stream}, expected {at}")
        self._next[key] = position + 1
        self._stored[host.name] += 1

    def unfinished_business(self) -> list[str]:
        """What is missing for every event to be stored or counted."""
        missing: list[str] = []
        for host in {host.name: host for host in self._hosts.values()}.values():
            if host.is_exact:
                missing += [
                    f"{file.stream} stored {self._next.get(file.stream, file.start)} of {file.size} through channels"
                    for file in host.written.values()
                    if self._next.get(file.stream, file.start) != file.size
                ]
            elif self._gaps[host.name] > host.counted[streams.LOST]:
                missing.append(f"{host.name} has gaps of {self._gaps[host.name]}, counted are {host.counted}")
            elif not host.ended and self._uncounted(host):
                missing.append(
                    f"{self._uncounted(host)} events of {host.name} are neither stored nor counted"
                )
        return missing

    def _uncounted(self, host: ChannelHost) -> int:
        written = sum(file.size - file.start for file in host.written.values())
        return written - self._stored[host.name] - host.counted[streams.DROPPED] - self._gaps[host.name]

"""The streams that are known, found by id, inode and home; and the order among those of one home."""

from __future__ import annotations

from collections.abc import Iterator

from agent.tailing.handles import Handles
from agent.tailing.homes import Homes
from agent.tailing.stream import Stream


class Registry:
    """Streams, the queue of those that may have something to read, and their predecessors at the same path.

    `left`: homes without a stream, all of whose streams were forgotten."""

    def __init__(self, handles: Handles) -> None:
        self._handles = handles
        self._by_id: dict[str, Stream] = {}
        self._by_inode: dict[tuple[int, int], Stream] = {}
        self._by_home: dict[str, list[Stream]] = {}
        self._stalled: set[Stream] = set()
        self.ready: dict[Stream, None] = {}  # in the order of their turns
        self.left = Homes()

    def __iter__(self) -> Iterator[Stream]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, stream: str) -> Stream | None:
        """By id."""
        return self._by_id.get(stream)

    def at_inode(self, key: tuple[int, int]) -> Stream | None:
        """The newest incarnation on a device and inode."""
        return self._by_inode.get(key)

    def latest(self, home: str) -> Stream | None:
        """The newest stream discovered at `home`."""
        chain = self._by_home.get(home)
        return chain[-1] if chain else None

    def at_home(self, home: str) -> list[Stream]:
        """The streams discovered at `home`, oldest first."""
        return self._by_home.get(home, [])

    def homes(self) -> list[str]:
        """Every home, also of streams that were forgotten."""
        return [*self._by_home, *self.left]

    def seen_ns(self, home: str) -> int | None:
        """What was at `home` and changed before this (its mtime) is known; None when nothing is known of it."""
        last = self.latest(home)
        return self.left.seen_ns(home) if last is None else last.seen_ns

    def add(self, stream: Stream) -> None:
        """Add, in the order of nonces among the streams of its home."""
        self._by_id[stream.id] = stream
        self._by_inode[stream.key] = stream
        chain = self._by_home.setdefault(stream.home, [])
        chain.append(stream)
        self.left.forget(stream.home)
        if len(chain) > 1:
            chain.sort(key=lambda member: member.nonce)
            self._link(chain)

    def move(self, stream: Stream, key: tuple[int, int] | None) -> None:
        """The stream's bytes are on another inode now, or (None) on none."""
        if self._by_inode.get(stream.key) is stream:
            del self._by_inode[stream.key]
        self._handles.drop(stream)
        if key is not None:
            stream.dev, stream.ino = key
            self._by_inode[key] = stream

    def forget(self, stream: Stream) -> None:
        """Drop everything about a stream."""
        self.ready.pop(stream, None)
        self._stalled.discard(stream)
        self.move(stream, None)
        del self._by_id[stream.id]
        chain = self._by_home[stream.home]
        chain.remove(stream)
        if not chain:
            del self._by_home[stream.home]
            self.left.remember(stream.home, stream.seen_ns)
        self._link(chain)
        for after in stream.succ:
            self.enqueue(after)
            self.progress(after)
        stream.pred, stream.succ = None, []

    def enqueue(self, stream: Stream) -> None:
        """Let it have a turn, if there is something to read and it is its turn among its home's streams."""
        if stream.has_data and not stream.blocked:
            self.ready.setdefault(stream)

    def progress(self, stream: Stream) -> None:
        """The stream may have been passed: let its successors have a turn."""
        if stream.passed:
            for after in stream.succ:
                self.enqueue(after)
                self.progress(after)

    def stall(self, stream: Stream) -> None:
        """Reading failed: leave the stream alone until the next full scan."""
        stream.stalled = True
        self._stalled.add(stream)

    def retry_stalled(self) -> None:
        """Try streams again that could not be read."""
        for stream in self._stalled:
            stream.stalled = False
            self.enqueue(stream)
        self._stalled.clear()

    def _link(self, chain: list[Stream]) -> None:
        for at, stream in enumerate(chain):
            stream.pred = chain[at - 1] if at else None
            stream.succ = chain[at + 1 : at + 2]

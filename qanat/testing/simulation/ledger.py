"""What must be true at every moment, checked against what storage and the coordination store really hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from qanat.coordination.store import Node
from qanat.delivery import documents
from qanat.delivery.documents import Claim, Record
from qanat.delivery.fan_out import Mark
from qanat.delivery.fan_out_token import Token
from qanat.testing.simulation.channel_ledger import ChannelLedger
from qanat.testing.simulation.destination import ChannelHost
from qanat.testing.simulation.disk import Disk, Stored, length_of
from qanat.testing.simulation.fan_out import token_of
from qanat.testing.simulation.files import Host
from qanat.testing.simulation.kernel import Kernel


class Ledger:
    """Follows every commit. `stored`: how far each stream is in committed storage; its events up to there, once, in order."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.stored: dict[str, int] = {}
        self.batches = 0
        self.channels = ChannelLedger(kernel)
        self._hosts: dict[str, Host] = {}
        self._disks: dict[str, Disk] = {}
        self._commit_paths: dict[str, str] = {}
        self._claim_paths: dict[str, str] = {}
        self._owner_of: dict[str, str] = {}  # stream, with its suffix -> sender
        self._records: dict[str, Record] = {}
        self._claims: dict[str, Claim] = {}

    def add_sink(self, disk: Disk) -> None:
        """Watch this sink."""
        self._disks[disk.name] = disk
        self._commit_paths[documents.commit_path(disk.name)] = disk.name

    def add_host(self, host: Host) -> None:
        """Watch this sender."""
        self._hosts[host.name] = host
        self._claim_paths[documents.claim_path(host.name)] = host.name

    def add_stream(self, host: Host, stream: str, start: int) -> None:
        """Watch this stream of this sender."""
        self.stored[stream + host.suffix] = start
        self._owner_of[stream + host.suffix] = host.name
        if isinstance(host, ChannelHost):
            self.channels.add_stream(host, stream)

    def token(self, sink: str) -> bytes | None:
        """What is committed of it."""
        record = self._records.get(sink)
        return None if record is None else record.token

    def written(self, tree: Mapping[str, Node], paths: list[str]) -> None:
        """The store changed here, atomically."""
        committed = None
        for path in paths:
            if path in self._claim_paths:
                self._claims[self._claim_paths[path]] = documents.decode_claim(tree[path].value, path)
            elif path in self._commit_paths:
                committed = self._commit_paths[path]
                self._records[committed] = documents.decode_record(tree[path].value, path)
        if committed is not None:
            self._commit(self._disks[committed], self._records[committed])
        for sender in self._claims:
            self._check_positions(sender)

    def _commit(self, disk: Disk, record: Record) -> None:
        branches = token_of(record.token) if disk.is_fan_out else None
        length = length_of(record.token) if branches is None else branches.end
        if length < disk.committed:
            self._kernel.fail(
                f"commit record of {disk.name} goes back to {length}, readers may have seen {disk.committed}"
            )
        if length > disk.synced:
            self._kernel.fail(
                f"commit record of {disk.name} says {length}, durable is {min(disk.synced, disk.length)}"
            )
        for batch in disk.batches:
            if disk.committed < batch.at <= length:
                self._store(disk.name, batch)
        if length and not any(batch.at == length for batch in disk.batches):
            self._kernel.fail(f"commit record of {disk.name} says {length}, inside of a batch")
        disk.committed = length
        if branches is not None and record.token is not None:
            self._commit_branches(disk, branches)

    def _commit_branches(self, log: Disk, token: Token) -> None:
        """One that is required has all that is committed; another one, all up to its mark. None is ever left out."""
        if len(token.names) != len(log.branches):
            self._kernel.fail(f"{log.name}: of {len(log.branches)} branches, the record knows {token.names}")
        for name in token.names:
            mark = token.marks.get(name)
            self._commit_branch(log, log.branches[int(name)], mark or Mark(token.direct[name], token.end))

    def _commit_branch(self, log: Disk, branch: Disk, mark: Mark) -> None:
        """A branch has exactly what the log has up to its mark, in its order."""
        length, before = length_of(mark.token), branch.mark_at
        if length < branch.committed or length > branch.synced or not before <= mark.at <= log.committed:
            self._kernel.fail(f"{branch.name}: {mark}, committed {branch.committed}, durable {branch.synced}")
        wanted = [row for row in log.batches if before < row.at <= mark.at]
        found = [row for row in branch.batches if branch.committed < row.at <= length]
        if [_content(row) for row in wanted] != [_content(row) for row in found]:
            self._kernel.fail(f"{branch.name} stores {found}, the log has {wanted}")
        branch.mark_at = mark.at
        branch.committed = length

    def _store(self, sink: str, batch: Stored) -> None:
        stream, start, end = batch.stream, batch.start, batch.end
        at = self.stored[stream]
        if start < at:
            self._kernel.fail(f"doubled: {sink} stores {stream} from {start}, stored up to {at}")
        host = self._hosts[self._owner_of[stream]]
        own = stream.removesuffix(host.suffix)
        if start > at and not self.channels.is_skipped(own, at, start):
            self._kernel.fail(f"lost or out of order: {sink} stores {stream} from {start}, stored up to {at}")
        claim = self._claims.get(host.name)
        if claim is None or claim.owner != sink:
            self._kernel.fail(f"{sink} commits {stream} without its claim: {claim}")
        before = host.files[own].before
        if before is not None and self.stored[before.stream] != before.size:
            self._kernel.fail(
                f"{sink} stores {stream}, which comes behind {before}, stored {self.stored[before.stream]}"
            )
        self.stored[stream] = end
        self.batches += 1
        if isinstance(host, ChannelHost):
            self.channels.stored(host, own, start, end, is_gap=batch.is_gap)

    def _check_positions(self, sender: str) -> None:
        """The larger of the claim's base and the owner's record is where every stream of this sender is in storage."""
        claim = self._claims[sender]
        record = self._records.get(claim.owner)
        positions = documents.merged(claim.base, record.positions.get(sender, {}) if record else {})
        host = self._hosts[sender]
        for stream, file in host.files.items():
            stored, known = self.stored[stream + host.suffix], positions.get(stream)
            if file.done:
                continue  # nobody asks again: the store may have forgotten it, or have an old entry left in some record
            if known is None and stored != file.start:
                self._kernel.fail(f"the store forgot {stream}, stored up to {stored}; {claim}")
            if known is not None and known != stored:
                self._kernel.fail(f"the store has {stream} at {known}, storage up to {stored}; {claim}")

    def check_acked(self, who: str, host: Host, positions: Mapping[str, int]) -> None:
        """Nothing is acknowledged that is not committed in storage, unless its sender wants it acked on receipt."""
        for stream, position in positions.items():
            stored = self.stored[stream + host.suffix]
            is_early = position > stored and not self.channels.is_skipped(stream, stored, position)
            if is_early and not host.ack_on_receipt:
                self._kernel.fail(f"{who} acks {stream} up to {position}, stored up to {stored}")

    def unfinished_business(self) -> Iterator[str]:
        """What is still missing for everything to be stored, visible and, if finished, forgotten; nothing in the end."""
        for host in self._hosts.values():
            for file in host.files.values():
                stored = self.stored[file.stream + host.suffix]
                if stored != file.size and not (file.done and host.ack_on_receipt):
                    yield f"{file.stream}{host.suffix} stored {stored} of {file.size}"
        yield from self.channels.unfinished_business()
        for host in self._hosts.values():
            for file in host.files.values():
                if file.finished and not file.done:
                    yield f"{file.stream} is finished and stored, not retired"
        for name in self._disks:
            yield from self.unpublished(name)

    def unpublished(self, sink: str) -> Iterator[str]:
        """What readers don't see yet."""
        disk = self._disks[sink]
        for each in disk.branches or [disk]:
            if each.published < disk.committed:
                yield f"{each.name} published {each.published} of {disk.committed}"


def _content(row: Stored) -> tuple[str, int, int, bool]:
    return row.stream, row.start, row.end, row.is_gap

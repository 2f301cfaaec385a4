"""The protocol broken on purpose, one part at a time. Each mutant says what replaces what."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Any

import pytest
from msgspec.structs import replace

from qanat.channels.cursors import Cursors
from qanat.channels.wal import record
from qanat.channels.wal.cursors import Cursors as LogCursors
from qanat.channels.wal.log import Log
from qanat.channels.wal.positions import Positions as LogPositions
from qanat.channels.wal.reader import LogReader
from qanat.channels.wal.segment import SegmentReader
from qanat.component import Prepared
from qanat.coordination.store import Check, Create, Op, Set
from qanat.delivery import claims, documents
from qanat.delivery.branch_life import BranchLife, Step
from qanat.delivery.claims import Claims
from qanat.delivery.commit import CommitLoop
from qanat.delivery.documents import Claim, Positions
from qanat.delivery.fan_out import BranchCore, Mark
from qanat.delivery.fan_out_sink import FanOutCore
from qanat.delivery.fan_out_token import Token
from qanat.delivery.receiver import ReceiverCore
from qanat.delivery.receiver_messages import BatchReceived, HelloReceived, SendAck
from qanat.delivery.sender import SenderCore
from qanat.delivery.sender_messages import SendOpen
from qanat.delivery.state import Held, Phase
from qanat.delivery.steps import Get, Multi, SinkClaim, SinkOpen, SinkPublish
from qanat.errors import OutcomeUnknownError, RetryableError
from qanat.testing.simulation import branch
from qanat.testing.simulation.adopter import Adopter
from qanat.testing.simulation.branch_log import BranchLog
from qanat.testing.simulation.coordination import SimulatedStore
from qanat.testing.simulation.disk import Tenant
from qanat.testing.simulation.fan_out import ModelSink

Steps = Generator[Any, Any, Any]
Mutant = Callable[[pytest.MonkeyPatch], None]
MUTANTS: dict[str, Mutant] = {}


def mutant(apply: Mutant) -> Mutant:
    """Known by the name of its function."""
    MUTANTS[apply.__name__] = apply
    return apply


# The five rules.


@mutant
def rule_1_commit_does_not_check_its_fence(patch: pytest.MonkeyPatch) -> None:
    original = CommitLoop._ops

    def ops(self: CommitLoop, record: Any, folds: Any) -> tuple[Op, ...]:
        _, write, *rest = original(self, record, folds)
        assert isinstance(write, Set)
        return (Check(write.path, write.version), write, *rest)

    patch.setattr(CommitLoop, "_ops", ops)


@mutant
def rule_1_commit_does_not_compare_the_version(patch: pytest.MonkeyPatch) -> None:
    original = SimulatedStore.refusal

    def refusal(self: SimulatedStore, op: Op) -> str | None:
        if isinstance(op, Set) and op.path.endswith("/commit"):
            return None
        return original(self, op)

    patch.setattr(SimulatedStore, "refusal", refusal)


@mutant
def rule_2_takeover_does_not_move_the_fence(patch: pytest.MonkeyPatch) -> None:
    original = Claims._fence_owner

    def fence_owner(self: Claims, old: Claim, sender: str, ops: list[Op]) -> Steps:
        base = yield from original(self, old, sender, ops)
        ops.pop()
        return base

    patch.setattr(Claims, "_fence_owner", fence_owner)


@mutant
def rule_2_takeover_does_not_check_the_record(patch: pytest.MonkeyPatch) -> None:
    original = Claims._fence_owner

    def fence_owner(self: Claims, old: Claim, sender: str, ops: list[Op]) -> Steps:
        base = yield from original(self, old, sender, ops)
        del ops[0]
        return base

    patch.setattr(Claims, "_fence_owner", fence_owner)


@mutant
def rule_3_claim_adopts_the_fence(patch: pytest.MonkeyPatch) -> None:
    original = Claims._take

    def take(self: Claims, node: Any, hello: HelloReceived, old: Any, instance_epoch: int) -> Steps:
        held = yield from original(self, node, hello, old, instance_epoch)
        (fence,) = yield Get((documents.fence_path(self._state.sink),), fresh=True)
        self._state.fence = fence.version
        return held

    patch.setattr(Claims, "_take", take)


@mutant
def rule_4_recovery_does_not_move_its_fence(patch: pytest.MonkeyPatch) -> None:
    def recover_once(self: CommitLoop) -> Steps:
        state = self._state
        fence, record = documents.fence_path(state.sink), documents.commit_path(state.sink)
        (node,) = yield Get((fence,), fresh=True)
        if node is None:
            empty = documents.encode(documents.Record())
            yield Multi((Create(fence, b""), Create(record, empty)))
        yield SinkClaim()
        yield from _open_as_recorded(self)

    patch.setattr(CommitLoop, "_recover_once", recover_once)


@mutant
def rule_5_lost_reply_aborts(patch: pytest.MonkeyPatch) -> None:
    original = CommitLoop._write

    def write(self: CommitLoop, cut: Any, token: bytes) -> Steps:
        procedure = original(self, cut, token)
        resume: Callable[[], Any] = lambda: next(procedure)  # noqa: E731
        while True:
            try:
                step = resume()
            except StopIteration as end:
                return end.value
            try:
                result = yield step
            except OutcomeUnknownError as error:
                self._state.fail(str(error))
                return False
            except Exception as error:  # noqa: BLE001 - passed on
                resume = lambda error=error: procedure.throw(error)  # noqa: E731
            else:
                resume = lambda result=result: procedure.send(result)  # noqa: E731

    patch.setattr(CommitLoop, "_write", write)


# Other parts.


@mutant
def receiver_accepts_a_gap(patch: pytest.MonkeyPatch) -> None:
    original = ReceiverCore._on_batch

    def on_batch(self: ReceiverCore, event: BatchReceived) -> None:
        held = self.state.holder(event.connection)
        if (
            held is not None
            and self.state.phase is Phase.READY
            and held.next.get(event.stream, event.start) < event.start
        ):
            held.next[event.stream] = event.start
            event = replace(event, rewinds=held.rewinds)
        original(self, event)

    patch.setattr(ReceiverCore, "_on_batch", on_batch)


@mutant
def receiver_accepts_what_it_has_seen(patch: pytest.MonkeyPatch) -> None:
    original = ReceiverCore._on_batch

    def on_batch(self: ReceiverCore, event: BatchReceived) -> None:
        held = self.state.holder(event.connection)
        if held is not None and event.end <= held.next.get(event.stream, 0):
            held.next[event.stream] = event.start
        original(self, event)

    patch.setattr(ReceiverCore, "_on_batch", on_batch)


@mutant
def receiver_accepts_a_corrupt_batch(patch: pytest.MonkeyPatch) -> None:
    original = ReceiverCore._on_batch

    def on_batch(self: ReceiverCore, event: BatchReceived) -> None:
        original(self, replace(event, corrupt=False))

    patch.setattr(ReceiverCore, "_on_batch", on_batch)


@mutant
def ack_before_commit(patch: pytest.MonkeyPatch) -> None:
    original = ReceiverCore._accept

    def accept(self: ReceiverCore, held: Held, event: BatchReceived) -> None:
        original(self, held, event)
        self.state.out.append(SendAck(event.connection, {event.stream: event.end}))

    patch.setattr(ReceiverCore, "_accept", accept)


@mutant
def commit_before_the_data_is_durable(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Tenant, "sync", lambda self, length: None)


@mutant
def sender_retires_what_is_not_committed(patch: pytest.MonkeyPatch) -> None:
    original = SenderCore._finished

    def finished(self: SenderCore, event: Any) -> Any:
        for stream in (self._streams[name] for name in event.ends if name in self._streams):
            stream.acked = stream.next or stream.acked
        return original(self, event)

    patch.setattr(SenderCore, "_finished", finished)


@mutant
def abort_does_not_rewind(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(CommitLoop, "_rewind_all", lambda self, held: None)


@mutant
def abort_keeps_claims_that_are_lost(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(CommitLoop, "_let_go", lambda self, held, claim: None)


@mutant
def takeover_does_not_merge_the_record(patch: pytest.MonkeyPatch) -> None:
    original = Claims._fence_owner

    def fence_owner(self: Claims, old: Claim, sender: str, ops: list[Op]) -> Steps:
        yield from original(self, old, sender, ops)
        return dict(old.base)

    patch.setattr(Claims, "_fence_owner", fence_owner)


@mutant
def fold_does_not_merge_the_record(patch: pytest.MonkeyPatch) -> None:
    original = CommitLoop._fold

    def fold(self: CommitLoop, held: Held, mine: Positions, retired: set[str]) -> Any:
        return original(self, held, {}, retired)

    patch.setattr(CommitLoop, "_fold", fold)


@mutant
def instance_epoch_is_ignored(patch: pytest.MonkeyPatch) -> None:
    def instance_epoch(hello: HelloReceived, old: Claim | None) -> int:
        return 1 if old is None else old.instance_epoch

    patch.setattr(claims, "_instance_epoch", instance_epoch)


@mutant
def first_hello_gets_the_next_epoch(patch: pytest.MonkeyPatch) -> None:
    original = claims._instance_epoch

    def instance_epoch(hello: HelloReceived, old: Claim | None) -> int | None:
        if old is not None and hello.instance != old.instance and hello.instance_epoch == 0:
            return old.instance_epoch + 1
        return original(hello, old)

    patch.setattr(claims, "_instance_epoch", instance_epoch)


@mutant
def appends_go_on_after_one_failed(patch: pytest.MonkeyPatch) -> None:
    original = Tenant.append

    def append(self: Tenant, *stored: Any, **more: Any) -> str | None:
        refusal = original(self, *stored, **more)
        self.is_broken = False
        return refusal

    patch.setattr(Tenant, "append", append)


@mutant
def batches_are_taken_while_aborting(patch: pytest.MonkeyPatch) -> None:
    original = ReceiverCore._on_batch

    def on_batch(self: ReceiverCore, event: BatchReceived) -> None:
        phase = self.state.phase
        if phase is Phase.ABORTING:
            self.state.phase = Phase.READY
        original(self, event)
        if phase is Phase.ABORTING:
            self.state.phase = phase

    patch.setattr(ReceiverCore, "_on_batch", on_batch)


@mutant
def sender_does_not_seek_on_a_rewind(patch: pytest.MonkeyPatch) -> None:
    original = SenderCore._resume

    def resume(self: SenderCore, positions: Any) -> Any:
        opened = {name: at for name, at in positions.items() if self._streams[name].next is None}
        return original(self, opened)

    patch.setattr(SenderCore, "_resume", resume)


@mutant
def receiver_takes_what_was_sent_before_a_rewind(patch: pytest.MonkeyPatch) -> None:
    original = ReceiverCore._on_batch

    def on_batch(self: ReceiverCore, event: BatchReceived) -> None:
        held = self.state.holder(event.connection)
        original(self, event if held is None else replace(event, rewinds=held.rewinds))

    patch.setattr(ReceiverCore, "_on_batch", on_batch)


@mutant
def sender_sends_what_it_read_before_a_seek(patch: pytest.MonkeyPatch) -> None:
    original = SenderCore._was_read

    def was_read(self: SenderCore, event: Any) -> Any:
        return original(self, replace(event, generation=self.generation))

    patch.setattr(SenderCore, "_was_read", was_read)


# Levels and channels.


@mutant
def ack_on_receipt_counts_as_stored(patch: pytest.MonkeyPatch) -> None:
    def opened(self: SenderCore, names: Iterable[str]) -> SendOpen:
        return SendOpen(self._connection, {name: self._streams[name].acked for name in names})

    patch.setattr(SenderCore, "_open", opened)


@mutant
def everybody_is_acked_on_receipt(patch: pytest.MonkeyPatch) -> None:
    original = Claims.ask

    def ask(self: Claims, hello: HelloReceived) -> Any:
        return original(self, replace(hello, ack_on_receipt=True))

    patch.setattr(Claims, "ask", ask)


@mutant
def gaps_are_not_counted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Cursors, "newly_lost", lambda self, name, start, end: 0)


@mutant
def log_is_read_before_it_is_synced(patch: pytest.MonkeyPatch) -> None:
    original = Log.put

    def put(self: Log, batch: Any) -> bool:
        taken = original(self, batch)
        writer = self._writer
        if taken and writer is not None:
            self._is_durable(writer, writer.segment.size, self.number)
        return taken

    patch.setattr(Log, "put", put)


@mutant
def log_accepts_before_it_is_synced(patch: pytest.MonkeyPatch) -> None:
    def put(self: LogPositions, stream: str, end: int) -> None:
        self.taken[stream] = self._moved[stream] = self._accepted[stream] = end
        self.forgotten = []

    patch.setattr(LogPositions, "put", put)


@mutant
def log_forgets_how_far_sources_were_taken(patch: pytest.MonkeyPatch) -> None:
    original = record.apply

    def apply(taken: dict[str, int], header: Any, meta: Any) -> None:
        original(taken, header, meta)
        taken.clear()

    patch.setattr(record, "apply", apply)


@mutant
def torn_records_are_believed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(record, "is_valid", lambda header, data, seed, offset=0: True)
    patch.setattr(
        SegmentReader,
        "payload",
        lambda self, entry: self.file.read(entry.payload_at, entry.header.payload_bytes),
    )


# Adoption.


@mutant
def adopter_does_not_fence_first(patch: pytest.MonkeyPatch) -> None:
    adopters: set[str] = set()
    create, original = Adopter.__init__, CommitLoop._recover_once

    def init(self: Adopter, world: Any, disk: Any, prefix: str) -> None:
        adopters.add(prefix)
        create(self, world, disk, prefix)

    def recover_once(self: CommitLoop) -> Steps:
        if self._prefix not in adopters:
            yield from original(self)
            return
        yield SinkClaim()
        yield from _open_as_recorded(self)

    patch.setattr(Adopter, "__init__", init)
    patch.setattr(CommitLoop, "_recover_once", recover_once)


def _open_as_recorded(loop: CommitLoop) -> Steps:
    state = loop._state
    paths = (documents.fence_path(state.sink), documents.commit_path(state.sink))
    fence_node, record_node = yield Get(paths, fresh=True)
    if fence_node is None:
        raise RetryableError("nothing to adopt")
    state.adopt(fence_node, record_node)
    yield SinkOpen(state.record.token)
    if state.record.token is not None:
        yield SinkPublish(state.record.token)


@mutant
def recovery_claims_storage_after_it_has_read_the_record(patch: pytest.MonkeyPatch) -> None:
    original = CommitLoop._recover_once

    def recover_once(self: CommitLoop) -> Steps:
        steps, result = original(self), None
        while True:
            try:
                step = steps.send(result)
            except StopIteration:
                return
            if isinstance(step, SinkOpen):
                yield SinkClaim()
            result = None if isinstance(step, SinkClaim) else (yield step)

    patch.setattr(CommitLoop, "_recover_once", recover_once)


@mutant
def recovery_does_not_look_at_the_fence_after_its_claim(patch: pytest.MonkeyPatch) -> None:
    def recover_once(self: CommitLoop) -> Steps:
        state = self._state
        fence, record = documents.fence_path(state.sink), documents.commit_path(state.sink)
        (node,) = yield Get((fence,), fresh=True)
        if node is None:
            empty = documents.encode(documents.Record())
            yield Multi((Create(fence, b""), Create(record, empty)))
        else:
            yield Multi((Set(fence, b"", node.version),))
        yield SinkClaim()
        yield from _open_as_recorded(self)

    patch.setattr(CommitLoop, "_recover_once", recover_once)


@mutant
def adopter_goes_on_in_the_old_file(patch: pytest.MonkeyPatch) -> None:
    original = Tenant.claim

    def claim(self: Tenant) -> None:
        original(self)
        self.disk.is_uncopied = False

    patch.setattr(Tenant, "claim", claim)


@mutant
def late_append_of_a_paused_owner_lands_in_the_copy(patch: pytest.MonkeyPatch) -> None:
    original = Tenant.append

    def append(self: Tenant, *stored: Any, **more: Any) -> str | None:
        self._content = self.disk.content
        return original(self, *stored, **more)

    patch.setattr(Tenant, "append", append)


@mutant
def owner_undoes_and_publishes_what_was_adopted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Tenant, "is_lost", lambda self: False)


@mutant
def recovery_leaves_no_mark_in_its_fence(patch: pytest.MonkeyPatch) -> None:
    original = CommitLoop.__init__

    def init(self: CommitLoop, *arguments: Any, **options: Any) -> None:
        original(self, *arguments, **options)
        self._mark = b""

    patch.setattr(CommitLoop, "__init__", init)


# Fan-outs.


@mutant
def branch_forgets_its_mark_when_a_transaction_is_undone(patch: pytest.MonkeyPatch) -> None:
    original = BranchCore.recorded

    def recorded(self: BranchCore, mark: Mark, end: int) -> None:
        original(self, mark, end)
        self.staged = None

    patch.setattr(BranchCore, "recorded", recorded)


@mutant
def branch_goes_on_after_it_failed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(BranchCore, "failed", lambda self: None)


@mutant
def branch_believes_its_own_mark(patch: pytest.MonkeyPatch) -> None:
    original = BranchCore.took

    def took(self: BranchCore, mark: Mark) -> None:
        original(self, mark)
        self.committed, self.staged = mark, None

    patch.setattr(BranchCore, "took", took)


@mutant
def required_branch_is_not_synced(patch: pytest.MonkeyPatch) -> None:
    original = ModelSink.prepare

    def prepare(self: ModelSink) -> Prepared:
        prepared = original(self)
        return Prepared(prepared.token, lambda: None) if self.tenant.disk.is_required else prepared

    patch.setattr(ModelSink, "prepare", prepare)


@mutant
def required_branch_keeps_what_was_undone(patch: pytest.MonkeyPatch) -> None:
    original = ModelSink.discard

    def discard(self: ModelSink, token: bytes | None) -> None:
        if self.tenant.disk.is_required:
            self.tenant.is_broken = False
        else:
            original(self, token)

    patch.setattr(ModelSink, "discard", discard)


@mutant
def log_forgets_what_a_branch_has_not_taken(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Token, "slowest", property(lambda self: self.end))


@mutant
def log_that_is_full_waits_for_a_commit_that_it_prevents(patch: pytest.MonkeyPatch) -> None:
    original = CommitLoop._commit

    def commit(self: CommitLoop, *, drain: bool) -> Steps:
        if self._state.phase is not Phase.ABORTING:
            yield from original(self, drain=drain)

    patch.setattr(CommitLoop, "_commit", commit)


@mutant
def branch_that_is_required_now_is_written_to_before_it_has_caught_up(patch: pytest.MonkeyPatch) -> None:
    original = FanOutCore._assign

    def assign(self: FanOutCore, committed: Token) -> None:
        marks = {name: replace(mark, at=committed.end) for name, mark in committed.marks.items()}
        original(self, replace(committed, marks=marks))

    patch.setattr(FanOutCore, "_assign", assign)


@mutant
def branch_that_is_no_longer_required_begins_anew(patch: pytest.MonkeyPatch) -> None:
    original = FanOutCore._recorded

    def recorded(self: FanOutCore, committed: Token, *, reread: bool = False) -> None:
        direct = {name: token for name, token in committed.direct.items() if name not in self.fed}
        original(self, replace(committed, direct=direct), reread=reread)

    patch.setattr(FanOutCore, "_recorded", recorded)


# Adoption of fan-outs.


@mutant
def adopter_feeds_branches_what_was_not_committed(patch: pytest.MonkeyPatch) -> None:
    original = FanOutCore.decoded

    def decoded(self: FanOutCore, token: bytes | None) -> Token:
        found = original(self, token)
        if self.adopts and isinstance(self._log, BranchLog):
            return replace(found, end=max(found.end, self._log.disk.length))
        return found

    patch.setattr(FanOutCore, "decoded", decoded)


@mutant
def adopter_passes_over_what_it_can_not_reach(patch: pytest.MonkeyPatch) -> None:
    def goal(self: BranchLife, committed: Mark) -> int:
        return committed.at if self.core is None else self.core.end

    original = branch.take

    def take(step: Step, *arguments: Any, **options: Any) -> Any:
        prepared, mark = original(step, *arguments, **options)
        return prepared, replace(mark, at=max(mark.at, step.goal))

    patch.setattr(BranchLife, "goal", goal)
    patch.setattr(branch, "take", take)


# Several destinations of one channel.


@mutant
def channel_is_trimmed_by_the_fastest(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Cursors, "passed", lambda self, end: max(self.at.values(), default=end))
    patch.setattr(LogCursors, "slowest", property(lambda self: max(each.position for each in _places(self))))


@mutant
def required_destination_loses_what_finds_no_room(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Cursors, "expendable", lambda self: max(self.at.values(), default=0))
    patch.setattr(LogCursors, "floor", property(lambda self: max(each.position for each in _places(self))))


@mutant
def destination_that_nobody_requires_is_waited_for(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Cursors, "expendable", lambda self: min(self.at.values(), default=0))


@mutant
def losses_of_one_destination_are_those_of_all(patch: pytest.MonkeyPatch) -> None:
    original = Cursors.newly_lost
    patch.setattr(Cursors, "newly_lost", lambda self, name, start, end: original(self, "", start, end))


@mutant
def destinations_share_a_cursor(patch: pytest.MonkeyPatch) -> None:
    def move(self: Any, name: str, position: int) -> None:
        for place in _places(self):
            place.position = max(place.position, position)

    patch.setattr(LogCursors, "move", move)


@mutant
def cursor_moves_with_what_it_has_lost(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        LogReader, "position", lambda self: max(self._log.cursors.position(self._cursor), self.bounds()[0])
    )


def _places(cursors: LogCursors) -> Iterable[Any]:
    return cursors._places.values()

"""Recovery, the commit loop, and what it does in trouble [pure]."""

from __future__ import annotations

from dataclasses import dataclass

from qanat.coordination.store import Check, Conflict, Create, Op, Set
from qanat.delivery import documents
from qanat.delivery.claims import RETRY_S_MAX, Asking, Claims
from qanat.delivery.documents import Claim, Positions, Record
from qanat.delivery.receiver_messages import Disconnect, SendAck, Stopped
from qanat.delivery.state import Held, Phase, SinkState
from qanat.delivery.steps import (
    Get,
    Multi,
    Procedure,
    SinkClaim,
    SinkDiscard,
    SinkOpen,
    SinkPrepare,
    SinkPublish,
    SinkSync,
    Wait,
)
from qanat.errors import FencedError, NotConnectedError, OutcomeUnknownError, QanatError, RetryableError

# Commits of a clean stop: a sink may only know after one of them what it has left to finish (a fan-out's branches).
DRAIN_COMMITS_MAX = 3
STOP_ATTEMPTS_MAX = (
    3  # a stopping collector gives the store this many chances; what is not acked is sent again
)


@dataclass(slots=True)
class _Cut:
    """What one transaction covers: for each sender held at the prepare, its claim and how far it was received."""

    held: dict[str, Held]
    positions: dict[str, Positions]
    retired: dict[str, set[str]]

    def has_news(self) -> bool:
        """Some stream moved beyond what is committed, or can be forgotten."""
        return any(self.retired.values()) or any(self.moved(sender) for sender in self.held)

    def moved(self, sender: str) -> Positions:
        committed = self.held[sender].committed
        return {name: at for name, at in self.positions[sender].items() if committed.get(name) != at}


@dataclass(slots=True)
class _Fold:
    """A claim rewritten within a commit: its base takes over positions at rest, and loses retired streams."""

    held: Held
    base: Positions
    op: Set


class CommitLoop:
    """The one procedure that lives as long as the sink."""

    def __init__(
        self,
        state: SinkState,
        claims: Claims,
        *,
        prefix: str,
        commit_s: float,
        commit_bytes: int,
        record_streams_max: int,
    ) -> None:
        self._state = state
        self._claims = claims
        self._prefix = prefix
        self._mark = prefix.encode()  # in the fence of the sink: who recovered last
        self._is_recovered = False
        self._commit_s = commit_s
        self._commit_bytes = commit_bytes
        self._record_streams_max = record_streams_max
        self._transactions = 0
        self._publish_due = False
        self._troubles = 0  # in a row, with no commit between them

    def run(self) -> Procedure:
        """Recover, commit at the interval until told to stop, end cleanly."""
        state = self._state
        if (yield from self._recover()):
            while not state.stopping:
                if state.open_bytes < self._commit_bytes:
                    yield Wait(self._commit_s)
                if state.trouble is None and not state.stopping:
                    yield from self._commit(drain=False)
                if state.trouble is not None:
                    yield from self._abort()
            yield from self._wind_up()
        state.phase = Phase.STOPPED
        for connection in list(state.senders):
            state.out.append(Disconnect(connection, "the collector stops"))
        state.out.append(Stopped())

    def _wind_up(self) -> Procedure:
        """The last commit. Its failure is no reason to hang: what was not acked is sent again elsewhere."""
        state = self._state
        state.phase = Phase.STOPPING
        for _ in range(DRAIN_COMMITS_MAX):
            token = state.record.token
            if state.trouble is None:
                yield from self._commit(drain=True)
            if state.record.token == token:
                break
        if state.trouble is not None:
            state.report("stopped_with_open_transaction", state.trouble)
            return
        for held in list(state.held.values()):
            try:
                yield from self._claims.release_once(held)
            except (QanatError, Conflict) as error:
                state.report("claim_not_released", f"{held.sender}: {error}")

    # Recovery.

    def _recover(self) -> Asking[bool]:
        """Gives False when told to stop before it succeeded."""
        attempt = 0
        while not self._state.stopping:
            try:
                yield from self._recover_once()
                break
            except (RetryableError, OutcomeUnknownError, Conflict) as error:
                attempt += 1
                self._state.report("recovery_waits", str(error))
                yield Wait(RETRY_S_MAX, attempt)
        if self._state.stopping:
            return False
        self._state.phase = Phase.READY
        self._state.report("sink_ready", f"fence {self._state.fence}, record {self._state.record_version}")
        return True

    def _recover_once(self) -> Procedure:
        """Rule 4: the own fence moves first, so that no commit of a former life can land after the record is read.

        Then storage is claimed, and only then the record read: it is what storage must be made to say if the fence still
        has our mark. Else somebody newer may have claimed storage before we did, and committed more.
        """
        state = self._state
        self._is_recovered = False
        fence, commit = documents.fence_path(state.sink), documents.commit_path(state.sink)
        (node,) = yield Get((fence,), fresh=True)
        if node is None:
            yield Multi((Create(fence, self._mark), Create(commit, documents.encode(Record()))))
        else:
            yield Multi((Set(fence, self._mark, node.version),))
        yield SinkClaim()
        (fence_node,) = yield Get((fence,), fresh=True)
        if fence_node.value != self._mark:
            raise RetryableError(f"another process of {state.sink} has begun to recover")
        (record_node,) = yield Get((commit,), fresh=True)
        state.adopt(fence_node, record_node)
        yield SinkOpen(state.record.token)
        if state.record.token is not None:
            yield SinkPublish(state.record.token)
        self._is_recovered = True

    # Commit.

    def _commit(self, *, drain: bool) -> Procedure:
        state = self._state
        cut = self._cut()
        try:
            token = yield SinkPrepare(drain)
            if token == state.record.token and not cut.has_news():
                if self._publish_due:
                    yield from self._publish(token)
                return
            yield SinkSync()
        except RetryableError as error:
            state.fail(str(error))
            return
        if (yield from self._write(cut, token)):
            yield from self._publish(token)

    def _publish(self, token: bytes) -> Procedure:
        """The record says what is to be visible. What fails now is tried again with the next commit, or without one."""
        try:
            yield SinkPublish(token)
            self._publish_due = False
        except RetryableError as error:
            self._publish_due = True
            self._state.report("publish_waits", str(error))

    def _cut(self) -> _Cut:
        """What was appended before the prepare that follows, and nothing after it, is in the transaction."""
        held = dict(self._state.held)
        self._state.open_bytes = 0
        return _Cut(
            held,
            {sender: dict(claim.next) for sender, claim in held.items()},
            {sender: set(claim.retired) for sender, claim in held.items()},
        )

    def _write(self, cut: _Cut, token: bytes) -> Asking[bool]:
        """Rules 1 and 5. Gives True when the record is committed, False when the transaction must be undone."""
        state = self._state
        self._transactions += 1
        record, folds = self._next_record(cut, token)
        attempt = 0
        while True:
            try:
                yield Multi(self._ops(record, folds))
                break
            except Conflict as conflict:
                if conflict.index >= 2:  # a claim to fold was rewritten: fold another time
                    yield from self._reread(folds)
                    record, folds = self._without_folds(cut, token), []
                    continue
                outcome = yield from self._look(record)
                if not outcome:
                    state.fail(f"the fence of {state.sink} moved: another sink has taken a claim over")
                    return False
                break
            except OutcomeUnknownError as error:
                outcome = yield from self._look(record)
                if outcome:
                    break
                reason = str(error)
            except NotConnectedError as error:
                reason = str(error)
            attempt += 1
            state.report("commit_waits", reason)
            if state.stopping and attempt >= STOP_ATTEMPTS_MAX:
                state.fail(f"stopping while the outcome of a commit is unknown: {reason}")
                return False
            yield Wait(RETRY_S_MAX, attempt)
        self._committed(cut, record, folds)
        return True

    def _ops(self, record: Record, folds: list[_Fold]) -> tuple[Op, ...]:
        state = self._state
        return (
            Check(documents.fence_path(state.sink), state.fence),
            Set(documents.commit_path(state.sink), documents.encode(record), state.record_version),
            *(fold.op for fold in folds),
        )

    def _reread(self, folds: list[_Fold]) -> Procedure:
        """Learn the versions of claims that were rewritten, perhaps by a renewal of ours whose reply was lost."""
        paths = tuple(documents.claim_path(fold.held.sender) for fold in folds)
        try:
            nodes = yield Get(paths, fresh=True)
        except NotConnectedError:
            return  # the next fold is refused again, and comes here again
        for path, fold, node in zip(paths, folds, nodes, strict=True):
            claim = documents.decode_claim(node.value, path)
            if (claim.owner, claim.epoch) == (self._state.sink, fold.held.epoch):
                fold.held.learn(node.version, claim.base)

    def _without_folds(self, cut: _Cut, token: bytes) -> Record:
        return self._next_record(cut, token, fold=False)[0]

    def _next_record(self, cut: _Cut, token: bytes, *, fold: bool = True) -> tuple[Record, list[_Fold]]:
        """The record after this transaction; positions of senders that are not held any more stay as they are."""
        positions = {
            sender: dict(streams)
            for sender, streams in self._state.record.positions.items()
            if sender not in self._state.gone
        }
        folds: list[_Fold] = []
        for sender, held in cut.held.items():
            mine = positions.pop(sender, {}) | cut.moved(sender)
            if fold and (cut.retired[sender] or len(mine) > self._record_streams_max):
                folds.append(self._fold(held, mine, cut.retired[sender]))
                mine = {}
            if mine:
                positions[sender] = mine
        return Record(f"{self._prefix}.{self._transactions}", positions, token), folds

    def _fold(self, held: Held, mine: Positions, retired: set[str]) -> _Fold:
        base = documents.merged(held.base, mine)
        for stream in retired:
            base.pop(stream, None)
        claim = Claim(self._state.sink, held.epoch, held.instance, held.instance_epoch, base)
        return _Fold(
            held, base, Set(documents.claim_path(held.sender), documents.encode(claim), held.version)
        )

    def _look(self, record: Record) -> Asking[bool]:
        """What became of a commit in doubt: True when it was applied. Until the store answers, nobody can know."""
        state, attempt = self._state, 0
        while True:
            try:
                (node,) = yield Get((documents.commit_path(state.sink),), fresh=True)
                stored = documents.decode_record(node.value, documents.commit_path(state.sink))
                return stored.transaction == record.transaction
            except NotConnectedError as error:
                attempt += 1
                state.report("commit_waits", str(error))
                if state.stopping and attempt >= STOP_ATTEMPTS_MAX:
                    return False
                yield Wait(RETRY_S_MAX, attempt)

    def _committed(self, cut: _Cut, record: Record, folds: list[_Fold]) -> None:
        state = self._state
        state.record, state.record_version = record, state.record_version + 1
        state.commits += 1
        self._troubles = 0
        for fold in folds:
            fold.held.rebase(fold.base, fold.op.version + 1, cut.retired[fold.held.sender])
        for sender, held in cut.held.items():
            news = cut.moved(sender)
            held.committed.update(news)
            if news and held.connection is not None:
                state.out.append(SendAck(held.connection, news))

    # Abort.

    def _abort(self) -> Procedure:
        """Undo the open transaction, adopt the fence (rule 3), and rewind the senders whose claims are still held."""
        state = self._state
        state.phase = Phase.ABORTING
        state.aborts += 1
        state.report("transaction_aborted", state.trouble or "")
        while not state.stopping:
            if self._troubles:
                yield Wait(RETRY_S_MAX, self._troubles)
            self._troubles += 1
            try:
                yield from self._return_to_record()
            except (RetryableError, OutcomeUnknownError, Conflict) as error:
                state.report("abort_waits", str(error))
                continue
            self._forget_uncommitted()
            # A sink that is full may have passed things on meanwhile, and has room as soon as that is recorded: before the
            # senders fill it again.
            yield from self._commit(drain=False)
            if state.trouble is None:
                break
        if state.stopping:
            return
        state.phase = Phase.READY
        for held in state.held.values():
            self._rewind_all(held)

    def _forget_uncommitted(self) -> None:
        state = self._state
        state.trouble = None
        state.open_bytes = 0
        for held in state.held.values():
            self._return_to_committed(held)

    def _return_to_record(self) -> Procedure:
        """The fence is read before the record: once it is known to have moved, no older commit can change the record.

        A fence that another process of this sink has moved by its recovery is not ours to adopt, nor is storage: come back as
        a new process would.
        """
        state = self._state
        (fence_node,) = yield Get((documents.fence_path(state.sink),), fresh=True)
        if self._is_recovered and fence_node.value == self._mark:
            (record_node,) = yield Get((documents.commit_path(state.sink),), fresh=True)
            state.adopt(fence_node, record_node)
            try:
                yield SinkDiscard(state.record.token)
            except FencedError:
                self._is_recovered = False
        else:
            self._is_recovered = False
        if not self._is_recovered:
            state.report("sink_taken_over", "another process of this sink has recovered it")
            yield from self._recover_once()
        before = list(state.held.values())
        nodes = yield Get(tuple(documents.claim_path(held.sender) for held in before), fresh=True)
        for held, node in zip(before, nodes, strict=True):
            if state.held.get(held.sender) is not held:
                continue  # claimed anew meanwhile
            claim = documents.decode_claim(node.value, documents.claim_path(held.sender))
            if (claim.owner, claim.epoch) == (state.sink, held.epoch):
                held.learn(node.version, claim.base)
            else:
                self._let_go(held, claim)

    def _let_go(self, held: Held, claim: Claim) -> None:
        self._state.lose(held)
        is_newer = claim.instance_epoch > held.instance_epoch
        newer = (claim.instance, claim.instance_epoch) if is_newer else None
        self._state.cut_off(held, f"sink {claim.owner!r} has taken the claim over", newer)

    def _return_to_committed(self, held: Held) -> None:
        recorded = self._state.record.positions.get(held.sender, {})
        held.committed = documents.merged(held.committed, recorded)
        held.next = {name: held.committed[name] for name in held.next}

    def _rewind_all(self, held: Held) -> None:
        self._return_to_committed(held)
        self._state.rewind(held)

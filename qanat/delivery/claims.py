"""How a sink gets and gives up claims [pure]."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeVar

from qanat.coordination.store import Check, Conflict, Create, Node, Op, Set
from qanat.delivery import documents
from qanat.delivery.documents import Claim, Positions
from qanat.delivery.receiver_messages import Disconnect, HelloReceived, SendFenced, SendReleased, SendWelcome
from qanat.delivery.state import Held, Phase, SinkState
from qanat.delivery.steps import Get, Multi, Procedure, Step, Wait
from qanat.errors import NotConnectedError, OutcomeUnknownError, RetryableError

T = TypeVar("T")
Asking = Generator[Step, Any, T]

RETRY_S_MAX = 30.0  # the longest pause between attempts at a store or a disk in trouble
COMMIT_WAIT_S = (
    0.05  # a fraction of a commit interval: how often a release looks whether the last commit is done
)
CONFLICT_RETRY_S_MAX = 0.5  # somebody else changed the claim: read again soon


@dataclass(slots=True)
class _Wanted:
    """The latest hello of a sender; `lost` once its connection is gone and nobody needs the answer."""

    hello: HelloReceived
    lost: bool = False


class Claims:
    """The claim procedures of one sink."""

    def __init__(self, state: SinkState) -> None:
        self._state = state
        self._wanted: dict[str, _Wanted] = {}  # by sender, while its procedure runs

    def ask(self, hello: HelloReceived) -> Procedure | None:
        """A procedure that answers this hello; None when one is under way for its sender, which then answers this one."""
        earlier = self._wanted.get(hello.sender)
        self._wanted[hello.sender] = _Wanted(hello)
        if earlier is None:
            return self._until_answered(hello.sender)
        if earlier.hello.connection != hello.connection and not earlier.lost:
            # Nobody answers it any more, and it may be the one that is alive: it has to come again.
            earlier.lost = True
            self._state.out.append(
                Disconnect(earlier.hello.connection, "another connection of the sender said hello")
            )
        return None

    def connection_lost(self, connection: int) -> None:
        """Do not claim for a sender that is gone: it may be on its way to another collector."""
        for wanted in self._wanted.values():
            wanted.lost |= wanted.hello.connection == connection

    def _until_answered(self, sender: str) -> Procedure:
        attempt = 0
        while True:
            wanted = self._wanted[sender]
            if wanted.lost or self._refuse(wanted.hello):
                break
            try:
                if self._state.phase is Phase.RECOVERING:
                    yield Wait(CONFLICT_RETRY_S_MAX, 1)
                    continue
                yield from self._claim(wanted)
                if self._wanted[sender] is wanted:
                    break
            except (RetryableError, OutcomeUnknownError, Conflict) as error:
                attempt += (
                    1  # whatever became of it: the next attempt reads the claim, and compares its version
                )
                self._state.report("claim_waits", f"{sender}: {error}")
                slow = isinstance(error, NotConnectedError)
                yield Wait(RETRY_S_MAX if slow else CONFLICT_RETRY_S_MAX, attempt)
        del self._wanted[sender]

    def _refuse(self, hello: HelloReceived) -> bool:
        stopping = self._state.phase in (Phase.STOPPING, Phase.STOPPED)
        if stopping:
            self._state.out.append(Disconnect(hello.connection, "the collector stops"))
        return stopping

    def _claim(self, wanted: _Wanted) -> Procedure:
        hello = wanted.hello
        path = documents.claim_path(hello.sender)
        (node,) = yield Get((path,), fresh=True)
        old = None if node is None else documents.decode_claim(node.value, path)
        instance_epoch = _instance_epoch(hello, old)
        if instance_epoch is None:
            assert old is not None
            self._state.out.append(SendFenced(hello.connection, old.instance_epoch, old.instance))
            return
        held = self._state.held.get(hello.sender)
        if held is not None and old is not None and (old.owner, old.epoch) == (self._state.sink, held.epoch):
            yield from self._renew(held, node.version, hello, old, instance_epoch)
        else:
            held = yield from self._take(node, hello, old, instance_epoch)
        self._welcome(held, wanted, instance_epoch)

    def _renew(
        self, held: Held, version: int, hello: HelloReceived, old: Claim, instance_epoch: int
    ) -> Procedure:
        """The claim is ours already: the sender came back, perhaps as a new process."""
        held.learn(version, old.base)
        if (old.instance, old.instance_epoch) == (hello.instance, instance_epoch):
            return
        claim = Claim(old.owner, old.epoch, hello.instance, instance_epoch, old.base)
        yield Multi((Set(documents.claim_path(hello.sender), documents.encode(claim), version),))
        if self._state.held.get(hello.sender) is not held:
            raise RetryableError(f"the claim of {hello.sender} was lost while it was renewed")
        held.learn(version + 1, old.base)

    def _take(
        self, node: Node | None, hello: HelloReceived, old: Claim | None, instance_epoch: int
    ) -> Asking[Held]:
        """A new claim, an own one of a former life, a released one, or (rule 2) another sink's, which is fenced."""
        state, path = self._state, documents.claim_path(hello.sender)
        base: Positions = {}
        ops: list[Op] = []
        if old is not None and old.owner == state.sink:
            base = documents.merged(old.base, state.record.positions.get(hello.sender, {}))
        elif old is not None and old.owner:
            base = yield from self._fence_owner(old, hello.sender, ops)
        elif old is not None:
            base = dict(old.base)
        epoch = 1 if old is None else old.epoch + 1
        value = documents.encode(Claim(state.sink, epoch, hello.instance, instance_epoch, base))
        ops.append(Create(path, value) if node is None else Set(path, value, node.version))
        fence = state.fence
        yield Multi(tuple(ops))
        if state.fence != fence:
            # An abort adopted a newer fence before it could know of this claim, which may be what the fence moved for.
            raise RetryableError(f"the fence of {state.sink} moved while the claim was on its way")
        stale = state.held.get(hello.sender)
        if stale is not None:
            # Another sink had it meanwhile, so our fence has moved: what we appended for the old claim must go.
            state.cut_off(stale, "the sender has a newer connection")
            state.fail(f"the claim of {hello.sender} was lost and taken again")
        version = 0 if node is None else node.version + 1
        held = Held(hello.sender, epoch, version, hello.instance, instance_epoch, None, base, dict(base))
        state.hold(held)
        return held

    def _fence_owner(self, old: Claim, sender: str, ops: list[Op]) -> Asking[Positions]:
        """Adds the check of the owner's record and the move of its fence to `ops`; gives the inherited positions."""
        commit, fence = documents.commit_path(old.owner), documents.fence_path(old.owner)
        record_node, fence_node = yield Get((commit, fence))
        if record_node is None or fence_node is None:
            raise NotConnectedError(
                f"sink {old.owner!r} owns {sender!r} but has no commit record at {commit} yet"
            )
        ops += [Check(commit, record_node.version), Set(fence, fence_node.value, fence_node.version)]
        record = documents.decode_record(record_node.value, commit)
        self._state.takeovers += 1
        self._state.report("claim_taken_over", f"{sender} from {old.owner}, epoch {old.epoch + 1}")
        return documents.merged(old.base, record.positions.get(sender, {}))

    def _welcome(self, held: Held, wanted: _Wanted, instance_epoch: int) -> None:
        hello = wanted.hello
        if held.connection not in (None, hello.connection):
            newer = (hello.instance, instance_epoch) if held.instance != hello.instance else None
            self._state.cut_off(held, "the sender has a newer connection", newer)
        held.instance, held.instance_epoch = hello.instance, instance_epoch
        held.ack_on_receipt = hello.ack_on_receipt
        if held.connection != hello.connection:
            held.rewinds = 0
        if wanted.lost:
            return
        held.connection = hello.connection
        self._state.senders[hello.connection] = held.sender
        self._state.out.append(
            SendWelcome(hello.connection, instance_epoch, held.epoch, dict(held.committed))
        )

    def release(self, held: Held) -> Procedure:
        """Give the claim of a drained sender up, so that the next sink takes it without fencing this one."""
        attempt = 0
        while self._state.held.get(held.sender) is held and (held.is_committed or held.ack_on_receipt):
            held.releasing = True
            if not held.is_committed:  # acked on receipt, and not stored yet
                yield Wait(COMMIT_WAIT_S)
                continue
            try:
                yield from self.release_once(held)
                break
            except (RetryableError, OutcomeUnknownError, Conflict) as error:
                attempt += 1
                self._state.report("release_waits", f"{held.sender}: {error}")
                yield Wait(CONFLICT_RETRY_S_MAX, attempt)
        if held.connection is not None:
            self._state.out.append(SendReleased(held.connection))

    def release_once(self, held: Held) -> Procedure:
        """One attempt; nothing to do when the claim is not ours any more. *Guarantee*: a claim without an owner has the
        positions of our record in its base, since the record is checked by its version."""
        state, path = self._state, documents.claim_path(held.sender)
        (node,) = yield Get((path,), fresh=True)
        claim = documents.decode_claim(node.value, path)
        if (claim.owner, claim.epoch) == (state.sink, held.epoch):
            base = documents.merged(claim.base, state.record.positions.get(held.sender, {}))
            value = documents.encode(Claim("", claim.epoch, claim.instance, claim.instance_epoch, base))
            commit = documents.commit_path(state.sink)
            yield Multi((Check(commit, state.record_version), Set(path, value, node.version)))
        if state.held.get(held.sender) is held:
            state.lose(held)


def _instance_epoch(hello: HelloReceived, old: Claim | None) -> int | None:
    """The epoch of this agent process; None when it has to be larger, or a newer process exists.

    A process learns from the refusal of its first hello which epoch to exceed. If that hello got one by itself, the first
    hello of a dead process that arrives late would fence the living."""
    if old is None:
        return max(1, hello.instance_epoch)
    if hello.instance == old.instance:
        return old.instance_epoch
    return hello.instance_epoch if hello.instance_epoch > old.instance_epoch else None

"""Conversations with the receiver core over a store in memory: what it hears, what it says, what it leaves behind."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qanat.coordination.store import Check, Conflict, Create, Node, Op, Set
from qanat.delivery import documents
from qanat.delivery.documents import Claim, Record
from qanat.delivery.receiver import ReceiverCore
from qanat.delivery.receiver_messages import (
    Append,
    AppendFailed,
    BatchReceived,
    Command,
    ConnectionLost,
    Disconnect,
    Event,
    HelloReceived,
    OpenReceived,
    Perform,
    ReleaseReceived,
    Report,
    RetireReceived,
    SendAck,
    SendFenced,
    SendOpened,
    SendReleased,
    SendRewind,
    SendWelcome,
    Start,
    StepDone,
    Stop,
    Stopped,
)
from qanat.delivery.state import Held, Phase
from qanat.delivery.steps import (
    Get,
    Multi,
    SinkClaim,
    SinkDiscard,
    SinkPrepare,
    SinkPublish,
    SinkSync,
    Step,
    Wait,
)
from qanat.errors import NotConnectedError, OutcomeUnknownError, RetryableError

Tree = dict[str, Node]


class Talk:
    """A receiver whose steps are done at once, unless `hold` keeps those of a kind; waits are kept always.

    `said`: what it told its senders since last asked. `fail_next`: errors for the next steps of a kind; an
    `OutcomeUnknownError` for a Multi comes after it was applied.
    """

    def __init__(self, sink: str, tree: Tree, *, hold: tuple[type[Step], ...] = ()) -> None:
        self.tree = tree
        self.core = ReceiverCore(sink, f"{sink}-life", commit_s=1.0, commit_bytes=1000)
        self.hold = hold
        self.held: list[Perform] = []
        self.waits: list[Perform] = []
        self.done: list[Step] = []
        self.fail_next: dict[type[Step], Exception] = {}
        self.length = 0
        self._said: list[Command] = []
        self.hear(Start())

    def hear(self, event: Event) -> None:
        for command in self.core.handle(event):
            match command:
                case Perform(_, Wait()):
                    self.waits.append(command)
                case Perform(_, step) if isinstance(step, self.hold):
                    self.held.append(command)
                case Perform():
                    self._do(command)
                case Report():
                    pass
                case _:
                    self._said.append(command)
                    self.length += isinstance(command, Append)

    def said(self) -> list[Command]:
        said, self._said = self._said, []
        return said

    def tick(self) -> None:
        """Every pause that is going on ends."""
        waits, self.waits = self.waits, []
        for wait in waits:
            self.hear(StepDone(wait.number))

    def let_go(self) -> None:
        """Do what was held, and hold nothing more."""
        self.hold = ()
        held, self.held = self.held, []
        for command in held:
            self._do(command)

    def _do(self, command: Perform) -> None:
        self.done.append(command.step)
        error = self.fail_next.pop(type(command.step), None)
        if error is not None and not isinstance(error, OutcomeUnknownError):
            self.hear(StepDone(command.number, error=error))
            return
        try:
            result = self._result(command.step)
        except Conflict as conflict:
            error = conflict
            result = None
        self.hear(StepDone(command.number, result, error))

    def _result(self, step: Step) -> object:
        match step:
            case Get():
                return [self.tree.get(path) for path in step.paths]
            case Multi():
                apply(self.tree, step.ops)
            case SinkPrepare():
                return b"%d" % self.length
            case SinkDiscard():
                self.length = int(step.token or 0)
        return None

    # The usual beginnings.

    def welcome(self, connection: int, instance: str = "i1", instance_epoch: int = 0) -> SendWelcome:
        self.hear(HelloReceived(connection, "web1", instance, instance_epoch))
        (welcome,) = [each for each in self.said() if isinstance(each, SendWelcome)]
        return welcome

    def open(self, connection: int, at: int = 0) -> None:
        self.welcome(connection)
        self.hear(OpenReceived(connection, {"s": at}))
        assert self.said() == [SendOpened(connection, {"s": at})]

    def batch(
        self, connection: int, start: int, end: int, *, corrupt: bool = False, rewinds: int = 0
    ) -> list[Command]:
        self.hear(BatchReceived(connection, "s", start, end, end - start, corrupt, rewinds))
        return self.said()

    def record(self) -> Record:
        path = documents.commit_path(self.core.state.sink)
        return documents.decode_record(self.tree[path].value, path)

    def claim(self) -> Claim:
        path = documents.claim_path("web1")
        return documents.decode_claim(self.tree[path].value, path)


def apply(tree: Tree, ops: tuple[Op, ...]) -> None:
    """A store's multi; deletions are not part of the protocol."""
    for index, op in enumerate(ops):
        node = tree.get(op.path)
        if isinstance(op, Create):
            if node is not None:
                raise Conflict(index, op.path, "exists")
        elif node is None or node.version != op.version:
            raise Conflict(index, op.path, f"is {node}")
    for op in ops:
        match op:
            case Create(path, value):
                tree[path] = Node(value, 0)
            case Set(path, value, version):
                tree[path] = Node(value, version + 1)
            case Check():
                pass


@pytest.fixture
def tree() -> Tree:
    return {}


@pytest.fixture
def talk(tree: Tree) -> Callable[..., Talk]:
    def begin(sink: str = "c1", hold: tuple[type[Step], ...] = ()) -> Talk:
        return Talk(sink, tree, hold=hold)

    return begin


def test_receiver_accepts_commits_and_acks(talk: Callable[..., Talk]) -> None:
    c1 = talk()
    c1.open(1)
    assert c1.batch(1, 0, 10) == [Append()]
    c1.tick()
    assert c1.said() == [SendAck(1, {"s": 10})]
    assert c1.record().positions == {"web1": {"s": 10}}
    assert c1.record().token == b"1"
    assert [type(step) for step in c1.done[-4:]] == [SinkPrepare, SinkSync, Multi, SinkPublish]


def test_receiver_drops_what_it_has_seen_and_rewinds_a_gap_once(talk: Callable[..., Talk]) -> None:
    c1 = talk()
    c1.open(1)
    c1.batch(1, 0, 10)
    assert c1.batch(1, 0, 10) == []
    assert c1.batch(1, 20, 30) == [SendRewind(1, {"s": 10})]
    assert c1.batch(1, 30, 40) == []
    assert c1.batch(1, 10, 20) == []  # right by chance: it was sent before the rewind was followed
    assert c1.batch(1, 10, 20, rewinds=1) == [Append()]


def test_receiver_takes_no_stream_ahead_of_another_that_it_asked_for_again(talk: Callable[..., Talk]) -> None:
    c1 = talk()
    c1.open(1)
    c1.hear(OpenReceived(1, {"later": 0}))
    c1.said()
    assert c1.batch(1, 0, 10, corrupt=True) == [SendRewind(1, {"s": 0, "later": 0})]
    c1.hear(BatchReceived(1, "later", 0, 5, 5))  # of the file that took the place of the first
    assert c1.said() == []
    assert c1.batch(1, 0, 10, rewinds=1) == [Append()]


def test_receiver_rewinds_a_corrupt_batch(talk: Callable[..., Talk]) -> None:
    c1 = talk()
    c1.open(1)
    assert c1.batch(1, 0, 10, corrupt=True) == [SendRewind(1, {"s": 0})]


def on_receipt(talk: Callable[..., Talk], hold: tuple[type[Step], ...] = ()) -> Talk:
    c1 = talk(hold=hold)
    c1.hear(HelloReceived(1, "web1", "i1", 0, ack_on_receipt=True))
    c1.hear(OpenReceived(1, {"s": 0}))
    c1.said()
    return c1


def test_receiver_acks_on_receipt_who_asked_for_it(talk: Callable[..., Talk]) -> None:
    c1 = on_receipt(talk)
    assert c1.batch(1, 0, 10) == [Append(), SendAck(1, {"s": 10})]
    assert c1.batch(1, 20, 30) == [SendRewind(1, {"s": 10})]


def test_receiver_stops_acking_on_receipt_while_commits_do_not_come_through(
    talk: Callable[..., Talk],
) -> None:
    c1 = on_receipt(talk, hold=(SinkSync,))
    c1.batch(1, 0, 1000)
    c1.tick()  # a commit begins, and hangs
    assert c1.batch(1, 1000, 4500) == [Append(), SendAck(1, {"s": 4500})]
    assert c1.batch(1, 4500, 5100) == [Append()]
    c1.let_go()
    c1.tick()
    assert SendAck(1, {"s": 5100}) in c1.said()


def test_receiver_releases_what_it_acked_on_receipt_only_when_it_is_stored(talk: Callable[..., Talk]) -> None:
    c1 = on_receipt(talk)
    c1.batch(1, 0, 10)
    c1.hear(ReleaseReceived(1))
    assert c1.said() == []
    c1.tick()
    c1.tick()
    assert SendReleased(1) in c1.said()
    assert (c1.claim().owner, c1.claim().base) == ("", {"s": 10})


def test_receiver_turns_away_who_sends_without_opening(talk: Callable[..., Talk]) -> None:
    c1 = talk()
    c1.welcome(1)
    (said,) = c1.batch(1, 0, 10)
    assert isinstance(said, Disconnect)


def test_receiver_finds_its_commit_done_when_only_the_reply_was_lost(talk: Callable[..., Talk]) -> None:
    c1 = talk()
    c1.open(1)
    c1.batch(1, 0, 10)
    c1.fail_next[Multi] = OutcomeUnknownError("no reply")  # applied, then lost
    c1.tick()
    assert c1.said() == [SendAck(1, {"s": 10})]
    assert c1.core.state.commits == 1
    assert c1.core.state.aborts == 0


def test_receiver_sends_the_same_commit_again_when_the_store_was_away(talk: Callable[..., Talk]) -> None:
    c1 = talk()
    c1.open(1)
    c1.batch(1, 0, 10)
    c1.fail_next[Multi] = NotConnectedError("away")
    c1.tick()
    assert c1.said() == []
    c1.tick()
    assert c1.said() == [SendAck(1, {"s": 10})]
    first, second = [step for step in c1.done if isinstance(step, Multi)][-2:]
    assert first == second


def test_takeover_aborts_the_old_owner_which_lets_its_sender_go(talk: Callable[..., Talk]) -> None:
    c1, c2 = talk("c1"), talk("c2")
    c1.open(1)
    c1.batch(1, 0, 10)
    c1.tick()
    c1.batch(1, 10, 20)
    c1.said()
    assert c2.welcome(1).committed == {"s": 10}
    assert c2.claim() == Claim("c2", 2, "i1", 1, {"s": 10})
    c1.tick()
    (said,) = c1.said()
    assert isinstance(said, Disconnect)
    assert c1.length == 1
    assert c1.record().positions == {"web1": {"s": 10}}
    assert SinkDiscard(b"1") in c1.done


def test_claim_is_read_again_when_an_abort_adopted_a_fence_while_it_was_on_its_way(
    talk: Callable[..., Talk],
) -> None:
    c1, c2 = talk("c1"), talk("c2")
    c1.hold = (Multi,)
    c1.hear(HelloReceived(1, "web1", "i1", 0))
    (multi,) = c1.held
    apply(c1.tree, multi.step.ops)  # type: ignore[union-attr]
    c1.held, c1.hold = [], ()
    c2.welcome(2)  # fences c1 and takes the claim
    c1.hear(AppendFailed("disk full"))  # the abort adopts the fence
    assert c1.core.state.phase is Phase.READY
    c1.hear(StepDone(multi.number))
    assert c1.said() == []
    assert "web1" not in c1.core.state.held


def test_failed_append_rewinds_to_what_is_committed(talk: Callable[..., Talk]) -> None:
    c1 = talk()
    c1.open(1)
    c1.batch(1, 0, 10)
    c1.hear(AppendFailed("disk full"))
    assert c1.said() == [SendRewind(1, {"s": 0})]
    assert c1.length == 0


def test_what_a_full_sink_has_passed_on_is_committed_before_its_senders_fill_it_again(
    talk: Callable[..., Talk],
) -> None:
    c1 = talk(hold=(SinkSync,))
    c1.open(1)
    c1.hear(AppendFailed("the log is full"))  # after the discard its token is another one: "0", not None
    assert c1.batch(1, 0, 10) == []
    c1.let_go()
    assert [type(step) for step in c1.done[-3:]] == [SinkSync, Multi, SinkPublish]
    assert c1.record().token == b"0"
    assert c1.said() == [SendRewind(1, {"s": 0})]


def test_batches_are_dropped_while_aborting(talk: Callable[..., Talk]) -> None:
    c1 = talk()
    c1.open(1)
    c1.hold = (SinkDiscard,)
    c1.hear(AppendFailed("disk full"))
    assert c1.batch(1, 0, 10) == []
    c1.let_go()
    assert c1.said() == [SendRewind(1, {"s": 0})]


def test_recovery_moves_the_fence_before_it_reads_the_record(talk: Callable[..., Talk], tree: Tree) -> None:
    talk()
    fence = documents.fence_path("c1")
    before = tree[fence].version
    again = talk()
    assert tree[fence].version == before + 1
    kinds = [type(step) for step in again.done[:4]]
    assert kinds == [Get, Multi, SinkClaim, Get]


def test_release_frees_the_claim_for_a_collector_that_then_fences_nobody(talk: Callable[..., Talk]) -> None:
    c1, c2 = talk("c1"), talk("c2")
    c1.open(1)
    c1.batch(1, 0, 10)
    c1.tick()
    c1.said()
    c1.hear(ReleaseReceived(1))
    assert c1.said() == [SendReleased(1)]
    assert c1.claim() == Claim("", 1, "i1", 1, {"s": 10})
    fence = c1.tree[documents.fence_path("c1")]
    assert c2.welcome(1).committed == {"s": 10}
    assert c1.tree[documents.fence_path("c1")] == fence


def test_claim_that_is_being_released_takes_no_batches(talk: Callable[..., Talk]) -> None:
    c1 = talk()
    c1.open(1)
    c1.hold = (Multi,)
    c1.hear(ReleaseReceived(1))
    assert c1.batch(1, 0, 10) == []
    c1.let_go()
    assert c1.said() == [SendReleased(1)]


def test_end_of_an_old_connection_leaves_the_claim_with_the_new_one(talk: Callable[..., Talk]) -> None:
    c1 = talk()
    c1.open(1)
    c1.hear(ReleaseReceived(1))
    c1.said()
    c1.open(2)
    c1.hear(ConnectionLost(1))
    assert c1.core.state.held["web1"].connection == 2


def test_later_process_fences_the_earlier_one(talk: Callable[..., Talk]) -> None:
    c1 = talk()
    assert c1.welcome(1, "i1").instance_epoch == 1
    c1.hear(HelloReceived(2, "web1", "i2", 0))
    assert c1.said() == [SendFenced(2, 1, "i1")]  # that is: exceed 1
    c1.hear(HelloReceived(3, "web1", "i2", 2))
    assert c1.said() == [SendFenced(1, 2, "i2"), SendWelcome(3, 2, 1, {})]
    c1.hear(HelloReceived(4, "web1", "i1", 1))
    assert c1.said() == [SendFenced(4, 2, "i2")]


def test_hello_that_is_overtaken_is_turned_away(talk: Callable[..., Talk]) -> None:
    c1 = talk(hold=(Get,))
    c1.hear(HelloReceived(1, "web1", "i1", 0))
    c1.said()
    c1.hear(HelloReceived(2, "web1", "i1", 0))
    (said,) = c1.said()
    assert isinstance(said, Disconnect)
    assert said.connection == 1


def test_publish_that_failed_is_repeated_without_another_commit(talk: Callable[..., Talk]) -> None:
    c1 = talk()
    c1.open(1)
    c1.batch(1, 0, 10)
    c1.fail_next[SinkPublish] = RetryableError("away")
    c1.tick()
    c1.tick()
    assert [step for step in c1.done if isinstance(step, SinkPublish)] == [SinkPublish(b"1")] * 2
    assert c1.core.state.commits == 1


def test_retired_stream_is_forgotten(talk: Callable[..., Talk]) -> None:
    c1 = talk()
    c1.open(1)
    c1.batch(1, 0, 10)
    c1.tick()
    c1.said()
    c1.hear(RetireReceived(1, ("s",)))
    c1.tick()
    assert c1.claim().base == {}
    assert c1.record().positions == {}


def test_stop_commits_releases_and_ends(talk: Callable[..., Talk]) -> None:
    c1 = talk()
    c1.open(1)
    c1.batch(1, 0, 10)
    c1.hear(Stop())
    acked, disconnected, stopped = c1.said()
    assert acked == SendAck(1, {"s": 10})
    assert isinstance(disconnected, Disconnect)
    assert stopped == Stopped()
    assert c1.claim() == Claim("", 1, "i1", 1, {"s": 10})


def test_claim_is_learned_only_forwards() -> None:
    held = Held("web1", 1, 3, "i1", 1, None, {"s": 30}, {"s": 30})
    held.learn(2, {"s": 10})
    assert (held.version, held.base) == (3, {"s": 30})
    held.learn(4, {"s": 40})
    assert (held.version, held.base) == (4, {"s": 40})

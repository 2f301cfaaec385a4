"""A collector's fan-out: each branch gets every event once and in order, whatever becomes of the others."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.fan_out import runner
from collector.fan_out.lag import MEASURE_S, Lag
from collector.fan_out.log import BranchLog
from collector.fan_out.sink import FanOut
from qanat.batch import Batch, lines_batch
from qanat.clock import ManualClock
from qanat.component import Context, Prepared, Sink
from qanat.delivery.branch_life import BranchLife
from qanat.delivery.fan_out import BranchCore, Mark, Todo
from qanat.delivery.fan_out_sink import Branch
from qanat.errors import CorruptError, PermanentError, RetryableError

NS = 1_000_000_000


@dataclass
class Disk:
    """What a branch's storage holds: survives the sink. `broken`: every operation fails."""

    durable: list[tuple[int, int]] = field(default_factory=list)
    published: int = 0
    broken: bool = False
    claims: int = 0
    closed: int = 0
    gate: threading.Event = field(default_factory=threading.Event)  # nothing is synced while it is clear
    is_waiting: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.gate.set()


class ListSink(Sink):
    """A two-phase sink over a `Disk`; its token is a length."""

    def __init__(self, disk: Disk, context: Context) -> None:
        super().__init__(None, context)
        self._disk = disk
        self._rows: list[tuple[int, int]] = []

    def _check(self) -> None:
        if self._disk.broken:
            raise RetryableError("broken for the test")

    def claim(self, *, by_force: bool = False) -> None:
        self._check()
        self._disk.claims += 1

    def open(self, token: bytes | None) -> None:
        self._check()
        length = int(token or 0)
        if len(self._disk.durable) < length:
            raise CorruptError(f"{length} committed, {len(self._disk.durable)} there")
        del self._disk.durable[length:]
        self._rows = list(self._disk.durable)

    def append(self, batch: Batch) -> None:
        self._check()
        self._rows.append((batch.start, batch.end))

    def prepare(self) -> Prepared:
        self._check()
        rows = list(self._rows)

        def sync() -> None:
            self._check()
            if not self._disk.gate.is_set():
                self._disk.is_waiting.set()
                assert self._disk.gate.wait(30)
            self._disk.durable = rows

        return Prepared(b"%d" % len(rows), sync)

    def publish(self, token: bytes) -> None:
        self._check()
        self._disk.published = max(self._disk.published, int(token))

    def discard(self, token: bytes | None) -> None:
        self.open(token)

    def drain(self) -> None:
        self._check()

    def close(self) -> None:
        self._disk.closed += 1


class Node:
    """A commit loop by hand: a record that survives, and a fan-out that can crash."""

    def __init__(self, directory: Path, required: tuple[bool, ...]) -> None:
        self.disks = [Disk() for _ in required]
        self.record: bytes | None = None
        self._required = required
        self._context = Context("c1", "coll", "host", directory)
        self.position = 0  # received
        self.committed = 0
        self.start()

    def start(self) -> None:
        branches = [
            Branch(str(index), ListSink(self.disks[index], self._context), required)
            for index, required in enumerate(self._required)
        ]
        self.sink = FanOut(branches, self._context)
        self.sink.claim()
        self.sink.open(self.record)
        if self.record is not None:
            self.sink.publish(self.record)
        self.position = self.committed

    def crash(self) -> None:
        self.sink.close()
        self.start()

    def append(self) -> None:
        payload = b"line\n"
        self.sink.append(lines_batch("s", self.position, payload, timestamp_ns=0, attributes={}))
        self.position += len(payload)

    def commit(self, *, record: bool = True) -> None:
        prepared = self.sink.prepare()
        prepared.sync()
        if record:
            self.record, self.committed = prepared.token, self.position
            self.sink.publish(prepared.token)

    def commit_or_abort(self) -> str:
        """As a collector does; why, when it aborts."""
        try:
            self.commit()
        except RetryableError as error:
            self.abort()
            return str(error)
        return ""

    def abort(self) -> None:
        self.sink.discard(self.record)
        self.position = self.committed

    def stored(self, branch: int) -> list[int]:
        disk = self.disks[branch]
        return [start for start, _ in disk.durable[: disk.published]]

    def settle(self, done: Callable[[], bool]) -> None:
        """Commits go on, until it is so."""
        deadline = time.monotonic() + 20
        while not done():
            assert time.monotonic() < deadline, [self.stored(index) for index in range(len(self.disks))]
            self.commit_or_abort()
            time.sleep(0.002)  # the branches' threads


def poll(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "backoff_s", lambda attempt, longest_s: 0.002)
    monkeypatch.setattr(runner, "ROLL_S", 0.005)


@pytest.fixture
def node(tmp_path: Path) -> Any:
    nodes: list[Node] = []

    def start(*required: bool) -> Node:
        nodes.append(Node(tmp_path, required))
        return nodes[-1]

    yield start
    for each in nodes:
        each.sink.close()


def test_a_dead_branch_holds_up_nobody_and_catches_up_by_itself(node: Callable[..., Node]) -> None:
    cluster = node(False, False)
    cluster.disks[1].broken = True
    for _ in range(20):
        cluster.append()
        cluster.commit()
    everything = list(range(0, 100, 5))
    cluster.settle(lambda: cluster.stored(0) == everything)
    assert cluster.stored(1) == []
    cluster.crash()  # the log is all that the second branch has to go by
    cluster.disks[1].broken = False
    cluster.settle(lambda: cluster.stored(1) == everything)
    assert cluster.stored(0) == everything


def test_a_branch_whose_storage_could_not_be_claimed_begins_after_the_record_was_read_again(
    node: Callable[..., Node], tmp_path: Path
) -> None:
    cluster = node(False, False)
    cluster.disks[1].broken = True
    cluster.crash()
    for _ in range(3):
        cluster.append()
        cluster.commit()
    cluster.settle(lambda: cluster.stored(0) == [0, 5, 10])
    claims = cluster.disks[1].claims
    cluster.disks[1].broken = False
    cluster.settle(lambda: cluster.disks[1].claims == claims + 1)
    assert "branch 1 is back" in cluster.commit_or_abort()
    cluster.settle(lambda: cluster.stored(1) == [0, 5, 10])


def test_a_branch_that_was_taking_when_a_new_life_began_goes_on(node: Callable[..., Node]) -> None:
    cluster = node(False)
    disk = cluster.disks[0]
    disk.gate.clear()  # the branch takes, and its storage takes its time
    cluster.append()
    cluster.commit()
    assert disk.is_waiting.wait(30)
    claiming = threading.Thread(target=cluster.sink.claim)
    claiming.start()
    poll(lambda: cluster.sink._runners["0"]._life.core is None)
    disk.gate.set()
    claiming.join()
    cluster.sink.open(cluster.record)
    cluster.settle(lambda: cluster.stored(0) == [0])


def test_storage_taken_in_the_place_of_a_dead_one_is_all_claimed_before_the_record_is_read(
    node: Callable[..., Node],
) -> None:
    cluster = node(False, False)
    cluster.disks[1].broken = True
    with pytest.raises(RetryableError, match="broken"):
        cluster.sink.claim(by_force=True)


def test_storage_that_was_claimed_is_released_by_who_gives_up_before_the_record_is_read(
    tmp_path: Path,
) -> None:
    context = Context("c1", "coll", "host", tmp_path)
    disks = [Disk(), Disk(), Disk(broken=True)]
    sink = FanOut([Branch(str(n), ListSink(disk, context), n == 2) for n, disk in enumerate(disks)], context)
    with pytest.raises(RetryableError, match="broken"):
        sink.claim(by_force=True)
    assert [disk.claims for disk in disks] == [1, 1, 0]
    sink.close()
    assert [disk.closed for disk in disks] == [1, 1, 1]


def test_what_a_branch_will_never_take_is_counted(tmp_path: Path) -> None:
    class Refusing(ListSink):
        def append(self, batch: Batch) -> None:
            raise PermanentError("no format can hold it")

    dropped: list[tuple[str, int]] = []
    context = Context("c1", "coll", "host", tmp_path)
    branches = [
        Branch("0", Refusing(Disk(), context), True),
        Branch("1", Refusing(Disk(), context)),
        Branch("2", ListSink(Disk(), context)),
    ]
    sink = FanOut(branches, context, dropped=lambda reason, events: dropped.append((reason, events)))
    sink.claim()
    sink.open(None)
    sink.append(lines_batch("s", 0, b"a\nb\n", timestamp_ns=0, attributes={}))
    prepared = sink.prepare()
    prepared.sync()
    sink.publish(prepared.token)
    poll(lambda: len(dropped) == 2)
    assert dropped == [("dead_letter", 2)] * 2
    sink.close()


def test_how_far_a_branch_is_behind_is_told(tmp_path: Path) -> None:
    clock, told = ManualClock(wall_ns=100 * NS), dict[str, Lag]()
    context = Context("c1", "coll", "host", tmp_path, clock)
    disks = [Disk(), Disk(broken=True)]
    branches = [Branch(str(index), ListSink(disk, context)) for index, disk in enumerate(disks)]
    sink = FanOut(branches, context, told=told.__setitem__)
    sink.open(None)
    for number in range(20):
        sink.append(lines_batch("s", number * 4, b"a\nb\n", timestamp_ns=90 * NS, attributes={}))
    deadline = time.monotonic() + 20
    while len(told) < 2 or told["0"].events or not told["1"].events:
        assert time.monotonic() < deadline, told
        prepared = sink.prepare()
        prepared.sync()
        sink.publish(prepared.token)
        clock.advance(MEASURE_S)
        time.sleep(0.002)  # the branches' threads
    sink.close()
    assert told["0"] == Lag()
    assert told["1"].bytes > 80
    assert told["1"].events == 40
    assert told["1"].seconds >= 10


def test_a_required_branch_is_waited_for(node: Callable[..., Node]) -> None:
    cluster = node(True, False)
    cluster.disks[0].broken = True
    with pytest.raises(RetryableError, match="broken"):
        cluster.append()
    cluster.disks[0].broken = False
    cluster.abort()
    cluster.append()
    cluster.commit()
    assert cluster.stored(0) == [0]
    cluster.settle(lambda: cluster.stored(1) == [0])


def test_a_stopping_fan_out_finishes_what_its_branches_can_take(node: Callable[..., Node]) -> None:
    cluster = node(False, False)
    cluster.append()
    cluster.sink.drain()
    cluster.commit()
    cluster.commit()
    cluster.settle(lambda: cluster.stored(0) == cluster.stored(1) == [0])


def test_a_sink_that_stood_alone_goes_on_as_the_first_branch(node: Callable[..., Node]) -> None:
    cluster = node(True)
    alone = ListSink(cluster.disks[0], Context("c1", "coll", "host", Path()))
    alone.open(None)
    alone.append(lines_batch("s", 0, b"x\n", timestamp_ns=0, attributes={}))
    prepared = alone.prepare()
    prepared.sync()
    cluster.sink.close()
    cluster.record, cluster.committed = prepared.token, 2
    cluster._required = (False, False)
    cluster.disks.append(Disk())
    cluster.start()
    cluster.append()
    cluster.settle(lambda: cluster.stored(0) == [0, 2] and cluster.stored(1) == [2])


ACTIONS = st.lists(
    st.sampled_from(
        ["append", "append", "commit", "prepare", "abort", "crash", "break0", "break1", "mend", "wait"]
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(ACTIONS, st.tuples(st.booleans(), st.booleans()))
def test_every_branch_stores_everything_once_and_in_order(
    tmp_path_factory: pytest.TempPathFactory, actions: list[str], required: tuple[bool, bool]
) -> None:
    cluster = Node(tmp_path_factory.mktemp("node"), required)
    try:
        for action in actions:
            with suppress(RetryableError):
                _act(cluster, action)
                continue
            for disk in (
                cluster.disks
            ):  # what a required branch refuses aborts the transaction; the next is tried later
                disk.broken = False
            cluster.abort()
        for disk in cluster.disks:
            disk.broken = False
        cluster.append()
        while cluster.commit_or_abort():  # a branch is back: the sender sends again
            cluster.append()
        everything = list(range(0, cluster.committed, 5))
        cluster.settle(lambda: cluster.stored(0) == cluster.stored(1) == everything)
    finally:
        cluster.sink.close()


def _act(cluster: Node, action: str) -> None:
    match action:
        case "append":
            cluster.append()
        case "commit":
            cluster.commit()
        case "prepare":  # a commit that was never written
            cluster.commit(record=False)
        case "abort":
            cluster.abort()
        case "crash":
            for disk in cluster.disks:
                disk.broken = False
            cluster.crash()
        case "break0" | "break1":
            cluster.disks[int(action[-1])].broken = True
        case "mend":
            for disk in cluster.disks:
                disk.broken = False
        case _:
            time.sleep(0.003)  # lets the branches' threads run


def test_the_log_reads_across_segments_and_forgets_what_was_passed(tmp_path: Path) -> None:
    log = BranchLog(tmp_path, 1 << 20, segment_bytes=200)
    log.open(0)
    for index in range(10):
        log.append(lines_batch("s", index * 5, b"line\n", timestamp_ns=0, attributes={}))
    log.cut()()
    read = []
    while not read or read[-1][1] < log.end:
        read += log.read(read[-1][1] if read else 0, log.end)
    assert [batch.start for batch, _ in read] == list(range(0, 50, 5))
    log.release(log.end)
    assert len(list(tmp_path.glob("*.log"))) == 1
    log.close()


def test_a_log_keeps_nothing_open_for_transactions_without_news(tmp_path: Path) -> None:
    log = BranchLog(tmp_path, 1 << 20, segment_bytes=200)
    log.open(0)
    for index in range(10):
        log.append(lines_batch("s", index * 5, b"line\n", timestamp_ns=0, attributes={}))
    log.cut()()
    for _ in range(20):  # a collector that has nothing to commit
        log.cut()
    assert _descriptors(tmp_path) == 1  # of the segment that is written to
    log.close()
    assert _descriptors(tmp_path) == 0


def test_a_log_goes_on_when_no_new_segment_could_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = BranchLog(tmp_path, 1 << 20, segment_bytes=1)
    log.open(0)
    batch = lines_batch("s", 0, b"line\n", timestamp_ns=0, attributes={})
    log.append(batch)
    log.cut()()
    committed = log.end
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", _full)
        with pytest.raises(RetryableError, match="No space left"):
            log.append(batch)
    log.open(committed)
    log.append(batch)
    log.cut()()
    assert len(list(log.read(0, committed))) == 1
    assert len(list(log.read(committed, log.end))) == 1
    log.close()
    assert _descriptors(tmp_path) == 0


def _full(*args: object) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _descriptors(directory: Path) -> int:
    """How many there are of files in it."""
    found = 0
    for fd in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # of the listing itself
            found += os.readlink(f"/proc/self/fd/{fd}").startswith(str(directory))
    return found


def test_a_full_log_pushes_back(tmp_path: Path) -> None:
    log = BranchLog(tmp_path, 100)
    log.open(0)
    batch = lines_batch("s", 0, b"x" * 200 + b"\n", timestamp_ns=0, attributes={})
    log.append(batch)
    with pytest.raises(RetryableError, match="full"):
        log.append(batch)
    log.close()


def test_a_log_that_was_truncated_says_so(tmp_path: Path) -> None:
    log = BranchLog(tmp_path, 1 << 20)
    log.open(0)
    log.append(lines_batch("s", 0, b"line\n", timestamp_ns=0, attributes={}))
    end = log.end
    log.close()
    (path,) = tmp_path.glob("*.log")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CorruptError, match="truncated"):
        BranchLog(tmp_path, 1 << 20).open(end)


def test_a_log_whose_identity_was_lost_with_the_power_gets_another(tmp_path: Path) -> None:
    (tmp_path / "identity").write_bytes(b"")
    log = BranchLog(tmp_path, 1 << 20)
    log.open(0)
    assert log.place.identity
    again = BranchLog(tmp_path, 1 << 20)
    again.open(0)
    assert again.place == log.place
    assert again.is_at(log.place)
    log.close()
    again.close()


def test_a_branch_keeps_what_it_staged_when_a_transaction_is_undone() -> None:
    core = BranchCore(Mark(None, 0), 100)
    core.opened()
    core.took(Mark(b"1", 100))
    core.recorded(Mark(None, 0), 100)
    assert (core.todo, core.mark) == (Todo.WAIT, Mark(b"1", 100))
    core.recorded(Mark(b"1", 100), 200)
    assert core.todo is Todo.PUBLISH
    core.published()
    assert core.todo is Todo.TAKE
    core.recorded(Mark(b"2", 200), 200)  # another process committed for it meanwhile
    assert core.todo is Todo.OPEN


def test_a_branch_has_something_left_until_what_it_took_is_visible() -> None:
    life = BranchLife("0")
    life.recorded(Mark(b"12", 12, 12), 12)
    for todo in (Todo.OPEN, Todo.PUBLISH):
        assert life.left_bytes > 0
        step = life.next()
        assert step is not None
        assert step.todo is todo
        life.done(step, step.committed)
    assert life.left_bytes == 0


def test_a_branch_whose_storage_was_taken_claims_it_again_and_has_the_record_read() -> None:
    life = BranchLife("0")
    life.recorded(Mark(None, 0), 10)
    opening = life.next()
    assert opening is not None
    life.done(opening, opening.committed)
    taking = life.next()
    assert taking is not None
    life.failed(taking, is_taken=True)
    claiming = life.next()
    assert claiming is not None
    assert claiming.todo is Todo.CLAIM
    life.done(claiming, claiming.committed)
    assert life.must_reread
    assert life.next() is None
    life.recorded(Mark(None, 0), 10, reread=True)
    again = life.next()
    assert again is not None
    assert again.todo is Todo.OPEN

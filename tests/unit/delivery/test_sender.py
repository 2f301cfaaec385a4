"""Conversations with the sender core, without a network: events in, commands out."""

from __future__ import annotations

from qanat.delivery.sender import Phase, SenderCore
from qanat.delivery.sender_messages import (
    Acked,
    Acknowledge,
    Close,
    Command,
    Connect,
    Connected,
    Disconnected,
    FencedOff,
    Finished,
    FirstIsHealthy,
    Found,
    Halt,
    OpenedAt,
    Pause,
    Recover,
    ReleaseDone,
    Rewound,
    Seek,
    SendHello,
    SendOpen,
    SendRead,
    SendRelease,
    SendRetire,
    Started,
    WaitOver,
    WasRead,
    Welcomed,
)

WINDOW = 100


def a_sender(*chain: str) -> SenderCore:
    return SenderCore("web1/log", "instance-a", chain or ("c1", "c2"))


def connected(core: SenderCore, committed: dict[str, int] | None = None) -> int:
    """Bring it to STREAMING; gives the connection's number."""
    connection = 0
    for command in core.handle(Started()) + core.handle(WaitOver(0)):
        if isinstance(command, Connect):
            connection = command.connection
    core.handle(Connected(connection))
    core.handle(Welcomed(connection, 1, committed or {}, WINDOW))
    return connection


def was_read(core: SenderCore, stream: str, start: int, end: int, payload_bytes: int) -> list[Command]:
    """The source yields a batch, asked for after all that it was told before."""
    return core.handle(WasRead(stream, start, end, payload_bytes, generation=core.generation))


def streaming(core: SenderCore, stream: str = "s", at: int = 0) -> int:
    """The same with one open stream."""
    core.handle(Found({stream: at}))
    connection = connected(core)
    core.handle(OpenedAt(connection, {stream: at}))
    return connection


def test_sender_says_hello_then_opens_what_it_found_then_sends() -> None:
    core = a_sender()
    assert core.handle(Found({"s": 7})) == []
    assert core.handle(Started()) == [Pause(0)]
    assert core.handle(WaitOver(0)) == [Connect(1, "c1")]
    assert core.handle(Connected(1)) == [SendHello(1, "web1/log", "instance-a", 0)]
    assert core.handle(Welcomed(1, 3, {}, WINDOW)) == [Recover({}), SendOpen(1, {"s": 7})]
    assert core.handle(OpenedAt(1, {"s": 9})) == [Seek("s", 9)]
    assert was_read(core, "s", 9, 20, 11) == [SendRead(1)]
    assert core.inflight_bytes == 11
    assert core.handle(Acked(1, {"s": 20})) == [Acknowledge({"s": 20})]
    assert core.inflight_bytes == 0


def test_sender_throws_a_batch_away_when_it_was_read_before_a_rewind() -> None:
    core = a_sender()
    connection = streaming(core)
    was_read(core, "s", 0, 10, 10)
    generation = core.generation
    assert core.handle(Rewound(connection, {"s": 0})) == [Seek("s", 0)]
    assert core.inflight_bytes == 0
    assert core.handle(WasRead("s", 10, 20, 10, generation=generation)) == [Seek("s", 0)]
    # Where it is wanted, but perhaps not when: the source may have something else to read first.
    assert core.handle(WasRead("s", 0, 5, 5, generation=generation)) == [Seek("s", 0)]
    assert was_read(core, "s", 0, 5, 5) == [SendRead(connection, 1)]


def test_sender_that_is_acked_on_receipt_shows_the_gap_that_a_crash_left() -> None:
    core = SenderCore("web1/log", "instance-a", ("c1",), ack_on_receipt=True)
    assert core.handle(Found({"s": 7})) == []
    core.handle(Started())
    core.handle(WaitOver(0))
    assert core.handle(Connected(1)) == [SendHello(1, "web1/log", "instance-a", 0, True)]
    assert core.handle(Welcomed(1, 3, {}, WINDOW)) == [Recover({}), SendOpen(1, {"s": 0})]
    core.handle(OpenedAt(1, {"s": 0}))
    assert was_read(core, "s", 0, 7, 0) == [SendRead(1)]  # what is gone, as a batch without events
    assert core.handle(Acked(1, {"s": 7})) == [Acknowledge({"s": 7})]


def test_sender_has_no_credit_when_its_window_is_full() -> None:
    core = a_sender()
    streaming(core)
    was_read(core, "s", 0, WINDOW, WINDOW)
    assert core.credit_bytes == 0


def test_sender_goes_on_from_an_ack_that_is_ahead_of_a_rewind() -> None:
    core = a_sender()
    connection = streaming(core)
    was_read(core, "s", 0, 10, 10)
    core.handle(Rewound(connection, {"s": 0}))
    assert core.handle(Acked(connection, {"s": 10})) == [Acknowledge({"s": 10}), Seek("s", 10)]
    assert was_read(core, "s", 0, 10, 10) == [Seek("s", 10)]
    assert core.is_drained


def test_sender_goes_to_the_next_collector_when_its_connection_fails() -> None:
    core = a_sender()
    connection = streaming(core)
    assert core.handle(Disconnected(connection, "gone")) == [Close(connection), Pause(1)]
    (connect,) = core.handle(WaitOver(1))
    assert isinstance(connect, Connect)
    assert connect.destination == "c2"
    assert core.handle(Acked(connection, {"s": 10})) == []  # an echo
    assert core.failovers == 1


def test_sender_backs_off_further_when_no_collector_welcomes_it() -> None:
    core = a_sender("c1")
    core.handle(Started())
    core.handle(WaitOver(0))
    assert core.handle(Disconnected(1, "refused"))[-1] == Pause(1)
    core.handle(WaitOver(1))
    assert core.handle(Disconnected(3, "refused"))[-1] == Pause(2)


def test_sender_tells_its_source_of_an_ack_that_a_lost_connection_swallowed() -> None:
    core = a_sender()
    core.handle(Found({"s": 0}))
    core.handle(Started())
    core.handle(WaitOver(0))
    core.handle(Connected(1))
    commands = core.handle(Welcomed(1, 1, {"s": 50}, WINDOW))
    assert commands == [Recover({"s": 50}), Acknowledge({"s": 50}), SendOpen(1, {"s": 50})]


def test_sender_tells_its_source_when_a_stream_is_found_after_the_welcome() -> None:
    core = a_sender()
    connection = connected(core, {"s": 50})
    core.handle(Acked(connection, {"s": 60}))
    assert core.handle(Found({"s": 0})) == [Acknowledge({"s": 60}), SendOpen(connection, {"s": 60})]


def test_sender_retires_a_stream_when_it_is_finished_and_acked() -> None:
    core = a_sender()
    connection = streaming(core)
    was_read(core, "s", 0, 10, 10)
    assert core.handle(Finished({"s": 10})) == []
    commands = core.handle(Acked(connection, {"s": 10}))
    assert commands == [Acknowledge({"s": 10}), Acknowledge({"s": 10}), SendRetire(connection, ("s",))]
    assert core.positions() == {}


def test_sender_hands_over_when_everything_is_acked() -> None:
    core = a_sender()
    first = streaming(core)
    core.handle(Disconnected(first, "gone"))
    (connect,) = core.handle(WaitOver(1))
    assert isinstance(connect, Connect)
    second = connect.connection
    core.handle(Connected(second))
    core.handle(Welcomed(second, 1, {}, WINDOW))
    core.handle(OpenedAt(second, {"s": 0}))
    was_read(core, "s", 0, 10, 10)
    assert core.handle(FirstIsHealthy()) == []
    assert core.phase is Phase.HANDOVER
    assert was_read(core, "s", 10, 20, 10) == []  # nothing more is sent
    assert core.handle(Acked(second, {"s": 10}))[-1] == SendRelease(second)
    core.handle(ReleaseDone(second))
    (connect,) = core.handle(WaitOver(0))
    assert isinstance(connect, Connect)
    assert connect.destination == "c1"


def test_sender_hands_over_when_a_rewind_takes_back_all_that_was_in_flight() -> None:
    core = a_sender()
    first = streaming(core)
    core.handle(Disconnected(first, "gone"))
    core.handle(WaitOver(1))
    core.handle(Connected(first + 2))
    core.handle(Welcomed(first + 2, 1, {}, WINDOW))
    core.handle(OpenedAt(first + 2, {"s": 0}))
    was_read(core, "s", 0, 10, 10)
    core.handle(FirstIsHealthy())
    assert core.handle(Rewound(first + 2, {"s": 0})) == [Seek("s", 0), SendRelease(first + 2)]


def test_sender_halts_when_a_newer_process_has_its_name() -> None:
    core = a_sender()
    connection = streaming(core)
    close, halt = core.handle(FencedOff(connection, 2, "instance-b"))
    assert close == Close(connection)
    assert isinstance(halt, Halt)
    assert "instance-b" in halt.reason
    assert core.handle(Started()) == []


def test_sender_that_nobody_welcomed_yet_asks_for_a_larger_epoch() -> None:
    core = a_sender()
    core.handle(Started())
    core.handle(WaitOver(0))
    core.handle(Connected(1))
    assert core.handle(FencedOff(1, 4, "a dead process")) == [Close(1), Pause(0)]
    (connect,) = core.handle(WaitOver(0))
    assert isinstance(connect, Connect)
    (hello,) = core.handle(Connected(connect.connection))
    assert isinstance(hello, SendHello)
    assert hello.instance_epoch == 5

"""A share that is dealt to one process after another: senders of one name and a receiver, without a network."""

from __future__ import annotations

from typing import Any

from qanat.delivery import receiver_messages as r
from qanat.delivery import sender_messages as s
from qanat.delivery.sender import Phase, SenderCore
from tests.unit.delivery.test_receiver import Talk

SENDER = "kafka/cluster/group/topic/0"
BATCH = 10  # offsets, and bytes


class Table:
    """A collector, and who is connected to it."""

    def __init__(self) -> None:
        self.collector = Talk("sink", {})
        self.connected: dict[int, Owner] = {}

    def connect(self, owner: Owner) -> int:
        self.connected[len(self.connected) + 1] = owner
        return len(self.connected)

    def hear(self, event: r.Event) -> None:
        self.collector.hear(event)
        self._pass_on()

    def commit(self) -> None:
        self.collector.tick()
        self._pass_on()

    def _pass_on(self) -> None:
        for command in self.collector.said():
            connection = getattr(command, "connection", None)
            if connection is not None and self.connected[connection].connection == connection:
                self.connected[connection].heard(command)

    @property
    def stored(self) -> int:
        """Offsets that storage has, counted by batches: it takes none but the one that comes next."""
        return self.collector.length * BATCH


class Owner:
    """A process that has the share, or believes so, and reads whatever it is told to."""

    def __init__(self, table: Table, instance: str) -> None:
        self.table = table
        self.core = SenderCore(SENDER, instance, ("c1",))
        self.connection = 0  # as the collector counts
        self.at = 0
        self.resumed: list[int] = []
        self._own = 0  # as the core counts

    def begin(self) -> Owner:
        self._do(self.core.handle(s.Found({"p": 0})))
        self._do(self.core.handle(s.Started()))
        return self

    def read(self, batches: int = 1) -> None:
        for _ in range(batches):
            start, self.at = self.at, self.at + BATCH
            self._do(self.core.handle(s.WasRead("p", start, self.at, BATCH, generation=self.core.generation)))

    def heard(self, command: r.Command) -> None:
        event: s.Event
        match command:
            case r.SendWelcome():
                event = s.Welcomed(self._own, command.instance_epoch, command.committed, 1000)
            case r.SendOpened():
                event = s.OpenedAt(self._own, command.positions)
            case r.SendRewind():
                event = s.Rewound(self._own, command.positions)
            case r.SendAck():
                event = s.Acked(self._own, command.positions)
            case r.SendFenced():
                event = s.FencedOff(self._own, command.instance_epoch, command.instance)
            case _:
                event = s.Disconnected(self._own, str(command))
        self._do(self.core.handle(event))

    def _do(self, commands: list[s.Command]) -> None:
        for command in commands:
            match command:
                case s.Pause():
                    self._do(self.core.handle(s.WaitOver(command.attempt)))
                case s.Connect():
                    self._own, self.connection = command.connection, self.table.connect(self)
                    self._do(self.core.handle(s.Connected(command.connection)))
                case s.Seek():
                    self.at = command.position
                    self.resumed.append(command.position)
                case _:
                    self._say(command)

    def _say(self, command: Any) -> None:
        number = self.connection
        match command:
            case s.SendHello():
                hello = r.HelloReceived(number, SENDER, command.instance, command.instance_epoch)
                self.table.hear(hello)
            case s.SendOpen():
                self.table.hear(r.OpenReceived(number, command.positions))
            case s.SendRead():
                rewinds = command.rewinds
                self.table.hear(
                    r.BatchReceived(number, "p", self.at - BATCH, self.at, BATCH, rewinds=rewinds)
                )


def test_next_owner_goes_on_behind_what_was_received_and_the_earlier_one_is_refused():
    table = Table()
    first = Owner(table, "first").begin()
    first.read(2)
    table.commit()
    first.read()
    second = Owner(table, "second").begin()
    assert second.resumed == [3 * BATCH]
    assert first.core.phase is Phase.HALTED
    first.read()
    second.read()
    table.commit()
    assert table.stored == 4 * BATCH
    assert second.core.acked_batches == 1


def test_owner_that_wakes_before_its_first_hello_takes_the_share_and_the_lawful_one_takes_it_back():
    """Who is right only the group knows; what is stored does not depend on it."""
    table = Table()
    asleep = Owner(table, "asleep")
    lawful = Owner(table, "lawful").begin()
    lawful.read(2)
    asleep.begin()  # its first hello teaches it which epoch to exceed
    assert lawful.core.phase is Phase.HALTED
    asleep.read()
    lawful.read()
    again = Owner(table, "lawful again").begin()
    assert asleep.core.phase is Phase.HALTED
    assert again.resumed == [3 * BATCH]
    asleep.read()
    again.read()
    table.commit()
    assert table.stored == 4 * BATCH


def test_share_that_comes_back_to_a_process_is_not_confused_with_its_former_turn():
    table = Table()
    former = Owner(table, "a, first turn").begin()
    former.read()
    late = r.HelloReceived(table.connect(former), SENDER, "a, first turn", 1)
    Owner(table, "b").begin().read()
    present = Owner(table, "a, second turn").begin()
    table.hear(late)  # was on its way since the first turn
    present.read()
    table.commit()
    assert present.core.phase is Phase.STREAMING
    assert table.stored == 3 * BATCH

"""What a physical node does with what masters tell it: the pure core of an agent or a collector under masters. [pure]

Each logical node is a `Slot`, and none waits for another. An assignment is applied when every one of its statements runs.
"""

from __future__ import annotations

from collections.abc import Iterable

from qanat.control.assignment import Assigned
from qanat.control.node_messages import (
    Alone,
    Amended,
    Checked,
    Command,
    Ended,
    Event,
    Lasting,
    LogicalReport,
    Measured,
    OfLogical,
    Opened,
    Refreshed,
    Report,
    Save,
    Stopping,
    TimeOver,
    Told,
)
from qanat.control.slot import Slot


class NodeCore:
    """`good`, `begun`: the statements that opened last in a former life, and those that were about to, by which revision (all
    from `Save`)."""

    def __init__(
        self, good: Iterable[Assigned] = (), good_revision: str = "", begun: Iterable[Assigned] = ()
    ) -> None:
        self.slots = {each.logical: Slot(each.logical, good=each) for each in good}
        for each in begun:
            self.slots.setdefault(each.logical, Slot(each.logical)).begun = each
        self.wanted_revision = ""
        self._good_revision = good_revision
        self._applied_revision = ""
        self._is_stopping = False
        self._gone: list[LogicalReport] = []

    @property
    def is_applied(self) -> bool:
        """Everything that is wanted runs."""
        return bool(self.wanted_revision) and all(slot.is_settled for slot in self.slots.values())

    @property
    def applied_revision(self) -> str:
        """Of the last assignment that runs completely."""
        if not self.is_applied and self._applied_revision == self.wanted_revision:
            return ""
        return self._applied_revision

    @property
    def is_over(self) -> bool:
        """It was told to stop, and nothing runs any more."""
        return self._is_stopping and all(slot.is_over for slot in self.slots.values())

    def lasting(self) -> Lasting:
        """What `Save` is to save."""
        slots = [slot for _, slot in sorted(self.slots.items())]
        return Lasting(
            self._good_revision,
            tuple(slot.good for slot in slots if slot.good is not None),
            tuple(slot.begun for slot in slots if slot.begun is not None),
        )

    def report(self) -> list[LogicalReport]:
        """Every logical node; those that were removed once more, and then no more."""
        gone, self._gone = self._gone, []
        return [_reported(slot) for _, slot in sorted(self.slots.items())] + gone

    def handle(self, event: Event, now_ns: int) -> list[Command]:
        """Take one event in, give the commands that follow from it. `now_ns`: since 1970, for people and for long waits."""
        before = self.applied_revision
        self._dispatch(event, now_ns)
        commands = [command for slot in self.slots.values() for command in slot.out]
        for slot in list(self.slots.values()):
            slot.out = []
            if slot.wanted is None and slot.is_over and self.wanted_revision:
                self._gone.append(_reported(slot))
                del self.slots[slot.logical]
                commands += [Save(), Report()]
        if self.is_applied and self._applied_revision != self.wanted_revision:
            self._applied_revision = self._good_revision = self.wanted_revision
            commands.append(Save())
        if self.applied_revision != before:
            commands.append(Report())
        return _each_once(commands)

    def _dispatch(self, event: Event, now_ns: int) -> None:
        match event:
            case Told():
                self._told(event, now_ns)
            case Alone():
                if not self.wanted_revision:
                    self._alone(now_ns)
            case Refreshed(names):
                for slot in self.slots.values():
                    if not names or slot.logical in names:
                        slot.refresh(now_ns)
            case Stopping():
                self._is_stopping = True
                for slot in self.slots.values():
                    slot.stopping = True
                    slot.settle(now_ns)
            case _:
                slot_or_none = self.slots.get(event.logical)
                if slot_or_none is not None:
                    _tell(slot_or_none, event, now_ns)

    def _told(self, event: Told, now_ns: int) -> None:
        if self._is_stopping:
            return
        self.wanted_revision = event.revision
        statements = {each.logical: each for each in event.statements}
        for name in statements.keys() - self.slots.keys():
            self.slots[name] = Slot(name, since_ns=now_ns)
        for name, slot in self.slots.items():
            slot.want(statements.get(name), now_ns)

    def _alone(self, now_ns: int) -> None:
        """As if a master had said what ran last."""
        if not self._is_stopping:
            for slot in self.slots.values():
                slot.want(slot.last, now_ns)


def _tell(slot: Slot, event: OfLogical, now_ns: int) -> None:
    match event:
        case Checked():
            slot.checked(event.number, event.fault, now_ns)
        case Amended():
            slot.amended(event.number, done=event.done, now_ns=now_ns)
        case Opened():
            slot.opened(event.number, event.address, now_ns)
        case Ended():
            slot.ended(event.number, event.why, now_ns)
        case TimeOver():
            slot.time_over(event.number, now_ns)
        case Measured():
            slot.measured(event.acked, event.behind, event.waits_for, now_ns, over=event.over)


def _each_once(commands: list[Command]) -> list[Command]:
    """One Save, then everything else, and one Report at the end."""
    others: list[Command] = [each for each in commands if not isinstance(each, Save | Report)]
    saves: list[Command] = [Save()] if Save() in commands else []
    reports: list[Command] = [Report()] if Report() in commands else []
    return [*saves, *others, *reports]


def _reported(slot: Slot) -> LogicalReport:
    return LogicalReport(
        logical=slot.logical,
        wanted_hash="" if slot.wanted is None else slot.wanted.hash,
        running_hash=slot.running_hash,
        state=slot.state,
        why=slot.why,
        since_ns=slot.since_ns,
        address=slot.address,
        attempts=slot.attempts,
    )

"""A collector that lives the rest of another one's life: it takes the disk by force, finishes what is on it, and ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qanat.delivery import receiver_messages as r
from qanat.delivery import steps
from qanat.delivery.adoption import Backlog
from qanat.delivery.state import Phase
from qanat.testing.simulation.collector import Collector
from qanat.testing.simulation.disk import Disk

if TYPE_CHECKING:
    from qanat.testing.simulation.world import World

P_GIVES_UP = 0.3  # in a pause: because its victim is back, say
STUCK_S = 1.0  # of virtual time without progress of any branch


class Adopter(Collector):
    """A second process of a sink, whatever became of the first."""

    def __init__(self, world: World, disk: Disk, prefix: str) -> None:
        super().__init__(world, disk, prefix, adopts=True)
        self.name = f"{disk.name}'"
        self.listens = False
        self._backlog = Backlog(STUCK_S)

    def handle(self, event: r.Event) -> None:
        super().handle(event)
        state = self.core.state
        is_ready = self.alive and state.phase is Phase.READY and not state.stopping
        if is_ready and self._backlog.is_done(self.tenant.backlog_bytes(), self.kernel.now_s):
            super().handle(r.Stop())

    def _step(self, number: int, step: steps.Step) -> None:
        super()._step(number, step)
        is_idle = isinstance(step, steps.Wait)
        is_missed = self.disk.name in self._world.dead  # nobody else will do it
        if is_idle and not is_missed and (self._world.healing or self.kernel.chance(P_GIVES_UP)):
            self.soon(0.0, self.handle, r.Stop())

    def _ended(self) -> None:
        self._world.adopter_ended(self)

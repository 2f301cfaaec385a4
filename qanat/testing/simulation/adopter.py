"""A collector that lives the rest of another one's life: it takes the disk by force, finishes what is on it, and ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qanat.delivery import receiver_messages as r
from qanat.delivery import steps
from qanat.delivery.state import Phase
from qanat.testing.simulation.collector import Collector
from qanat.testing.simulation.disk import Disk

if TYPE_CHECKING:
    from qanat.testing.simulation.world import World

P_GIVES_UP = 0.3  # in a pause: because its victim is back, say


class Adopter(Collector):
    """A second process of a sink, whatever became of the first."""

    def __init__(self, world: World, disk: Disk, prefix: str) -> None:
        super().__init__(world, disk, prefix, adopts=True)
        self.name = f"{disk.name}'"
        self.listens = False

    def handle(self, event: r.Event) -> None:
        super().handle(event)
        if self.alive and self.core.state.phase is Phase.READY and not self.core.state.stopping:
            super().handle(r.Stop())

    def _step(self, number: int, step: steps.Step) -> None:
        super()._step(number, step)
        is_idle = isinstance(step, steps.Wait)
        if is_idle and (self._world.healing or self.kernel.chance(P_GIVES_UP)):
            self.soon(0.0, self.handle, r.Stop())

    def _ended(self) -> None:
        self._world.adopter_ended(self)

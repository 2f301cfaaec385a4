"""The directory of a write-ahead log on a disk that loses and tears what was not synced, fills up, and fails to sync."""

from __future__ import annotations

import errno

from qanat.testing.directory import MemoryDirectory
from qanat.testing.simulation.kernel import Kernel


class ModelDirectory(MemoryDirectory):
    """It outlives its process. `fail_next`: how often an operation fails from now on."""

    def __init__(self, kernel: Kernel, name: str) -> None:
        super().__init__()
        self.name = name
        self.is_full = False
        self.fail_next: dict[str, int] = {}
        self._kernel = kernel

    def room(self, freed: int) -> int:
        """A full disk still takes a little of a record."""
        return self._kernel.random.randrange(64) if self.is_full else super().room(freed)

    def may_fail(self, operation: str) -> None:
        """Raises OSError when it is this operation's turn."""
        left = self.fail_next.get(operation, 0)
        if left:
            self.fail_next[operation] = left - 1
            self._kernel.fault(f"channel_{operation}_failure", self.name)
            raise OSError(errno.EIO, "input/output error on purpose")

    def heal(self) -> None:
        """No more trouble."""
        self.is_full = False
        self.fail_next.clear()

    def lose_power(self) -> None:
        """What was not synced is cut, torn, or as it was, here and there."""
        self.cut_power(self._kernel.random)

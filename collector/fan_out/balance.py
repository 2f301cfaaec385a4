"""Which branch of a fan-out is the least loaded: what the fan-out tells whoever chooses (`loadBalance(least_loaded)`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from qanat.batch import Batch
from qanat.decorators.common.cases import NOTE
from qanat.delivery.fan_out_token import Token
from qanat.delivery.sender import Trouble
from qanat.loads import Loads


class Balance:
    """`shares`: which share of the load each branch has. Places are those of the fan-out's log. *Thread*: the sink's."""

    def __init__(self, loads: Loads, shares: Mapping[str, int]) -> None:
        self._loads = loads
        self._members = {name: loads.join(share) for name, share in shares.items()}

    def watch(self, name: str, is_in_trouble: Callable[[], bool]) -> None:
        """Nothing is given to this branch while it is, as long as there is another."""
        if name in self._members:
            self._members[name].state = lambda: Trouble.AWAY if is_in_trouble() else Trouble.NONE

    def opened(self, committed: Token) -> None:
        """All begins anew. Of what is in the log each branch is taken to have its part to store."""
        self._loads.taken_back(-1)
        for name, mark in committed.marks.items():
            if name in self._members and (left_bytes := committed.end - mark.at) > 0:
                self._members[name].given(committed.end, left_bytes // self._loads.shares)

    def appended(self, batch: Batch, end: int) -> None:
        """A batch is in the transaction, and in the log up to `end`."""
        if batch.count:
            self._loads.given(int(batch.attributes[NOTE]), end, batch.payload_bytes)

    def committed(self, committed: Token) -> None:
        """What this says is in storage: where a branch is fed, up to its mark; all of it where it is written to directly."""
        for name, member in self._members.items():
            mark = committed.marks.get(name)
            member.stored(committed.end if mark is None else mark.at)

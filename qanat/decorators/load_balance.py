"""`loadBalance(by) [ a, b, c ]`: every event to one of several destinations, so that they share the load.

    web : tail("/var/log/nginx/access.log") | loadBalance [ agentE2ESink("c1"), agentE2ESink("c2"), agentE2ESink("c3") ] ;
    sys : syslogTcp(5140) | loadBalance(round_robin) [ agentE2ESink("c1"), agentE2ESink("c2") ] ;

On an agent each is also the next to try when another can't be reached, unless they are failovers already: nothing waits for one
that is dead, and everything is stored exactly once. By `stream`, all that comes from one file goes to one destination, in order;
the others choose for each batch, which is what a source with a single stream needs, as `syslogTcp`.

`least_loaded` gives a batch to the destination that has the fewest bytes to store of what it was given already. One whose own
collector can't be reached is given nothing while there is another, and when it is back, only after a pause that grows from
1 s to 60 s with each failure.

What was chosen stays chosen: an agent notes it in a channel (`fileChannel` and so on, by level, unless the flow names one), a
collector in the log of its fan-out. So destinations can be added, at the end. Take one out when nothing waits for it any more.
What waits there from before load was balanced is for the first.
"""

from __future__ import annotations

from dataclasses import replace
from hashlib import blake2b
from typing import Any, ClassVar, Literal

import msgspec

from qanat.batch import Batch
from qanat.component import Context
from qanat.decorator import Decorator
from qanat.decorators.common.cases import NOTE
from qanat.loads import Loads

By = Literal["stream", "round_robin", "random", "least_loaded"]


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of `loadBalance(...)`."""

    by: By = "stream"  # what goes to one destination: a stream, or each batch: in turn, by chance, or where least waits


class LoadBalance(Decorator):
    """Notes to which of `shares` destinations a batch goes; one, before the flow says how many there are."""

    name: ClassVar[str] = "loadBalance"
    Config: ClassVar[type[msgspec.Struct]] = Config
    takes_lines = True

    def __init__(self, config: Any, context: Context, shares: int = 1) -> None:
        super().__init__(config, context)
        self._by: By = config.by
        self._shares = shares
        self._turn = 0
        # Whoever puts batches where they wait tells it what becomes of them.
        self.loads = Loads(shares) if config.by == "least_loaded" else None

    def apply(self, batch: Batch) -> Batch:
        return replace(batch, attributes={**batch.attributes, NOTE: str(self._share(batch))})

    def _share(self, batch: Batch) -> int:
        if self._by == "round_robin":
            self._turn = (self._turn + 1) % self._shares
            return self._turn
        if self.loads is not None:
            return self.loads.least(self.context.clock.monotonic_s())
        key = batch.stream if self._by == "stream" else f"{batch.start} {batch.stream}"
        return max(range(self._shares), key=lambda share: _weight(share, key))


def _weight(share: int, key: str) -> bytes:
    """The heaviest gets it (rendezvous hashing): a further share takes from each of the others as little as can be."""
    return blake2b(f"{share} {key}".encode(errors="surrogatepass"), digest_size=8).digest()

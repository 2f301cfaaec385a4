"""Which collector takes what a delivery sends, and since when: what people ask first when something does not arrive."""

from __future__ import annotations

from qanat.clock import Clock


class Standing:
    """From its begin on, nobody does until a collector welcomes it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._address = ""
        self._since_s = clock.monotonic_s()

    def welcomed(self, address: str) -> None:
        """By the collector there."""
        self._become(address)

    def left(self) -> None:
        """The collector is gone, or is left for another."""
        self._become("")

    def now(self) -> tuple[str, float]:
        """Its address, or "" while nobody takes anything; and for how many seconds that has been so."""
        return self._address, self._clock.monotonic_s() - self._since_s

    def _become(self, address: str) -> None:
        if address != self._address:
            self._address, self._since_s = address, self._clock.monotonic_s()

"""A live source with an inlet of a test's own, and what comes out of it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from qanat.component import LiveSource, Parcel
from qanat.inlet import BoundedInlet

WAIT_S_MAX = 20.0


def until(condition: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + WAIT_S_MAX
    while not condition():
        assert time.monotonic() < deadline_s, "waited in vain"
        time.sleep(0.005)


class Listening:
    """A started source. `rows`: its events so far, with their attributes."""

    def __init__(self, source: LiveSource, inlet_bytes: int) -> None:
        self.source = source
        self.inlet = BoundedInlet(inlet_bytes)
        self.rows: list[dict[str, Any]] = []

    def take(self, timeout_s: float = 0.1, *, safe: bool | None = True) -> list[Parcel]:
        """What has come, settled with `safe` unless that is None."""
        parcels = self.inlet.take(1 << 20, timeout_s)
        for events in self.source.form(parcels) if parcels else ():
            if isinstance(events.payload, bytes):
                bodies = events.payload.split(b"\n")[:-1]
                assert len(bodies) == events.count
                self.rows += [{"body": body, **events.attributes} for body in bodies]
            else:
                assert events.payload.num_rows == events.count
                for row in events.payload.to_pylist():
                    known = {name: value for name, value in row.items() if value is not None}
                    self.rows.append({**events.attributes, **known})
        for parcel in parcels:
            if parcel.settled is not None and safe is not None:
                parcel.settled(safe)
        return parcels

    def wait_for(self, count: int) -> list[dict[str, Any]]:
        """Exactly so many events, and no more within a moment."""
        deadline_s = time.monotonic() + WAIT_S_MAX
        while len(self.rows) < count:
            assert time.monotonic() < deadline_s, f"{len(self.rows)} events of {count}"
            self.take()
        self.take(0.05)
        assert len(self.rows) == count
        return self.rows

    @property
    def bodies(self) -> list[bytes]:
        return [row["body"] for row in self.rows]

    def stop(self) -> None:
        """As a feed does; what is left is in `rows`."""
        self.inlet.lift()
        self.source.stop()
        while self.take(0.0):
            pass


@contextlib.contextmanager
def listening(source: LiveSource, inlet_bytes: int = 8 << 20) -> Iterator[Listening]:
    try:
        source.open()
        made = Listening(source, inlet_bytes)
        source.start(made.inlet)
        try:
            yield made
        finally:
            made.stop()
    finally:
        source.close()

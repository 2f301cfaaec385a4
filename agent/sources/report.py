"""`report`, `report(30s)`: the node's own metrics as events, as of Flume OG.

Guarantee: each report is in the channel as safely as that makes it; while it is full no report is made. Counters only grow, so a
report that is missing costs no more than its moment.

    health : report(60s) | agentE2EChain("c1", "c2") ;

An event is one JSON object: the time, the physical node, and the samples by name and labels, as `/metrics` has them.
"""

from __future__ import annotations

import json
import threading
from typing import ClassVar

import msgspec

from qanat.component import Context, Inlet, LiveSource, Parcel
from qanat.config import Seconds

# As often as Prometheus looks by default, twice.
PERIOD_S = 30.0

# More often would say nothing new.
PERIOD_S_MIN = 0.1

ROOM_S = 0.25  # the longest wait for room without looking whether to stop


class ReportConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `report(...)` accepts."""

    period: Seconds = PERIOD_S  # between two reports; the first is made at once


class Report(LiveSource):
    """A report each period."""

    name: ClassVar[str] = "report"
    Config: ClassVar[type[msgspec.Struct]] = ReportConfig

    def __init__(self, config: ReportConfig, context: Context) -> None:
        super().__init__(config, context)
        self._period_s = max(config.period, PERIOD_S_MIN)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """There is always something to report."""

    def start(self, inlet: Inlet) -> None:
        self._thread = threading.Thread(target=self._live, args=(inlet,), name=self.name, daemon=False)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()

    def close(self) -> None:
        self.stop()

    def _live(self, inlet: Inlet) -> None:
        try:
            while True:
                line = self._line()
                parcel = Parcel(line, len(line))
                while not inlet.put(parcel, ROOM_S) and not self._stopping.is_set():
                    pass
                if self._stopping.wait(self._period_s):
                    return
        except BaseException as error:  # noqa: BLE001 - the root of a thread
            inlet.fail(error)

    def _line(self) -> bytes:
        samples: dict[str, float | None] = {}
        for line in self.context.metrics().decode().splitlines():
            name, _, value = line.rpartition(" ")
            if name and not line.startswith("#"):
                number = float(value)
                samples[name] = number if abs(number) < float("inf") else None  # JSON has neither inf nor nan
        report = {
            "time_ns": self.context.clock.wall_ns(),
            "physical_node": self.context.physical_node,
            "samples": samples,
        }
        return json.dumps(report, separators=(",", ":")).encode() + b"\n"

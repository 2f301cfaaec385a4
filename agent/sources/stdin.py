"""`stdin`, `console`: lines of the agent's standard input, as of Flume OG.

Guarantee: what was read is in the channel, in order, and as safe as the channel makes it. Standard input can't be read again, so
what was read and not in the channel yet is lost when the agent is killed. A full channel makes the writer wait.

    typed : console | agentE2EChain("c1") ;
"""

from __future__ import annotations

import os
import select
import threading
from typing import ClassVar

import msgspec
import structlog

from agent.live.framing import LineFramer, SizePolicy
from qanat import limits
from qanat.component import Context, Inlet, LiveSource, Parcel

log = structlog.get_logger(__name__)

# A pipe holds so much; a terminal gives a line.
READ_BYTES_MAX = 64 * limits.KIB

ROOM_S = 0.25  # the longest wait for room without looking whether to stop


class StdinConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What they accept."""


class Stdin(LiveSource):
    """A line is an event; a last one without an end, too. At its end the source says so, and the agent goes on."""

    name: ClassVar[str] = "stdin"
    Config: ClassVar[type[msgspec.Struct]] = StdinConfig
    descriptor: ClassVar[int] = 0

    def __init__(self, config: StdinConfig, context: Context) -> None:
        super().__init__(config, context)
        self._framer = LineFramer(SizePolicy(limits.EVENT_BYTES_MAX, "split", context.count))
        self._thread: threading.Thread | None = None
        self._wake: tuple[int, int] | None = None

    def open(self) -> None:
        """Nothing to check: there is a standard input always, if only an empty one."""
        self._wake = os.pipe()

    def start(self, inlet: Inlet) -> None:
        assert self._wake is not None, "start() before open()"
        self._thread = threading.Thread(
            target=self._read, args=(inlet, self._wake[0]), name=self.name, daemon=False
        )
        self._thread.start()

    def stop(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None and self._wake is not None:
            os.write(self._wake[1], b"x")
            thread.join()

    def close(self) -> None:
        self.stop()
        wake, self._wake = self._wake, None
        for each in wake or ():
            os.close(each)

    def _read(self, inlet: Inlet, woken: int) -> None:
        try:
            waiting = select.poll()
            waiting.register(self.descriptor, select.POLLIN)
            waiting.register(woken, select.POLLIN)
            while woken not in dict(waiting.poll()):
                data = os.read(self.descriptor, READ_BYTES_MAX)
                if not data:
                    log.info("stdin_ended", node=self.context.logical_node)
                    break
                self._put(inlet, self._framer.feed(data))
            self._put(inlet, self._framer.finish())
        except BaseException as error:  # noqa: BLE001 - the root of a thread
            inlet.fail(error)

    def _put(self, inlet: Inlet, lines: bytes) -> None:
        parcel = Parcel(lines, len(lines))
        while lines and not inlet.put(parcel, ROOM_S):
            pass  # when the node stops, the inlet refuses nothing


class Console(Stdin):
    """The same, as who sits at a terminal calls it."""

    name: ClassVar[str] = "console"

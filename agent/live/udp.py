"""Datagrams that become parcels: the machinery of sources over UDP.

Who sends them can't be asked to wait. When the inlet has no room they gather in the kernel's buffer, and what finds no room there
is lost, and counted (`datagrams_lost`).
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

import structlog

from agent.live import datagrams, listen
from agent.live.datagrams import Received, Receiver
from agent.live.server import OBJECT_BYTES
from agent.losses import DATAGRAMS_LOST
from qanat import limits
from qanat.component import Inlet, Parcel

log = structlog.get_logger(__name__)

# The kernel's buffer, of which a message of 200 bytes takes some 800: a tenth of a second at 150,000 a second, in which
# everything else may have its turn.
BUFFER_BYTES = 16 * limits.MIB

ROOM_S = 0.25  # the longest wait for room in the inlet without looking whether to stop
COUNT_S = 1.0  # how often the kernel is asked what it dropped


class UdpServer:
    """`wrap`: what a parcel holds. *Thread*: the owner's; it receives on one of its own, where `wrap` is called."""

    def __init__(
        self, name: str, wrap: Callable[[Received], object], count: Callable[[str, int], None]
    ) -> None:
        self._name = name
        self._wrap = wrap
        self._count = count
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._inlet: Inlet | None = None
        self._dropped = 0

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._socket is not None, "port before open() or after close()"
        return int(self._socket.getsockname()[1])

    def open(self, host: str, port: int, buffer_bytes: int) -> None:
        """From now on the kernel keeps what comes. Raises ConfigError."""
        self._socket = listen.bind(self._name, socket.SOCK_DGRAM, host, port)
        granted_bytes = datagrams.enlarge(self._socket, buffer_bytes)
        if granted_bytes < buffer_bytes:
            log.warning(
                "udp_buffer_small",
                source=self._name,
                wanted_bytes=buffer_bytes,
                granted_bytes=granted_bytes,
                why="net.core.rmem_max is smaller, and without CAP_NET_ADMIN it holds",
                consequence="bursts may lose datagrams, which are counted",
            )

    def start(self, inlet: Inlet) -> None:
        """Receive."""
        self._inlet = inlet
        self._stopping.clear()
        self._thread = threading.Thread(target=self._receive, name=self._name, daemon=False)
        self._thread.start()

    def stop(self) -> None:
        """What has arrived is in the inlet."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._stopping.set()
            thread.join()

    def close(self) -> None:
        """Idempotent."""
        self.stop()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _receive(self) -> None:
        assert self._socket is not None
        receiver = Receiver(self._socket)
        try:
            count_at_s = 0.0
            last_s = None
            while True:
                received = receiver.receive()
                if received is not None:
                    self._hand_in(received)
                now_s = time.monotonic()
                if now_s >= count_at_s:
                    count_at_s = now_s + COUNT_S
                    self._count_dropped(self._socket)
                if self._stopping.is_set():
                    # A sender that goes on does not keep it from stopping: only what is there by now is read.
                    last_s = now_s + datagrams.WAIT_S if last_s is None else last_s
                    if received is None or now_s >= last_s:
                        break
            self._count_dropped(self._socket)
        except BaseException as error:  # noqa: BLE001 - the root of a thread
            assert self._inlet is not None
            self._inlet.fail(error)
        finally:
            receiver.close()

    def _hand_in(self, received: Received) -> None:
        assert self._inlet is not None
        size_bytes = sum(map(len, received.datagrams)) + len(received.datagrams) * OBJECT_BYTES
        parcel = Parcel(self._wrap(received), size_bytes)
        while not self._inlet.put(parcel, ROOM_S):
            pass  # when the node stops, the inlet refuses nothing

    def _count_dropped(self, receiving: socket.socket) -> None:
        dropped = datagrams.dropped(receiving)
        if dropped != self._dropped:
            self._count(DATAGRAMS_LOST, (dropped - self._dropped) % (1 << 32))
            self._dropped = dropped

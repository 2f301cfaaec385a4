"""Ports for programs that this command starts."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Iterator

from qanat.flow.local import LOOPBACK

# Below what Linux gives to outgoing connections (net.ipv4.ip_local_port_range, from 32768): while a collector is down, no
# connection of anybody can sit on its port.
_FIRST, _LAST = 20_000, 32_000


def free_ports(stack: contextlib.ExitStack) -> Iterator[int]:
    """Loopback ports that nobody listens on; held until the stack closes, so that no two are the same."""
    for port in random.sample(range(_FIRST, _LAST), _LAST - _FIRST):
        probe = stack.enter_context(socket.socket())
        with contextlib.suppress(OSError):
            probe.bind((LOOPBACK, port))
            yield port

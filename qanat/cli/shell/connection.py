"""Which masters the shell asks, and which one answered last."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from typing import Any

import msgspec

from qanat.control.client import MasterClient
from qanat.control.operations import cluster as ops
from qanat.errors import ConfigError, NotConnectedError, QanatError
from qanat.rpc.address import MASTER_PORT, host_port

# Whoever pressed Tab waits for this: a master nearby answers in milliseconds, and one that is far away completes nothing.
GLANCE_CONNECT_S = 0.3
GLANCE_S_MAX = 1.0

# Names are looked up again after this: somebody who presses Tab again and again asks once.
REMEMBERED_S = 5.0

# host:port:reportport, as Flume OG's users have it in their scripts: reports come from the same port here.
_WITH_REPORT_PORT = re.compile(r"([^\[\]:]+:\d+):\d+")


class Connection:
    """Asks whichever master answers, the one that answered last before the others. *Thread*: any.

    A connection is made for each command, which takes milliseconds: so a master that died since the last one is passed over
    before anything is sent, and no change is in doubt because of it."""

    def __init__(self, author: str, masters: tuple[str, ...] = ()) -> None:
        self.author = author
        self.masters = masters
        self.master = ""  # that answered last; "" for none
        self._remembered: dict[str, tuple[float, Any]] = {}

    def connect(self, text: str) -> str:
        """Use these masters, `host[:port],...`; gives the one that answers. Raises ConfigError, NotConnectedError."""
        masters = addresses(text)
        self.masters, self.master = masters, ""
        self._remembered.clear()
        return self.check()

    def check(self) -> str:
        """The master that answers. Raises NotConnectedError, ConfigError when none is named."""
        self.call("version", ops.Version())
        return self.master

    @contextlib.contextmanager
    def client(self) -> Iterator[MasterClient]:
        """For one command. Raises ConfigError when no master is named."""
        if not self.masters:
            raise ConfigError("not connected; say: connect HOST[:PORT]")
        with MasterClient(self.masters, self.author, first=self.master) as client:
            try:
                yield client
            except NotConnectedError:
                self.master = ""
                raise
            finally:
                self.master = client.master or self.master

    def call(self, method: str, request: msgspec.Struct) -> Any:
        """The operation's reply. Raises what `MasterClient.call` does."""
        with self.client() as client:
            return client.call(method, request)

    def glance(self, method: str, request: msgspec.Struct) -> Any:
        """The operation's reply if a master answers at once, else None; it may be a few seconds old. Raises nothing."""
        asked_s, reply = self._remembered.get(method, (0.0, None))
        if asked_s and time.monotonic() - asked_s < REMEMBERED_S:
            return reply
        reply = None
        with contextlib.suppress(QanatError):
            reply = self._at_once(method, request)
        self._remembered[method] = time.monotonic(), reply
        return reply

    def _at_once(self, method: str, request: msgspec.Struct) -> Any:
        if not self.masters:
            return None
        with MasterClient(
            self.masters, self.author, first=self.master, connect_s=GLANCE_CONNECT_S, call_s=GLANCE_S_MAX
        ) as client:
            return client.call(method, request)


def addresses(text: str) -> tuple[str, ...]:
    """`host:port` of each. Raises ConfigError."""
    parts = [part.strip().removesuffix(":") for part in text.split(",")]
    known = [_WITH_REPORT_PORT.fullmatch(part) for part in parts]
    found = [match[1] if match else part for match, part in zip(known, parts, strict=True)]
    named = tuple(dict.fromkeys(host_port(each, MASTER_PORT) for each in found if each))
    if not named:
        raise ConfigError("connect to which master? Say: connect HOST[:PORT]")
    return named

"""How the receiver waits: procedures that ask for steps [pure].

A procedure is a generator. It yields a `Step` (read the store, sync the disk, wait) and is resumed with what came of it: the
result, or one of the errors of `qanat.errors` thrown at the `yield`. Several run side by side in one core; between two
steps of one, others may change the core's state.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeAlias

import msgspec

from qanat.coordination.store import Op


class Get(msgspec.Struct, frozen=True):
    """Read these nodes, after a `sync` when `fresh`; gives list[Node | None]."""

    paths: tuple[str, ...]
    fresh: bool = False


class Multi(msgspec.Struct, frozen=True):
    """Apply atomically; gives None, or throws Conflict, NotConnectedError, OutcomeUnknownError."""

    ops: tuple[Op, ...]


class Wait(msgspec.Struct, frozen=True):
    """Pause this procedure; `attempt` > 0 asks for a jittered backoff that grows with it, up to `seconds`."""

    seconds: float
    attempt: int = 0


class SinkClaim(msgspec.Struct, frozen=True):
    """Become the one process that the sink's storage belongs to, before the token for it is read."""


class SinkOpen(msgspec.Struct, frozen=True):
    """Recover the sink from the last committed token."""

    token: bytes | None


class SinkPrepare(msgspec.Struct, frozen=True):
    """Cut the transaction after everything appended so far; gives the token."""

    drain: bool = False


class SinkSync(msgspec.Struct, frozen=True):
    """Make durable what the last prepare cut."""


class SinkPublish(msgspec.Struct, frozen=True):
    """Make visible what this committed token says."""

    token: bytes


class SinkDiscard(msgspec.Struct, frozen=True):
    """Undo everything beyond this committed token; throws FencedError when the storage belongs to another process."""

    token: bytes | None


Step = Get | Multi | Wait | SinkClaim | SinkOpen | SinkPrepare | SinkSync | SinkPublish | SinkDiscard
Procedure: TypeAlias = Generator[Step, Any, None]

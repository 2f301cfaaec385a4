"""Requests about what does run, and their replies. Ages are in seconds. [pure]"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from qanat.control.operations.base import Count, Positive

Progress = Literal["applied", "applying", "failed", "waiting", "unknown"]


class Status(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What should run, what does, and what is wrong. `names`: of physical or logical nodes."""

    names: list[str] = []
    unsettled: bool = False  # only what does not run as it should


class Destination(msgspec.Struct, frozen=True, kw_only=True):
    """Where a logical node delivers, and for how long by now. `address` "": nowhere, all collectors are tried in turn.
    `collector`: the physical node that listens there, as far as that is known."""

    address: str
    collector: str = ""
    for_s: float = 0.0


class LogicalRow(msgspec.Struct, frozen=True, kw_only=True):
    """A logical node on a physical one. `progress`: unknown (lost), waiting, applying, applied or failed. `delivers_to`: of an
    agent's."""

    logical: str
    flow: str = ""
    state: str = "HELLO"
    progress: Progress = "unknown"
    why: str = ""
    wanted: str = ""
    running: str = ""
    since_s: float = 0.0
    address: str = ""
    attempts: int = 0
    events: int = 0
    bytes: int = 0
    events_s: float = 0.0
    bytes_s: float = 0.0
    lag_bytes: int = 0
    lag_s: float = 0.0
    unacked_age_s: float = 0.0
    dropped_events: int = 0
    positions: dict[str, int] = {}
    delivers_to: list[Destination] = []


class PhysicalRow(msgspec.Struct, frozen=True, kw_only=True):
    """A physical node. `state`: "attached" or "lost"; `master`: that it is attached to; `states`: of how many of its
    logical nodes."""

    name: str
    role: str
    host: str = ""
    labels: dict[str, str] = {}
    state: Literal["attached", "lost"] = "attached"
    master: str = ""
    version: str = ""
    instance: str = ""
    applied: bool = False
    wanted_revision: str = ""
    applied_revision: str = ""
    heard_s: float = 0.0
    attached_s: float = 0.0
    states: dict[str, int] = {}
    logical: list[LogicalRow] = []


class StatusReply(msgspec.Struct, frozen=True, kw_only=True):
    """`notes`: what is configured and runs nowhere, masters that did not answer, and the like."""

    nodes: list[PhysicalRow]
    attached: int = 0
    applied: int = 0
    notes: list[str] = []


class Nodes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every physical node that ever registered, and was not purged."""

    names: list[str] = []


class Masters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every living master."""


class MasterRow(msgspec.Struct, frozen=True, kw_only=True):
    """`reachable`: from the master that was asked. `revision`: that it has read and pushed."""

    id: str
    rpc: str
    http: str = ""
    leads: bool = False
    reachable: bool = True
    revision: int = 0
    attached: int = 0
    unsettled: int = 0


class MastersReply(msgspec.Struct, frozen=True, kw_only=True):
    """Sorted by id. `epoch`: of the leader."""

    masters: list[MasterRow]
    epoch: int = 0


class Refresh(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Build logical nodes anew though nothing changed. `names`: physical nodes, or logical ones wherever they run; none: all."""

    names: list[str] = []


class Refreshed(msgspec.Struct, frozen=True, kw_only=True):
    """The physical nodes that were told."""

    nodes: list[str]


class Purge(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Forget physical nodes that are gone, with their mapping. `all`: whichever are attached to no master, and none by name."""

    names: list[str] = []
    all: bool = False


class Purged(msgspec.Struct, frozen=True, kw_only=True):
    """The physical nodes that were forgotten."""

    nodes: list[str]


class Version(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What serves."""


class VersionReply(msgspec.Struct, frozen=True, kw_only=True):
    """`protocol`: of the wire contract."""

    version: str
    master: str
    protocol: int


# A push to ten thousand nodes takes seconds, building a pipeline up to a minute where a server is slow.
WAIT_S = 120.0


class Wait(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Until nodes are `applied` (run what they should), `active` (and say ACTIVE), or `done` (and say IDLE).

    `names`: of physical or logical nodes; none: all that are attached. `revision`: wait for this one at least."""

    kind: Literal["applied", "active", "done"] = "applied"
    names: list[str] = []
    timeout_s: Positive = WAIT_S
    revision: Count = 0


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """How far it is; the last has `done`, or `stuck`, or comes at the timeout. `pending`: some of them, with why. `stuck`: all
    that is pending waits for something that is not configured. `unknown`: names that nothing has yet."""

    done: bool
    settled: int
    total: int
    pending: list[str] = []
    stuck: bool = False
    unknown: list[str] = []


class Top(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rates of logical nodes, again and again."""

    names: list[str] = []
    interval_s: Annotated[float, msgspec.Meta(ge=0.5)] = 2.0


class TopReply(msgspec.Struct, frozen=True, kw_only=True):
    """`nodes` as `status` shows them."""

    nodes: list[PhysicalRow]
    events_s: float
    bytes_s: float


class Tap(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A live sample of the events that pass a logical node, or all those of a flow. Delivery does not notice.

    `logical`: a logical node, or a flow. `physical`: only there. `contains`: only events with this text in their body."""

    logical: str
    physical: str = ""
    contains: str = ""
    events_max: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 100
    seconds: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 30.0


class TapEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event that passed `logical` on `physical`. `body`: its first 4 KiB of `body_bytes`, as UTF-8 with replacements."""

    physical: str
    logical: str
    body: str
    body_bytes: int
    timestamp_ns: int
    stream: str = ""
    position: int = 0
    attributes: dict[str, str] = {}


class Tapped(msgspec.Struct, frozen=True, kw_only=True):
    """`dropped`: passed meanwhile, and were not sampled. The first says in `notes` what is sampled."""

    events: list[TapEvent]
    dropped: int = 0
    notes: list[str] = []

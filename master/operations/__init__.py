"""The operations of `qanat.control.operations`, by name: what each does."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import msgspec

from master.desk import Desk
from master.operations import cluster, configuration, looking, placing, streams, tapping
from qanat.control.operations import OPERATIONS

Call = Callable[[Desk, Any, str], Awaitable[msgspec.Struct]]
Stream = Callable[[Desk, Any, str], AsyncGenerator[msgspec.Struct, None]]

CALLS: dict[str, Call] = {
    "apply": configuration.apply,
    "diff": configuration.diff,
    "get": looking.get,
    "config": configuration.config,
    "multiconfig": configuration.multiconfig,
    "unconfig": configuration.unconfig,
    "decommission": configuration.decommission,
    "save": looking.save,
    "load": configuration.load,
    "history": looking.history,
    "rollback": configuration.rollback,
    "map": placing.map_nodes,
    "spawn": placing.map_nodes,
    "unmap": placing.unmap,
    "mappings": placing.mappings,
    "limit": placing.limit,
    "purge": placing.purge,
    "status": cluster.status,
    "nodes": cluster.nodes,
    "masters": cluster.masters,
    "refresh": cluster.refresh,
    "version": cluster.version,
}
STREAMS: dict[str, Stream] = {"wait": streams.wait, "top": streams.top, "tap": tapping.tap}

assert CALLS.keys() | STREAMS.keys() == OPERATIONS.keys()

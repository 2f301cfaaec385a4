"""What administrators may ask a master: one request and one reply struct for each operation. [pure]

The same over gRPC (`Admin.Call`, `Admin.Stream`) and HTTP (`POST /v1/<operation>`), and what the command line prints as JSON.
Times are wall time in ns since 1970 UTC by the clock of whoever wrote them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from qanat.control.operations import cluster, configuration


@dataclass(frozen=True, slots=True)
class Operation:
    """`reads`: changes nothing, so that GET may do it. `streams`: gives replies until it ends, or its caller goes. `lists`:
    changes nothing without arguments."""

    request: type[msgspec.Struct]
    reply: type[msgspec.Struct]
    reads: bool = False
    streams: bool = False
    lists: bool = False

    @property
    def sentence(self) -> str:
        """What it does, for people."""
        return " ".join((self.request.__doc__ or "").partition("\n\n")[0].split())


OPERATIONS: dict[str, Operation] = {
    "apply": Operation(configuration.Apply, configuration.Plan),
    "diff": Operation(configuration.Diff, configuration.Plan, reads=True),
    "get": Operation(configuration.Get, configuration.Configuration, reads=True),
    "config": Operation(configuration.Config, configuration.Plan),
    "multiconfig": Operation(configuration.Multiconfig, configuration.Plan),
    "unconfig": Operation(configuration.Unconfig, configuration.Plan),
    "decommission": Operation(configuration.Decommission, configuration.Plan),
    "save": Operation(configuration.Save, configuration.Saved, reads=True),
    "load": Operation(configuration.Load, configuration.Plan),
    "history": Operation(configuration.History, configuration.Configuration, reads=True),
    "rollback": Operation(configuration.Rollback, configuration.Plan),
    "map": Operation(configuration.Map, configuration.MappingsReply),
    "spawn": Operation(configuration.Spawn, configuration.MappingsReply),
    "unmap": Operation(configuration.Unmap, configuration.MappingsReply),
    "mappings": Operation(configuration.Mappings, configuration.MappingsReply, reads=True),
    "limit": Operation(configuration.Limit, configuration.LimitsReply, lists=True),
    "status": Operation(cluster.Status, cluster.StatusReply, reads=True),
    "nodes": Operation(cluster.Nodes, cluster.StatusReply, reads=True),
    "masters": Operation(cluster.Masters, cluster.MastersReply, reads=True),
    "refresh": Operation(cluster.Refresh, cluster.Refreshed),
    "purge": Operation(cluster.Purge, cluster.Purged),
    "version": Operation(cluster.Version, cluster.VersionReply, reads=True),
    "wait": Operation(cluster.Wait, cluster.Waiting, reads=True, streams=True),
    "top": Operation(cluster.Top, cluster.TopReply, reads=True, streams=True),
    "tap": Operation(cluster.Tap, cluster.Tapped, reads=True, streams=True),
}


def decode_request(method: str, arguments_json: bytes) -> Any:
    """The request struct. Raises msgspec.ValidationError that says which argument is wrong, KeyError for no such operation."""
    return msgspec.json.decode(arguments_json or b"{}", type=OPERATIONS[method].request)

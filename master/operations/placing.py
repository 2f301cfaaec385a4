"""Where logical nodes run by hand, how fast, and who is forgotten."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import msgspec

from master import naming, planning
from master.cache import Snapshot
from master.desk import Desk
from qanat.control.documents import Limit, encode
from qanat.control.names import fault_of, fault_of_id
from qanat.control.operations import cluster as cluster_calls
from qanat.control.operations import configuration as calls
from qanat.control.operations.errors import Kind, OperationError
from qanat.coordination.store import Op
from qanat.flow.faults import did_you_mean
from qanat.wire.v1 import control_pb2 as wire

# A process that has just ended is attached for some milliseconds more, on a busy host for longer. Whoever forgets nodes types
# that next.
LEAVING_S_MAX, LEAVING_LOOK_S = 2.0, 0.1


async def map_nodes(desk: Desk, request: calls.Map, author: str) -> calls.MappingsReply:
    """Place logical nodes on a physical one."""

    _refuse(fault_of(request.physical))
    for logical in request.logical:
        _refuse(fault_of(logical))

    def plan(snapshot: Snapshot) -> list[Op]:
        unknown = [name for name in request.logical if not _is_configured(snapshot, name)]
        if unknown and not request.ahead:
            raise OperationError(
                Kind.NOT_FOUND,
                f"there is no logical node {', '.join(unknown)}"
                + (
                    did_you_mean(unknown[0], naming.logical(snapshot))
                    or "; configure it first, with `qanat apply` or `qanat config`"
                ),
            )
        placed = {*snapshot.mapping.get(request.physical, ()), *request.logical}
        return planning.mapping_ops(snapshot, {request.physical: placed})

    await desk.writer.write(plan)
    reply = await mappings(desk, calls.Mappings(), author)
    note = await _never_seen(desk, request.physical)
    return msgspec.structs.replace(reply, notes=[note]) if note else reply


async def _never_seen(desk: Desk, physical: str) -> str:
    """A sentence for a physical node that never registered: a name that somebody typed wrong, perhaps."""
    known = {node.name for node in await desk.everybody()}
    if desk.is_stale or physical in known:
        return ""
    return f"{physical} never registered, and runs what is mapped to it once it does{did_you_mean(physical, known)}"


async def unmap(desk: Desk, request: calls.Unmap, author: str) -> calls.MappingsReply:
    """Take back what was placed by hand."""

    if bool(request.physical) == request.all:
        raise OperationError(Kind.USAGE, "name a physical node, or say all; not both, and not neither")

    def plan(snapshot: Snapshot) -> list[Op]:
        if request.all:
            return planning.mapping_ops(snapshot, _without(snapshot, request.logical))
        placed = set(snapshot.mapping.get(request.physical, ()))
        unknown = sorted(set(request.logical) - placed)
        if unknown or not placed:
            raise OperationError(
                Kind.NOT_FOUND,
                f"{', '.join(unknown)} is not mapped to {request.physical}; `qanat mappings` lists what is"
                if unknown
                else f"nothing is mapped to {request.physical}; `qanat mappings` lists what is mapped",
            )
        rest = placed - set(request.logical) if request.logical else set()
        return planning.mapping_ops(snapshot, {request.physical: rest})

    await desk.writer.write(plan)
    return await mappings(desk, calls.Mappings(), author)


async def mappings(desk: Desk, request: calls.Mappings, author: str) -> calls.MappingsReply:
    """What was placed by hand."""
    snapshot = await desk.snapshot()
    return calls.MappingsReply(mapping={name: list(each) for name, each in sorted(snapshot.mapping.items())})


async def limit(desk: Desk, request: calls.Limit, author: str) -> calls.LimitsReply:
    """Set, delete or list rate limits."""
    if request.id:
        if not request.delete:  # what is there already can be deleted, whatever it is called
            _refuse(fault_of_id(request.id))
        value = None if request.delete else encode(Limit(request.events_s, request.bytes_s))

        def plan(snapshot: Snapshot) -> list[Op]:
            if request.delete and request.id not in snapshot.limits:
                raise OperationError(
                    Kind.NOT_FOUND, f"there is no limit {request.id!r}; `qanat limit` lists them"
                )
            return planning.limit_ops(snapshot, request.id, value)

        await desk.writer.write(plan)
    snapshot = await desk.snapshot()
    return calls.LimitsReply(limits=planning.limit_rows(snapshot))


async def purge(desk: Desk, request: cluster_calls.Purge, author: str) -> cluster_calls.Purged:
    """Forget physical nodes that are gone."""
    if bool(request.names) == request.all:
        raise OperationError(Kind.USAGE, "name physical nodes, or say all; not both, and not neither")
    everywhere = request.all
    if everywhere:
        request = cluster_calls.Purge(names=await _gone(desk))
        if not request.names:
            return cluster_calls.Purged(nodes=[])
    attached = await _attached(desk, request.names)
    until_s = time.monotonic() + LEAVING_S_MAX
    while attached and not everywhere and time.monotonic() < until_s:
        await asyncio.sleep(LEAVING_LOOK_S)
        attached = await _attached(desk, attached)
    if everywhere:  # whoever attached in the meantime is not gone, and no reason to keep the others
        request = cluster_calls.Purge(names=[name for name in request.names if name not in attached])
    elif attached:
        raise OperationError(
            Kind.CONFLICT, f"{', '.join(attached)} is attached; stop it before it is forgotten"
        )
    known = (await desk.known.all()).keys() | (await desk.snapshot()).mapping.keys()
    unknown = sorted(set(request.names) - known)
    if unknown:
        raise naming.unknown("physical node", unknown, known, "`qanat nodes`")

    def plan(snapshot: Snapshot) -> list[Op]:
        return planning.mapping_ops(
            snapshot, {name: () for name in request.names if name in snapshot.mapping}
        )

    await desk.writer.write(plan)
    await desk.known.forget(request.names)
    return cluster_calls.Purged(nodes=sorted(set(request.names)))


async def _attached(desk: Desk, names: Sequence[str]) -> list[str]:
    """Those that a master has."""
    answers = await desk.peers.status(wire.StatusRequest(names=names))
    return sorted({each.name for reply in answers.replies.values() for each in reply.nodes} & set(names))


def _refuse(fault: str) -> None:
    if fault:
        raise OperationError(Kind.USAGE, fault)


async def _gone(desk: Desk) -> list[str]:
    """The known physical nodes that no master has. Raises OperationError while a master does not say what it has."""
    answers = await desk.peers.status(wire.StatusRequest(with_names=True))
    if answers.silent:
        raise OperationError(
            Kind.UNAVAILABLE,
            f"{', '.join(sorted(answers.silent))} did not answer, and may have nodes attached; try again later, or name nodes",
        )
    attached = {name for reply in answers.replies.values() for name in reply.attached_names}
    return sorted((await desk.known.all()).keys() - attached)


def _without(snapshot: Snapshot, logical: Sequence[str]) -> dict[str, list[str]]:
    """Every mapping without these logical nodes; without all of them when none is named."""
    if not logical:
        return {physical: [] for physical in snapshot.mapping}
    return planning.without_logical(snapshot, logical)


def _is_configured(snapshot: Snapshot, name: str) -> bool:
    config = snapshot.configs.get(name)
    return config is not None and bool(config.text)

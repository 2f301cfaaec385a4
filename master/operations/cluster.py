"""What does run, as all masters together know it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from importlib import metadata

import msgspec

from master import naming
from master.attaching import PROTOCOL
from master.cache import Snapshot
from master.desk import Desk
from master.naming import with_flows
from master.peers import Answers
from master.status import (
    as_physical,
    configured_nowhere,
    listening,
    lost_row,
    merged,
    physical_of,
    physical_row,
)
from qanat.control.documents import KnownNode
from qanat.control.operations import cluster as calls
from qanat.control.operations.errors import Kind, OperationError
from qanat.errors import RetryableError
from qanat.flow.faults import did_you_mean
from qanat.wire.v1 import control_pb2 as wire

# What a node takes from one master to another, several times over.
MOVES_S = 0.5


async def status(desk: Desk, request: calls.Status, author: str) -> calls.StatusReply:
    """Every physical node with its logical nodes, and what is configured and runs nowhere."""
    snapshot = await desk.snapshot()
    known = await _known(desk)
    names = with_flows(snapshot, request.names, known)
    question = wire.StatusRequest(
        names=names, unsettled_only=request.unsettled, revision=snapshot.revision, with_names=True
    )
    answers = await _everywhere(desk, question, known)
    notes = silent_masters(answers)
    cluster = desk.nodes.cluster
    if cluster is not None and not request.names and not desk.is_stale:
        there = [physical_of(each) for reply in answers.replies.values() for each in reply.nodes]
        notes += configured_nowhere(
            cluster, [as_physical(name, node) for name, node in known.items()] + there
        )
    collectors = listening(desk.live)
    rows = [physical_row(master, each, collectors) for master, each in merged(answers.replies).values()]
    rows += _lost(desk, names, known, answers)
    replies = answers.replies.values()
    if not answers.silent and not desk.is_stale:
        physical = {*known, *(name for reply in replies for name in reply.attached_names)}
        _refuse_unknown(names, physical, rows, snapshot)
    return calls.StatusReply(
        nodes=sorted((_of(row, names) for row in rows), key=lambda row: row.name),
        attached=sum(reply.attached for reply in replies),
        applied=sum(reply.attached - reply.unsettled for reply in replies),
        notes=notes,
    )


def _refuse_unknown(
    names: Sequence[str], physical: set[str], rows: list[calls.PhysicalRow], snapshot: Snapshot
) -> None:
    known = physical | naming.logical(snapshot) | {each.logical for row in rows for each in row.logical}
    if missing := set(names) - known:
        kind = "physical node, logical node or flow"
        raise naming.unknown(kind, missing, known | naming.flows(snapshot), "`qanat status`")


def _of(row: calls.PhysicalRow, names: Sequence[str]) -> calls.PhysicalRow:
    """All of a physical node that was named, else those logical nodes that were."""
    if not names or row.name in names:
        return row
    return msgspec.structs.replace(row, logical=[each for each in row.logical if each.logical in names])


async def nodes(desk: Desk, request: calls.Nodes, author: str) -> calls.StatusReply:
    """Every physical node that is known, without its logical ones."""
    whole = await status(desk, calls.Status(names=request.names), author)
    bare = [
        msgspec.structs.replace(row, logical=[], states=Counter(each.state for each in row.logical))
        for row in whole.nodes
    ]
    return msgspec.structs.replace(whole, nodes=bare, notes=[])


async def masters(desk: Desk, request: calls.Masters, author: str) -> calls.MastersReply:
    """Every living master."""
    answers = await desk.peers.status(wire.StatusRequest(counts_only=True))
    try:
        leader = await desk.leader.election.leader()
        epoch = await desk.store.get(desk.leader.election.epoch_path)
    except RetryableError:
        leader = epoch = None
    rows = []
    for name, master in sorted(desk.peers.masters.items()):
        reply = answers.replies.get(name)
        row = calls.MasterRow(
            id=name, rpc=master.rpc, http=master.http, leads=name == leader, reachable=reply is not None
        )
        if reply is not None:
            row = msgspec.structs.replace(
                row, revision=reply.revision, attached=reply.attached, unsettled=reply.unsettled
            )
        rows.append(row)
    return calls.MastersReply(masters=rows, epoch=0 if epoch is None else epoch.version)


async def refresh(desk: Desk, request: calls.Refresh, author: str) -> calls.Refreshed:
    """Build logical nodes anew, wherever they run."""
    snapshot = await desk.snapshot()
    known = await _known(desk)
    names = set(with_flows(snapshot, request.names, known))
    answers = await desk.peers.status(wire.StatusRequest(names=sorted(names)))
    found = merged(answers.replies)
    told = []
    for name, (master, node) in sorted(found.items()):
        logical = [] if name in names else [each.logical for each in node.wanted if each.logical in names]
        if await desk.peers.send(master, name, wire.ToNode(refresh=wire.Refresh(logical=logical))):
            told.append(name)
    missing = names - found.keys() - {each.logical for _, node in found.values() for each in node.wanted}
    if missing:
        close = did_you_mean(min(missing), {*known, *naming.logical(snapshot)} - missing)
        raise OperationError(
            Kind.NOT_FOUND,
            f"{', '.join(sorted(missing))} is no attached physical node, nor a logical node that one runs"
            + (f"; told were: {', '.join(told)}" if told else close),
        )
    return calls.Refreshed(nodes=told)


async def version(desk: Desk, request: calls.Version, author: str) -> calls.VersionReply:
    """What serves."""
    return calls.VersionReply(version=metadata.version("qanat"), master=desk.master_id, protocol=PROTOCOL)


def silent_masters(answers: Answers) -> list[str]:
    """A sentence for each master that did not answer."""
    return [f"master {name} did not answer: {why}" for name, why in sorted(answers.silent.items())]


async def _known(desk: Desk) -> dict[str, KnownNode]:
    """Everyone who is known; while the store does not answer, who was: it was waited for already, for the configuration."""
    if desk.is_stale:
        return desk.known.remembered()
    try:
        return await desk.known.all()
    except RetryableError:
        return desk.known.remembered()


async def _everywhere(desk: Desk, question: wire.StatusRequest, known: dict[str, KnownNode]) -> Answers:
    """What all masters say. A node that is attached nowhere may be on its way from one master to another: unless it was lost in
    the last look already, they are asked again."""
    answers = await desk.peers.status(question)
    if not answers.silent and not _absent(known, answers) <= desk.lost:
        await asyncio.sleep(MOVES_S)
        answers = await desk.peers.status(question)
    if not answers.silent:
        desk.lost = _absent(known, answers)
    return answers


def _absent(known: dict[str, KnownNode], answers: Answers) -> set[str]:
    return known.keys() - {name for reply in answers.replies.values() for name in reply.attached_names}


def _lost(
    desk: Desk, wanted: Sequence[str], known: dict[str, KnownNode], answers: Answers
) -> list[calls.PhysicalRow]:
    """Known nodes that no master has. While one is silent nobody knows what it has."""
    if answers.silent:
        return []
    rows = [lost_row(name, known[name], desk.nodes.cluster) for name in _absent(known, answers)]
    names = set(wanted)
    return [
        row
        for row in rows
        if not names or row.name in names or names.intersection(each.logical for each in row.logical)
    ]

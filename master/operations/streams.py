"""Operations that go on for a while: waiting, watching rates."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence

import msgspec

from master import naming
from master.cache import Snapshot
from master.desk import Desk
from master.naming import with_flows
from master.operations.cluster import silent_masters, status
from master.peers import Answers
from master.status import merged, physical_row
from qanat.control.operations import cluster as calls
from qanat.wire.v1 import control_pb2 as wire

# How often masters are asked while somebody waits: they answer only with the nodes that are not settled.
LOOK_S = 0.25

UNCONFIGURED = "nothing was ever configured in this cluster; `qanat apply FILE` does that"

# Nodes that are named while they are waited for.
PENDING_MAX = 20


async def wait(desk: Desk, request: calls.Wait, author: str) -> AsyncGenerator[calls.Waiting, None]:
    """Until nodes are where they should be. Says how far it is whenever that has changed."""
    until_s = time.monotonic() + request.timeout_s
    snapshot = await desk.snapshot()
    revision = max(request.revision, snapshot.revision)
    request = msgspec.structs.replace(request, names=with_flows(snapshot, request.names))
    unknown = await _unknown(desk, snapshot, request.names)
    last: calls.Waiting | None = None
    while True:
        now = await _waiting(desk, request, revision, unknown)
        if now != last:
            yield now
        if now.done or now.stuck or time.monotonic() > until_s:
            return
        last = now
        await asyncio.sleep(LOOK_S)


async def _unknown(desk: Desk, snapshot: Snapshot, names: Sequence[str]) -> list[str]:
    """Names that nothing has: misspelt, perhaps, or of a node that is to come."""
    if not names or desk.is_stale:
        return []
    known = naming.logical(snapshot) | {each.name for each in await desk.everybody()}
    return [name for name in names if name not in known]


async def _waiting(desk: Desk, request: calls.Wait, revision: int, unknown: Sequence[str]) -> calls.Waiting:
    if request.kind == "applied" and not request.names:
        return await _waiting_for_all(desk, revision)
    question = wire.StatusRequest(names=request.names, revision=revision, with_names=True)
    answers = await desk.peers.status(question)
    rows = [physical_row(master, each) for master, each in merged(answers.replies).values()]
    unsettled = [row for row in rows if _why_pending(row, request)]
    present = {name for reply in answers.replies.values() for name in reply.attached_names}
    present.update(each.logical for row in rows for each in row.logical)
    missing = [f"{name} is attached nowhere" for name in request.names if name not in present]
    absent = [*_masters_behind(answers, revision), *missing]
    pending = absent + [f"{row.name}: {_why_pending(row, request)}" for row in unsettled]
    return calls.Waiting(
        done=not pending,
        settled=len(rows) - len(unsettled),
        total=len(rows) + len(missing),
        pending=pending[:PENDING_MAX],
        stuck=not absent and _are_stuck(desk, unsettled, request),
        unknown=[name for name in unknown if name not in present],
    )


async def _waiting_for_all(desk: Desk, revision: int) -> calls.Waiting:
    """By the counts of the masters, who name only some of the nodes: there may be ten thousand of them.

    Nodes are told nothing as long as nothing was ever configured."""
    question = wire.StatusRequest(revision=revision, unsettled_only=True, nodes_max=PENDING_MAX)
    answers = await desk.peers.status(question)
    replies = answers.replies.values()
    total = sum(reply.attached for reply in replies)
    unsettled = sum(reply.unsettled for reply in replies)
    rows = [physical_row(master, each) for master, each in merged(answers.replies).values()]
    if not revision and not desk.is_stale and unsettled:
        return calls.Waiting(done=False, settled=0, total=total, pending=[UNCONFIGURED], stuck=True)
    behind = _masters_behind(answers, revision)
    everything = calls.Wait()
    pending = behind + [f"{row.name}: {_why_pending(row, everything)}" for row in rows[:PENDING_MAX]]
    return calls.Waiting(
        done=not pending and not unsettled,
        settled=total - unsettled,
        total=total,
        pending=pending[:PENDING_MAX],
        stuck=not behind and unsettled == len(rows) and _are_stuck(desk, rows, everything),
    )


def _masters_behind(answers: Answers, revision: int) -> list[str]:
    return silent_masters(answers) + [
        f"master {name} has read revision {reply.revision} of {revision}"
        for name, reply in sorted(answers.replies.items())
        if reply.revision < revision
    ]


def _why_pending(row: calls.PhysicalRow, request: calls.Wait) -> str:
    """Why a node is not where it should be; "" when it is."""
    late = _late(row, request)
    if not late and request.kind == "applied" and _is_whole(row, request) and not row.applied:
        return "applying"
    return ", ".join(_said(each) for each in late)


def _late(row: calls.PhysicalRow, request: calls.Wait) -> list[calls.LogicalRow]:
    """The logical nodes that are asked for and are not where they should be."""
    looked_at = [each for each in row.logical if _is_whole(row, request) or each.logical in request.names]
    if request.kind == "applied":
        late = {"waiting"} if row.applied else {"applying", "failed", "unknown", "waiting"}
        return [each for each in looked_at if each.progress in late]
    is_active = request.kind == "active"
    return [each for each in looked_at if not (_is_done(each) or (is_active and each.state == "ACTIVE"))]


def _is_done(row: calls.LogicalRow) -> bool:
    """Its sources are at their end; one that waits for a collector is IDLE as well."""
    return row.state == "IDLE" and row.progress == "applied" and bool(row.running)


def _is_whole(row: calls.PhysicalRow, request: calls.Wait) -> bool:
    """All of the physical node is asked for."""
    return not request.names or row.name in request.names


def _said(row: calls.LogicalRow) -> str:
    state = "waiting:" if row.progress == "waiting" else row.state
    return f"{row.logical} {state} {row.why}".strip()


def _are_stuck(desk: Desk, rows: Sequence[calls.PhysicalRow], request: calls.Wait) -> bool:
    """None of these nodes can come where it should be, unless something else is configured."""
    cluster = desk.nodes.cluster
    if cluster is None or request.kind != "applied":
        return False
    late = [each.logical for row in rows for each in _late(row, request)]
    return bool(late) and all(name in cluster.statements and cluster.missing(name) for name in late)


async def top(desk: Desk, request: calls.Top, author: str) -> AsyncGenerator[calls.TopReply, None]:
    """The rates, at every interval."""
    while True:
        found = await status(desk, calls.Status(names=request.names), author)
        attached = [row for row in found.nodes if row.state == "attached"]
        yield calls.TopReply(
            nodes=attached,
            events_s=sum(each.events_s for row in attached for each in row.logical),
            bytes_s=sum(each.bytes_s for row in attached for each in row.logical),
        )
        await asyncio.sleep(request.interval_s)

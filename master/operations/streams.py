"""Operations that go on for a while: waiting, watching rates."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator

from master.desk import Desk
from master.operations.cluster import silent_masters, status
from master.peers import Answers
from master.status import merged, physical_row
from qanat.control.operations import cluster as calls
from qanat.wire.v1 import control_pb2 as wire

# How often masters are asked while somebody waits: they answer only with the nodes that are not settled.
LOOK_S = 0.25

# Nodes that are named while they are waited for.
PENDING_MAX = 20


async def wait(desk: Desk, request: calls.Wait, author: str) -> AsyncGenerator[calls.Waiting, None]:
    """Until nodes are where they should be. Says how far it is whenever that has changed."""
    until_s = time.monotonic() + request.timeout_s
    revision = max(request.revision, (await desk.snapshot()).revision)
    last: calls.Waiting | None = None
    while True:
        now = await _waiting(desk, request, revision)
        if now != last:
            yield now
        if now.done or time.monotonic() > until_s:
            return
        last = now
        await asyncio.sleep(LOOK_S)


async def _waiting(desk: Desk, request: calls.Wait, revision: int) -> calls.Waiting:
    if request.kind == "applied" and not request.names:
        return await _waiting_for_all(desk, revision)
    question = wire.StatusRequest(names=request.names, revision=revision, with_names=True)
    answers = await desk.peers.status(question)
    rows = [physical_row(master, each) for master, each in merged(answers.replies).values()]
    unsettled = [f"{row.name}: {why}" for row in rows if (why := _why_pending(row, request))]
    present = {name for reply in answers.replies.values() for name in reply.attached_names}
    present.update(each.logical for row in rows for each in row.logical)
    missing = [f"{name} is attached nowhere" for name in request.names if name not in present]
    pending = [*_masters_behind(answers, revision), *missing, *unsettled]
    return calls.Waiting(
        done=not pending,
        settled=len(rows) - len(unsettled),
        total=len(rows) + len(missing),
        pending=pending[:PENDING_MAX],
    )


async def _waiting_for_all(desk: Desk, revision: int) -> calls.Waiting:
    """By the counts of the masters, who name only some of the nodes: there may be ten thousand of them."""
    question = wire.StatusRequest(revision=revision, unsettled_only=True, nodes_max=PENDING_MAX)
    answers = await desk.peers.status(question)
    replies = answers.replies.values()
    total = sum(reply.attached for reply in replies)
    unsettled = sum(reply.unsettled for reply in replies)
    rows = [physical_row(master, each) for master, each in merged(answers.replies).values()]
    pending = _masters_behind(answers, revision)
    pending += [f"{row.name}: {_why_pending(row, calls.Wait())}" for row in rows[:PENDING_MAX]]
    return calls.Waiting(
        done=not pending and not unsettled,
        settled=total - unsettled,
        total=total,
        pending=pending[:PENDING_MAX],
    )


def _masters_behind(answers: Answers, revision: int) -> list[str]:
    return silent_masters(answers) + [
        f"master {name} has read revision {reply.revision} of {revision}"
        for name, reply in sorted(answers.replies.items())
        if reply.revision < revision
    ]


def _why_pending(row: calls.PhysicalRow, request: calls.Wait) -> str:
    """Why a node is not where it should be; "" when it is."""
    names = set(request.names)
    everything = not names or row.name in names
    looked_at = [each for each in row.logical if everything or each.logical in names]
    if request.kind == "applied":
        if everything and row.applied:
            return ""
        late = [each for each in looked_at if each.progress in ("applying", "failed", "unknown")]
        if everything and not late:
            return "applying"
    else:
        wanted = "ACTIVE" if request.kind == "active" else "IDLE"
        late = [each for each in looked_at if each.state != wanted]
    return ", ".join(f"{each.logical} {each.state} {each.why}".strip() for each in late)


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

"""What should run: changed, and taken back."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from master import planning
from master.cache import Snapshot
from master.desk import Checked, Desk
from master.operations import looking
from master.planning import Edit
from master.status import configured_nowhere
from qanat.check import check
from qanat.control.documents import Config
from qanat.control.names import fault_of, fault_of_id
from qanat.control.operations import configuration as calls
from qanat.control.operations.errors import Kind, OperationError
from qanat.control.statements import with_flow
from qanat.control.translation import Cluster
from qanat.coordination.store import Op
from qanat.flow.faults import Faults
from qanat.flow.model import DEFAULT_FLOW

# Physical nodes that are named in a plan; the rest is counted.
SHOWN_MAX = 20


@dataclass(frozen=True)
class Wanted:
    """A change as it was asked for."""

    edits: Sequence[Edit]
    prune: bool = False
    expected: Mapping[str, int] = field(default_factory=dict)
    mapping: Mapping[str, Sequence[str]] = field(default_factory=dict)
    limits: Sequence[calls.LimitRow] = ()
    unmapped: Sequence[str] = ()  # logical nodes to take out of every mapping


async def apply(desk: Desk, request: calls.Apply, author: str) -> calls.Plan:
    """Make the configuration say what a text says."""
    checked = await _checked(desk, request.text, request.path)
    wanted = Wanted(checked.edits, request.prune, request.expected)
    return await _change(desk, wanted, author, request.dry_run)


async def diff(desk: Desk, request: calls.Diff, author: str) -> calls.Plan:
    """What `apply` would change."""
    checked = await _checked(desk, request.text, request.path)
    return await _change(desk, Wanted(checked.edits, request.prune), author, dry_run=True)


async def multiconfig(desk: Desk, request: calls.Multiconfig, author: str) -> calls.Plan:
    """Configure all logical nodes of a text."""
    return await apply(desk, calls.Apply(text=request.text, dry_run=request.dry_run), author)


async def config(desk: Desk, request: calls.Config, author: str) -> calls.Plan:
    """Configure one logical node from its parts."""
    snapshot = await desk.snapshot()
    before = snapshot.configs.get(request.logical)
    flow = request.flow or (DEFAULT_FLOW if before is None else before.flow)
    selector = f" @ {request.selector}" if request.selector else ""
    text = with_flow(f"{request.logical}{selector} : {request.source} | {request.sink} ;", flow)
    names = [edit.logical for edit in (await _checked(desk, text, "<config>")).edits]
    if names != [request.logical]:
        raise OperationError(
            Kind.USAGE,
            f"these parts say more than one statement, of {', '.join(names)}; `qanat apply` configures several logical nodes",
        )
    return await apply(desk, calls.Apply(text=text, path="<config>", dry_run=request.dry_run), author)


async def unconfig(desk: Desk, request: calls.Unconfig, author: str) -> calls.Plan:
    """Delete configuration."""
    edits = await _deletions(desk, request.names)
    return await _change(desk, Wanted(edits, expected=request.expected), author)


async def decommission(desk: Desk, request: calls.Decommission, author: str) -> calls.Plan:
    """Delete configuration, and the mappings to it."""
    edits = await _deletions(desk, request.names)
    return await _change(desk, Wanted(edits, unmapped=request.names), author)


async def load(desk: Desk, request: calls.Load, author: str) -> calls.Plan:
    """Apply what `save` gave."""
    checked = await _checked(desk, request.text, "<load>")
    ids = [each.id for each in request.limits]
    mapped = {logical for each in request.mapping.values() for logical in each}
    faults = [*map(fault_of, (*request.mapping, *sorted(mapped))), *map(fault_of_id, ids)]
    faults += [
        f"the limit {limit_id} is given twice" for limit_id, count in Counter(ids).items() if count > 1
    ]
    if fault := next(filter(None, faults), ""):
        raise OperationError(Kind.USAGE, fault)
    wanted = Wanted(checked.edits, mapping=request.mapping, limits=request.limits)
    return await _change(desk, wanted, author, request.dry_run)


async def rollback(desk: Desk, request: calls.Rollback, author: str) -> calls.Plan:
    """Configure a logical node as it was."""
    former = await looking.version_of(desk, request.logical, request.version)
    if former is None:
        versions = [
            each.version
            for each in (await looking.history(desk, calls.History(logical=request.logical), author)).nodes
        ]
        raise OperationError(
            Kind.NOT_FOUND,
            f"{request.logical} has no version {request.version}; there are {versions[-1]} to {versions[0]}, and "
            f"`qanat history {request.logical}` shows them",
        )
    if former.text:
        await _checked(desk, with_flow(former.text, former.flow), f"<version {request.version}>")
    wanted = Wanted([Edit(request.logical, former.flow, former.text)])
    return await _change(desk, wanted, author, request.dry_run)


async def _checked(desk: Desk, text: str, path: str) -> Checked:
    """What a text that can run says. Raises FlowError with every fault.

    On a thread: components are imported on the way, and nodes need not wait for that. The last text is remembered: whoever has
    seen what would change says that it should next, and a text of twenty thousand statements takes half a minute to check."""

    def read() -> Checked:
        flow = check(text, path)
        edits = planning.edits_of(flow.nodes)
        statements = [desk.language.statement(edit.text, edit.flow) for edit in edits]
        faults = Faults()
        for node, statement in zip(flow.nodes, statements, strict=True):
            if statement.fault:
                faults.add(node.place, statement.fault)
            elif not statement.role:
                faults.add(
                    node.place,
                    f"{node.name} leads from a source straight into storage, which only `qanat run` does; write a node for "
                    "agents that ends in autoE2EChain, and one for collectors that begins with autoCollectorSource",
                )
        faults.raise_if_any()
        return Checked(text, edits, statements)

    last = desk.last_checked
    if last is None or last.text != text:
        last = desk.last_checked = await asyncio.to_thread(read)
    return last


async def _deletions(desk: Desk, names: Sequence[str]) -> list[Edit]:
    snapshot = await desk.snapshot()
    looking.refuse_unknown(snapshot, names)
    return [Edit(name, snapshot.configs[name].flow, "") for name in dict.fromkeys(names)]


async def _change(desk: Desk, wanted: Wanted, author: str, dry_run: bool = False) -> calls.Plan:
    """Plan, and do it unless `dry_run`; when something else was changed meanwhile, again, if it still means the same."""
    planned: list[calls.Change] = []
    besides: list[str] = []
    seen: dict[str, int] = {}

    def plan(snapshot: Snapshot) -> list[Op]:
        nonlocal planned, besides
        edits = [*wanted.edits, *(planning.pruned(snapshot, wanted.edits) if wanted.prune else ())]
        planning.check_expected(snapshot, seen or _expected(wanted, edits))
        planned = planning.changes(snapshot, edits)
        seen.update(planning.versions(snapshot, [edit.logical for edit in edits]))
        mapping = {**planning.without_logical(snapshot, wanted.unmapped), **wanted.mapping}
        besides = planning.notes_besides(snapshot, mapping, wanted.limits)
        return [
            *planning.config_ops(snapshot, planned, author, desk.wall_ns()),
            *planning.mapping_ops(snapshot, mapping),
            *planning.limits_ops(snapshot, wanted.limits),
        ]

    snapshot = await desk.snapshot()
    if dry_run:
        plan(snapshot)
        revision = snapshot.revision
    else:
        revision = await desk.writer.write(plan)
        snapshot = desk.cache.snapshot
    plan_shown = await _shown(desk, snapshot, planned, revision, applied=not dry_run)
    return msgspec.structs.replace(plan_shown, notes=[*besides, *plan_shown.notes])


def _expected(wanted: Wanted, edits: Sequence[Edit]) -> Mapping[str, int]:
    """Versions that were agreed to. Whoever agreed to a plan with deletions did not agree to delete what came after it."""
    unseen = {edit.logical: 0 for edit in edits} if wanted.prune and wanted.expected else {}
    return {**unseen, **wanted.expected}


async def _shown(
    desk: Desk, snapshot: Snapshot, planned: Sequence[calls.Change], revision: int, *, applied: bool
) -> calls.Plan:
    """With where it runs. What was stored is not called a failure because the store went away after it."""
    # On a thread: thousands of statements are parsed, and nodes need not wait for that.
    cluster = await asyncio.to_thread(desk.cluster, _as_planned(snapshot, planned))
    known = await desk.everybody()
    names = {change.logical for change in planned}
    runs_on: dict[str, list[str]] = {}
    for node in known:
        for logical in names.intersection(cluster.runs(node)):
            runs_on.setdefault(logical, []).append(node.name)
    shown = [
        msgspec.structs.replace(
            change,
            runs_on=sorted(runs_on.get(change.logical, ()))[:SHOWN_MAX],
            runs_on_count=len(runs_on.get(change.logical, ())),
        )
        for change in planned
    ]
    notes = [note for note in configured_nowhere(cluster, known) if note.partition(" ")[0] in names]
    notes += _without_collectors(cluster, names)
    return calls.Plan(changes=shown, applied=applied, revision=revision, notes=notes)


def _without_collectors(cluster: Cluster, names: set[str]) -> list[str]:
    """A sentence for each logical node whose automatic chain can never have a collector."""
    giving = {statement.flow for statement in cluster.statements.values() if statement.gives_chain}
    return [
        f"{name} delivers to the collectors of flow {statement.flow}, and it has none; configure one that begins with "
        "autoCollectorSource"
        for name in sorted(names & cluster.statements.keys())
        if (statement := cluster.statements[name]).needs_chain and statement.flow not in giving
    ]


def _as_planned(snapshot: Snapshot, planned: Sequence[calls.Change]) -> Snapshot:
    """The configuration with the changes in it."""
    configs = dict(snapshot.configs)
    for change in planned:
        configs[change.logical] = Config(
            text=change.after, flow=change.flow, version=change.version + 1, author="", time_ns=0
        )
    return Snapshot(snapshot.revision, snapshot.changes, configs, snapshot.mapping, snapshot.limits)

"""What should run, and what should have: shown."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from master import naming, planning
from master.cache import Snapshot
from master.desk import Desk
from qanat.control import paths
from qanat.control.documents import Config, decode
from qanat.control.names import fault_of
from qanat.control.operations import configuration as calls
from qanat.control.operations.errors import Kind, OperationError
from qanat.control.statements import as_file
from qanat.flow.faults import did_you_mean


async def get(desk: Desk, request: calls.Get, author: str) -> calls.Configuration:
    """The configuration."""
    snapshot = await desk.snapshot()
    names = naming.with_flows(snapshot, request.names)
    refuse_unknown(snapshot, names)
    _refuse_unknown_flow(snapshot, request.flow)
    return calls.Configuration(
        nodes=[
            _configured(name, found)
            for name, found in sorted(snapshot.configs.items())
            if found.text and (not names or name in names) and request.flow in (None, found.flow)
        ]
    )


async def save(desk: Desk, request: calls.Save, author: str) -> calls.Saved:
    """All configuration as one text."""
    snapshot = await desk.snapshot()
    _refuse_unknown_flow(snapshot, request.flow)
    statements = {
        name: (found.text, found.flow)
        for name, found in snapshot.configs.items()
        if found.text and request.flow in (None, found.flow)
    }
    mapping = {physical: list(logical) for physical, logical in sorted(snapshot.mapping.items())}
    text = await asyncio.to_thread(as_file, statements)
    return calls.Saved(text=text, mapping=mapping, limits=planning.limit_rows(snapshot))


async def history(desk: Desk, request: calls.History, author: str) -> calls.Configuration:
    """Former versions, the last first."""
    _refuse_impossible(request.logical)
    directory = paths.of(paths.HISTORY, request.logical)
    newest = (await desk.cache.fresh()).configs.get(request.logical)  # what is staged is not there yet
    names = (await desk.store.children(directory))[-request.limit :]
    found = zip(names, await desk.store.get_many([f"{directory}/{name}" for name in names]), strict=True)
    documents = [
        decode(Config, node.value, f"{directory}/{name}") for name, node in found if node is not None
    ]
    versions = {each.version: each for each in (*documents, *filter(None, [newest]))}
    if not versions:
        close = did_you_mean(request.logical, naming.logical(await desk.snapshot()))
        raise OperationError(Kind.NOT_FOUND, f'there never was a logical node "{request.logical}"{close}')
    shown = sorted(versions.values(), key=lambda each: -each.version)[: request.limit]
    return calls.Configuration(nodes=[_configured(request.logical, each) for each in shown])


async def version_of(desk: Desk, logical: str, version: int) -> Config | None:
    """A logical node's configuration as it was; None: that is not known."""
    _refuse_impossible(logical)
    newest = (await desk.cache.fresh()).configs.get(logical)
    if newest is not None and newest.version == version:
        return newest
    path = paths.version_of(logical, version)
    node = await desk.store.get(path)
    return None if node is None else decode(Config, node.value, path)


def _configured(name: str, found: Config) -> calls.Configured:
    return calls.Configured(
        logical=name,
        flow=found.flow,
        text=found.text,
        version=found.version,
        author=found.author,
        time_ns=found.time_ns,
    )


def _refuse_impossible(logical: str) -> None:
    """What is no name is no path either, such as `..`."""
    if fault := fault_of(logical):
        raise OperationError(Kind.NOT_FOUND, f"there never was such a logical node: {fault}")


def refuse_unknown(snapshot: Snapshot, names: Sequence[str]) -> None:
    """Raises OperationError when one of them is not configured."""
    unknown = [name for name in names if name not in snapshot.configs or not snapshot.configs[name].text]
    if unknown:
        raise naming.unknown("logical node", unknown, naming.logical(snapshot), "`qanat get`")


def _refuse_unknown_flow(snapshot: Snapshot, flow: str | None) -> None:
    if flow is not None and flow not in (known := naming.flows(snapshot)):
        raise naming.unknown("flow", [flow], known, "`qanat get`")

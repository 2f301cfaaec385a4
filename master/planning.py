"""From what somebody wants the configuration to say, to the operations that make it say so. [pure]"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from master.cache import Snapshot
from qanat.control import paths
from qanat.control.documents import Config, Limit, encode
from qanat.control.documents import Mapping as MappingDocument
from qanat.control.operations.configuration import Change, LimitRow
from qanat.control.operations.errors import Kind, OperationError
from qanat.coordination.store import Create, Delete, Op, Set
from qanat.flow.model import LogicalNode
from qanat.flow.printer import print_node

# Logical nodes that a refusal names; the rest is a number. People read it on a terminal.
NAMED_MAX = 10


@dataclass(frozen=True, slots=True)
class Edit:
    """What one logical node's statement should be; `text` "": none."""

    logical: str
    flow: str
    text: str


def edits_of(nodes: Iterable[LogicalNode]) -> list[Edit]:
    """What a text says."""
    return [Edit(node.name, node.flow, print_node(node)) for node in nodes]


def pruned(snapshot: Snapshot, edits: Sequence[Edit]) -> list[Edit]:
    """Deletions of what the flows of `edits` have besides."""
    flows = {edit.flow for edit in edits}
    named = {edit.logical for edit in edits}
    return [
        Edit(name, config.flow, "")
        for name, config in sorted(snapshot.configs.items())
        if config.text and config.flow in flows and name not in named
    ]


def changes(snapshot: Snapshot, edits: Iterable[Edit]) -> list[Change]:
    """What becomes of each logical node."""
    return [_change(snapshot.configs.get(edit.logical), edit) for edit in edits]


def _change(before: Config | None, edit: Edit) -> Change:
    version = 0 if before is None else before.version
    old = "" if before is None else before.text
    same = old == edit.text and (before is None or before.flow == edit.flow or not old)
    if same:
        kind = "unchanged"
    elif not edit.text:
        kind = "delete"
    else:
        kind = "update" if old else "create"
    return Change(
        logical=edit.logical,
        flow=edit.flow,
        change=kind,  # type: ignore[arg-type]  # of the four
        before=old,
        after=edit.text,
        version=version,
    )


def check_expected(snapshot: Snapshot, expected: Mapping[str, int]) -> None:
    """Raises OperationError when a logical node is not at the version that somebody made a plan for."""
    found = []
    for logical, version in sorted(expected.items()):
        config = snapshot.configs.get(logical)
        now = 0 if config is None else config.version
        if now == version or (version == 0 and config is not None and not config.text):
            continue
        found.append(
            f"{logical} was expected at version {version} and is at {now}"
            + ("" if config is None else f", by {config.author}: {config.text or 'deleted'}")
        )
    if found:
        more = f"; and {len(found) - NAMED_MAX} more" if len(found) > NAMED_MAX else ""
        raise OperationError(
            Kind.CONFLICT,
            f"changed meanwhile: {'; '.join(found[:NAMED_MAX])}{more}. Look at the difference and apply again",
        )


def versions(snapshot: Snapshot, names: Iterable[str]) -> dict[str, int]:
    """As `expected` takes them."""
    return {name: 0 if (config := snapshot.configs.get(name)) is None else config.version for name in names}


def config_ops(snapshot: Snapshot, planned: Iterable[Change], author: str, time_ns: int) -> list[Op]:
    """The operations that make `planned` so: of each change, the configuration and its history."""
    ops: list[Op] = []
    for change in planned:
        if change.change == "unchanged":
            continue
        document = Config(
            text=change.after,
            flow=change.flow,
            version=change.version + 1,
            author=author or "unknown",
            time_ns=time_ns,
        )
        value = encode(document)
        ops.append(_put(snapshot, paths.of(paths.CONFIG, change.logical), value))
        ops.append(Create(paths.version_of(change.logical, document.version), value))
    return ops


def mapping_ops(snapshot: Snapshot, mapping: Mapping[str, Collection[str]]) -> list[Op]:
    """The operations that place these logical nodes on these physical ones, and no others on them."""
    ops: list[Op] = []
    for physical, logical in sorted(mapping.items()):
        path = paths.of(paths.MAPPING, physical)
        if tuple(sorted(set(logical))) == snapshot.mapping.get(physical, ()):
            continue
        if logical:
            ops.append(_put(snapshot, path, encode(MappingDocument(sorted(set(logical))))))
        else:
            ops.append(Delete(path, snapshot.versions[path]))
    return ops


def notes_besides(
    snapshot: Snapshot, mapping: Mapping[str, Collection[str]], limits: Iterable[LimitRow]
) -> list[str]:
    """A sentence for each mapping and each rate limit that becomes another: a plan lists only logical nodes."""
    mapped = [
        f"{physical} is mapped to {', '.join(sorted(set(logical))) or 'nothing'}"
        for physical, logical in sorted(mapping.items())
        if tuple(sorted(set(logical))) != snapshot.mapping.get(physical, ())
    ]
    limited = [
        f"the limit {row.id} becomes {row.events_s:g} events/s, {row.bytes_s:g} bytes/s (0: none)"
        for row in limits
        if snapshot.limits.get(row.id) != Limit(row.events_s, row.bytes_s)
    ]
    return mapped + limited


def without_logical(snapshot: Snapshot, names: Collection[str]) -> dict[str, list[str]]:
    """Mappings as they are once these logical nodes are gone from them."""
    gone = set(names)
    return {
        physical: [each for each in logical if each not in gone]
        for physical, logical in snapshot.mapping.items()
        if gone.intersection(logical)
    }


def _put(snapshot: Snapshot, path: str, value: bytes) -> Op:
    version = snapshot.versions.get(path)
    return Create(path, value) if version is None else Set(path, value, version)


def limit_rows(snapshot: Snapshot) -> list[LimitRow]:
    """All rate limits, as they are listed."""
    return [
        LimitRow(id=name, events_s=each.events_s, bytes_s=each.bytes_s)
        for name, each in sorted(snapshot.limits.items())
    ]


def limits_ops(snapshot: Snapshot, rows: Iterable[LimitRow]) -> list[Op]:
    """The operations that set these rate limits, as far as they are others."""
    ops: list[Op] = []
    for row in rows:
        wanted = Limit(row.events_s, row.bytes_s)
        if snapshot.limits.get(row.id) != wanted:
            ops += limit_ops(snapshot, row.id, encode(wanted))
    return ops


def limit_ops(snapshot: Snapshot, limit_id: str, value: bytes | None) -> list[Op]:
    """The operations that set a rate limit, or delete it."""
    path = paths.of(paths.LIMITS, limit_id)
    version = snapshot.versions.get(path)
    if value is not None:
        return [_put(snapshot, path, value)]
    return [] if version is None else [Delete(path, version)]

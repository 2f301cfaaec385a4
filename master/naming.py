"""What administrators call things: physical nodes, logical nodes, and flows, by one kind of argument."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from master.cache import Snapshot
from qanat.control.operations.errors import Kind, OperationError
from qanat.flow.faults import did_you_mean


def flows(snapshot: Snapshot) -> set[str]:
    """That have a logical node."""
    return {each.flow for each in snapshot.configs.values() if each.text}


def logical(snapshot: Snapshot) -> set[str]:
    """The logical nodes that are configured."""
    return {name for name, each in snapshot.configs.items() if each.text}


def with_flows(snapshot: Snapshot, names: Sequence[str], physical: Iterable[str] = ()) -> list[str]:
    """Every flow among `names` as its logical nodes. What has the name of a flow and of a node is the node."""
    nodes = {*logical(snapshot), *physical}
    found: dict[str, None] = {}
    for name in names:
        members = [each for each, config in snapshot.configs.items() if config.text and config.flow == name]
        found.update(dict.fromkeys([name] if name in nodes or not members else sorted(members)))
    return list(found)


def unknown(kind: str, missing: Iterable[str], known: Iterable[str], lists: str) -> OperationError:
    """There is no such thing; what was meant, perhaps; and which command `lists` those that there are."""
    names = sorted(missing)
    listed = ", ".join(f'"{name}"' for name in names)
    close = did_you_mean(names[0], known) if len(names) == 1 else ""
    return OperationError(Kind.NOT_FOUND, f"there is no {kind} {listed}{close or f'; {lists} lists them'}")

"""Flume OG's four `get...` commands, line for line as it printed them: people have scripts that read this."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from qanat.control.operations import cluster
from qanat.control.operations import configuration as ops
from qanat.errors import ConfigError
from qanat.flow.model import LogicalNode
from qanat.flow.parser import parse
from qanat.flow.printer import print_sink, print_sources, print_value

Call = Callable[[str, msgspec.Struct], Any]


def node_status(call: Call, arguments: list[str]) -> Iterator[str]:
    """`getnodestatus`: every logical node, and physical nodes that have none."""
    reply: cluster.StatusReply = call("status", cluster.Status())
    rows = [(name, each.state) for name, each in _rows(reply)]
    # A physical node with nothing to run had a logical node of its own name in Flume OG, which said hello.
    rows += [
        (node.name, "HELLO" if node.state == "attached" else "LOST")
        for node in reply.nodes
        if not node.logical
    ]
    yield f"Master knows about {len(rows)} nodes"
    yield from (f"\t{name} --> {state}" for name, state in sorted(rows))


def reports(call: Call, arguments: list[str]) -> Iterator[str]:
    """`getreports`: what logical nodes measure, as JSON."""
    rows = list(_rows(call("status", cluster.Status())))
    yield f"Master knows about {len(rows)} reports"
    yield from (
        f"\t{name} --> {msgspec.json.encode(each).decode()}"
        for name, each in sorted(rows, key=lambda row: row[0])
    )


def configs(call: Call, arguments: list[str]) -> Iterator[str]:
    """`getconfigs`: a table whose columns are padded and have tabs between them."""
    reply: ops.Configuration = call("get", ops.Get())
    if not reply.nodes:
        yield "Master has no logical node configurations."
        return
    rows = [(each.logical, each.flow, *_parts(each.text)) for each in reply.nodes]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in (("NODE", "FLOW", "SOURCE", "SINK"), *rows):
        yield "\t".join(field.ljust(width) for field, width in zip(row, widths, strict=True))


def mappings(call: Call, arguments: list[str]) -> Iterator[str]:
    """`getmappings [PHYSICAL]`: what was mapped by hand."""
    mapping: dict[str, list[str]] = call("mappings", ops.Mappings()).mapping
    asked = f" for physical node {arguments[0]}" if arguments else ""
    shown = {name: each for name, each in sorted(mapping.items()) if not arguments or name == arguments[0]}
    if not shown:
        yield f"No physical / logic node mappings{asked}. Use spawn to map a logical node to a physical node."
        return
    yield f"Master has the following mappings{asked}"
    yield ""
    yield f"{'Physical Node':30} --> Logical Node(s)"
    yield ""
    yield from (f"{physical:30} --> [{', '.join(logical)}]" for physical, logical in shown.items())


REPORTS = {
    "getnodestatus": node_status,
    "getconfigs": configs,
    "getmappings": mappings,
    "getreports": reports,
}


def _rows(reply: cluster.StatusReply) -> Iterator[tuple[str, cluster.LogicalRow]]:
    """Logical nodes under their own names; one that runs in several places as `name@physical`."""
    places: dict[str, int] = {}
    for node in reply.nodes:
        for each in node.logical:
            places[each.logical] = places.get(each.logical, 0) + 1
    for node in reply.nodes:
        for each in node.logical:
            yield each.logical if places[each.logical] == 1 else f"{each.logical}@{node.name}", each


def _parts(text: str) -> tuple[str, str]:
    """Source, with the channel behind it if there is one, and sink."""
    try:
        (node,) = parse(text).nodes
    except (ConfigError, ValueError):  # of a master that knows more of the language
        return text, ""
    return _source(node), print_sink(node.sink)


def _source(node: LogicalNode) -> str:
    sources = print_sources(node.sources)
    return sources if node.channel is None else f"{sources} | {print_value(node.channel)}"

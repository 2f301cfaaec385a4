"""What the Tab key completes that only a master knows: names of nodes, flows and limits.

Whoever presses it wants an answer now: a master that does not answer at once completes nothing, and nothing is said about it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import click
import msgspec
from click.shell_completion import CompletionItem

from qanat.cli.admin import settings
from qanat.cli.shell.connection import Connection, addresses
from qanat.control.operations import cluster
from qanat.control.operations import configuration as ops
from qanat.errors import QanatError

# More than anybody reads in a list; whoever sees so many types another letter.
SHOWN_MAX = 200

Items = list[CompletionItem[str]]


def logical(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """Logical nodes that are configured, each with its flow."""
    return _matching(incomplete, _taken(context, parameter), _logical(_connection(context)))


def physical(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """Physical nodes that are known, each with its role and state."""
    return _matching(incomplete, _taken(context, parameter), _physical(_connection(context)))


def nodes(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """Both kinds of nodes."""
    connection = _connection(context)
    return _matching(incomplete, _taken(context, parameter), [*_logical(connection), *_physical(connection)])


def flows(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """Flows that have a logical node."""
    return _matching(incomplete, (), ((flow, "") for _, flow in _logical(_connection(context))))


def sampled(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """Logical nodes and flows."""
    found = _logical(_connection(context))
    return _matching(incomplete, (), [*((flow, "flow") for _, flow in found), *found])


def limits(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """Rate limits that are set."""
    reply: ops.LimitsReply | None = _glance(_connection(context), "limit", ops.Limit())
    return _matching(incomplete, (), ((each.id, "") for each in (reply.limits if reply else ())))


def _logical(connection: Connection | None) -> list[tuple[str, str]]:
    reply: ops.Configuration | None = _glance(connection, "get", ops.Get())
    return [(each.logical, each.flow) for each in (reply.nodes if reply else ())]


def _physical(connection: Connection | None) -> list[tuple[str, str]]:
    reply: cluster.StatusReply | None = _glance(connection, "nodes", cluster.Nodes())
    return [(each.name, f"{each.role}, {each.state}") for each in (reply.nodes if reply else ())]


def _glance(connection: Connection | None, method: str, request: msgspec.Struct) -> Any:
    return None if connection is None else connection.glance(method, request)


def _connection(context: click.Context) -> Connection | None:
    """To the masters that the command would ask; None when nobody said which."""
    shell = context.find_object(Connection)
    if shell is not None:
        return shell
    try:
        file = settings.read()
        said = context.params.get("master") or os.environ.get("QANAT_MASTER")
        return Connection("", addresses(said) if said else settings.masters(None, file))
    except QanatError:
        return None


def _taken(context: click.Context, parameter: click.Parameter) -> tuple[str, ...]:
    """What was typed for the same argument already."""
    value = context.params.get(parameter.name or "")
    return value if isinstance(value, tuple) else ()


def _matching(incomplete: str, taken: tuple[str, ...], named: Iterable[tuple[str, str]]) -> Items:
    found = {name: about for name, about in named if name.startswith(incomplete) and name not in taken}
    return [CompletionItem(name, help=about or None) for name, about in sorted(found.items())[:SHOWN_MAX]]

"""What `exec` and `submit` do: Flume OG's commands to a master, with its order of arguments, as our masters' operations.

Three things are as in Flume OG and not as in the commands of `qanat`: nothing asks, a logical node may be mapped before it is
configured, and what is already so is no failure (`unconfig` of what is not configured), since scripts begin by clearing up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from qanat.cli.admin.apply import read_flow
from qanat.cli.admin.configuration import read_saved, saved_text, write_flow
from qanat.cli.admin.plans import changes, summary
from qanat.cli.shell.jobs import Caller
from qanat.control.operations import cluster
from qanat.control.operations import configuration as ops
from qanat.errors import ConfigError
from qanat.flow.faults import did_you_mean

# Flume OG counted in kilobytes of Java programmers.
OG_KB_BYTES = 1024

# Physical nodes that are named; the rest is a number.
NAMED_MAX = 5


@dataclass(frozen=True, slots=True)
class Verb:
    """`kinds`: of its arguments, for completion; the last one of any further. `least` and `most` of them."""

    usage: str
    sentence: str
    do: Callable[[Caller, list[str]], list[str]]
    kinds: tuple[str, ...] = ()
    least: int = 0
    most: int = 0


def find(name: str) -> Verb:
    """Raises ConfigError."""
    verb = VERBS.get(name)
    if verb is None:
        raise ConfigError(
            f'there is no command "{name}"{did_you_mean(name, VERBS)}; there are: {", ".join(sorted(VERBS))}'
        )
    return verb


def prepared(name: str, arguments: list[str]) -> Verb:
    """The command, if it can be called so. Raises ConfigError."""
    verb = find(name)
    if not verb.least <= len(arguments) <= verb.most:
        said = f", not: {' '.join(arguments)}" if arguments else ""
        raise ConfigError(f"say: exec {name} {verb.usage}".rstrip() + said)
    return verb


def _config(call: Caller, arguments: list[str]) -> list[str]:
    logical, *flow, source, sink = arguments
    request = ops.Config(logical=logical, source=source, sink=sink, flow=flow[0] if flow else "")
    return _planned(call("config", request))


def _multiconfig(call: Caller, arguments: list[str]) -> list[str]:
    return _planned(call("multiconfig", ops.Multiconfig(text=arguments[0])))


def _unconfig(call: Caller, arguments: list[str]) -> list[str]:
    (logical,) = arguments
    if not _is_configured(call, logical):
        return [f"{logical} is not configured"]
    return _planned(call("unconfig", ops.Unconfig(names=[logical])))


def _decommission(call: Caller, arguments: list[str]) -> list[str]:
    (logical,) = arguments
    if _is_configured(call, logical):
        return _planned(call("decommission", ops.Decommission(names=[logical])))
    call("unmap", ops.Unmap(logical=[logical], all=True))
    return [f"{logical} is not configured, and mapped nowhere any more"]


def _map(call: Caller, arguments: list[str]) -> list[str]:
    physical, logical = arguments
    call("map", ops.Map(physical=physical, logical=[logical], ahead=True))
    return (
        []
        if _is_configured(call, logical)
        else [f"{logical} is not configured yet: {physical} runs it when it is"]
    )


def _unmap(call: Caller, arguments: list[str]) -> list[str]:
    physical, logical = arguments
    mapping = call("mappings", ops.Mappings()).mapping
    if logical not in mapping.get(physical, ()):
        return [f"{logical} is not mapped to {physical}"]
    call("unmap", ops.Unmap(physical=physical, logical=[logical]))
    return []


def _unmap_all(call: Caller, arguments: list[str]) -> list[str]:
    call("unmap", ops.Unmap(all=True))
    return []


def _refresh(call: Caller, arguments: list[str]) -> list[str]:
    (name,) = arguments
    if not any(row.state == "attached" for row in _rows(call, name)) and _is_configured(call, name):
        return [f"{name} runs nowhere now"]
    return [_told(call("refresh", cluster.Refresh(names=[name])))]


def _refresh_all(call: Caller, arguments: list[str]) -> list[str]:
    return [_told(call("refresh", cluster.Refresh()))]


def _purge(call: Caller, arguments: list[str]) -> list[str]:
    (name,) = arguments
    row = {each.name: each for each in _rows(call, name)}.get(name)
    if row is None:
        return [f"nothing is known of a physical node {name}"]
    if row.state == "attached":
        return [f"{name} is attached, and stays known"]
    return [_forgotten(call("purge", cluster.Purge(names=[name])))]


def _purge_all(call: Caller, arguments: list[str]) -> list[str]:
    return [_forgotten(call("purge", cluster.Purge(all=True)))]


def _save(call: Caller, arguments: list[str]) -> list[str]:
    write_flow(Path(arguments[0]), saved_text(call("save", ops.Save())))
    return [f"written: {arguments[0]}"]


def _load(call: Caller, arguments: list[str]) -> list[str]:
    text, name = read_flow(Path(arguments[0]))
    return _planned(call("load", read_saved(text, name)))


def _noop(call: Caller, arguments: list[str]) -> list[str]:
    pause_s = milliseconds(arguments[0]) / 1000 if arguments else 0
    call("version", cluster.Version())
    call.pause(pause_s)
    return []


def _set_choke_limit(call: Caller, arguments: list[str]) -> list[str]:
    physical, choke, limit = arguments
    if not limit.isdigit():
        raise ConfigError(f"a limit is a whole number of KB a second, not {limit!r}; 0 is none")
    call("limit", ops.Limit(id=choke, bytes_s=float(limit) * OG_KB_BYTES))
    return [f"limit {choke} holds on every physical node for itself, not only on {physical}"]


def _planned(plan: ops.Plan) -> list[str]:
    done = changes(plan)
    if not done:
        return ["nothing to change"]
    where = _where(done[0]) if len(done) == 1 else ""
    return [f"{summary(plan)} (revision {plan.revision}){where}", *(f"note: {note}" for note in plan.notes)]


def _where(change: ops.Change) -> str:
    if not change.runs_on_count or change.change == "delete":
        return ""
    more = change.runs_on_count - len(change.runs_on[:NAMED_MAX])
    return f", runs on {', '.join(change.runs_on[:NAMED_MAX])}" + (f" and {more} more" if more else "")


def _is_configured(call: Caller, logical: str) -> bool:
    return any(each.logical == logical for each in call("get", ops.Get()).nodes)


def _rows(call: Caller, name: str) -> list[cluster.PhysicalRow]:
    """The physical nodes of this name, or that run a logical node of it; none when masters know of neither."""
    try:
        reply: cluster.StatusReply = call("nodes", cluster.Nodes(names=[name]))
    except ConfigError:
        return []
    return reply.nodes


def _told(reply: cluster.Refreshed) -> str:
    return f"told: {', '.join(reply.nodes) or 'nobody'}"


def _forgotten(reply: cluster.Purged) -> str:
    return f"forgotten: {', '.join(reply.nodes) or 'none'}"


def milliseconds(text: str) -> int:
    """Raises ConfigError."""
    if not text.isdigit():
        raise ConfigError(f"a time is a whole number of milliseconds, 0 for no end, not {text!r}")
    return int(text)


_PLACED = ("physical", "logical")
VERBS = {
    "config": Verb(
        "LOGICAL [FLOW] 'SOURCE' 'SINK'", "Configure a logical node.", _config, ("logical", "source", "sink", "sink"), 3, 4
    ),
    "multiconfig": Verb("'SPEC'", "Configure all logical nodes of a text.", _multiconfig, ("flow text",), 1, 1),
    "unconfig": Verb("LOGICAL", "Delete the configuration of a logical node.", _unconfig, ("logical",), 1, 1),
    "decommission": Verb("LOGICAL", "Delete a logical node, with its mappings.", _decommission, ("logical",), 1, 1),
    "map": Verb("PHYSICAL LOGICAL", "Run a logical node on a physical node.", _map, _PLACED, 2, 2),
    "spawn": Verb("PHYSICAL LOGICAL", "The same as map.", _map, _PLACED, 2, 2),
    "unmap": Verb("PHYSICAL LOGICAL", "Take back what was mapped.", _unmap, _PLACED, 2, 2),
    "unmapAll": Verb("", "Take back all that was mapped.", _unmap_all),
    "refresh": Verb("LOGICAL", "Build a logical node anew.", _refresh, ("logical",), 1, 1),
    "refreshAll": Verb("", "Build all logical nodes anew.", _refresh_all, (), 0, 1),
    "updateAll": Verb("", "Nothing: masters keep chains up to date by themselves.", _noop),
    "purge": Verb("NODE", "Forget a physical node that is gone.", _purge, ("physical",), 1, 1),
    "purgeAll": Verb("", "Forget all physical nodes that are gone.", _purge_all),
    "save": Verb("'FILE'", "Write the whole configuration to a file here.", _save, ("file",), 1, 1),
    "load": Verb("'FILE'", "Configure what a file here says.", _load, ("file",), 1, 1),
    "noop": Verb("[MS]", "Ask a master for nothing, and let MS milliseconds pass.", _noop, (), 0, 1),
    "setChokeLimit": Verb(
        "PHYSICAL CHOKE LIMIT", "Limit what passes a choke to LIMIT KB a second.", _set_choke_limit, ("physical", "limit"), 3, 3
    ),
}  # fmt: skip

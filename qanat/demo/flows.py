"""What masters are told: what collectors run, what agents run, and a change in mid-stream."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qanat.demo.plan import AGENTS, BUSY_SINK, LOGS_SINK, Plan
from qanat.flow.strings import quote

# The application is known to write nothing to a file that it has renamed, so that half a second is plenty.
_WAIT, _WAIT_CHANGED = "500ms", "1s"

_COLLECTORS = "# Every collector stores what comes. Automatic chains stay within their flow.\n"
_AGENTS = "# Each agent follows its files, and delivers to the living collectors of the flow.\n"
_CHANGED = "# Collectors compress from now on, agents wait longer for the last lines of a rotated file.\n"


def files(plan: Plan) -> dict[str, str]:
    """Texts for `qanat apply`, by the names of their files. Names in them are such that a1 prefers c1, and a2 prefers c2 until
    there is c3."""
    busy, logs = quote(f"{plan.stored}/busy/"), quote(f"{plan.stored}/logs/")
    collectors = [
        _block("web", [_collect(BUSY_SINK, f"file({busy}, roll=5s)")]),
        _block("machine", [_collect(LOGS_SINK, f'file({logs}, format="json", roll=10s)')]),
    ]
    machine = [_tail("logs", agent, plan.logs[agent], _WAIT) for agent in AGENTS if plan.logs[agent]]
    agents = [_block("web", [_tail("web", agent, [plan.busy(agent)], _WAIT) for agent in AGENTS])]
    agents += [_block("machine", machine)] if machine else []
    changed = [_tail("web", agent, [plan.busy(agent)], _WAIT_CHANGED) for agent in AGENTS]
    changed.append(_collect(BUSY_SINK, f'file({busy}, roll=5s, compression="gzip")'))
    return {
        "collectors": _COLLECTORS + "\n".join(collectors),
        "agents": _AGENTS + "\n".join(agents),
        "changed": _CHANGED + _block("web", changed),
    }


def _tail(name: str, agent: str, paths: Sequence[Path], rotate_wait: str) -> str:
    listed = ", ".join(quote(str(path)) for path in paths)
    return f"{name}{agent[1:]} @ name={agent} : tail({listed}, rotate_wait={rotate_wait}) | autoE2EChain ;"


def _collect(name: str, sink: str) -> str:
    return f"{name} @ role=collector : autoCollectorSource | {sink} ;"


def _block(name: str, statements: list[str]) -> str:
    return "".join((f"flow {name} {{\n", *(f"  {each}\n" for each in statements), "}\n"))

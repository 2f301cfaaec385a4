"""The coordination store in virtual time: linearizable, with replies lost, requests late and reads stale."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import msgspec

from qanat.coordination.store import Check, Conflict, Create, Delete, Node, Op, Set
from qanat.errors import NotConnectedError, OutcomeUnknownError
from qanat.testing.simulation.kernel import Kernel, Process

Reply = Callable[[Any, Exception | None], None]

OLDER_MAX = 3  # versions that a stale read may give
GHOST_S_MAX = 4.0  # how late a request may still be applied


class SimulatedStore:
    """One tree for all. `p_*`: probabilities for each request; `on_write` sees every change."""

    def __init__(self, kernel: Kernel, on_write: Callable[[list[str]], None]) -> None:
        self.kernel = kernel
        self.tree: dict[str, Node] = {}
        self.latency_s_max = 0.02
        self.p_slow = 0.0
        self.p_stale = 0.0
        self.p_refused = 0.0
        self.p_reply_lost = 0.0
        self.p_ghost = 0.0
        self.p_request_lost = 0.0
        self.down_until_s: dict[str, float] = {}
        self._sessions: defaultdict[str, int] = defaultdict(
            int
        )  # how many each process has had before the present one
        self._older: dict[str, list[Node]] = {}
        self._on_write = on_write

    def get(self, process: Process, paths: tuple[str, ...], fresh: bool, reply: Reply) -> None:
        """Read at some moment between the request and the reply."""
        reply = self._in_session(process, reply, NotConnectedError("the session expired"))
        there_s, back_s = self._latency_s(), self._latency_s()
        if self._is_refused(process):
            process.soon(there_s, reply, None, NotConnectedError("the store is away"))
        else:
            self.kernel.after(there_s, self._read, process, paths, fresh, back_s, reply)

    def _read(
        self, process: Process, paths: tuple[str, ...], fresh: bool, back_s: float, reply: Reply
    ) -> None:
        nodes = [self.tree.get(path) if fresh else self._maybe_stale(path) for path in paths]
        process.soon(back_s, reply, nodes, None)

    def _maybe_stale(self, path: str) -> Node | None:
        older = self._older.get(path)
        if older and self.kernel.chance(self.p_stale):
            self.kernel.fault("stale_read", "store", path)
            return self.kernel.random.choice(older)
        return self.tree.get(path)

    def multi(self, process: Process, ops: tuple[Op, ...], reply: Reply) -> None:
        """Apply now, late or never; tell the truth, or that nobody knows."""
        reply = self._in_session(process, reply, OutcomeUnknownError("the session expired"))
        there_s, back_s = self._latency_s(), self._latency_s()
        kernel = self.kernel
        if self._is_refused(process):
            process.soon(there_s, reply, None, NotConnectedError("the store is away"))
        elif kernel.chance(self.p_reply_lost):
            kernel.fault("reply_lost", process.name)
            kernel.after(there_s, self._apply_in_silence, process, ops)
            process.soon(there_s + back_s, reply, None, OutcomeUnknownError("reply lost"))
        elif kernel.chance(self.p_ghost):
            kernel.fault("applied_late", process.name)
            kernel.after(kernel.between(0.05, GHOST_S_MAX), self._apply_in_silence, process, ops)
            process.soon(there_s + back_s, reply, None, OutcomeUnknownError("no reply yet"))
        elif kernel.chance(self.p_request_lost):
            kernel.fault("request_lost", process.name)
            process.soon(there_s + back_s, reply, None, OutcomeUnknownError("request lost"))
        else:
            kernel.after(there_s, self._apply, process, ops, back_s, reply)

    def expire(self, name: str, seconds: float) -> None:
        """End a process's session: what it has asked for may happen or not, and it has no new one for a while."""
        self._sessions[name] += 1
        self.down_until_s[name] = self.kernel.now_s + seconds

    def _in_session(self, process: Process, reply: Reply, error: Exception) -> Reply:
        session = self._sessions[process.name]

        def in_session(result: Any, failure: Exception | None) -> None:
            if self._sessions[process.name] == session:
                reply(result, failure)
            else:
                reply(None, error)

        return in_session

    def heal(self) -> None:
        """No new faults; what is on its way still arrives."""
        self.p_slow = self.p_stale = self.p_refused = 0.0
        self.p_reply_lost = self.p_ghost = self.p_request_lost = 0.0
        self.down_until_s.clear()

    def _latency_s(self) -> float:
        if self.kernel.chance(self.p_slow):
            self.kernel.faults["slow_store"] += 1
            return self.kernel.between(0.05, 1.5)
        return self.kernel.between(0.001, self.latency_s_max)

    def _is_refused(self, process: Process) -> bool:
        if self.down_until_s.get(process.name, 0.0) > self.kernel.now_s:
            return True
        if self.kernel.chance(self.p_refused):
            self.kernel.fault("not_connected", process.name)
            return True
        return False

    def _apply_in_silence(self, process: Process, ops: tuple[Op, ...]) -> None:
        self._attempt(process, ops)

    def _apply(self, process: Process, ops: tuple[Op, ...], back_s: float, reply: Reply) -> None:
        process.soon(back_s, reply, None, self._attempt(process, ops))

    def _attempt(self, process: Process, ops: tuple[Op, ...]) -> Conflict | None:
        for index, op in enumerate(ops):
            reason = self.refusal(op)
            if reason is not None:
                self.kernel.note("store", f"refuses {process.name}: {op.path} {reason}")
                return Conflict(index, op.path, reason)
        for op in ops:
            self._write(op)
        self.kernel.note("store", _Applied(process.name, ops))
        self._on_write([op.path for op in ops if not isinstance(op, Check)])
        return None

    def refusal(self, op: Op) -> str | None:
        """Why this operation can't be applied; None when it can."""
        node = self.tree.get(op.path)
        if isinstance(op, Create):
            return None if node is None else "exists"
        if node is None:
            return "does not exist"
        return None if node.version == op.version else f"has version {node.version}, not {op.version}"

    def _write(self, op: Op) -> None:
        before = self.tree.get(op.path)
        if isinstance(op, Create):
            self.tree[op.path] = Node(op.value, 0)
        elif isinstance(op, Set) and before is not None:
            older = self._older.setdefault(op.path, [])
            older.append(before)
            del older[:-OLDER_MAX]
            self.tree[op.path] = Node(op.value, before.version + 1)
        elif isinstance(op, Delete):
            del self.tree[op.path]


class _Applied(msgspec.Struct, frozen=True):
    """A line of the story."""

    who: str
    ops: tuple[Op, ...]

    def __str__(self) -> str:
        return f"applies for {self.who}: {' '.join(map(_brief, self.ops))}"


def _brief(op: Op) -> str:
    version = "" if isinstance(op, Create) else f"@{op.version}"
    return f"{type(op).__name__.lower()} {op.path.removeprefix('/qanat/')}{version}"

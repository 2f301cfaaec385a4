"""`[a, b, ...]` in a collector: every event to each of several sinks, exactly once and in order in each.

One commit record covers them all. A branch with `required=true` is written to directly: what it can't take now nobody
takes, and the senders wait. The others are fed from a log on this collector's disk, each with a cursor of its own in the
record: one that is slow or away holds up nobody, and goes on where it was when it is back. So an event is acked when it is
in storage in every required branch, and in storage or durable in the log for the others.

The log lies in the collector's state directory. If the host dies, what only the log has comes when the host is back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
import structlog

from collector.dead_letters import DeadLetters
from collector.fan_out.log import BranchLog
from collector.fan_out.runner import BranchRunner
from qanat.batch import Batch
from qanat.component import Context, Prepared, Sink
from qanat.delivery.fan_out import Mark
from qanat.errors import CorruptError, PermanentError
from qanat.limits import GIB

log = structlog.get_logger(__name__)

VERSION = 1
MAGIC = "fan-out"

# Some minutes of a busy collector's events, or days of a quiet one's, wait for a branch that is away; then senders do.
LOG_BYTES_MAX = 10 * GIB

# How long a stopping collector waits for branches to take the rest: those that can need a second, others have the log.
DRAIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Branch:
    """One sink of a fan-out. `name` tells it from the others, over restarts."""

    name: str
    sink: Sink
    required: bool = False


class _Token(msgspec.Struct, frozen=True, array_like=True):
    """`direct`: tokens of the branches written to directly. `marks`: of those fed from the log, committed up to `end`."""

    magic: str
    version: int
    direct: dict[str, bytes]
    marks: dict[str, Mark]
    end: int


class FanOut(Sink):
    """A sink made of sinks."""

    def __init__(
        self, branches: Sequence[Branch], context: Context, *, log_bytes_max: int = LOG_BYTES_MAX
    ) -> None:
        super().__init__(None, context)
        self._branches = branches
        self._log = BranchLog(context.state_dir / "fan-out", log_bytes_max)
        self._dead_letters = {
            branch.name: DeadLetters(context.state_dir / "fan-out" / f"dead-letters-{branch.name}")
            for branch in branches
        }
        self._direct: dict[str, Sink] = {}
        self._fed: dict[str, BranchRunner] = {}
        self._draining = False

    # Recovery.

    def open(self, token: bytes | None) -> None:
        committed = self._decoded(token)
        if token is None:
            self._log.set_aside()
        self._log.open(committed.end)
        self._assign(committed)
        for name, sink in self._direct.items():
            sink.open(self._token_of(name, committed))
        self._recorded(committed)

    def discard(self, token: bytes | None) -> None:
        committed = self._decoded(token)
        self._log.open(committed.end)
        for name, sink in self._direct.items():
            sink.discard(self._token_of(name, committed))
        self._recorded(committed)

    def _assign(self, committed: _Token) -> None:
        """Who is written to directly: the required, once they have taken what the log still has for them."""
        for branch in self._branches:
            mark = committed.marks.get(branch.name)
            if branch.required and (mark is None or mark.at >= committed.end):
                self._direct[branch.name] = branch.sink
            elif branch.name not in self._fed:
                self._fed[branch.name] = BranchRunner(
                    branch.name, branch.sink, self._log, self._dead_letters[branch.name]
                )
        known = {branch.name for branch in self._branches}
        for name in (committed.direct.keys() | committed.marks.keys()) - known:
            log.warning(
                "branch_left_out", branch=name, consequence="what the log still had for it is dropped"
            )

    def _decoded(self, token: bytes | None) -> _Token:
        """Of a sink that stood alone so far, the token is the first branch's."""
        if token is None:
            return _Token(MAGIC, VERSION, {}, {}, 0)
        try:
            decoded = msgspec.msgpack.decode(token, type=_Token)
        except msgspec.DecodeError:
            return _Token(MAGIC, VERSION, {self._branches[0].name: token}, {}, 0)
        if decoded.version != VERSION:
            raise CorruptError(
                f"a fan-out's token has version {decoded.version}, this program reads {VERSION}: run the program that wrote it"
            )
        return decoded

    @staticmethod
    def _token_of(name: str, committed: _Token) -> bytes | None:
        mark = committed.marks.get(name)
        return committed.direct.get(name) if mark is None else mark.token

    def _recorded(self, committed: _Token) -> None:
        """Tell the branches that are fed what the record says. A new one begins at the end."""
        for name, runner in self._fed.items():
            mark = committed.marks.get(name, Mark(committed.direct.get(name), committed.end))
            runner.recorded(mark, committed.end)

    # Transactions.

    def append(self, batch: Batch) -> None:
        for name, sink in self._direct.items():
            try:
                sink.append(batch)
            except PermanentError as error:
                self._dead_letters[name].put(batch, str(error))
        if self._fed:
            self._log.append(batch)

    def prepare(self) -> Prepared:
        if self._draining:
            for runner in self._fed.values():
                runner.wait_until_drained(DRAIN_S / len(self._fed))
        prepared = {name: sink.prepare() for name, sink in self._direct.items()}
        token = _Token(
            MAGIC,
            VERSION,
            {name: each.token for name, each in prepared.items()},
            {name: runner.mark for name, runner in self._fed.items()},
            self._log.end,
        )
        syncs: list[Callable[[], None]] = [each.sync for each in prepared.values()]
        if self._fed:
            syncs.append(self._log.cut())
        return Prepared(msgspec.msgpack.encode(token), lambda: _sync(syncs))

    def publish(self, token: bytes) -> None:
        committed = self._decoded(token)
        self._recorded(committed)
        for name, sink in self._direct.items():
            direct = self._token_of(name, committed)
            if direct is not None:
                sink.publish(direct)
        self._log.release(min((mark.at for mark in committed.marks.values()), default=committed.end))

    def drain(self) -> None:
        self._draining = True
        for sink in self._direct.values():
            sink.drain()
        for runner in self._fed.values():
            runner.drain()

    def close(self) -> None:
        for sink in self._direct.values():
            sink.close()
        for runner in self._fed.values():
            runner.close()
        self._log.close()


def _sync(syncs: Sequence[Callable[[], None]]) -> None:
    for sync in syncs:
        sync()

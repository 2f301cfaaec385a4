"""What `exec`, `execPeriodic` and `execStream` have in common: a thread that runs a command, once or again and again."""

from __future__ import annotations

import shlex
import shutil
import threading
import time
from collections.abc import Iterable
from typing import Literal

import msgspec
import structlog

from agent.live.framing import TRUNCATED, LineFramer, SizePolicy
from agent.running import permission
from agent.running.command import Run
from qanat import columns, limits
from qanat.component import Context, Events, Inlet, LiveSource, Parcel, Wrong
from qanat.config import Bytes, Seconds
from qanat.errors import ConfigError
from qanat.lines import count_lines
from qanat.rpc.backoff import backoff_s

log = structlog.get_logger(__name__)

ROOM_S = 0.25  # the longest wait for room without looking whether to stop

# Between starts of a command that ends well at once: one that can't do anything must not take a core.
PAUSE_S_MIN = 0.1

# Between starts of a command that fails, as NG's restartThrottle.
THROTTLE_S = 10.0


class CommandOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What all of them accept, by name."""

    shell: bool = (
        False  # whether `sh -c` runs the command; else it is split into words, and pipes and `*` mean nothing
    )
    stderr: Literal["events", "discard"] = "events"  # whether its error output is events, too
    throttle: Seconds = THROTTLE_S  # the longest wait before a command that failed is started again
    event_bytes: Bytes = limits.EVENT_BYTES_MAX


class Running(LiveSource):
    """Runs `config.command`. `aggregate`: all output of a run is one event; else a line is. `period_s`: between the end of a run
    and the next one; None when there is none."""

    def __init__(
        self,
        config: CommandOptions,
        context: Context,
        command: str,
        *,
        aggregate: bool,
        period_s: float | None,
    ) -> None:
        super().__init__(config, context)
        self._config = config
        self._command = command
        self._aggregate = aggregate
        self._period_s = period_s
        self._policy = SizePolicy(config.event_bytes, "split", context.count)
        self._inlet: Inlet | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._lock = threading.Lock()  # of the next one
        self._run: Run | None = None
        self._framers: dict[str, LineFramer | _Whole] = {}

    @classmethod
    def check_command(cls, command: str, config: CommandOptions) -> Iterable[Wrong]:
        """See Component.check."""
        try:
            if not command.strip() or not shlex.split(command):
                yield Wrong("command", "it is empty")
        except ValueError as error:
            if not config.shell:
                yield Wrong("command", f"it can't be split into words: {error}")
        if "\0" in command:
            yield Wrong("command", "it has a NUL in it")
        if not 1 <= config.event_bytes <= limits.EVENT_BYTES_MAX:
            yield Wrong("event_bytes", f"it must be from 1 to {limits.EVENT_BYTES_MAX}")

    def open(self) -> None:
        """Raises ConfigError: when this node allows no commands, or there is no such program."""
        permission.demand(f"{self.context.logical_node}: {self.name}")
        program = self._argv()[0]
        if shutil.which(program) is None:
            raise ConfigError(
                f"{self.name}({self._command!r}): there is no program {program!r} on this host that the agent may run; "
                "give its whole path, or shell=true for a command of the shell."
            )

    def start(self, inlet: Inlet) -> None:
        self._inlet = inlet
        self._thread = threading.Thread(target=self._live, name=self.name, daemon=False)
        self._thread.start()

    def stop(self) -> None:
        with self._lock:
            self._stopping.set()
            if self._run is not None:
                self._run.interrupt()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()

    def close(self) -> None:
        self.stop()

    def _argv(self) -> list[str]:
        return ["/bin/sh", "-c", self._command] if self._config.shell else shlex.split(self._command)

    def _live(self) -> None:
        try:
            failures = 0
            while not self._stopping.is_set():
                began_s = time.monotonic()
                code = self._run_once()
                if code is None or self._stopping.is_set():
                    break
                self.context.count("commands_failed" if code else "commands_ended", 1)
                # A long life makes up for earlier failures.
                lasted_s = time.monotonic() - began_s
                failures = 0 if code == 0 or lasted_s > self._config.throttle else failures + 1
                if not self._again(code, failures):
                    break
        except BaseException as error:  # noqa: BLE001 - the root of a thread
            assert self._inlet is not None
            self._inlet.fail(error)

    def _run_once(self) -> int | None:
        """The exit code; None when the node stops."""
        self._framers = {name: self._framer() for name in ("stdout", "stderr")}
        with self._lock:
            if self._stopping.is_set():
                return None
            self._run = Run(self._argv(), self._came, stderr=self._config.stderr == "events")
        try:
            code = self._run.finish()
        finally:
            with self._lock:
                self._run = None
        for name, framer in self._framers.items():
            self._put(name, framer.finish())
        return code

    def _again(self, code: int, failures: int) -> bool:
        """Waits for the next run; False when there is none."""
        wait_s = None if self._period_s is None else max(self._period_s, PAUSE_S_MIN)
        if wait_s is not None and failures:
            wait_s = max(wait_s, backoff_s(failures, self._config.throttle))
        if code or self._period_s is None:
            # A command of every second that always fails is one line, not one for each time.
            say = log.warning if code and failures <= 1 else log.info if wait_s is None else log.debug
            say(
                "command_ended",
                node=self.context.logical_node,
                command=self._command,
                exit_code=code,
                again_in_s=wait_s,
            )
        return wait_s is not None and not self._stopping.wait(wait_s)

    def _framer(self) -> LineFramer | _Whole:
        return _Whole(self._config.event_bytes, self.context) if self._aggregate else LineFramer(self._policy)

    def _came(self, name: str, data: bytes) -> None:
        self._put(name, self._framers[name].feed(data))

    def _put(self, name: str, content: bytes | list[bytes]) -> None:
        """*Blocking* while there is no room: nothing is read, and the command waits."""
        if not content:
            return
        assert self._inlet is not None
        attributes = {"host": self.context.host, "stream": name}
        if isinstance(content, bytes):
            events, size_bytes = Events(content, count_lines(content), attributes), len(content)
        else:
            events = Events(columns.of_bodies(content), len(content), attributes)
            size_bytes = sum(map(len, content))
        parcel = Parcel(events, size_bytes)
        while not self._inlet.put(parcel, ROOM_S):
            pass  # when the node stops, the inlet refuses nothing


class _Whole:
    """All output of a run as one event, up to a limit."""

    def __init__(self, event_bytes: int, context: Context) -> None:
        self._limit_bytes = event_bytes
        self._context = context
        self._held = bytearray()
        self._is_cut = False

    def feed(self, data: bytes) -> bytes:
        """Nothing is complete before the end."""
        room = self._limit_bytes + 1 - len(self._held)  # one for a line end
        self._held += data[:room]
        self._is_cut = self._is_cut or len(data) > room
        return b""

    def finish(self) -> list[bytes]:
        """Without its last line end."""
        body = bytes(self._held).removesuffix(b"\n") if not self._is_cut else bytes(self._held)
        if len(body) > self._limit_bytes:
            body = body[: self._limit_bytes]
            self._context.count(TRUNCATED, 1)
        return [body] if body else []

"""Submitted commands: done one after the other in the background, as a master of Flume OG did them.

There the queue and its ids were the master's. Here each command is one request that a master answers when it is done, so
what waits for its turn, and the ids, are of this shell, and end with it.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from qanat.errors import QanatError


class GivenUpError(QanatError):
    """Nobody wants it any more."""


class Caller:
    """What a command may do: ask a master (operation and request), and let time pass. *Thread*: any."""

    def __init__(self, call: Callable[[str, msgspec.Struct], Any]) -> None:
        self._call = call
        self._is_given_up = threading.Event()

    def __call__(self, method: str, request: msgspec.Struct) -> Any:
        """The reply. Raises GivenUpError, what the master says."""
        self.pause(0)
        return self._call(method, request)

    def pause(self, seconds: float) -> None:
        """Raises GivenUpError, at once when it happens."""
        if self._is_given_up.wait(seconds):
            raise GivenUpError("interrupted; nothing more was asked of a master")

    def give_up(self) -> None:
        """Ask nothing more. What a master was asked already, it does."""
        self._is_given_up.set()


Work = Callable[[Caller], list[str]]


@dataclass(slots=True)
class Job:
    """A command. `lines`: what it has to say, `error`: why it failed; both once it `is_done`."""

    id: int
    name: str
    work: Work
    caller: Caller
    lines: list[str] = field(default_factory=list)
    error: Exception | None = None
    is_told: bool = False  # somebody has seen how it ended
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def is_done(self) -> bool:
        return self.done.is_set()


class Jobs:
    """A queue, and one thread that works it off. *Thread*: the shell's, but for the work."""

    def __init__(self, call: Callable[[str, msgspec.Struct], Any]) -> None:
        self._call = call
        self._jobs: dict[int, Job] = {}
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def submit(self, name: str, work: Work) -> Job:
        """Do it when what came before is done."""
        job = Job(len(self._jobs) + 1, name, work, Caller(self._call))
        self._jobs[job.id] = job
        if self._thread is None:
            # Whoever leaves the shell without waiting has said so: an interpreter that ends doesn't wait for this thread.
            self._thread = threading.Thread(target=self._run, name="submitted commands", daemon=True)
            self._thread.start()
        self._queue.put(job)
        return job

    def get(self, number: int) -> Job | None:
        """The command with this id."""
        return self._jobs.get(number)

    @property
    def last(self) -> Job | None:
        """The one that was submitted last."""
        return self._jobs.get(len(self._jobs))

    def pending(self) -> list[Job]:
        """Those that are not done."""
        return [job for job in self._jobs.values() if not job.is_done]

    def untold(self) -> list[Job]:
        """Those that are done, and nobody has seen how they ended."""
        return [job for job in self._jobs.values() if job.is_done and not job.is_told]

    def close(self) -> None:
        """Take no more. The thread ends when all is done."""
        self._queue.put(None)

    def _run(self) -> None:
        while (job := self._queue.get()) is not None:
            try:
                job.caller.pause(0)
                job.lines = job.work(job.caller)
            except QanatError as error:
                job.error = error
            except Exception as error:  # noqa: BLE001 - the thread's root: a defect in one command is shown as its failure
                job.error = error
            finally:
                job.done.set()

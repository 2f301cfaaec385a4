"""A thread that is stopped before its n-th system call, as SIGSTOP may stop a process, and goes on when told to."""

from __future__ import annotations

import contextlib
import io
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from collector.files import disk

CALLS = (
    "open", "rename", "unlink", "truncate", "listdir", "stat", "lstat", "fsync", "fdatasync", "write", "writev", "mkdir",
)  # fmt: skip
WAIT_S = 20.0


class Killed(BaseException):
    """The process ended here."""


class Paused:
    """Runs `work` in a thread up to its n-th call, and `finish`es it later.

    `in_flight`: the call has found its directories when it is stopped, as one that is in the kernel already; else it has
    not begun. `reached` is False when `work` made fewer calls and is over.
    """

    def __init__(self, work: Callable[[], object], step: int, home: Path, *, in_flight: bool) -> None:
        self.reached = False
        self.error: BaseException | None = None
        self._work, self._left, self._home, self._in_flight = work, step, str(home), in_flight
        self._stopped, self._go_on = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._patch = pytest.MonkeyPatch()
        self._directories: list[int] = []
        for name in CALLS:
            self._patch.setattr(os, name, self._wrapped(getattr(os, name)))
        self._patch.setattr(io, "open", self._wrapped(io.open))
        self._patch.setattr(disk, "_renameat2", self._wrapped(disk._renameat2))
        self._thread.start()
        assert self._stopped.wait(WAIT_S)

    def finish(self) -> None:
        """It wakes, and comes to its end."""
        self._go_on.set()
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()
        self._patch.undo()
        for fd in self._directories:
            os.close(fd)

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self.error = error
        self._stopped.set()

    def _wrapped(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            if threading.current_thread() is self._thread and not self.reached:
                self._left -= 1
                if self._left == 0:
                    self.reached = True
                    args = tuple(map(self._resolved, args)) if self._in_flight else args
                    self._stopped.set()
                    assert self._go_on.wait(WAIT_S)
            return original(*args, **options)

        return call

    def _resolved(self, argument: Any) -> Any:
        """A path in the sink's directory, by a descriptor of the directory as it is now."""
        text = os.fsdecode(argument) if isinstance(argument, str | bytes | os.PathLike) else ""
        if not text.startswith(self._home) or not os.path.isdir(os.path.dirname(text)):
            return argument
        self._directories.append(os.open(os.path.dirname(text), os.O_RDONLY | os.O_DIRECTORY))
        resolved = f"/proc/self/fd/{self._directories[-1]}/{os.path.basename(text)}"
        return os.fsencode(resolved) if isinstance(argument, bytes) else resolved


@contextlib.contextmanager
def killed_before(step: int) -> Iterator[Callable[[], bool]]:
    """This thread dies before its n-th call; what is given says whether it did."""
    left, thread, died = step, threading.current_thread(), False

    def wrapped(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            nonlocal left, died
            if threading.current_thread() is thread:
                left -= 1
                if left <= 0:  # what cleans up after an exception does nothing either
                    died = True
                    raise Killed
            return original(*args, **options)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, wrapped(getattr(os, name)))
        patch.setattr(io, "open", wrapped(io.open))
        patch.setattr(disk, "_renameat2", wrapped(disk._renameat2))
        with contextlib.suppress(Killed):
            yield lambda: died

"""An advisory lock between processes, released by the kernel when its holder dies."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType

from qanat.errors import NotConnectedError

# How often a waiter looks again. The holder syncs a disk, which takes about as long.
_LOOK_S = 0.001


class FileLock:
    """A lock on `path`, which is created. *Thread*: one at a time. *Blocking*: up to `wait_s_max` to get it.

    `flock` itself can't time out, and a holder that is stopped must not stop everybody, so a waiter looks
    again and again.
    """

    def __init__(self, path: Path, *, wait_s_max: float) -> None:
        self._path = path
        self._wait_s_max = wait_s_max
        self._fd: int | None = None

    def __enter__(self) -> None:
        deadline_s = time.monotonic() + self._wait_s_max
        while not self._try():
            if time.monotonic() > deadline_s:
                raise NotConnectedError(
                    f"waited {self._wait_s_max:g} s for the lock {self._path}; find the process that holds it"
                    " (lslocks) and see whether it is stopped"
                )
            time.sleep(_LOOK_S)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release()

    def close(self) -> None:
        """Give the descriptor back; the lock can be taken again."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def _try(self) -> bool:
        try:
            if self._fd is None:
                self._fd = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            raise NotConnectedError(
                f"cannot lock {self._path}: {error}; check the directory and its permissions"
            ) from error
        return True

    def _release(self) -> None:
        if self._fd is not None:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

"""Whose turn it is in a sink's directory: one life of the sink at a time, and the files go from one to the next.

    <home>/<life>.lock   held while that life is open; says on which boot of which host
    <home>/<life>/       its working directory

Every life has a name of its own, and begins by renaming the directory of the last one. That one rename hands everything
over: whoever was paused in the middle of whatever it was doing finds its own path gone when it wakes, at each single
call, and so can neither rename nor cut nor remove what its successor has. What it can still do is write to files that
it has open; hence a successor that can't be sure of its death goes on in copies, and until those are made, the name of
its directory says so. docs/stored-files.md goes through what a paused process may be in the middle of.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import socket
from pathlib import Path

from collector.files import disk
from qanat.durable import sync_directory
from qanat.errors import RetryableError

_UNCOPIED = "-uncopied"
_FIRST = "0"  # made for the first life, which renames it
_DIRECTORY = re.compile(rf"[0-9a-f]{{16}}({_UNCOPIED})?|{_FIRST}")
_ENDING = ".lock"

# Others may rename the directory while this one looks for it; so many in a row means that something else is wrong.
ATTEMPTS_MAX = 20


class Tenancy:
    """The right to a sink's working directory. *Blocking*, all of it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.life = ""
        self._lock_fd: int | None = None
        self._directory = _FIRST

    @property
    def work(self) -> Path:
        """The working directory; before `begin` and after `look`, that of whoever has it."""
        return self.home / self._directory

    @property
    def is_uncopied(self) -> bool:
        """Somebody may be alive who has files of the working directory open."""
        return self._directory.endswith(_UNCOPIED)

    @property
    def is_begun(self) -> bool:
        """Between `begin` and `end`."""
        return self._lock_fd is not None

    def is_lost(self) -> bool:
        """Another life has begun. Raises OSError when that can't be told."""
        return not disk.exists(self.work)

    def look(self) -> None:
        """Find the working directory of whoever has it. Raises OSError."""
        self._directory = self._current() or _FIRST

    def begin(self, *, by_force: bool = False) -> None:
        """Become the owner of the working directory, which is created unless there is one. Raises RetryableError,
        unless `by_force` also while another life is open."""
        self.end()
        with disk.explained("taking over", self.home):
            disk.make_directories(self.home)
            self._lock()
            try:
                self._claim(by_force)
            except BaseException:
                self.end()
                raise
            self._remove_old_locks()

    def copied(self) -> None:
        """What was open is a copy now, which nobody else has open. Raises OSError."""
        if self.is_uncopied:
            self._rename(self._directory, self.life)

    def end(self) -> None:
        """Let others begin. Idempotent."""
        if self._lock_fd is not None:
            with contextlib.suppress(OSError):
                self._lock_path(self.life).unlink()
            os.close(self._lock_fd)
            self._lock_fd = None

    def _claim(self, by_force: bool) -> None:
        for _ in range(ATTEMPTS_MAX):
            current = self._current()
            if current is None:
                self._create()
                continue
            last = current.removesuffix(_UNCOPIED)
            is_held = _is_held(self._lock_path(last))
            if is_held and not by_force:
                raise RetryableError(
                    f"{self._lock_path(last)} is locked: another process runs this very sink on this directory. "
                    "It goes on by itself when that process ends",
                    retry_after_s=disk.RETRY_AFTER_S,
                )
            is_doubtful = by_force or current != last or not self._was_here(last)
            with contextlib.suppress(FileNotFoundError):  # else another one was faster
                self._rename(current, self.life + (_UNCOPIED if is_doubtful else ""))
                return
        raise RetryableError(
            f"{self.home}: its working directory changes hands all the time, or there are two. Look there for "
            "directories with names of 16 hexadecimal digits, and for the processes that have the locks beside them",
            retry_after_s=disk.RETRY_AFTER_S,
        )

    def _rename(self, current: str, name: str) -> None:
        (self.home / current).rename(self.home / name)
        self._directory = name
        sync_directory(self.home)

    def _current(self) -> str | None:
        """The one directory; what two tell is seen only while it is being renamed, or the first one made."""
        try:
            found = [name for name in os.listdir(self.home) if _DIRECTORY.fullmatch(name)]
        except FileNotFoundError:
            return None
        used = [name for name in found if name != _FIRST]
        return used[0] if used else next(iter(found), None)

    def _create(self) -> None:
        with contextlib.suppress(FileExistsError):
            (self.home / _FIRST).mkdir()
        if self._current() != _FIRST:  # somebody was here since we looked, and has made and renamed it
            with contextlib.suppress(FileNotFoundError):
                (self.home / _FIRST).rmdir()

    # Locks.

    def _lock_path(self, life: str) -> Path:
        return self.home / f"{life}{_ENDING}"

    def _lock(self) -> None:
        """Before the directory gets our name, so that there is no moment at which it seems to be nobody's."""
        self.life = secrets.token_hex(8)
        path = self._lock_path(self.life)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            os.write(fd, _here())
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not disk.exists(path):
                raise FileNotFoundError(f"{path} was removed as an old lock")
        except OSError:
            os.close(fd)
            raise
        self._lock_fd = fd

    def _was_here(self, life: str) -> bool:
        """The last life ended in order (closed its files, removed its lock), or was on this boot of this host. A lock that is
        free says that its holder is dead only if one kernel knows both: network file systems also free the locks
        of hosts that they don't hear of for a while."""
        try:
            return self._lock_path(life).read_bytes() == _here()
        except FileNotFoundError:
            return True

    def _remove_old_locks(self) -> None:
        for path in self.home.glob(f"*{_ENDING}"):
            if path != self._lock_path(self.life) and not _is_held(path):
                path.unlink(missing_ok=True)


def _is_held(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _here() -> bytes:
    """Names this boot of this host."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()
    except OSError:
        return socket.gethostname().encode()

"""The operating system's file calls, as the file sink needs them: whole writes, early writeback, renames that never
overwrite, directories beneath a root that nothing leaves, and errors that name the path.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from qanat.durable import sync_directory
from qanat.errors import RetryableError
from qanat.limits import MIB

# Start writing dirty pages to the device after this much, so that the fdatasync of a commit finds little left to do.
WRITEBACK_BYTES = 8 * MIB

# What is copied at a time: large enough for the disk, small enough for memory.
COPY_BYTES = 1 * MIB

# After a full disk or an I/O error there is no hurry: somebody has to make room.
RETRY_AFTER_S = 1.0

# The kernel takes at most IOV_MAX (1024) buffers a call.
WRITEV_BUFFERS_MAX = 1024

_SYNC_FILE_RANGE_WRITE = 2
_RENAME_NOREPLACE = 1
_AT_FDCWD = -100

_libc = ctypes.CDLL(None, use_errno=True)
_sync_file_range = getattr(_libc, "sync_file_range", None)
if _sync_file_range is not None:
    _sync_file_range.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
_renameat2 = getattr(_libc, "renameat2", None)
if _renameat2 is not None:
    _renameat2.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]


@contextlib.contextmanager
def explained(doing: str, path: object) -> Iterator[None]:
    """Turns an OSError into a RetryableError that names what was tried, the path and the system's reason."""
    try:
        yield
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, "EIO")
        raise RetryableError(
            f"{doing} {path}: {error.strerror or error} ({name})", retry_after_s=RETRY_AFTER_S
        ) from error


def write_all(fd: int, buffers: Sequence[bytes | memoryview]) -> int:
    """Write every byte of `buffers` at the file's position; returns how many. *Blocking*. Raises OSError."""
    if len(buffers) == 1:
        return _write_rest(fd, memoryview(buffers[0]))
    views = [memoryview(buffer) for buffer in buffers if len(buffer)]
    total = 0
    for at in range(0, len(views), WRITEV_BUFFERS_MAX):
        group = views[at : at + WRITEV_BUFFERS_MAX]
        written = os.writev(fd, group)
        total += written
        for view in group:  # a short write is rare: a full disk, a signal
            if written < len(view):
                total += _write_rest(fd, view[written:])
            written = max(0, written - len(view))
    return total


def _write_rest(fd: int, view: memoryview) -> int:
    size = len(view)
    while len(view):
        view = view[os.write(fd, view) :]
    return size


def start_writeback(fd: int, offset: int, size: int) -> None:
    """Ask the kernel to begin writing these dirty pages. Best effort: durability is the business of fdatasync."""
    if _sync_file_range is not None:
        _sync_file_range(fd, offset, size, _SYNC_FILE_RANGE_WRITE)


def make_directories(path: Path) -> None:
    """Create a directory and its missing parents, durably. *Blocking*. Raises OSError."""
    if path.is_dir():
        return
    make_directories(path.parent)
    path.mkdir(exist_ok=True)
    sync_directory(path.parent)


def open_beneath(root: Path, parts: Sequence[str]) -> int:
    """A descriptor of the directory `root/parts...`, created where missing, durably.

    No part may be a symbolic link (ELOOP, ENOTDIR): what lies beneath the root stays beneath it. *Blocking*.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    fd = os.open(root, flags)
    try:
        for part in parts:
            child = _open_or_make(fd, part, flags | os.O_NOFOLLOW)
            os.close(fd)
            fd = child
    except OSError:
        os.close(fd)
        raise
    return fd


def _open_or_make(parent: int, name: str, flags: int) -> int:
    with contextlib.suppress(FileNotFoundError):
        return os.open(name, flags, dir_fd=parent)
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, dir_fd=parent)
        os.fsync(parent)
    return os.open(name, flags, dir_fd=parent)


def rename_new(source: Path, target_fd: int, target: str) -> None:
    """Rename into a directory, never over an existing name (FileExistsError). *Blocking*. Raises OSError.

    The source is a path, looked up at this moment: whoever has renamed its directory meanwhile has taken the file away.
    """
    if _renameat2 is not None:
        result = _renameat2(_AT_FDCWD, os.fsencode(source), target_fd, os.fsencode(target), _RENAME_NOREPLACE)
        if result == 0:
            return
        number = ctypes.get_errno()
        if number not in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            raise OSError(number, os.strerror(number), target)
    # A file system without RENAME_NOREPLACE: the sink's lock keeps our own processes apart, and names are unique.
    if exists_in(target_fd, target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
    os.rename(source, target, dst_dir_fd=target_fd)


def exists_in(directory_fd: int, name: str) -> bool:
    """Whether a directory has this name, be it a dangling link. Raises OSError when that can't be told."""
    try:
        os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def exists(path: Path) -> bool:
    """Whether there is something of this name, be it a dangling link. Raises OSError when that can't be told."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def replace_by_copy(path: Path, size: int, copy: Path) -> None:
    """Replace a file, which somebody may write to, by a durable copy of its first `size` bytes; `copy` is its name until then.
    *Blocking*. Raises OSError."""
    copy.unlink(missing_ok=True)
    with path.open("rb") as reader, copy.open("xb") as writer:
        left = size
        while left and (data := reader.read(min(left, COPY_BYTES))):
            left -= writer.write(data)
        writer.flush()
        os.fdatasync(writer.fileno())
    copy.rename(path)

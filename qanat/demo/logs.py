"""The real log files of this machine: which of them the demo reads, and whether they arrived byte for byte."""

from __future__ import annotations

import contextlib
import glob
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from qanat.ledger.blocks import read_blocks
from qanat.ledger.files import find_sequences
from qanat.limits import KIB, MIB

PATTERNS = ("/var/log/*.log", "/var/log/syslog", "/var/log/messages", "/var/log/*/*.log")

# The ledger compares these files event by event in Python: this much takes it seconds.
FILE_BYTES_MAX = 16 * MIB
FILES_BYTES_MAX = 48 * MIB
FILES_MAX = 24  # and the table has to fit a terminal

_GLOB_CHARACTERS = frozenset("*?[")


@dataclass(slots=True)
class LogFile:
    """One real log file, held open for reading: what is compared is this very file, wherever it is renamed to."""

    path: Path
    fd: int
    inode: int
    size: int = 0
    complete: int = 0  # bytes up to the last line end; what follows is no event yet

    def look(self) -> int:
        """How many bytes of whole lines it has now."""
        size = os.fstat(self.fd).st_size
        if size != self.size:
            tail = os.pread(self.fd, 64 * KIB, max(0, size - 64 * KIB))
            self.complete = max(0, size - 64 * KIB) + tail.rfind(b"\n") + 1
            self.size = size
        return self.complete


@dataclass(slots=True)
class Found:
    """`left_out` says why, by path."""

    files: list[LogFile] = field(default_factory=list)
    left_out: dict[Path, str] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        return sum(file.complete for file in self.files)


@contextlib.contextmanager
def found(patterns: Iterable[str] = PATTERNS) -> Iterator[Found]:
    """Open every readable log file that is not empty; nothing is ever written to one."""
    result = Found()
    try:
        for path in sorted({Path(name) for pattern in patterns for name in glob.glob(pattern)}):
            why_not = _take(path, result)
            if why_not:
                result.left_out[path] = why_not
        yield result
    finally:
        for file in result.files:
            os.close(file.fd)


def _take(path: Path, result: Found) -> str:
    """Add it, or say why not."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return "not a file"
        if status.st_size == 0:
            return "empty"
        if _GLOB_CHARACTERS & set(str(path)) or not str(path).isprintable():
            return "its name reads as a pattern"
        if status.st_size > FILE_BYTES_MAX or result.size_bytes + status.st_size > FILES_BYTES_MAX:
            return f"large: {status.st_size / 1e6:,.0f} MB"
        if len(result.files) >= FILES_MAX or any(file.inode == status.st_ino for file in result.files):
            return "one of many" if len(result.files) >= FILES_MAX else "another name of the same file"
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        return (error.strerror or str(error)).lower()
    file = LogFile(path, fd, status.st_ino)
    if not file.look():
        os.close(fd)
        return "no whole line"
    result.files.append(file)
    return ""


class _Event(msgspec.Struct):
    """What the ledger needs of an event as `format="json"` stores it."""

    stream: str
    position: int
    attributes: dict[str, str]
    body: str | None = None
    body_base64: bytes | None = None

    @property
    def content(self) -> bytes:
        return self.body.encode() if self.body is not None else self.body_base64 or b""


@dataclass(slots=True)
class Account:
    """What became of the events of some files. `changed`: files that something else cut or overwrote meanwhile."""

    read: int = 0
    stored: int = 0
    lost: int = 0
    doubled: int = 0
    reordered: int = 0
    different: int = 0
    stored_bytes: int = 0
    changed: list[Path] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not (self.lost or self.doubled or self.reordered or self.different)


def compare(files: Iterable[LogFile], stored: Path) -> Account:
    """Every stored event with the bytes at its position in its file, and every byte of each file with an event.

    Raises CorruptError and RetryableError for what can't be read in `stored`."""
    account = Account()
    events = _stored(stored, account)
    for file in files:
        size = os.fstat(file.fd).st_size
        if size < file.size:
            account.changed.append(file.path)
            continue
        content = os.pread(file.fd, size, 0)
        _compare(content, file.complete, events.get(str(file.path), {}).get(file.inode, []), account)
    return account


def _stored(directory: Path, account: Account) -> dict[str, dict[int, list[tuple[int, bytes]]]]:
    """Position and content of every stored event, by file and inode; counts what is out of order on the way."""
    events: dict[str, dict[int, list[tuple[int, bytes]]]] = {}
    decoder = msgspec.json.Decoder(_Event)
    for sequence in find_sequences([directory]):
        last: dict[str, int] = {}
        for path in sequence.paths:
            for block, _ in read_blocks(path):
                for event in decoder.decode_lines(bytes(block)):
                    account.reordered += event.position < last.get(event.stream, 0)
                    last[event.stream] = max(event.position, last.get(event.stream, 0))
                    incarnations = events.setdefault(event.attributes.get("file", ""), {})
                    incarnations.setdefault(inode(event.stream), []).append((event.position, event.content))
    return events


def _compare(content: bytes, complete: int, events: list[tuple[int, bytes]], account: Account) -> None:
    at = 0
    for position, body in sorted(events):
        account.stored += 1
        if position < at:
            account.doubled += 1
            continue
        account.lost += content.count(b"\n", at, position)
        end = position + len(body)
        account.different += content[position:end] != body
        at = end + (
            content[end : end + 1] == b"\n"
        )  # part of a line that was split has no line end of its own
    account.lost += content.count(b"\n", at, complete)
    account.read += content.count(b"\n", 0, max(at, complete))
    account.stored_bytes += at


def inode(stream: str) -> int:
    """The inode in the id of a tailed file's stream (`t1-INODE-...`, in hex)."""
    return int(stream.split("-")[1], 16)

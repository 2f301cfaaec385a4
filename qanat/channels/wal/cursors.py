"""Cursors: how far each destination has what is in the log. One small file each, replaced atomically."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

import msgspec
from crc32c import crc32c

from qanat.channels.wal.directory import Directory, replace_file
from qanat.component import Cursor
from qanat.errors import RetryableError

SUFFIX = ".cursor"
_MAGIC = b"qanat-cursor-1 "
_HEADER_BYTES = len(_MAGIC) + 9

# File systems allow 255 bytes for a name; the suffixes need some.
_NAME_BYTES_MAX = 200


class Saved(msgspec.Struct, frozen=True):
    """The content of a cursor's file, behind a magic and its CRC32C."""

    name: str
    incarnation: str
    position: int


@dataclass(slots=True)
class _Place:
    """A cursor in memory. `saved`: what its file says, -1 when there is none."""

    cursor: Cursor
    position: int
    saved: int = -1


class Cursors:
    """The cursors of one log. What reads or moves positions is called with the log's guard held."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._places: dict[str, _Place] = {}
        self._incarnation = ""
        self._saving = threading.Lock()

    def load(self) -> list[Saved]:
        """What the files of an earlier process say; damaged ones say nothing. Raises OSError."""
        return [saved for saved in load_all(self._directory).values() if saved is not None]

    def restore(self, named: Sequence[Cursor], incarnation: str, oldest: int, end: int) -> None:
        """Go on where the files say, a new one at the oldest event; forget cursors that are not named, and what a crash left
        half-made. Raises OSError.

        One may be behind the oldest event: it has passed what was deleted, which collectors know, or has lost it when there was
        no room, which is counted when it asks. Hence a new one is saved at once: what is deleted later it has lost."""
        self._incarnation = incarnation
        saved = {each.name: each.position for each in self.load() if each.incarnation == incarnation}
        for cursor in named:
            before = saved.get(cursor.name, -1)
            self._places[cursor.name] = _Place(cursor, oldest if before < 0 else min(before, end), before)
        files = {file_name(name) for name in self._places}
        for name in self._directory.list():
            if name.endswith((SUFFIX, SUFFIX + ".new")) and name not in files:
                self._directory.remove(name)
        with contextlib.suppress(RetryableError):  # a full disk; it is tried again soon
            self.save_all()

    def position(self, name: str) -> int:
        """Events before it are elsewhere."""
        return self._places[name].position

    def move(self, name: str, position: int) -> None:
        """Never back."""
        place = self._places[name]
        place.position = max(place.position, position)

    @property
    def slowest(self) -> int:
        """Everything before it was passed by all."""
        return min((place.position for place in self._places.values()), default=0)

    @property
    def floor(self) -> int:
        """Everything before it may be lost when there is no room: what the required cursors have passed; without such
        cursors, what the one furthest ahead has passed."""
        places = self._places.values()
        required = [place.position for place in places if place.cursor.required]
        return min(required) if required else max((place.position for place in places), default=0)

    def save(self, name: str) -> None:
        """Make a cursor durable. *Blocking*. *Thread*: any, without the guard. Raises RetryableError."""
        with self._saving:
            place = self._places.get(name)
            if place is None or place.position == place.saved:
                return
            position = place.position
            try:
                save(self._directory, Saved(name, self._incarnation, position))
            except OSError as error:
                raise RetryableError(
                    f"the position of {name!r} in the log can't be saved: {error}; free space on its disk"
                ) from error
            place.saved = position

    def save_all(self) -> None:
        """Each of them, and then the first failure. *Blocking*. Raises RetryableError."""
        failure: RetryableError | None = None
        for name in list(self._places):
            try:
                self.save(name)
            except RetryableError as error:
                failure = failure or error
        if failure is not None:
            raise failure


def file_name(cursor: str) -> str:
    """Of a cursor's file: its name as far as a file system allows."""
    quoted = quote(cursor, safe=" @:")
    if len(quoted) > _NAME_BYTES_MAX:
        quoted = quoted[: _NAME_BYTES_MAX // 2] + "-" + hashlib.sha256(cursor.encode()).hexdigest()
    return quoted + SUFFIX


def load(directory: Directory, name: str) -> Saved | None:
    """What a cursor's file says; None when it is damaged. Raises OSError."""
    file = directory.open(name)
    try:
        data = file.read(0, file.size())
    finally:
        file.close()
    body = data[_HEADER_BYTES:]
    if data[:_HEADER_BYTES] != _header(body):
        return None
    try:
        return msgspec.json.decode(body, type=Saved)
    except msgspec.DecodeError:
        return None


def load_all(directory: Directory) -> dict[str, Saved | None]:
    """Every cursor's file by its name; None where it is damaged. Raises OSError."""
    return {name: load(directory, name) for name in directory.list() if name.endswith(SUFFIX)}


def save(directory: Directory, saved: Saved) -> None:
    """*Blocking* until it is durable. Raises OSError."""
    body = msgspec.json.encode(saved)
    replace_file(directory, file_name(saved.name), _header(body) + body)


def _header(body: bytes) -> bytes:
    return _MAGIC + b"%08x\n" % crc32c(body)

"""One file, as the source knows it, and the id of its stream.  [pure]"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_ID = re.compile(r"s1-([0-9a-f]{1,16})-([0-9a-f]{1,16})-([0-9a-f]{1,16})-([0-9a-f]{1,16})")


@dataclass(frozen=True, slots=True)
class Version:
    """What a file that does not change keeps: another content has another of these."""

    ino: int
    size: int
    mtime_ns: int

    def has_grown_to(self, now: Version) -> bool:
        """Whether what was there may be there still."""
        return now.ino == self.ino and now.size >= self.size


@dataclass(frozen=True, slots=True)
class FileId:
    """A stream id says which file it was, so that an agent that lost its state recognises it. `nonce`: ns since 1970 UTC of the
    discovery, made unique; later ones are larger."""

    version: Version
    nonce: int

    def __str__(self) -> str:
        return f"s1-{self.version.ino:x}-{self.version.size:x}-{self.version.mtime_ns:x}-{self.nonce:x}"

    @classmethod
    def parse(cls, text: str) -> FileId | None:
        """None when `text` is not the id of such a file."""
        found = _ID.fullmatch(text)
        if found is None:
            return None
        ino, size, mtime_ns, nonce = (int(group, 16) for group in found.groups())
        return cls(Version(ino, size, mtime_ns), nonce)


@dataclass(eq=False, slots=True)
class SpoolFile:
    """A file that was reported as a stream, until it is in storage and done with.

    `end`: the position behind its last event; None before it was read that far. `fault`: why it is set aside at the end, instead
    of being completed. `gone`: its content can't be read again.
    """

    id: str
    path: str
    version: Version
    attributes: Mapping[str, str] = field(default_factory=dict)
    acked: int = 0
    cursor: int | None = None  # None before the first seek
    end: int | None = None
    told: bool = False  # StreamFinished was handed out
    done: bool = False  # in storage to its end
    fault: str = ""
    gone: bool = False
    stalled: bool = False  # could not be read: tried again with the next scan

    @property
    def is_read(self) -> bool:
        """Whether there is nothing more to read, as far as known."""
        return self.end is not None and self.cursor is not None and self.cursor >= self.end

    @property
    def unread_bytes(self) -> int:
        """Of the file; a guess, as a position need not be a byte offset."""
        return 0 if self.end is not None else max(0, self.version.size - (self.cursor or 0))

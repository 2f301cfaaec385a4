"""Where a sink keeps what: its root, and the hidden directory in it with everything that is not published yet.

    <root>/.qanat-<sink id>/<life>.lock            held while that life is open
    <root>/.qanat-<sink id>/<life>/                its working directory, which the next life renames; in it:
        publishing-<life>                          names that the last publish was about to give
        .<final name>.tmp                          an open file, or one that waits to be published
        .<final name>.out-<life>.tmp               Parquet or ORC being encoded from it
        .<final name>.done.tmp                     the same, complete
        .<final name>.copy-<life>.tmp              a copy in the making, see `tenancy.py`
    <root>/.qanat-<sink id>/set-aside-<time>/      what was found when no commit was known
    <root>/<bucket directory>/<final name>         published

Everything in the working directory is named by its whole path at each single call, never through a descriptor of the
directory: that is what `tenancy.py` rests on. One working directory, rather than temporary files beside the final ones:
recovery looks at one directory however many buckets there are, discarded files leave no empty directories behind, and
nothing but this sink's files lies in it.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from collector.files import disk, names
from collector.files.tenancy import Tenancy
from collector.files.token import FileState
from qanat.durable import sync_directory
from qanat.errors import RetryableError

_PUBLISHING = "publishing"
_ANNOUNCEMENT = re.compile(rf"{_PUBLISHING}-[0-9a-f]+")


class Layout:
    """Paths of one sink."""

    def __init__(self, root: Path, sink: str) -> None:
        self.root = root
        self.sink = sink
        self.tenancy = Tenancy(root / f".qanat-{sink}")

    @property
    def work(self) -> Path:
        """The working directory."""
        return self.tenancy.work

    def require(self) -> None:
        """Raises RetryableError when another life has the working directory: what was not found was not missing."""
        with disk.explained("looking for", self.work):
            if self.tenancy.is_lost():
                raise RetryableError(
                    f"{self.work} is gone: another process has taken this sink's files over, as of a dead one",
                    retry_after_s=disk.RETRY_AFTER_S,
                )

    def temporary(self, file: FileState) -> Path:
        """The file while it isn't published."""
        return self.work / names.hidden(file.name)

    def encoding(self, file: FileState) -> Path:
        """The final form in the making."""
        return self.work / names.hidden(file.name, names.encoding(self.tenancy.life))

    def encoded(self, file: FileState) -> Path:
        """The final form, complete and durable."""
        return self.work / names.hidden(file.name, names.ENCODED)

    def copying(self, file: FileState) -> Path:
        """A copy of the temporary file in the making."""
        return self.work / names.hidden(file.name, names.copying(self.tenancy.life))

    def final(self, file: FileState) -> Path:
        """The published file."""
        return self.root / file.directory / file.name

    def own_names(self) -> set[str]:
        """Names in the working directory that only this sink gives. Raises OSError."""
        pattern = re.compile(
            rf"\..*{re.escape(self.sink)}-\d{{8}}T\d{{6}}\.\d{{3}}Z-\d{{8,}}.*\.tmp", re.DOTALL
        )
        return {name for name in os.listdir(self.work) if pattern.fullmatch(name)}

    def announce(self, files: Sequence[FileState]) -> None:
        """Note, durably, that these files are about to get their final names. *Blocking*. Raises OSError.

        Readers may take a published file away at once. If the sink dies just then, this note tells "published, and
        gone" from "deleted before it was published".
        """
        earlier = set(self.work.glob(f"{_PUBLISHING}-*"))
        target = self.work / f"{_PUBLISHING}-{self.tenancy.life}"
        replacement = target.with_suffix(".new")
        with replacement.open("wb") as file:
            file.write(msgspec.json.encode([file.name for file in files]))
            file.flush()
            os.fdatasync(file.fileno())
        replacement.rename(target)
        sync_directory(self.work)
        for path in earlier - {
            target
        }:  # these are of former lives, and what they say of `files` is said here too
            path.unlink(missing_ok=True)

    def announced(self) -> set[str]:
        """Names of the last announcements, of this life and of former ones. Raises OSError."""
        found: set[str] = set()
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(self.work):
                if _ANNOUNCEMENT.fullmatch(name):
                    found |= _names(self.work / name)
        return found


def _names(announcement: Path) -> set[str]:
    try:
        return set(msgspec.json.decode(announcement.read_bytes(), type=list[str]))
    except (FileNotFoundError, msgspec.MsgspecError):
        return set()

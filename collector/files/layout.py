"""Where a sink keeps what: its root, and the hidden directory in it with everything that is not published yet.

    <root>/.qanat-<sink id>/lock                   held while the sink is open
    <root>/.qanat-<sink id>/publishing             names that the last publish was about to give
    <root>/.qanat-<sink id>/.<final name>.tmp      an open file, or one that waits to be published
    <root>/.qanat-<sink id>/.<final name>.out.tmp  Parquet or ORC being encoded from it; .done.tmp: complete
    <root>/<bucket directory>/<final name>         published

One working directory, rather than temporary files beside the final ones: recovery looks at one directory however many
buckets there are, discarded files leave no empty directories behind, and nothing but this sink's files lies in it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from collector.files import disk, names
from collector.files.token import FileState

_PUBLISHING = "publishing"


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths of one sink."""

    root: Path
    sink: str

    @property
    def work(self) -> Path:
        """The working directory."""
        return self.root / f".qanat-{self.sink}"

    @property
    def lock(self) -> Path:
        """The lock file."""
        return self.work / "lock"

    def create(self) -> None:
        """Make root and working directory, durably. *Blocking*. Raises RetryableError."""
        with disk.explained("creating the directory", self.work):
            disk.make_directories(self.work)

    def temporary(self, file: FileState) -> Path:
        """The file while it isn't published."""
        return self.work / names.hidden(file.name)

    def encoding(self, file: FileState) -> Path:
        """The final form in the making."""
        return self.work / names.hidden(file.name, names.ENCODING)

    def encoded(self, file: FileState) -> Path:
        """The final form, complete and durable."""
        return self.work / names.hidden(file.name, names.ENCODED)

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
        target = self.work / _PUBLISHING
        replacement = target.with_suffix(".new")
        with replacement.open("wb") as file:
            file.write(msgspec.json.encode([file.name for file in files]))
            file.flush()
            os.fdatasync(file.fileno())
        replacement.rename(target)
        disk.sync_directory(self.work)

    def announced(self) -> set[str]:
        """Names of the last announcement. Raises OSError."""
        try:
            return set(msgspec.json.decode((self.work / _PUBLISHING).read_bytes(), type=list[str]))
        except (FileNotFoundError, msgspec.MsgspecError):
            return set()

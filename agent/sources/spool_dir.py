"""`spoolDir("/var/spool/in")`: files that are dropped into a directory, each read once to its end, as of Flume NG.

Guarantee: at level E2E every event of every file is stored exactly once, and a file's events in their order, whenever agents and
collectors are killed. A file is renamed, deleted or noted as read only when all of it is in storage. Files must not change once
they are there, nor use a name again: one that does is set aside as `.FAILED`, with an error that says what was stored of it, and
the others are read on. [How](../spool.md).

    in : spoolDir("/var/spool/in", deserializer="json", delete="immediate") | agentE2EChain("c1", "c2") ;
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import ClassVar, Literal

import msgspec

from agent.faults import refuse, wrong_pattern
from agent.joining.config import Format, Multiline
from agent.spooling.completion import Completion, Renaming, Tracking
from agent.spooling.listing import Directory
from agent.spooling.reading import Reading
from agent.spooling.source import TEXTS, Deserializers, Kind, SpoolSource, attributes_of, wrong_text
from agent.spooling.spool import Spool, check_directory
from qanat import limits
from qanat.component import Context, Wrong
from qanat.config import Bytes, Seconds


class SpoolDirConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `spoolDir(...)` accepts."""

    directory: str  # where files appear; names that begin with a dot are left alone
    deserializer: Kind = "line"  # what becomes of a file's content
    suffix: str = ".COMPLETED"  # of files that are in storage
    failed_suffix: str = ".FAILED"  # of files that were set aside
    delete: Literal["never", "immediate"] = "never"  # immediate: files that are in storage are deleted
    tracking: Literal["rename", "tracker_dir"] = (
        "rename"  # tracker_dir: files keep their names, and are noted there
    )
    tracker_dir: str = ".qanatspool"  # within the directory, unless it is absolute
    order: Literal["oldest", "youngest", "random"] = (
        "oldest"  # of the files that are there, by time of last change
    )
    include: str = "^.*$"  # a regular expression that names of files match
    ignore: str = "^$"  # one that they don't
    recursive: bool = False  # directories below it as well
    stable: Seconds = 1.0  # a file is read when it was not changed for so long
    poll_interval: Seconds = 0.5  # how often the directory is looked at
    decompress: bool = True  # .gz, .bz2 and .zst of lines, json and csv
    oversize: Literal["split", "truncate", "dead-letter"] = (
        "split"  # what happens to an event above event_bytes
    )
    event_bytes: Bytes = limits.EVENT_BYTES_MAX
    dead_letter_quota: Bytes = limits.GIB
    multiline: Multiline | None = None  # which lines are one event: multiline(start="^\\d{4}-")
    format: Format = "lines"  # cri, docker: as containers' runtimes write them; parts of a line are joined
    columns: list[str] = []  # of csv: the names; without them the first row says them
    delimiter: str = ","  # of csv
    quote: str = '"'  # of csv


class SpoolDir(SpoolSource):
    """Reads files one after the other. A stream is a file; a position is a byte offset in it (decompressed), of `avro` and
    `parquet` the number of a record."""

    name: ClassVar[str] = "spoolDir"
    Config: ClassVar[type[msgspec.Struct]] = SpoolDirConfig
    consumes: ClassVar[bool] = True

    def __init__(self, config: SpoolDirConfig, context: Context) -> None:
        super().__init__(config, context)
        refuse(self.name, self.check(config))
        include, ignore = (re.compile(pattern, re.DOTALL) for pattern in (config.include, config.ignore))
        csv = (config.columns, config.delimiter, config.quote)
        deserializers = Deserializers("spoolDir", config.deserializer, config, context, csv)
        self._config = config
        self._spool = Spool(
            context,
            Directory(
                config.directory,
                include,
                ignore,
                (config.suffix, config.failed_suffix),
                recursive=config.recursive,
            ),
            _completion(config),
            Reading(deserializers.make, decompress=config.decompress and config.deserializer in TEXTS),
            lambda path: attributes_of(context, path),
            order=config.order,
            stable_s=config.stable,
            poll_interval_s=config.poll_interval,
            remembers=False,
        )

    @classmethod
    def check(cls, config: SpoolDirConfig) -> Iterable[Wrong]:
        """See Component.check."""
        if not config.directory:
            yield Wrong("directory", 'it is empty; give one: spoolDir("/var/spool/in")')
        for argument in ("suffix", "failed_suffix"):
            suffix = getattr(config, argument)
            if not suffix or "/" in suffix:
                yield Wrong(argument, f'"{suffix}" must be what names of files end in, as ".COMPLETED"')
        if config.suffix == config.failed_suffix:
            yield Wrong("failed_suffix", "it must differ from suffix=")
        yield from wrong_pattern("include", config.include)
        yield from wrong_pattern("ignore", config.ignore)
        if config.poll_interval <= 0:
            yield Wrong("poll_interval", "it must be more than 0")
        yield from _wrong_csv(config)
        yield from wrong_text(config.deserializer, config)

    def open(self) -> None:
        check_directory(self._config.directory, writable=_writes(self._config), what="spoolDir")
        super().open()


def _completion(config: SpoolDirConfig) -> Completion:
    if config.delete == "never" and config.tracking == "tracker_dir":
        return Tracking(config.directory, config.tracker_dir, config.suffix, config.failed_suffix)
    return Renaming(config.suffix, config.failed_suffix, delete=config.delete == "immediate")


def _writes(config: SpoolDirConfig) -> bool:
    is_elsewhere = os.path.isabs(config.tracker_dir)
    return not (config.delete == "never" and config.tracking == "tracker_dir" and is_elsewhere)


def _wrong_csv(config: SpoolDirConfig) -> Iterable[Wrong]:
    for argument in ("delimiter", "quote"):
        given = getattr(config, argument)
        if len(given) != 1 or not given.isascii():
            yield Wrong(argument, f'"{given}" must be one ASCII character')
    if config.delimiter == config.quote:
        yield Wrong("quote", "it must not be the delimiter")

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
from typing import ClassVar, Literal

import msgspec

from agent.joining.config import Format, Multiline
from agent.spooling.completion import Completion, Renaming, Tracking
from agent.spooling.listing import Directory
from agent.spooling.reading import Reading
from agent.spooling.source import TEXTS, Deserializers, Kind, SpoolSource, attributes_of
from agent.spooling.spool import Spool, check_directory
from qanat import limits
from qanat.component import Context
from qanat.config import Bytes, Seconds
from qanat.errors import ConfigError


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
        include, ignore = _patterns(config)
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


def _patterns(config: SpoolDirConfig) -> tuple[re.Pattern[str], re.Pattern[str]]:
    faults, found = _faults(config), []
    for name, pattern in (("include", config.include), ("ignore", config.ignore)):
        try:
            found.append(re.compile(pattern, re.DOTALL))
        except re.error as error:
            faults.append(f'spoolDir({name}="{pattern}") is no regular expression: {error}.')
    if faults:
        raise ConfigError(*faults)
    return found[0], found[1]


def _faults(config: SpoolDirConfig) -> list[str]:
    faults = []
    for name in ("suffix", "failed_suffix"):
        suffix = getattr(config, name)
        if not suffix or "/" in suffix:
            faults.append(f'spoolDir({name}="{suffix}") must be what names of files end in, as ".COMPLETED".')
    if config.suffix == config.failed_suffix:
        faults.append("spoolDir(suffix=..., failed_suffix=...) must differ.")
    if config.poll_interval <= 0:
        faults.append("spoolDir(poll_interval=...) must be more than 0.")
    if len(config.delimiter) != 1 or len(config.quote) != 1 or config.delimiter == config.quote:
        faults.append("spoolDir(delimiter=..., quote=...) must be one character each, and not the same.")
    if not config.delimiter.isascii() or not config.quote.isascii():
        faults.append("spoolDir(delimiter=..., quote=...) must be ASCII.")
    return faults

"""`text("/data/import.log")`: a file, read once from its beginning to its end, as of Flume OG; then the source is done.

Guarantee: at level E2E every line is stored exactly once, and in order, whenever agents and collectors are killed. The file stays
as it is. Unlike Flume OG's it does not begin again when the node is started again: its state says that the file was read. What is
appended later is not read; follow files that grow with [tail](tail.md).

    once : text("/data/import.log.gz") | agentE2EChain("c1", "c2") ;
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from typing import ClassVar, Literal

import msgspec

from agent.faults import refuse
from agent.joining.config import Format, Multiline
from agent.spooling.completion import Leaving
from agent.spooling.listing import Paths
from agent.spooling.reading import Reading
from agent.spooling.source import Deserializers, SpoolSource, attributes_of, wrong_text
from agent.spooling.spool import Spool
from qanat import limits
from qanat.component import Context, Wrong
from qanat.config import Bytes, Seconds
from qanat.errors import ConfigError


class TextConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `text(...)` accepts."""

    path: str  # the file; waited for if it is not there
    stable: Seconds = 0.0  # it is read when it was not changed for so long
    decompress: bool = True  # .gz, .bz2 and .zst
    oversize: Literal["split", "truncate", "dead-letter"] = (
        "split"  # what happens to a line above event_bytes
    )
    event_bytes: Bytes = limits.EVENT_BYTES_MAX
    dead_letter_quota: Bytes = limits.GIB
    multiline: Multiline | None = None  # which lines are one event: multiline(start="^\\d{4}-")
    format: Format = "lines"  # cri, docker: as containers' runtimes write them; parts of a line are joined


class Text(SpoolSource):
    """One file, one stream; a position is a byte offset (decompressed)."""

    name: ClassVar[str] = "text"
    Config: ClassVar[type[msgspec.Struct]] = TextConfig

    def __init__(self, config: TextConfig, context: Context) -> None:
        super().__init__(config, context)
        refuse(self.name, self.check(config))
        deserializers = Deserializers("text", "line", config, context)
        self._listing = Paths([config.path])
        self._spool = Spool(
            context,
            self._listing,
            Leaving(),
            Reading(deserializers.make, decompress=config.decompress, may_grow=True),
            lambda path: attributes_of(context, path),
            order="oldest",
            stable_s=config.stable,
            poll_interval_s=0.5,
            remembers=True,
        )

    def open(self) -> None:
        for path in self._listing.paths:
            _refuse_what_is_no_file(path)
        super().open()

    @classmethod
    def check(cls, config: TextConfig) -> Iterable[Wrong]:
        """See Component.check."""
        if not config.path:
            yield Wrong("path", 'it is empty; give a file: text("/data/import.log")')
        yield from wrong_text("line", config)

    def is_over(self) -> bool:
        """The file is in storage to its end."""
        return all(map(self._spool.files.is_read, self._listing.paths))


def _refuse_what_is_no_file(path: str) -> None:
    """Raises ConfigError; what is not there may come."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return
    if stat.S_ISDIR(mode):
        raise ConfigError(
            f'text("{path}"): it is a directory. Write the path of a file, or spoolDir("{path}") for all in it.'
        )
    if not stat.S_ISREG(mode):
        raise ConfigError(
            f'text("{path}"): it is no regular file, and so can\'t be read again from its beginning. Write the path of a file, '
            f'or exec("cat {path}") for what comes out of a pipe.'
        )

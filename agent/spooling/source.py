"""What sources that read files once have in common: the contract of a source on top of a spool, and how files are read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Literal, Protocol

from agent.faults import wrong_event_bytes
from agent.joining.config import Format, Multiline, joiner_for, wrong_multiline
from agent.spooling.content import Content
from agent.spooling.deserializer import Blob, Deserializer, Rules, Text
from agent.spooling.file import SpoolFile
from agent.spooling.spool import Spool
from agent.tailing import names
from agent.tailing.dead_letters import DeadLetters
from qanat.batch import Batch
from qanat.component import Context, Source, StreamEvent, Wrong
from qanat.errors import ConfigError
from qanat.limits import Oversize

Kind = Literal["line", "json", "csv", "avro", "parquet", "blob"]

TEXTS = ("line", "json", "csv")  # which may be compressed


class TextRules(Protocol):
    """The arguments that say how text is read."""

    @property
    def oversize(self) -> Literal["split", "truncate", "dead-letter"]: ...
    @property
    def event_bytes(self) -> int: ...
    @property
    def dead_letter_quota(self) -> int: ...
    @property
    def multiline(self) -> Multiline | None: ...
    @property
    def format(self) -> Format: ...


class SpoolSource(Source):
    """A source whose work a spool does; `_spool` is made by the subclass."""

    _spool: Spool

    def open(self) -> None:
        self._spool.open()

    def recover(self, known: Mapping[str, int]) -> None:
        self._spool.recover(known)

    def poll(self, timeout_s: float) -> list[StreamEvent]:
        return self._spool.poll(timeout_s)

    def seek(self, stream: str, position: int) -> None:
        self._spool.seek(stream, position)

    def read(self, max_bytes: int) -> Batch | None:
        return self._spool.read(max_bytes)

    def acknowledge(self, positions: Mapping[str, int]) -> None:
        self._spool.acknowledge(positions)

    def save(self) -> None:
        self._spool.save()

    def wake(self) -> None:
        self._spool.wake()

    def lag_bytes(self) -> int:
        return self._spool.lag_bytes()

    def close(self) -> None:
        self._spool.close()


def wrong_text(kind: Kind, config: TextRules) -> Iterable[Wrong]:
    """Of arguments that say how text is read; see Component.check."""
    yield from wrong_event_bytes(config.event_bytes)
    for argument, given in (
        ("multiline", config.multiline is not None),
        ("format", config.format != "lines"),
    ):
        if given and kind != "line":
            yield Wrong(argument, f'it is about lines, and deserializer="{kind}" makes none')
    yield from wrong_multiline(config.multiline)


class Deserializers:
    """Makes one for each file. Raises ConfigError for what can't be used on this host."""

    def __init__(
        self,
        what: str,
        kind: Kind,
        config: TextRules,
        context: Context,
        csv: tuple[list[str], str, str] = ([], ",", '"'),
    ) -> None:
        if kind == "avro":
            _needs_fastavro(what)
        self._kind = kind
        self._csv = csv
        self._config = config
        self._context = context
        self._dead = DeadLetters(context, config.dead_letter_quota)
        self._joiner = joiner_for(config.multiline, config.format, context.count)

    def make(self, content: Content, file: SpoolFile) -> Deserializer:
        """For one file."""
        rules = Rules(
            self._config.event_bytes,
            Oversize(self._config.oversize),
            self._context.count,
            lambda start, end, blocks: self._dead.keep_blocks(file.id, start, end, blocks),
        )
        if self._kind == "blob":
            return Blob(content, rules)
        if self._kind == "line" and self._joiner is None:
            return Text(content, rules)
        return self._in_columns(content, rules)

    def _in_columns(self, content: Content, rules: Rules) -> Deserializer:
        from agent.spooling import records, tables

        match self._kind:
            case "json":
                return tables.Json(content, rules)
            case "csv":
                return tables.Csv(content, rules, *self._csv)
            case "avro":
                return records.Avro(content, rules)
            case "parquet":
                return records.Parquet(content, rules)
        assert self._joiner is not None
        return tables.JoinedText(content, rules, self._joiner)


def attributes_of(context: Context, path: str) -> dict[str, str]:
    """What holds for all events of a file; Flume NG called the last of them `basename`."""
    shown = names.display(path)
    return {"host": context.host, "file": shown, "basename": os.path.basename(shown)}


def _needs_fastavro(what: str) -> None:
    try:
        import fastavro  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f'{what}(deserializer="avro") needs fastavro: pip install "qanat[avro]".'
        ) from error

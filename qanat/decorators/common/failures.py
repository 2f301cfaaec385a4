"""What becomes of an event that a decorator can't read."""

from __future__ import annotations

import enum
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc

from qanat import columns, ops
from qanat.batch import Batch
from qanat.chain import ERROR
from qanat.component import Context
from qanat.decorators.common import rows
from qanat.durable import replace_file
from qanat.errors import RetryableError
from qanat.rpc.codec import encode_batch

# Counted, in events.
UNREADABLE = "events_unreadable"
DROPPED = "events_unreadable_dropped"
DEAD_LETTERED = "events_unreadable_dead_lettered"


class OnError(enum.Enum):
    """The policies."""

    KEEP = "keep"  # as it is, with the attribute decorator_error
    IGNORE = "ignore"  # as it is
    DROP = "drop"  # gone, and counted
    DEAD_LETTER = "dead-letter"  # to a file of its own in the state directory, and counted


class Failures:
    """For one decorator. *Thread*: the decorator's."""

    def __init__(self, decorator: str, policy: OnError, context: Context) -> None:
        self._decorator = decorator
        self._policy = policy
        self._context = context

    def settle(self, batch: Batch, failed: pa.Array, why: str) -> Batch:
        """`batch`, and where it `failed` (boolean) what the policy says. Raises RetryableError when it can't be kept.

        With `keep` there is a column of errors whether there are any or not: columns follow from the configuration."""
        if self._policy is OnError.IGNORE:
            return batch
        number = pc.sum(failed).as_py() or 0
        if number:
            self._context.count(UNREADABLE, number)
        if self._policy is OnError.KEEP:
            return self._marked(batch, failed, why)
        if not number:
            return batch
        if self._policy is OnError.DEAD_LETTER:
            _store(self._context.state_dir / "dead-letters", self._decorator, columns.kept(batch, failed))
            self._context.count(DEAD_LETTERED, number)
        else:
            self._context.count(DROPPED, number)
        return columns.kept(batch, pc.invert(failed))

    def _marked(self, batch: Batch, failed: pa.Array, why: str) -> Batch:
        none = ops.NO_TEXT
        errors = ops.if_else(failed, f"{self._decorator}: {why}", none)
        if ERROR in rows.record(batch).schema.names:
            errors = ops.coalesce(rows.texts(rows.record(batch).column(ERROR)), errors)
        return rows.with_columns(batch, {ERROR: errors})


def _store(directory: Path, decorator: str, batch: Batch) -> None:
    """Durably, as serialised `ToCollector`, named by stream and positions, so that repeating it is harmless."""
    positions = rows.record(batch).column(columns.POSITION)
    first, last = positions[0].as_py(), positions[-1].as_py()
    path = directory / f"{decorator}-{quote(batch.stream, safe='')}-{first}-{last}.batch"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        replace_file(path, [encode_batch(replace(batch, start=first, end=last + 1))])
    except OSError as error:
        raise RetryableError(f"dead letter {path} can't be written: {error}") from error

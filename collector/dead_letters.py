"""Where batches go that a sink will never be able to store: a directory of files, one a batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import structlog

from qanat.batch import Batch
from qanat.durable import replace_file
from qanat.errors import RetryableError
from qanat.rpc.codec import encode_batch

log = structlog.get_logger(__name__)

Dropped = Callable[[str, int], None]  # hears why, and how many events


class DeadLetters:
    """Batches as they came (serialised `ToCollector`), named by stream and position, so that repeating is harmless."""

    def __init__(self, directory: Path, dropped: Dropped = lambda reason, events: None) -> None:
        self._directory = directory
        self._dropped = dropped
        self.batches = 0

    def put(self, batch: Batch, reason: str) -> None:
        """Store the batch durably. Raises RetryableError when the directory can't take it."""
        name = f"{quote(batch.stream, safe='')}-{batch.start}-{batch.end}.batch"
        path = self._directory / name
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            is_new = not path.exists()
            replace_file(path, [encode_batch(batch)])
        except OSError as error:
            raise RetryableError(f"dead letter {path} can't be written: {error}") from error
        self.batches += 1
        if is_new:
            self._dropped("dead_letter", batch.count)
        log.error("batch_dead_lettered", path=str(path), events=batch.count, reason=reason)

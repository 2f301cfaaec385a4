"""The ledger: files in, one report out."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from qanat.errors import ConfigError, RetryableError
from qanat.ledger.account import Accounts, Expectation, Verdict
from qanat.ledger.blocks import read_blocks
from qanat.ledger.extract import Extractor
from qanat.ledger.files import Sequence, find_sequences


@dataclass(frozen=True, slots=True)
class Report:
    """Sums over all streams; `first` and `last` are the smallest and largest number seen in any of them."""

    events: int
    lost: int
    doubled: int
    reordered: int
    unexpected: int
    unmatched: int
    files: int
    bytes: int
    streams: int
    first: int | None
    last: int | None
    seconds: float
    faulty: list[Verdict] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return self.events > 0 and not (self.lost or self.doubled or self.reordered or self.unexpected)


def verify(
    roots: Iterable[Path],
    extractor: Extractor,
    expected: Expectation,
    progress: Callable[[int, int], None] = lambda done_bytes, total_bytes: None,
) -> Report:
    """Read everything below `roots` and compare. `progress` is called after each file.

    Raises ConfigError, RetryableError (files change), CorruptError.
    """
    began = time.monotonic()
    sequences = find_sequences(roots)
    run = _Run(extractor, sum(_size(path) for sequence in sequences for path in sequence.paths), progress)
    for sequence in sequences:
        run.read(sequence)
    verdicts = run.accounts.verdicts(expected)
    return Report(
        events=sum(v.events for v in verdicts),
        lost=sum(v.lost for v in verdicts),
        doubled=sum(v.doubled for v in verdicts),
        reordered=sum(v.reordered for v in verdicts),
        unexpected=sum(v.unexpected for v in verdicts),
        unmatched=run.lines - sum(v.events for v in verdicts),
        files=sum(len(sequence.paths) for sequence in sequences),
        bytes=run.done_bytes,
        streams=sum(v.events > 0 for v in verdicts),
        first=min((v.first for v in verdicts if v.first is not None), default=None),
        last=max((v.last for v in verdicts if v.last is not None), default=None),
        seconds=round(time.monotonic() - began, 3),
        faulty=[v for v in verdicts if not v.clean],
    )


class _Run:
    """One pass over the files."""

    def __init__(self, extractor: Extractor, total_bytes: int, progress: Callable[[int, int], None]) -> None:
        self._extractor = extractor
        self._total_bytes = total_bytes
        self._progress = progress
        self.accounts = Accounts()
        self.lines = 0
        self.done_bytes = 0

    def read(self, sequence: Sequence) -> None:
        self.accounts.begin_sequence()
        for path in sequence.paths:
            for block, lines in read_blocks(path):
                self._account(path, block, lines)
            self.done_bytes += _size(path)
            self._progress(self.done_bytes, self._total_bytes)

    def _account(self, path: Path, block: memoryview, lines: int) -> None:
        try:
            extracted = self._extractor.extract(block, lines)
        except ValueError as error:
            raise ConfigError(f"{path}: what the pattern found is no sequence number: {error}") from error
        self.lines += lines
        self.accounts.add(extracted.numbers, extracted.streams)


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except OSError as error:
        raise RetryableError(f"{path} could not be read: {error.strerror}") from error

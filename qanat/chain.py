"""Decorators in a row, as an agent's source or a collector's sink applies them. Imports Arrow only when one of them needs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import structlog

from qanat import limits, registry
from qanat.batch import Batch, PayloadForm
from qanat.component import Context
from qanat.decorator import Decorator
from qanat.decorators.common.cases import OWN
from qanat.decorators.load_balance import LoadBalance
from qanat.errors import ConfigError, RetryableError
from qanat.flow.bind import bind
from qanat.flow.model import Call
from qanat.flow.switching import BALANCE, shares_of
from qanat.loads import Loads

log = structlog.get_logger(__name__)

ERROR = "decorator_error"  # the attribute that says why a decorator could do nothing with an event
FAILURES = "decorator_failures"  # batches that a decorator raised for, as counted

# Often enough to see that it goes on, rare enough that it fills no disk with log lines.
LOG_S = 60.0


class Chain:
    """See `Decorator` for threads and life."""

    def __init__(self, decorators: Sequence[Decorator], context: Context) -> None:
        self._decorators = decorators
        self._context = context
        self._say_at_s = 0.0

    @property
    def loads(self) -> Loads | None:
        """What the least loaded of several destinations is chosen by; None when nobody chooses so."""
        return next((each.loads for each in self._decorators if isinstance(each, LoadBalance)), None)

    def open(self) -> None:
        """Raises ConfigError."""
        for decorator in self._decorators:
            decorator.open()

    def apply(self, batch: Batch) -> Batch:
        """The batch as it leaves the last decorator. Raises RetryableError: nothing was done.

        It is in LINES form if nothing but shared attributes changed, and if no events are left."""
        converted: Batch | None = None
        result = batch
        for decorator in self._decorators:
            if not result.count:
                break
            if not decorator.takes_lines and isinstance(result.payload, bytes):
                from qanat import columns

                converted = result = columns.to_columns(result)
            result = self._applied(decorator, result)
        if not result.count:
            return replace(result, form=PayloadForm.LINES, payload=b"")
        if converted is not None and result.payload is converted.payload:
            return replace(result, form=PayloadForm.LINES, payload=batch.payload)
        return result

    def pause_s(self) -> float:
        """See Decorator."""
        return max((each.pause_s() for each in self._decorators), default=0.0)

    def read_bytes_max(self) -> int:
        """See Decorator."""
        return min((each.read_bytes_max() for each in self._decorators), default=limits.BATCH_BYTES_MAX)

    def close(self) -> None:
        """Idempotent."""
        for decorator in self._decorators:
            decorator.close()

    def _applied(self, decorator: Decorator, batch: Batch) -> Batch:
        try:
            result = decorator.apply(batch)
            _check(batch, result)
        except RetryableError:
            raise
        except Exception as error:  # noqa: BLE001 - bad data, or a user's own code, never stops a process
            return self._failed(decorator, batch, error)
        return result

    def _failed(self, decorator: Decorator, batch: Batch, error: Exception) -> Batch:
        why = f"{decorator.name}: {error or type(error).__name__}"
        self._context.count(FAILURES, 1)
        now_s = self._context.clock.monotonic_s()
        if now_s >= self._say_at_s:
            self._say_at_s = now_s + LOG_S
            log.warning(
                "decorator_failed",
                node=self._context.logical_node,
                decorator=decorator.name,
                stream=batch.stream,
                start=batch.start,
                error=str(error) or type(error).__name__,
                consequence=f"the batch goes on as it came, with the attribute {ERROR}",
                exc_info=error,
            )
        return replace(batch, attributes={**batch.attributes, ERROR: why[:ERROR_CHARACTERS_MAX]})


# A message, not a dump: it goes with every batch that fails, and attributes of a batch are limited.
ERROR_CHARACTERS_MAX = limits.KIB


def build_chain(calls: Sequence[Call], context: Context) -> Chain | None:
    """None when there are no decorators. Nothing is opened. Raises ConfigError."""
    if not calls:
        return None
    return Chain([_built(call, context) for call in calls], context)


def _built(call: Call, context: Context) -> Decorator:
    if call.name == BALANCE:
        return _balance(call, context)
    if call.name in OWN:
        return OWN[call.name](call, context)
    found = registry.decorator(call.name)
    return found(bind(call, found.Config), context)


def _balance(call: Call, context: Context) -> Decorator:
    shares, arguments = shares_of(call)
    return LoadBalance(bind(arguments, LoadBalance.Config), context, shares)


def _check(before: Batch, after: Batch) -> None:
    """What delivery rests on. Raises ConfigError: the author of the decorator has to mend it."""
    if (after.stream, after.start, after.end) != (before.stream, before.start, before.end):
        raise ConfigError(
            f"it made [{after.start}, {after.end}) of {after.stream!r} from [{before.start}, {before.end}) of "
            f"{before.stream!r}; a decorator keeps stream, start and end"
        )
    if not isinstance(after.payload, bytes):
        if after.payload.num_rows != after.count:
            raise ConfigError(
                f"it says {after.count} events, and its record batch has {after.payload.num_rows} rows; set count to that"
            )
        from qanat import columns

        if after.payload is not before.payload:
            columns.check(after.payload)

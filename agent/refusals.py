"""What a channel refuses, in a row: how long until the next attempt, and two log lines however many there were."""

from __future__ import annotations

import structlog

from qanat.component import Channel, Context
from qanat.errors import RetryableError
from qanat.rpc.backoff import backoff_s

log = structlog.get_logger(__name__)

# A full disk is looked at so often: the attempt costs nothing, and events pile up meanwhile.
RETRY_S_MAX = 5.0


class Refusals:
    """Of one feed's channel. `consequence`: for the log, what that means for where events come from."""

    def __init__(self, channel: Channel, context: Context, consequence: str) -> None:
        self._channel = channel
        self._context = context
        self._consequence = consequence
        self._failures = 0  # in a row

    def pause_s(self, error: RetryableError) -> float:
        """Another one: so long until the next attempt. The first in a row is a change of state."""
        self._failures += 1
        self._context.count("channel_failures", 1)
        if self._failures == 1:
            log.warning(
                "channel_refuses",
                node=self._context.logical_node,
                channel=self._channel.kind.name,
                error=str(error),
                consequence=self._consequence,
            )
        return max(backoff_s(self._failures, RETRY_S_MAX), error.retry_after_s or 0.0)

    def over(self) -> None:
        """The channel has taken something."""
        if self._failures:
            log.info("channel_takes_again", node=self._context.logical_node, failures=self._failures)
            self._failures = 0

"""`exec("vmstat 5")`, `execStream("journalctl -f")`, `execPeriodic("df -h", 60s)`: the output of a command, as of Flume OG.

Guarantee: what was read is in the channel, in the order of each of its two outputs, and as safe as the channel makes it. A
command can't be asked again: what it has written and nobody has read is lost with the agent. When the channel is full nothing is
read, and the command waits. It never outlives its agent, not even one that is killed, with all that it has started, unless that
leaves its session.

Only on nodes whose own administrator allows it, with `qanat agent --allow-exec` or QANAT_ALLOW_EXEC=1: a flow that comes from a
master runs no commands elsewhere.

    load : execPeriodic("uptime", 60s) | agentE2EChain("c1", "c2") ;
    disk : exec("iostat -x 5", restart=true) | agentE2EChain("c1", "c2") ;
    udev : execStream("udevadm monitor | grep --line-buffered add", shell=true) | agentE2EChain("c1", "c2") ;

A line is an event, or with `aggregate` all output of a run; `stream` is `stdout` or `stderr`. There is no shell unless asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import msgspec

from agent.running.source import CommandOptions, Running
from qanat.component import Context, Wrong
from qanat.config import Seconds


class ExecConfig(CommandOptions, frozen=True, forbid_unknown_fields=True):
    """What `exec(...)` accepts."""

    command: str
    aggregate: bool = False  # whether all output of a run is one event
    restart: bool = False  # whether it is started again when it ends
    period: Seconds = 0.0  # between its end and its next start


class ExecPeriodicConfig(CommandOptions, frozen=True, forbid_unknown_fields=True):
    """What `execPeriodic(...)` accepts."""

    command: str
    period: Seconds  # between its end and its next start


class ExecStreamConfig(CommandOptions, frozen=True, forbid_unknown_fields=True):
    """What `execStream(...)` accepts."""

    command: str


class Exec(Running):
    """Once, or again and again."""

    name: ClassVar[str] = "exec"
    Config: ClassVar[type[msgspec.Struct]] = ExecConfig

    def __init__(self, config: ExecConfig, context: Context) -> None:
        period_s = config.period if config.restart else None
        super().__init__(config, context, config.command, aggregate=config.aggregate, period_s=period_s)

    @classmethod
    def check(cls, config: ExecConfig) -> Iterable[Wrong]:
        """See Component.check."""
        return cls.check_command(config.command, config)


class ExecPeriodic(Running):
    """All output of a run is an event."""

    name: ClassVar[str] = "execPeriodic"
    Config: ClassVar[type[msgspec.Struct]] = ExecPeriodicConfig

    def __init__(self, config: ExecPeriodicConfig, context: Context) -> None:
        super().__init__(config, context, config.command, aggregate=True, period_s=config.period)

    @classmethod
    def check(cls, config: ExecPeriodicConfig) -> Iterable[Wrong]:
        """See Component.check."""
        return cls.check_command(config.command, config)


class ExecStream(Running):
    """A line is an event; it runs once."""

    name: ClassVar[str] = "execStream"
    Config: ClassVar[type[msgspec.Struct]] = ExecStreamConfig

    def __init__(self, config: ExecStreamConfig, context: Context) -> None:
        super().__init__(config, context, config.command, aggregate=False, period_s=None)

    @classmethod
    def check(cls, config: ExecStreamConfig) -> Iterable[Wrong]:
        """See Component.check."""
        return cls.check_command(config.command, config)

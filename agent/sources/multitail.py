"""`multitail("/var/log/a.log", "/var/log/b.log", ...)`: files followed at the same time, as of Flume OG.

Guarantee: that of [tail](tail.md), which takes any number of paths as well; here each is a path as it is, and no glob.

    web : multitail("/var/log/nginx/access.log", "/var/log/nginx/error.log") | agentE2EChain("c1", "c2") ;
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import msgspec

from agent.sources.tail import Tail, TailOptions, wrong_options
from agent.tailing.discovery import Discovery
from qanat.component import Context, Wrong


class MultitailConfig(TailOptions, frozen=True, forbid_unknown_fields=True):
    """What `multitail(...)` accepts."""

    files: list[str]  # their paths


class Multitail(Tail):
    """Streams and positions are those of `tail`."""

    name: ClassVar[str] = "multitail"
    Config: ClassVar[type[msgspec.Struct]] = MultitailConfig

    def __init__(self, config: MultitailConfig, context: Context) -> None:
        self._files = config.files
        super().__init__(config, context)

    def discovery(self) -> Discovery:
        """See Tail."""
        return Discovery(self._files, (), literal=True)

    def is_from_end(self) -> bool:
        """See Tail."""
        return self._config.start == "end"

    @classmethod
    def check(cls, config: MultitailConfig) -> Iterable[Wrong]:
        """See Component.check."""
        yield from wrong_options(config)
        if not config.files or not all(config.files):
            yield Wrong(
                "files",
                'give at least one path, and none that is empty: multitail("/var/log/a.log", "/var/log/b.log")',
            )

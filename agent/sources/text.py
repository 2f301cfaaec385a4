"""`text("/var/log/old.log")`: a file from its beginning, as of Flume OG.

Guarantee: as of [tail](tail.md): every line is stored exactly once at level E2E, also when the agent is killed. Unlike Flume OG's
it goes on with what is appended later; a file that never changes is read once.

    once : text("/data/import.log") | agentE2EChain("c1", "c2") ;
"""

from __future__ import annotations

import glob
from typing import ClassVar

import msgspec

from agent.sources.tail import Tail, TailConfig
from qanat.component import Context


class TextConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `text(...)` accepts."""

    path: str  # the file


class Text(Tail):
    """One file."""

    name: ClassVar[str] = "text"
    Config: ClassVar[type[msgspec.Struct]] = TextConfig

    def __init__(self, config: TextConfig, context: Context) -> None:
        super().__init__(TailConfig(paths=[glob.escape(config.path)], exclude=[]), context)

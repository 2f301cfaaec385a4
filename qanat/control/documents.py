"""What the control plane keeps in the coordination store, as JSON; `paths.py` says where. [pure]"""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgspec

from qanat.errors import CorruptError
from qanat.flow.model import DEFAULT_FLOW

D = TypeVar("D")

# Changes that a master may have missed and still need not read everything: more than happen within a lost session.
RECENT_MAX = 64

# Names listed with the recent changes: 2,000 of 30 bytes are 60 kB in a document that every change writes.
RECENT_NAMES_MAX = 2000


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """A logical node's configuration: `name @ selector : source | sink ;` in flow `flow`.

    `text`: "" when it was deleted. `version`: of this logical node, from 1. `time_ns`: by the clock of the master that wrote
    it, for people only.
    """

    text: str
    flow: str = DEFAULT_FLOW
    version: int
    author: str
    time_ns: int


class Mapping(msgspec.Struct, frozen=True):
    """The logical nodes that were placed on a physical node by hand, sorted."""

    logical: list[str] = []


class Limit(msgspec.Struct, frozen=True):
    """A rate limit; 0 is none."""

    events_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    bytes_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0


class Recent(msgspec.Struct, frozen=True, array_like=True):
    """One change: the revision that it made, which attempt made it, and the paths it wrote. None: too many to list."""

    revision: int
    token: str
    paths: list[str] | None


class Revision(msgspec.Struct, frozen=True):
    """The last changes of the configuration, oldest first."""

    recent: list[Recent] = []

    def after(self, change: Recent) -> Revision:
        """With `change`, and without what is too old."""
        kept = [*self.recent, change][-RECENT_MAX:]
        while len(kept) > 1 and sum(len(each.paths or ()) for each in kept) > RECENT_NAMES_MAX:
            kept.pop(0)
        return Revision(kept)

    def changed_since(self, revision: int) -> set[str] | None:
        """Paths written after `revision`; None when that is not known any more."""
        later = self.since(revision)
        if not later or any(each.paths is None for each in later):
            return None
        return {path for each in later for path in each.paths or ()}

    def since(self, revision: int) -> list[Recent] | None:
        """Every change after `revision`; None when not all of them are known any more."""
        later = [each for each in self.recent if each.revision > revision]
        return None if later and later[0].revision != revision + 1 else later

    def made_by(self, token: str) -> int | None:
        """The revision that an attempt made; None when it is not among the recent ones."""
        return next((each.revision for each in self.recent if each.token == token), None)


class KnownNode(msgspec.Struct, frozen=True):
    """A physical node that registered once, as it was last. `instance`: of its latest process, the `start`th of this name (from
    1), in the order in which the store was told of them."""

    role: str
    host: str = ""
    labels: dict[str, str] = {}
    first_seen_ns: int = 0
    instance: str = ""
    start: int = 0


class Known(msgspec.Struct, frozen=True):
    """The known physical nodes of one shard, by name."""

    nodes: dict[str, KnownNode] = {}


class CollectorNode(msgspec.Struct, frozen=True):
    """A living collector. `listening`: logical node -> host:port that agents reach. `leaving`: it is about to stop."""

    role: str = "collector"
    host: str = ""
    listening: dict[str, str] = {}
    leaving: bool = False


class Live(msgspec.Struct, frozen=True):
    """Collectors as translation may use them: physical node -> logical node -> host:port."""

    collectors: dict[str, dict[str, str]] = {}


class MasterNode(msgspec.Struct, frozen=True):
    """A living master: where it serves gRPC, and HTTP ("" when it does not)."""

    rpc: str
    http: str = ""


def encode(document: msgspec.Struct) -> bytes:
    """As it is stored: the same bytes for equal documents, whatever the order of their keys."""
    return msgspec.json.encode(document, order="sorted")


def decode(kind: type[D], value: bytes, path: str) -> D:
    """Raises CorruptError when `value`, read from `path`, is no such document."""
    try:
        return msgspec.json.decode(value, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CorruptError(
            f"{path} in the coordination store is no {kind.__name__}: {error}; it was written by hand, or by a later version"
        ) from error

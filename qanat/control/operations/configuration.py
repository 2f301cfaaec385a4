"""Requests about what should run, and their replies. [pure]"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from qanat.control.operations.base import Count


class Apply(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Make the configuration say what `text` says. All of it is done, or nothing.

    `dry_run`: only plan. `prune`: delete the logical nodes of the flows in `text` that it does not name. `expected`: versions
    that the plan was made for (0: did not exist); when another change came between, nothing is done.
    """

    text: str
    path: str = "<flow>"  # what faults call the text
    dry_run: bool = False
    prune: bool = False
    expected: dict[str, Count] = {}


class Diff(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `apply` would change."""

    text: str
    path: str = "<flow>"
    prune: bool = False


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of one logical node. `version`: before the change, 0 when there was none.

    `runs_on`: some of the physical nodes that would run it, of `runs_on_count` that are known."""

    logical: str
    flow: str
    change: Literal["create", "update", "delete", "unchanged"]
    before: str = ""
    after: str = ""
    version: int = 0
    runs_on: list[str] = []
    runs_on_count: int = 0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """`revision`: of the configuration, after it was applied. `notes`: what an operator should know, as sentences."""

    changes: list[Change]
    applied: bool
    revision: int
    notes: list[str] = []


class Get(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The configuration of logical nodes: all, those of `names`, those of a flow."""

    names: list[str] = []
    flow: str | None = None


class Configured(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a logical node's configuration; `text` is empty for one that was deleted."""

    logical: str
    flow: str
    text: str
    version: int
    author: str
    time_ns: int


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """Sorted by name; a history by version, the last first."""

    nodes: list[Configured]


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Configure one logical node, as Flume OG's `config` did. `source` may be `source | channel`."""

    logical: str
    source: str
    sink: str
    flow: str = ""  # "": the one that it is in
    selector: str = ""
    dry_run: bool = False


class Multiconfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Configure all logical nodes of a text; the same as `apply`."""

    text: str
    dry_run: bool = False


class Unconfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Delete the configuration of logical nodes. Their histories stay."""

    names: Annotated[list[str], msgspec.Meta(min_length=1)]
    expected: dict[str, Count] = {}


class Decommission(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Delete logical nodes: their configuration, and every mapping that names them."""

    names: Annotated[list[str], msgspec.Meta(min_length=1)]


class Save(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All configuration as one text, or that of one flow."""

    flow: str | None = None


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """`text` for `load`, or a repository; `mapping`: what was placed by hand; `limits`: rate limits."""

    text: str
    mapping: dict[str, list[str]]
    limits: list[LimitRow] = []


class Load(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Apply what `save` gave. Nothing is deleted; a physical node's mapping and a rate limit are replaced."""

    text: str
    mapping: dict[str, list[str]] = {}
    limits: list[LimitRow] = []
    dry_run: bool = False


class History(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Former versions of a logical node, the last first."""

    logical: str
    limit: Annotated[int, msgspec.Meta(ge=1)] = 50


class Rollback(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Configure a logical node as it was; that makes a new version."""

    logical: str
    version: Annotated[int, msgspec.Meta(ge=1)]
    dry_run: bool = False


class Map(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Place logical nodes on a physical node by hand. `ahead`: also those that are not configured yet, as Flume OG did."""

    physical: str
    logical: Annotated[list[str], msgspec.Meta(min_length=1)]
    ahead: bool = False


class Spawn(Map, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The same as `map`, as Flume OG called it."""


class Unmap(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Take back what was placed by hand; without names, all of `physical`. `all`: from every physical node, named or not."""

    physical: str = ""
    logical: list[str] = []
    all: bool = False


class Mappings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was placed by hand."""


class MappingsReply(msgspec.Struct, frozen=True, kw_only=True):
    """Physical node -> logical nodes. `notes`: what an operator should know of what was just mapped, as sentences."""

    mapping: dict[str, list[str]]
    notes: list[str] | msgspec.UnsetType = msgspec.UNSET


class Limit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Set a rate limit (0: none), or delete it. Without an id: list them."""

    id: str = ""
    events_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    bytes_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    delete: bool = False


class LimitRow(msgspec.Struct, frozen=True, kw_only=True):
    """A rate limit; 0 is none."""

    id: str
    events_s: float
    bytes_s: float


class LimitsReply(msgspec.Struct, frozen=True, kw_only=True):
    """All of them, by id."""

    limits: list[LimitRow]

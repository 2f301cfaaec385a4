"""The cluster's configuration as the coordination store holds it, kept current by one watch.

Every write of configuration, mapping or limits sets `/qanat/revision` in the same multi and names there what it changed. So
one watch tells of everything, a master reads what changed and nothing else, and what it has read is one consistent
state: that of a revision. What is staged of it (`qanat/control/staging.py`) is done on top.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

import structlog

from qanat.control import paths
from qanat.control.documents import Config, Limit, Revision, decode
from qanat.control.documents import Mapping as MappingDocument
from qanat.control.staging import Staged, unpack
from qanat.coordination.store import Node, Store
from qanat.errors import CorruptError, RetryableError

log = structlog.get_logger(__name__)

D = TypeVar("D")

# Znodes in one go: answers of 300 bytes make 150 kB, which hold nobody else up.
READ_MAX = 500

# A read starts over when the configuration changed meanwhile, and then reads only what changed: a hundred changes in a
# row, each within a round trip, are somebody's endless loop.
READS_MAX = 100


@dataclass(frozen=True)
class Snapshot:
    """The configuration of one revision; 0: nothing was ever stored. `versions`: of the znodes, by path, once what `is_staged` is
    in its places."""

    revision: int = 0
    changes: Revision = field(default_factory=Revision)
    configs: Mapping[str, Config] = field(default_factory=dict)
    mapping: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    limits: Mapping[str, Limit] = field(default_factory=dict)
    versions: Mapping[str, int] = field(default_factory=dict)
    is_staged: bool = False


class ConfigCache:
    """The newest `Snapshot` that this master has read."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._reading = asyncio.Lock()
        self.snapshot = Snapshot()
        self.is_loaded = False
        self.on_change: Callable[[], None] = lambda: None

    async def look(self) -> None:
        """Read what changed."""
        async with self._reading:
            await self._read()

    async def fresh(self) -> Snapshot:
        """The configuration as it is now: everything that was committed before this call is in it."""
        async with self._reading:
            await self._store.sync(paths.REVISION)
            await self._read()
            return self.snapshot

    def is_spread(self, revision: int) -> None:
        """Nothing of this revision is staged any more."""
        if self.snapshot.revision == revision:
            self.snapshot = replace(self.snapshot, is_staged=False)

    async def _read(self) -> None:
        before = self.snapshot
        for _ in range(READS_MAX):
            revision, changes = await self._revision()
            if self.is_loaded and revision == self.snapshot.revision:
                break
            staged = await self._staged()
            changed = self._changed(revision, changes, staged)
            draft = _Draft(self.snapshot if changed is not None else Snapshot())
            found = dict(await self._nodes(await self._all() if changed is None else sorted(changed)))
            if staged is not None and staged.revision == revision:
                found |= staged.nodes
            for number, (path, node) in enumerate(found.items(), 1):
                draft.take(path, node, self.snapshot)
                if number % READ_MAX == 0:
                    await asyncio.sleep(0)
            if (await self._revision())[0] == revision:
                self.snapshot = draft.snapshot(revision, changes, is_staged=staged is not None)
                self.is_loaded = True
                break
        else:
            raise RetryableError(
                "the configuration changes faster than it can be read; stop who changes it all the time"
            )
        if self.snapshot is not before:
            self.on_change()

    async def _revision(self) -> tuple[int, Revision]:
        node = await self._store.get(paths.REVISION)
        if node is None:
            return 0, Revision()
        return node.version + 1, decode(Revision, node.value, paths.REVISION)

    async def _staged(self) -> Staged | None:
        node = await self._store.get(paths.STAGED)
        return None if node is None else unpack(node.value, paths.STAGED)

    def _changed(self, revision: int, changes: Revision, staged: Staged | None) -> set[str] | None:
        """What has to be read; None: everything."""
        if not self.is_loaded:
            return None
        if staged is not None and staged.revision == revision == self.snapshot.revision + 1:
            return set()  # all that changed is staged
        return changes.changed_since(self.snapshot.revision)

    async def _all(self) -> list[str]:
        return [
            f"{parent}/{child}" for parent in paths.CONFIGURED for child in await self._store.children(parent)
        ]

    async def _nodes(self, wanted: list[str]) -> Iterable[tuple[str, Node | None]]:
        found: list[Node | None] = []
        for start in range(0, len(wanted), READ_MAX):
            found += await self._store.get_many(wanted[start : start + READ_MAX])
        return zip(wanted, found, strict=True)


class _Draft:
    """A snapshot that is being changed."""

    def __init__(self, base: Snapshot) -> None:
        self._configs = dict(base.configs)
        self._mapping = dict(base.mapping)
        self._limits = dict(base.limits)
        self._versions = dict(base.versions)

    def take(self, path: str, node: Node | None, known: Snapshot) -> None:
        """What was read at `path`. What can't be understood stays as it was known."""
        name, parent = paths.name(path), path.rpartition("/")[0]
        if parent not in paths.CONFIGURED:
            return  # history, which nobody keeps
        if node is None:
            self._versions.pop(path, None)
        else:
            self._versions[path] = node.version
        try:
            match parent:
                case paths.CONFIG:
                    _put(self._configs, name, _decoded(Config, path, node))
                case paths.MAPPING:
                    mapping = _decoded(MappingDocument, path, node)
                    _put(self._mapping, name, None if mapping is None else tuple(mapping.logical))
                case paths.LIMITS:
                    _put(self._limits, name, _decoded(Limit, path, node))
        except CorruptError as error:
            log.error("document_unreadable", reason=str(error))
            if name in known.configs and parent == paths.CONFIG:
                self._configs[name] = known.configs[name]

    def snapshot(self, revision: int, changes: Revision, *, is_staged: bool) -> Snapshot:
        """The changed snapshot."""
        return Snapshot(
            revision, changes, self._configs, self._mapping, self._limits, self._versions, is_staged
        )


def _decoded(kind: type[D], path: str, node: Node | None) -> D | None:
    return None if node is None else decode(kind, node.value, path)


def _put(found: dict[str, D], name: str, value: D | None) -> None:
    if value is None:
        found.pop(name, None)
    else:
        found[name] = value

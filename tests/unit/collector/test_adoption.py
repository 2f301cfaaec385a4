"""Which sinks a collector adopts, and when; and the adoption itself, with the real core and file sink."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from collector.adoption import FAILED_S, Adoptions, node_path
from collector.sinks.file import File
from qanat.component import Context, Sink
from qanat.coordination.store import Create, Delete, Node
from qanat.delivery import documents
from qanat.delivery.documents import Record
from qanat.delivery.receiver import ReceiverCore
from qanat.testing.store import MemoryStore, Tree
from tests.integration.file_driver import Driver, lines

DEAD = "node/coll"
ADOPTER = f"/qanat/sinks/{quote(DEAD, safe='')}/adopter"


class Scene:
    """A dead collector's sink with two committed events in an open file, and one that looks after it."""

    def __init__(self, root: Path) -> None:
        self.tree = Tree()
        self.store = MemoryStore(self.tree)
        self.driver = Driver(root).open()
        self.driver.sink.append(lines("a", [b"1", b"2"]))
        self.driver.commit()
        self.now_s = 1000.0
        self.adoptions_done = 0
        self.adoptions = Adoptions(
            "me", self.store, {"coll": self.sink}, self.core, 30.0, self._adopted, now_s=lambda: self.now_s
        )

    def _adopted(self) -> None:
        self.adoptions_done += 1

    def sink(self, physical_node: str) -> Sink:
        context = Context(physical_node, "coll", "here", self.driver.root.parent, clock=self.driver.clock)
        return File(self.driver.config, context)

    def core(self, sink: str) -> ReceiverCore:
        return ReceiverCore(sink, "adopter", commit_s=0.01, commit_bytes=1)

    async def record(self, sink: str = DEAD) -> None:
        value = documents.encode(Record("x", {"h": {"s": 4}}, self.driver.token))
        await self.store.multi(
            [Create(documents.fence_path(sink), b""), Create(documents.commit_path(sink), value)]
        )

    async def look(self, after_s: float = 0.0) -> int:
        self.now_s += after_s
        await self.adoptions._look()
        return self.adoptions_done

    def node(self, path: str) -> Node:
        return self.tree[path]


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Callable[[Scene], Awaitable[None]]], Scene]:
    def run(what: Callable[[Scene], Awaitable[None]]) -> Scene:
        scene = Scene(tmp_path / "root")

        async def main() -> None:
            await scene.record()
            await what(scene)
            await scene.store.close()

        asyncio.run(main())
        scene.driver.sink.close()
        return scene

    return run


def test_dead_sink_is_adopted_once_its_node_has_been_gone_for_long_enough(play) -> None:
    async def story(scene: Scene) -> None:
        fence = scene.node(documents.fence_path(DEAD)).version
        assert await scene.look() == 0
        assert await scene.look(29.0) == 0
        assert scene.driver.stored() == {}
        assert await scene.look(2.0) == 1
        assert scene.driver.stored() == {"a": [b"1", b"2"]}
        assert scene.node(documents.fence_path(DEAD)).version == fence + 1
        path = documents.commit_path(DEAD)
        record = documents.decode_record(scene.node(path).value, path)
        assert record.positions == {"h": {"s": 4}}, "whoever claims the sender goes on from there"
        assert ADOPTER not in scene.tree
        assert await scene.look(1000.0) == 1, "nothing is left"

    play(story)


def test_node_that_lives_or_is_back_in_time_is_left_alone(play) -> None:
    async def story(scene: Scene) -> None:
        other = MemoryStore(scene.tree)
        await scene.look()
        await other.multi([Create(node_path("node"), b"", ephemeral=True)])
        assert await scene.look(40.0) == 0
        await other.multi([Delete(node_path("node"), 0)])
        assert await scene.look(40.0) == 0, "it is gone since now"
        assert await scene.look(31.0) == 1
        await other.close()

    play(story)


def test_nobody_is_taken_for_dead_by_one_that_does_not_reach_the_store(play) -> None:
    async def story(scene: Scene) -> None:
        await scene.look()
        scene.store.cut()
        task = asyncio.create_task(scene.adoptions.run())
        await asyncio.sleep(0)
        task.cancel()
        scene.store.restore()
        scene.now_s += 40.0
        assert await scene.look() == 0
        assert await scene.look(31.0) == 1

    play(story)


def test_one_adopter_at_a_time(play) -> None:
    async def story(scene: Scene) -> None:
        other = MemoryStore(scene.tree)
        await other.multi([Create(ADOPTER, b"other", ephemeral=True)])
        await scene.look()
        assert await scene.look(40.0) == 0
        assert scene.node(ADOPTER).value == b"other"
        await other.close()
        assert await scene.look() == 1

    play(story)


def test_sinks_of_other_logical_nodes_and_own_ones_are_left_alone(play) -> None:
    async def story(scene: Scene) -> None:
        await scene.record("me/coll")
        await scene.record("node/other")
        await scene.look()
        assert await scene.look(40.0) == 1  # node/coll
        assert "/adopter" not in str(list(scene.tree))

    play(story)


def test_failed_adoption_is_tried_again_after_a_pause(play, tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        (path,) = scene.driver.work.glob(".*.tmp")
        kept = path.read_bytes()
        path.write_bytes(b"")  # somebody truncated it
        await scene.look()
        assert await scene.look(40.0) == 0
        (path,) = scene.driver.work.glob(".*.tmp")
        path.write_bytes(kept)
        assert await scene.look(FAILED_S - 1) == 0
        assert await scene.look(2.0) == 1
        assert scene.driver.stored() == {"a": [b"1", b"2"]}

    play(story)


def test_adoption_gives_up_when_its_owner_is_back(play, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(scene: Scene) -> None:
        other = MemoryStore(scene.tree)
        opened = File.open

        def open_(self: File, token: bytes | None) -> None:
            from qanat.errors import RetryableError

            scene.adoptions._living = {"node"}
            raise RetryableError("the disk is full")

        monkeypatch.setattr(File, "open", open_)
        await scene.look()
        assert await scene.look(40.0) == 0
        assert ADOPTER not in scene.tree
        monkeypatch.setattr(File, "open", opened)
        await other.close()
        assert await scene.look(FAILED_S + 1) == 1

    play(story)

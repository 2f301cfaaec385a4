"""Masters that ask each other, while one of them goes."""

from __future__ import annotations

import asyncio

from master.peers import Peers, PeersService
from qanat.control import paths
from qanat.control.documents import MasterNode, encode
from qanat.coordination.store import Create, Delete
from qanat.testing.store import MemoryStore, Tree
from qanat.wire.v1 import control_pb2 as wire


class Own:
    """Of a master without nodes."""

    async def pushed(self, revision):
        return revision

    def __iter__(self):
        return iter(())

    def __len__(self):
        return 0


def test_status_answers_when_a_silent_master_is_forgotten_meanwhile(run, free_port):
    async def scenario():
        accepted = asyncio.Event()
        writers = []

        async def never_answers(reader, writer):
            writers.append(writer)
            accepted.set()
            await reader.read(-1)

        port = free_port()
        server = await asyncio.start_server(never_answers, "127.0.0.1", port)
        store = MemoryStore(Tree())
        path = paths.of(paths.MASTERS, "m2")
        await store.multi([Create(path, encode(MasterNode(f"127.0.0.1:{port}", "")))])
        peers = Peers("m1", PeersService("m1", Own(), Own(), print), store)
        try:
            await peers.look()
            asking = asyncio.create_task(peers.status(wire.StatusRequest(counts_only=True)))
            await accepted.wait()
            await store.multi([Delete(path, 0)])
            await peers.look()
            return await asking
        finally:
            await peers.close()
            await store.close()
            for writer in writers:
                writer.close()
            server.close()

    answers = run(scenario())
    assert set(answers.replies) == {"m1"}
    assert set(answers.silent) == {"m2"}

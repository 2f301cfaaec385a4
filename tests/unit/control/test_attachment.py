"""A node's connection to masters, against masters that only say what the test wants."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import grpc
import pytest
import structlog

from qanat.control.attachment import Attachment
from qanat.errors import FencedError
from qanat.wire.v1 import control_pb2 as wire


class FakeMaster:
    """Answers every registration; then says what is put into `says`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.heard: list[wire.FromNode] = []
        self.says: asyncio.Queue[wire.ToNode] = asyncio.Queue()
        self.known: list[str] = []
        self.registered = asyncio.Event()
        self.address = ""
        self.server = grpc.aio.server()

    async def attach(self, _, context):
        self.heard.append(await context.read())
        registered = wire.Registered(master_id=self.name, masters=self.known, report_s=0.1)
        await context.write(wire.ToNode(registered=registered))
        self.registered.set()
        reading = asyncio.create_task(self.read(context))
        try:
            while True:
                await context.write(await self.says.get())
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def read(self, context):
        while (message := await context.read()) is not grpc.aio.EOF:
            self.heard.append(message)


@contextlib.asynccontextmanager
async def masters(count: int) -> AsyncIterator[list[FakeMaster]]:
    made = [FakeMaster(f"m{number}") for number in range(count)]
    for master in made:
        handler = grpc.stream_stream_rpc_method_handler(
            master.attach, wire.FromNode.FromString, wire.ToNode.SerializeToString
        )
        master.server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler("qanat.v1.Control", {"Attach": handler})]
        )
        master.address = f"127.0.0.1:{master.server.add_insecure_port('127.0.0.1:0')}"
        await master.server.start()
    try:
        yield made
    finally:
        for master in made:
            await master.server.stop(None)


@contextlib.asynccontextmanager
async def attached(addresses, **callbacks):
    calls = {
        "register": lambda: wire.Register(name="n"),
        "report": lambda: wire.Report(wanted_revision="r"),
        "handle": lambda message: None,
        "unanswered": lambda: None,
        **callbacks,
    }
    attachment = Attachment(
        addresses, *(calls[name] for name in ("register", "report", "handle", "unanswered"))
    )
    task = asyncio.create_task(attachment.run())
    try:
        yield attachment, task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def run(scenario):
    async def limited():
        async with asyncio.timeout(30):
            await scenario()

    asyncio.run(limited())


async def until(condition):
    while not condition():  # noqa: ASYNC110  # what it looks at has no event
        await asyncio.sleep(0.01)


def test_node_registers_with_its_report_and_goes_on_reporting():
    async def scenario():
        async with masters(1) as (m0,), attached([m0.address]) as (attachment, _):
            await until(lambda: len(m0.heard) >= 3)
            assert m0.heard[0].register.report.wanted_revision == "r"
            assert {each.WhichOneof("message") for each in m0.heard[1:]} == {"report"}
            assert attachment.master == "m0"

    run(scenario)


def test_node_passes_over_masters_that_are_away_and_says_when_all_are():
    async def scenario():
        calls = []
        async with attached(["127.0.0.1:1"], unanswered=lambda: calls.append(1)):
            await until(lambda: calls)
        async with masters(1) as (m0,), attached(["127.0.0.1:1", m0.address]):
            await m0.registered.wait()

    run(scenario)


def test_node_moves_where_it_is_asked_to():
    async def scenario():
        async with masters(2) as (m0, m1), attached([m0.address]):
            await m0.registered.wait()
            await m0.says.put(wire.ToNode(move=wire.Move(masters=[m1.address])))
            await m1.registered.wait()

    with structlog.testing.capture_logs() as logs:
        run(scenario)
    assert [each["log_level"] for each in logs if each["event"] == "master_left"] == ["info"]
    assert not [each for each in logs if each["event"] == "master_lost"]


def test_node_finds_masters_that_it_was_only_told_of():
    async def scenario():
        async with masters(2) as (m0, m1):
            m0.known = [m0.address, m1.address]
            async with attached([m0.address]):
                await m0.registered.wait()
                await m0.server.stop(None)
                await m1.registered.wait()

    run(scenario)


def test_node_leaves_a_master_that_answers_no_report(monkeypatch):
    monkeypatch.setattr("qanat.control.attachment.SILENT_S_MIN", 0.5)

    async def scenario():
        async with masters(2) as (m0, m1), attached([m0.address, m1.address]):
            await until(lambda: m0.registered.is_set() and m1.registered.is_set())

    run(scenario)


def test_node_that_is_fenced_ends_and_says_why():
    async def scenario():
        async with masters(1) as (m0,), attached([m0.address]) as (_, task):
            await m0.registered.wait()
            await m0.says.put(wire.ToNode(refused=wire.Refused(why="another one came", fenced=True)))
            with pytest.raises(FencedError, match="another one came"):
                await task

    run(scenario)


def test_what_a_master_says_reaches_the_node():
    async def scenario():
        heard = []
        async with masters(1) as (m0,), attached([m0.address], handle=heard.append):
            await m0.says.put(wire.ToNode(assign=wire.Assign(revision="7")))
            await until(lambda: heard)
            assert heard[0].assign.revision == "7"

    run(scenario)

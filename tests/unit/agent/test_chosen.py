"""A channel into which batches go with the destination that was chosen for them."""

from __future__ import annotations

from pathlib import Path

from agent.chosen import Chosen
from qanat.chain import Chain, build_chain
from qanat.channels.file import FileChannel, FileChannelConfig
from qanat.component import Cursor
from qanat.decorators.common.cases import NOTE
from qanat.delivery.sender import Trouble
from qanat.flow.parser import parse
from qanat.flow.sinks import undecorated
from qanat.flow.switching import spread
from tests.unit.agent.scripted import Shelf, ShelfReader, context
from tests.unit.decorators.batches import lines

LABELS = {"web": 0, "web#1": 1}


def chain(tmp_path: Path) -> Chain:
    calls, _ = undecorated(spread(parse("n : s | loadBalance(least_loaded) [ a, b ] ;").nodes[0].sink))
    built = build_chain(calls, context(tmp_path))
    assert built is not None
    return built


def opened(tmp_path: Path) -> tuple[Chosen, Shelf]:
    shelf = Shelf(context(tmp_path))
    channel = Chosen(shelf, chain(tmp_path), context(tmp_path), LABELS)
    channel.open([Cursor(label, required=True) for label in LABELS])
    return channel, shelf


def loads(channel: Chosen) -> list[int]:
    found = channel._chain.loads
    assert found is not None
    return [found.bytes_of(share) for share in range(2)]


def test_what_is_put_counts_for_its_destination_until_that_has_acknowledged_it(tmp_path: Path) -> None:
    channel, shelf = opened(tmp_path)
    readers = [channel.reader(label) for label in LABELS]
    channel.put(lines(b"a" * 99, start=0))
    channel.put(lines(b"b" * 9, start=100))
    assert [batch.attributes[NOTE] for batch in shelf.batches] == ["1", "0"]
    assert loads(channel) == [10, 100]
    channel.put(lines(b"c", start=110))
    assert loads(channel) == [12, 100]
    for reader in readers:
        reader.seek(ShelfReader.stream, 0)
        reader.read(1 << 20)
    readers[0].acknowledge({ShelfReader.stream: 2, "web#an earlier one": 1000})
    assert loads(channel) == [2, 100]
    readers[1].acknowledge({ShelfReader.stream: 1})
    assert loads(channel) == [2, 0]


def test_what_is_refused_counts_for_nobody(tmp_path: Path) -> None:
    channel, shelf = opened(tmp_path)
    shelf.answers.append(False)
    assert not channel.put(lines(b"a"))
    assert loads(channel) == [0, 0]


def test_what_an_earlier_process_has_left_counts_for_each_until_it_has_passed_that(tmp_path: Path) -> None:
    def life() -> Chosen:
        file = FileChannel(FileChannelConfig(), context(tmp_path))
        channel = Chosen(file, chain(tmp_path), context(tmp_path), LABELS)
        channel.open([Cursor(label, required=True) for label in LABELS])
        return channel

    channel = life()
    channel.put(lines(b"a" * 99))
    channel.close()
    channel = life()
    reader = channel.reader("web")
    assert loads(channel)[0] >= 50, "half of it, as there are two"
    reader.open()
    reader.recover({})
    (found,) = reader.poll(0.0)
    reader.seek(found.stream, 0)
    batch = reader.read(1 << 20)
    assert batch is not None
    reader.acknowledge({batch.stream: batch.end})
    assert loads(channel)[0] == 0
    reader.close()
    channel.close()


def test_destination_in_trouble_is_passed_over(tmp_path: Path) -> None:
    channel, shelf = opened(tmp_path)
    member = channel.member("web#1")
    assert member is not None
    member.state = lambda: Trouble.AWAY
    for at in range(0, 6, 2):
        channel.put(lines(b"a", start=at))
    assert [batch.attributes[NOTE] for batch in shelf.batches] == ["0", "0", "0"]


def test_channel_that_is_chosen_for_is_still_of_its_kind(tmp_path: Path) -> None:
    channel, shelf = opened(tmp_path)
    assert channel.kind is type(shelf) is shelf.kind

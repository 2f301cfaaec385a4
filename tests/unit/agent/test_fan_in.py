"""Several sources as one: whose stream is whose, in turn, and that each live source forms what it received."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from agent.fan_in import FanIn, LiveFanIn, name, whose
from qanat.component import Context, Events, Inlet, LiveSource, Parcel
from qanat.inlet import BoundedInlet
from tests.unit.agent.scripted import Streams, context


def test_streams_of_the_second_source_have_names_of_their_own_and_everything_is_told_to_its_owner(
    tmp_path: Path,
) -> None:
    first = Streams(context(tmp_path), {"a": 2})
    second = Streams(context(tmp_path), {"a": 1})
    both = FanIn([first, second], context(tmp_path))
    both.open()
    both.recover({"a": 4, "1|a": 0, "7|gone": 3})
    assert {event.stream for event in both.poll(0.0)} >= {"a", "1|a"}
    both.seek("a", 4)
    both.seek("1|a", 0)
    found = [(batch.stream, batch.start) for batch in iter(lambda: both.read(1), None)]
    assert sorted(found) == [("1|a", 0), ("a", 4)]
    both.acknowledge({"a": 8, "1|a": 4})
    assert (first.acked, second.acked) == ({"a": 8}, {"a": 4})
    both.close()


def test_sources_are_read_in_turn(tmp_path: Path) -> None:
    both = FanIn(
        [Streams(context(tmp_path), {"a": 3}), Streams(context(tmp_path), {"a": 3})], context(tmp_path)
    )
    both.open()
    for event in both.poll(0.0):
        both.seek(event.stream, 0)
    assert [batch.stream for batch in iter(lambda: both.read(1), None)] == ["a", "1|a"] * 3


def test_poll_ends_when_it_is_woken(tmp_path: Path) -> None:
    both = FanIn([Streams(context(tmp_path), {}, follow=True) for _ in range(2)], context(tmp_path))
    both.open()
    both.wake()
    assert both.poll(60.0) == []


class Shouting(LiveSource):
    """Forms what it is given with its own mark."""

    name = "shouting"
    Config = msgspec.Struct

    def __init__(self, mark: bytes, context: Context) -> None:
        super().__init__(None, context)
        self.mark = mark
        self.inlet: Inlet | None = None
        self.known: dict[str, int] = {}

    def open(self) -> None:
        """Nothing to take."""

    def recover(self, known: Mapping[str, int]) -> list[str]:
        self.known = dict(known)
        return list(known)

    def start(self, inlet: Inlet) -> None:
        self.inlet = inlet

    def stop(self) -> None:
        """Nothing to stop."""

    def close(self) -> None:
        """Nothing to release."""

    def form(self, parcels: Sequence[Parcel]) -> list[Events]:
        return [Events(self.mark + each.content, 1, {}) for each in parcels]


def test_parcels_are_formed_by_who_received_them_and_can_be_withdrawn(tmp_path: Path) -> None:
    sources = [Shouting(mark, context(tmp_path)) for mark in (b"1", b"2")]
    both, inlet, settled = LiveFanIn(sources, context(tmp_path)), BoundedInlet(), list[bool]()
    both.open()
    both.start(inlet)
    parcels = [Parcel(bytes([letter, 10]), 2, settled.append) for letter in b"abcd"]
    for index, parcel in zip((0, 1, 1, 0), parcels, strict=True):
        own = sources[index].inlet
        assert own is not None
        assert own.offer(parcel)
    own = sources[1].inlet
    assert own is not None
    assert own.withdraw(parcels[1])
    assert not own.withdraw(parcels[1])
    assert not own.withdraw(replace(parcels[0]))
    taken = inlet.take(1000, 0.0)
    assert [each.payload for each in both.form(taken)] == [b"1a\n", b"2c\n", b"1d\n"]
    for parcel in taken:
        assert parcel.settled is not None
        parcel.settled(True)
    assert settled == [True] * 3
    both.close()


def test_streams_that_peers_number_keep_their_place_and_are_told_apart(tmp_path: Path) -> None:
    sources = [Shouting(mark, context(tmp_path)) for mark in (b"1", b"2")]
    both, inlet = LiveFanIn(sources, context(tmp_path)), BoundedInlet()
    both.open()
    assert set(both.recover({"a": 3, "1|a": 5, "4|gone": 1})) == {"a", "1|a"}
    assert [source.known for source in sources] == [{"a": 3}, {"a": 5}]
    both.start(inlet)
    events = Events(b"x\n", 1, {})
    for source in sources:
        assert source.inlet is not None
        assert source.inlet.offer(Parcel(events, 2, stream="a", start=7))
    assert [(each.stream, each.start, each.content) for each in inlet.take(1000, 0.0)] == [
        ("a", 7, events),
        ("1|a", 7, events),
    ]
    both.close()


def test_names_are_told_apart_whatever_a_peer_calls_its_stream() -> None:
    streams = [(index, stream) for index in range(3) for stream in ("a", "1|a", "0|1|a", "|", "x|1")]
    assert len({name(*each) for each in streams}) == len(streams)
    assert [whose(name(*each)) for each in streams] == streams

"""Events above the limit of a live source, kept whole beside the stream."""

from __future__ import annotations

import socket
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.live.framing import CountedFramer, Framer, Letter, Letters, LineFramer, SizePolicy
from agent.live.letters import DROPPED, KEPT, FileLetters
from qanat.component import Context
from tests.unit.agent.live import listening, until
from tests.unit.agent.scripted import context
from tests.unit.agent.test_framing import counted, cut, fed
from tests.unit.agent.test_made_sources import made

LIMIT = 20
LOOPBACK = "127.0.0.1"


class Kept(Letters):
    """In memory. `open`: letters that have not ended."""

    def __init__(self) -> None:
        self.letters: list[bytes] = []
        self.open = 0

    def begin(self) -> Letter:
        self.open += 1
        return _KeptLetter(self)


class _KeptLetter(Letter):
    def __init__(self, kept: Kept) -> None:
        self._kept = kept
        self._data = b""

    def write(self, data: bytes) -> None:
        self._data += data

    def end(self) -> None:
        self._kept.open -= 1
        self._kept.letters.append(self._data)


def counting(tmp_path: Path) -> tuple[Context, Counter[str]]:
    counts: Counter[str] = Counter()
    return replace(context(tmp_path), count=lambda name, n: counts.update({name: n})), counts


def files(tmp_path: Path) -> list[bytes]:
    return sorted(path.read_bytes() for path in tmp_path.glob("dead-letter/*.raw"))


@given(st.lists(st.integers(1, 4 * LIMIT), max_size=6), st.lists(st.integers(0, 200), max_size=8))
def test_event_is_either_given_out_or_kept_whole_wherever_it_is_cut(
    sizes: list[int], places: list[int]
) -> None:
    events = [bytes([97 + number]) * size for number, size in enumerate(sizes)]
    lines = b"".join(each + b"\n" for each in events)
    for data, framer in ((counted(events), CountedFramer), (lines, LineFramer)):
        kept = Kept()
        found = fed(framer(SizePolicy(LIMIT, "dead-letter", letters=kept)), cut(data, places))
        assert found == [each for each in events if len(each) <= LIMIT]
        assert kept.letters == [each for each in events if len(each) > LIMIT]
        assert kept.open == 0


@pytest.mark.parametrize(("framer", "data"), [(LineFramer, b"x" * 50), (CountedFramer, b"90 " + b"x" * 50)])
def test_event_that_its_peer_does_not_end_is_kept_as_far_as_it_came_and_takes_no_memory(
    framer: type[Framer], data: bytes
) -> None:
    kept = Kept()
    made_ = framer(SizePolicy(LIMIT, "dead-letter", letters=kept))  # type: ignore[call-arg]
    for at in range(0, len(data), 5):
        assert not made_.feed(data[at : at + 5])
        assert made_.held_bytes <= LIMIT + 5
    assert not made_.finish()
    assert kept.letters == [b"x" * 50]


def test_files_are_kept_up_to_their_quota_which_earlier_ones_use_up(tmp_path: Path) -> None:
    where, counts = counting(tmp_path)
    for quota in (100, 150):
        letters = FileLetters(where, quota, synced=True)
        for size in (60, 60):
            letter = letters.begin()
            letter.write(b"a" * (size - 1))
            letter.write(b"b")
            letter.end()
    assert counts == {KEPT: 2, DROPPED: 2}
    assert [len(each) for each in files(tmp_path)] == [60, 60]


def test_disk_that_refuses_is_counted_and_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "dead-letter").write_bytes(b"in the way of a directory")
    where, counts = counting(tmp_path)
    letter = FileLetters(where, 100, synced=False).begin()
    letter.write(b"x")
    letter.end()
    assert counts == {DROPPED: 1}


def test_syslog_keeps_large_messages_beside_and_gives_out_the_others(tmp_path: Path) -> None:
    where, counts = counting(tmp_path)
    source = made(f'syslogTcp(0, host="{LOOPBACK}", event_bytes=100, oversize="dead-letter")', where)
    large = b"<13>1 - h app - - - " + b"x" * 5000
    with listening(source) as heard, socket.create_connection((LOOPBACK, source.port)) as peer:
        peer.sendall(b"<13>1 - h app - - - one\n" + large + b"\n<13>1 - h app - - - two\n")
        assert [row["body"] for row in heard.wait_for(2)] == [b"one", b"two"]
    assert files(tmp_path) == [large]
    assert counts[KEPT] == 1


def test_datagrams_that_are_all_too_large_are_all_beside(tmp_path: Path) -> None:
    where, counts = counting(tmp_path)
    source = made(f'syslogUdp(0, host="{LOOPBACK}", event_bytes=100, oversize="dead-letter")', where)
    with listening(source) as heard, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.sendto(b"x" * 500, (LOOPBACK, source.port))
        until(lambda: counts[KEPT] == 1)
        peer.sendto(b"<13>1 - h app - - - one", (LOOPBACK, source.port))
        assert [row["body"] for row in heard.wait_for(1)] == [b"one"]
    assert files(tmp_path) == [b"x" * 500]


def test_avro_answers_for_bodies_that_are_kept_beside(tmp_path: Path) -> None:
    from agent.avro.columns import events_of
    from agent.avro.datum import Received

    where, counts = counting(tmp_path)
    letters = FileLetters(where, 1 << 20, synced=True)
    policy = SizePolicy(10, "dead-letter", where.count, letters)
    part = Received(pa.array([b"small", b"x" * 11, b"other"]), {"app": pa.array(["a", "b", "c"])}, 100)
    (events,) = events_of([part], policy, "h")
    assert not isinstance(events.payload, bytes)
    rows = [(row["body"], row["app"]) for row in events.payload.to_pylist()]
    assert rows == [(b"small", "a"), (b"other", "c")]
    alone = events_of([Received(pa.array([b"x" * 11]), {"app": pa.array(["a"])}, 100)], policy, "h")
    assert sum(each.count for each in alone) == 0
    assert counts[KEPT] == 2

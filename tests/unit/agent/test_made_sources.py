"""Sources that make their events, and those that read standard input."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.generated import Generated
from agent.sources.null import Null, NullConfig
from agent.sources.seq import Seq, SeqConfig
from agent.sources.stdin import Console, Stdin, StdinConfig
from agent.sources.stress import Stress, StressConfig
from agent.sources.synth import AsciiSynth, NullSynth, Synth, SynthConfig
from agent.sources.text import Text, TextConfig
from qanat import registry
from qanat.clock import ManualClock
from qanat.component import Context, StreamFound
from qanat.errors import ConfigError
from qanat.flow.bind import bind
from qanat.flow.parser import parse_component
from tests.unit.agent.live import listening, until
from tests.unit.agent.scripted import context


def made(text: str, where: Context) -> Any:
    """As a flow writes it."""
    call = parse_component(text, "test")
    kind = registry.source(call.name)
    return kind(bind(call, kind.Config), where)


def started(source: Generated, position: int = 0) -> Generated:
    source.open()
    assert source.poll(0.0) == [StreamFound("generated", 0)]
    source.seek("generated", position)
    return source


def read(source: Generated, max_bytes: int = 1000) -> bytes:
    """All that there is."""
    parts = []
    while (batch := source.read(max_bytes)) is not None:
        assert batch.end - batch.start == batch.count
        assert batch.payload_bytes <= max(max_bytes, source.size_bytes())
        parts.append(bytes(batch.payload))
    return b"".join(parts)


def test_source_that_was_asked_for_so_many_is_over_after_the_last(tmp_path: Path) -> None:
    counted, endless = (
        started(Seq(SeqConfig(3), context(tmp_path))),
        started(Seq(SeqConfig(), context(tmp_path))),
    )
    assert not counted.is_over()
    assert read(counted) == b"0\n1\n2\n"
    endless.read(1000)
    assert (counted.is_over(), endless.is_over()) == (True, False)


def test_seq_counts_and_goes_on_where_storage_ends(tmp_path: Path) -> None:
    assert read(started(made("seq(1000)", context(tmp_path)))) == b"".join(b"%d\n" % n for n in range(1000))
    assert read(started(Seq(SeqConfig(1000), context(tmp_path)), 997)) == b"997\n998\n999\n"
    assert read(started(Seq(SeqConfig(1000), context(tmp_path)), 1000)) == b""


def test_seq_without_an_end_goes_on(tmp_path: Path) -> None:
    source = started(made("seq", context(tmp_path)))
    for _ in range(100):
        assert source.read(1 << 20) is not None


@pytest.mark.parametrize("kind", [AsciiSynth, Synth, NullSynth])
@given(cuts=st.lists(st.integers(0, 300), max_size=4))
def test_synthetic_events_are_the_same_however_they_are_asked_for(
    tmp_path_factory: pytest.TempPathFactory, kind: type[Any], cuts: list[int]
) -> None:
    source = kind(SynthConfig(300, 20, seed=7), context(tmp_path_factory.getbasetemp()))
    whole = source.lines(0, 300)
    assert [len(line) for line in whole.split(b"\n")[:-1]] == [20] * 300
    at = [0, *sorted(cuts), 300]
    assert b"".join(source.lines(a, b) for a, b in itertools.pairwise(at)) == whole


def test_synthetic_events_are_what_they_are_called(tmp_path: Path) -> None:
    where = context(tmp_path)
    printable = read(started(made("asciisynth(100, 50)", where)), 10_000)
    assert printable.replace(b"\n", b"").decode("ascii").isprintable()
    assert set(read(started(made("nullsynth(10, 5)", where)))) == {0, 10}
    assert read(started(made("asciisynth(3, 50, 1)", where))) != read(
        started(made("asciisynth(3, 50, 2)", where))
    )
    assert read(started(made("stress(3, 2)", where))) == b"xxx\nxxx\n"
    assert read(started(made("asciisynth(3, 0)", where))) == b"\n\n\n"


def test_rate_is_kept_from_where_it_began(tmp_path: Path) -> None:
    clock = ManualClock()
    where = Context("agent", "web", "host", tmp_path, clock=clock)
    source = started(Stress(StressConfig(1, 100, rate=10.0), where), 50)
    assert read(source) == b""
    clock._monotonic_s += 1.5
    assert read(source) == b"x\n" * 15
    clock._monotonic_s += 1000.0
    assert read(source) == b"x\n" * 35


def test_null_has_nothing_and_can_be_woken(tmp_path: Path) -> None:
    source = Null(NullConfig(), context(tmp_path))
    source.open()
    source.wake()
    assert source.poll(60.0) == []
    assert source.read(1000) is None


def test_text_reads_a_file_with_an_odd_name(tmp_path: Path) -> None:
    path = tmp_path / "a[1].gz"
    path.write_bytes(b"one\ntwo\n")
    source = Text(TextConfig(str(path)), context(tmp_path))
    source.open()
    source.recover({})
    found: list[Any] = []
    until(lambda: found.extend(source.poll(0.1)) or found)
    source.seek(found[0].stream, found[0].position)
    batch = source.read(1000)
    source.close()
    assert batch is not None
    assert batch.payload == b"one\ntwo\n"


@pytest.fixture(params=[Stdin, Console])
def piped(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Any, int]]:
    """A source, and where to write for it."""
    reading, writing = os.pipe()
    source = request.param(StdinConfig(), context(tmp_path))
    source.descriptor = reading
    yield source, writing
    for each in (reading, writing):
        try:
            os.close(each)
        except OSError:
            continue


def test_stdin_gives_lines_and_the_rest_at_its_end(piped: tuple[Any, int]) -> None:
    source, writing = piped
    with listening(source) as heard:
        os.write(writing, b"one\ntw")
        heard.wait_for(1)
        os.write(writing, b"o\nthree")
        os.close(writing)
        heard.wait_for(3)
    assert heard.bodies == [b"one", b"two", b"three"]


def test_stdin_stops_while_nothing_comes(piped: tuple[Any, int]) -> None:
    source, writing = piped
    with listening(source) as heard:
        os.write(writing, b"one\nhalf")
        heard.wait_for(1)
    assert heard.bodies == [b"one", b"half"]


@pytest.mark.parametrize(("make", "why"), [(os.mkfifo, "no regular file"), (os.mkdir, "a directory")])
def test_text_of_what_is_no_file_is_refused(tmp_path: Path, make: Callable[[Path], None], why: str) -> None:
    path = tmp_path / "x"
    make(path)
    source = Text(TextConfig(str(path)), context(tmp_path))
    with pytest.raises(ConfigError, match=why):
        source.open()
    source.close()

"""Flume OG's `delim` and `delimMode`: what can be said of lines is, and what can't is refused with what to write."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.joining.config import Multiline
from agent.joining.delimiter import DelimMode, multiline_of
from qanat.check import check
from qanat.component import Source, StreamFound
from qanat.errors import ConfigError
from tests.unit.agent.scripted import context
from tests.unit.agent.test_made_sources import made


@pytest.mark.parametrize(
    ("delim", "mode", "start"),
    [
        ("\n", "exclude", None),
        (r"\n", "exclude", None),
        ("\n\\d{4}-", "next", r"^(?:\d{4}-)"),
        (r"\nERROR|WARN", "next", "^(?:ERROR|WARN)"),
        (r"\n(?=\[)", "exclude", r"^(?:\[)"),
    ],
)
def test_delimiter_of_lines_says_how_events_begin(delim: str, mode: DelimMode, start: str | None) -> None:
    assert multiline_of("tail", delim, mode) == (None if start is None else Multiline(start=start))


@pytest.mark.parametrize(
    ("delim", "mode"),
    [
        ("</event>", "prev"),
        ("\n", "prev"),
        ("\n", "next"),
        ("\n\n+", "exclude"),
        ("\n\nX", "next"),
        (",", "exclude"),
        ("", "exclude"),
    ],
)
def test_delimiter_that_is_not_of_lines_is_refused_with_what_to_write(delim: str, mode: DelimMode) -> None:
    with pytest.raises(ConfigError, match=r"multiline=multiline\(start="):
        multiline_of("tail", delim, mode)


@pytest.mark.parametrize("source", ["tail", "multitail"])
def test_check_knows_before_anything_runs(source: str) -> None:
    flow = 'n : {}("/var/log/a", delim="{}", delimMode="{}") | agentE2ESink("c1") ;'
    check(flow.format(source, "\\\\n\\\\d+", "next"))
    with pytest.raises(ConfigError, match="has no counterpart"):
        check(flow.format(source, "</a>", "prev"))
    with pytest.raises(ConfigError, match="exclude, next, prev"):
        check(flow.format(source, "\\\\n", "both"))


def test_tail_gives_events_that_begin_with_the_delimiter(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_bytes(b"2011-01-01 boom\n  at x\n  at y\n2011-01-02 fine\n2011-01-03 open")
    source = made(f'tail("{log}", false, delim="\\\\n\\\\d{{4}}-", delimMode="next")', context(tmp_path))
    assert isinstance(source, Source)
    source.open()
    try:
        source.recover({})
        (found,) = source.poll(1.0)
        assert isinstance(found, StreamFound)
        source.seek(found.stream, found.position)
        batch = source.read(1 << 20)
        assert batch is not None
        assert not isinstance(batch.payload, bytes)
        assert batch.payload.column("body").to_pylist() == [b"2011-01-01 boom\n  at x\n  at y"]
    finally:
        source.close()


def test_two_ways_to_say_it_are_one_too_many(tmp_path: Path) -> None:
    source = made(
        'tail("/var/log/a", delim="\\\\nX", delimMode="next", multiline=multiline(start="^X"))',
        context(tmp_path),
    )
    with pytest.raises(ConfigError, match="in two ways"):
        source.open()
    source.close()

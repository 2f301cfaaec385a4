"""A sender gets another name with every other channel, and keeps it otherwise."""

from __future__ import annotations

import pytest

from agent import home
from qanat.errors import CorruptError
from qanat.flow.parser import parse_component

FILE = parse_component("fileChannel")
ELSEWHERE = parse_component('sqlChannel(url="sqlite:///x.db")')


def moves(directory, *channels):
    return [home.moved(directory, channel, moves_in=True) for channel in channels]


def test_sender_has_its_first_name_whatever_its_first_channel_is(tmp_path):
    for first in (None, FILE):
        directory = tmp_path / str(first and first.name)
        directory.mkdir()
        assert moves(directory, first, first) == [0, 0]


def test_sender_gets_another_name_with_every_other_channel(tmp_path):
    assert moves(tmp_path, FILE, None, None, FILE, ELSEWHERE, FILE) == [0, 1, 1, 2, 3, 4]


def test_capacity_is_no_other_channel(tmp_path):
    larger = parse_component("fileChannel(capacity=1GiB, events=5, full=drop)")
    assert moves(tmp_path, FILE, larger) == [0, 0]


def test_how_a_channel_works_is_no_other_channel(tmp_path):
    tuned = parse_component("fileChannel(fsync=always, sync_interval=50ms, segment=1MiB)")
    elsewhere = parse_component('fileChannel(path="/x", segment=1MiB)')
    assert moves(tmp_path, FILE, tuned, FILE, elsewhere) == [0, 0, 0, 1]


def test_channel_has_two_names(tmp_path):
    assert moves(tmp_path, parse_component("sqlChannel"), parse_component("jdbcChannel")) == [0, 0]


def test_what_an_earlier_version_noted_of_a_channel_is_understood(tmp_path):
    (tmp_path / home.FILE).write_text('{"channel": "fileChannel(segment=1MiB)", "moves": 3}')
    assert moves(tmp_path, parse_component("fileChannel(segment=1MiB)"), FILE) == [3, 3]


def test_looking_changes_nothing(tmp_path):
    moves(tmp_path, FILE)
    before = (tmp_path / home.FILE).read_bytes()
    assert home.moved(tmp_path, None, moves_in=False) == 1
    assert (tmp_path / home.FILE).read_bytes() == before


def test_former_channel_is_known_until_another_is_moved_into(tmp_path):
    assert home.former(tmp_path, FILE) is None
    moves(tmp_path, None)
    assert home.former(tmp_path, FILE) == home.Former(None)
    moves(tmp_path, FILE)
    assert home.former(tmp_path, FILE) is None
    assert home.former(tmp_path, None) == home.Former(FILE)


def test_damaged_file_is_named(tmp_path):
    (tmp_path / home.FILE).write_text("{")
    with pytest.raises(CorruptError, match=r"home\.json is damaged"):
        home.moved(tmp_path, FILE, moves_in=True)

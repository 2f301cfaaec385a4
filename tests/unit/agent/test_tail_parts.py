"""The parts of `tail`: ids, fingerprints, patterns, the state file, the watch."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.tailing import state as state_file
from agent.tailing.discovery import Discovery
from agent.tailing.identity import Fingerprint, Known, StreamId
from agent.tailing.state import State, StreamState
from agent.tailing.watch import Watch
from qanat.errors import ConfigError, CorruptError

SAVED = StreamState("id", "/home", None, 1, 2, 3, "hash", 4, 5, 6, 7, "mark")


@given(st.integers(0, 2**64 - 1), st.binary(max_size=2000), st.integers(0, 2**63))
def test_stream_id_is_read_back_when_printed(inode: int, head: bytes, nonce: int) -> None:
    identity = StreamId(inode, Fingerprint.of(head), nonce)
    assert StreamId.parse(str(identity)) == identity
    assert len(str(identity)) < 64


@given(st.binary(min_size=1, max_size=2000), st.binary(max_size=2000))
def test_fingerprint_matches_when_the_file_has_grown(head: bytes, more: bytes) -> None:
    assert Fingerprint.of(head).matches(head + more)
    assert not Fingerprint.of(head).matches(bytes([head[0] ^ 1]) + head[1:] + more)


def test_known_gives_out_the_newest_stream_that_fits_once() -> None:
    ids = [StreamId(7, Fingerprint.of(b"ab"), nonce) for nonce in (1, 2, 3)]
    known = Known({str(ids[0]): 1, str(ids[1]): 2, str(ids[2]): 100, "another source's": 5})
    assert known.take(7, b"xyz", 50) is None
    assert known.take(7, b"abc", 50) == (ids[1], 2)
    assert known.take(7, b"abc", 50) is None


def test_globs_find_what_a_shell_would(tmp_path: Path) -> None:
    for name in (
        "a.log",
        "b.log",
        ".hidden.log",
        "a.log.gz",
        "x/c.log",
        "x/y/d.log",
        ".git/e.log",
        "x/[1].log",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    def found(pattern: str) -> set[str]:
        discovery = Discovery([str(tmp_path / pattern)], ["*.gz"])
        files = set(discovery.walk().files)
        assert all(discovery.matches(path) for path in files)
        return {os.path.relpath(path, tmp_path) for path in files}

    assert found("*.log") == {"a.log", "b.log"}
    assert found("[!a].log") == {"b.log"}
    assert found("?.log*") == {"a.log", "b.log"}
    assert found("**/*.log") == {"a.log", "b.log", "x/c.log", "x/y/d.log", "x/[1].log"}
    assert found("x/*/d.log") == {"x/y/d.log"}
    assert found("x/yet.log") == {"x/yet.log"}
    assert found("none/yet.log") == set()


@pytest.mark.parametrize("glob", ["/l/[z-a].log", "/l/**/[9-0]", "/[!z-a]/*"])
def test_glob_that_means_nothing_is_an_error_that_shows_it(glob: str) -> None:
    with pytest.raises(ConfigError, match="bad character range"):
        Discovery([glob], [])
    with pytest.raises(ConfigError, match="bad character range"):
        Discovery(["/l"], ["*.gz", glob])


def test_state_is_read_back_when_saved(tmp_path: Path) -> None:
    assert state_file.load(tmp_path) is None
    state_file.save(tmp_path, State([SAVED]))
    loaded = state_file.load(tmp_path)
    assert loaded is not None
    assert list(loaded.streams) == [SAVED]


@given(st.data())
def test_state_with_any_damaged_byte_is_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    directory = tmp_path_factory.mktemp("state")
    state_file.save(directory, State([SAVED]))
    path = directory / state_file.FILE_NAME
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with pytest.raises(CorruptError):
        state_file.load(directory)


def test_watch_reports_paths_and_the_bell(tmp_path: Path) -> None:
    watch = Watch("inotify")
    watch.add([str(tmp_path), str(tmp_path / "missing")])
    (tmp_path / "x").write_bytes(b"1")
    assert watch.wait(5).paths == {str(tmp_path / "x")}
    assert not watch.wait(0).woken
    watch.wake()
    assert watch.wait(5).woken
    (tmp_path / "directory").mkdir()
    assert watch.wait(5).rescan
    watch.close()
    watch.close()
    watch.wake()

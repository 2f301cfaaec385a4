"""When files roll, how they are named, and what a token says."""

from __future__ import annotations

import gc
import json
from pathlib import Path

import pytest

from collector.files import token as tokens
from collector.files.writer import Cut
from collector.sinks.file import Config, File
from qanat.errors import ConfigError
from tests.integration.file_driver import Driver, bodies, columns, json_body, lines


def test_nothing_is_visible_before_the_commit_that_finishes_it(tmp_path: Path) -> None:
    driver = Driver(tmp_path, roll=30.0).open()
    driver.sink.append(lines("a", [b"1"]))
    driver.commit()
    assert driver.final_files() == []
    driver.clock.advance(31)
    prepared = driver.sink.prepare()
    prepared.sync()
    assert driver.final_files() == []
    driver.sink.publish(prepared.token)
    assert driver.stored() == {"a": [b"1"]}
    driver.sink.close()


def test_an_idle_sink_remembers_one_cut_however_long_it_idles(tmp_path: Path) -> None:
    driver = Driver(tmp_path).open()
    driver.sink.append(lines("a", [b"1"]))
    driver.commit()
    for _ in range(100):
        driver.sink.prepare()  # five times a second, and nobody syncs where nothing is new
    gc.collect()
    assert sum(isinstance(each, Cut) for each in gc.get_objects()) <= 2
    driver.sink.append(lines("a", [b"2"]))
    driver.sink.prepare()
    driver.commit()
    driver.clock.advance(3600)
    driver.commit()
    assert driver.stored() == {"a": [b"1", b"2"]}
    driver.sink.close()


def test_token_stays_equal_while_nothing_happens(tmp_path: Path) -> None:
    driver = Driver(tmp_path).open()
    assert driver.commit() == driver.commit()
    driver.sink.append(lines("a", [b"1"]))
    first = driver.commit()
    assert driver.commit() == first
    driver.restart()
    assert driver.commit() == first
    driver.sink.close()


def test_token_forgets_a_file_once_it_is_published(tmp_path: Path) -> None:
    driver = Driver(tmp_path).open()
    driver.sink.append(lines("a", [b"1"]))
    driver.sink.drain()
    assert len(tokens.decode(driver.commit()).finished) == 1
    assert tokens.decode(driver.commit()).finished == ()
    driver.sink.close()


@pytest.mark.parametrize(
    "options", [{"roll_events": 2}, {"roll_size": 4}, {"roll": 10.0}, {"roll": 0, "roll_idle": 5.0}]
)
def test_files_roll_at_each_limit_and_sort_in_order_of_writing(
    tmp_path: Path, options: dict[str, float]
) -> None:
    driver = Driver(tmp_path, **options).open()
    for number in range(0, 10, 2):
        driver.sink.append(lines("a", [b"%d" % number, b"%d" % (number + 1)]))
        driver.clock.advance(11)
        driver.commit()
    assert len(driver.final_files()) == 5
    assert driver.stored() == {"a": [b"%d" % number for number in range(10)]}
    driver.sink.close()


def test_age_counts_from_the_opening_across_a_restart(tmp_path: Path) -> None:
    driver = Driver(tmp_path, roll=30.0).open()
    driver.sink.append(lines("a", [b"1"]))
    driver.commit()
    driver.clock.advance(20)
    driver.restart()
    driver.clock.advance(11)
    driver.commit()
    assert driver.stored() == {"a": [b"1"]}
    driver.sink.close()


def test_names_keep_their_order_when_the_clock_steps_back(tmp_path: Path) -> None:
    driver = Driver(tmp_path, roll_events=1).open()
    for number in range(3):
        driver.sink.append(lines("a", [b"%d" % number]))
        driver.clock.advance(-3600)
    driver.finish()
    assert driver.stored() == {"a": [b"0", b"1", b"2"]}


def test_the_file_written_longest_ago_is_finished_beyond_the_cap(tmp_path: Path) -> None:
    driver = Driver(tmp_path, open_files_max=2).open()
    for host in ("a", "b", "a", "c"):
        driver.sink.append(lines(host, [b"x"]))
    driver.commit()
    assert list(driver.stored()) == ["b"]
    driver.sink.close()


def test_a_bucket_for_every_event_does_not_exhaust_descriptors(tmp_path: Path) -> None:
    driver = Driver(tmp_path, open_files_max=4).open()
    hosts = [f"h{number}" for number in range(300)]
    before = len(list(Path("/proc/self/fd").iterdir()))
    driver.sink.append(columns(hosts, [host.encode() for host in hosts]))
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 2 * 4 + 1
    driver.finish()
    assert driver.stored() == {host: [host.encode()] for host in hosts}


def test_finished_files_lie_where_the_escapes_say_under_unique_names(tmp_path: Path) -> None:
    driver = Driver(tmp_path, "%{host}/%Y/%m-%d", "%H-", compression="gzip").open()
    driver.sink.append(lines("../x", [b"1"]))
    driver.finish()
    (path,) = driver.final_files()
    assert str(path.relative_to(tmp_path)) == (
        "%2E.%2Fx/2023/11-14/22-coll@node-20231114T221320.000Z-00000001.log.gz"
    )


def test_a_strangers_file_is_never_overwritten(tmp_path: Path) -> None:
    driver = Driver(tmp_path).open()
    driver.sink.append(lines("a", [b"1"]))
    stranger = tmp_path / "a" / "p-coll@node-20231114T221320.000Z-00000001.log"
    stranger.parent.mkdir()
    stranger.write_bytes(b"mine\n")
    driver.finish()
    assert stranger.read_bytes() == b"mine\n"
    assert sorted(driver.stored()["a"]) == [b"1", b"mine"]


def test_a_changed_format_finishes_files_of_the_old_one(tmp_path: Path) -> None:
    driver = Driver(tmp_path).open()
    driver.sink.append(lines("a", [b"old"]))
    driver.commit()
    driver.config = Config(driver.config.directory, "p-", format="json")
    driver.restart()
    driver.sink.append(lines("a", [b"new"]))
    driver.finish()
    assert driver.stored() == {"a": [b"old", b"new"]}
    assert [path.suffix for path in driver.final_files()] == [".log", ".json"]


def test_suffix_replaces_the_formats(tmp_path: Path) -> None:
    driver = Driver(tmp_path, suffix=".txt").open()
    driver.sink.append(lines("a", [b"1"]))
    driver.finish()
    assert [path.suffix for path in driver.final_files()] == [".txt"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "jsn"}, "unknown: use one of raw, json, .*did you mean 'json'"),
        ({"format": "parquet", "compression": "bz2"}, "use one of snappy, none, gzip, zstd"),
        ({"compression": "lz4"}, "use one of none, gzip, zstd, bz2, snappy"),
        ({"open_files_max": 0}, "open_files_max is 0"),
        ({"suffix": "/x"}, "suffix '/x'"),
        ({"timezone": "Nowhere"}, "timezone 'Nowhere'"),
        ({"roll_events": -1}, "roll_events is -1"),
    ],
)
def test_bad_configuration_is_refused_with_advice(
    tmp_path: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Driver(tmp_path, **options)


def test_configuration_in_positional_order_is_directory_prefix_format(tmp_path: Path) -> None:
    assert File.Config.__struct_fields__[:3] == ("directory", "prefix", "format")


@pytest.mark.parametrize("format", ["raw", "json", "parquet", "avro"])
def test_a_batch_is_cut_where_its_file_is_full_of_events(tmp_path: Path, format: str) -> None:
    driver = Driver(tmp_path, format=format, roll_events=4).open()
    events = [b"%d" % number for number in range(23)]
    driver.sink.append(lines("a", events[:3]))
    driver.commit()
    driver.sink.append(lines("a", events[3:13], start=6))
    driver.sink.append(columns(["a"] * 10, events[13:], start=100))
    driver.finish()
    assert driver.stored() == {"a": events}
    # What waits has a shape of its own in columns with more than bodies: its last file of lines ends early then.
    sizes = [len(bodies(path)) for path in driver.final_files()]
    assert max(sizes) == 4
    assert len(sizes) <= 7


def test_a_cut_batch_keeps_its_positions_and_every_byte(tmp_path: Path) -> None:
    driver = Driver(tmp_path, format="json", roll_events=1).open()
    driver.sink.append(lines("a", [b"", b"x\r", b"", b"\xff\x00"], start=1000))
    driver.finish()
    found = [json.loads(path.read_bytes()) for path in driver.final_files()]
    assert [event["position"] for event in found] == [1000, 1001, 1004, 1005]
    assert [json_body(event) for event in found] == [b"", b"x\r", b"", b"\xff\x00"]

"""Binding arguments to a typed configuration."""

from __future__ import annotations

import enum
from typing import Literal

import msgspec
import pytest

from qanat.config import Bytes, Seconds
from qanat.errors import ConfigError
from qanat.flow.bind import bind
from qanat.flow.parser import parse_component


class Format(enum.Enum):
    RAW = "raw"
    JSON = "json"


class Avro(msgspec.Struct, tag="avro"):
    codec: Literal["null", "deflate"] = "null"


class File(msgspec.Struct, frozen=True, rename="camel"):
    path: str
    prefix: str = ""
    roll: Seconds = 30.0
    roll_size: Bytes | None = None
    format: Format | Avro = Format.RAW
    start: Literal["beginning", "end"] = "end"
    level: int = 1
    rate: float = 1.0
    sync: bool = True


class Tail(msgspec.Struct, frozen=True):
    paths: list[str]
    start: str = "end"


class Chain(msgspec.Struct, frozen=True):
    window: int
    collectors: list[str] = []


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    low: int = 0
    high: int = 1

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"low={self.low} is above high={self.high}")


def faults(text: str, config: type[msgspec.Struct]) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        bind(parse_component(text, "f"), config)
    return caught.value.faults


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('file("p")', File("p")),
        ('file("p", "x", 10m, 64MiB)', File("p", "x", 600.0, 64 << 20)),
        ('file("p", roll=500, rollSize=1000)', File("p", roll=0.5, roll_size=1000)),
        ('file("p", format=json, start=beginning)', File("p", format=Format.JSON, start="beginning")),
        ('file("p", format="json", start="beginning")', File("p", format=Format.JSON, start="beginning")),
        ('file("p", format=avro("deflate"))', File("p", format=Avro("deflate"))),
        ('file(path="p", rate=2, sync=false)', File("p", rate=2.0, sync=False)),
    ],
)
def test_bind_fills_fields_by_position_and_name(text: str, wanted: File) -> None:
    assert bind(parse_component(text), File) == wanted


@pytest.mark.parametrize(
    ("text", "config", "wanted"),
    [
        ('tail("a", "b", start="x")', Tail, Tail(["a", "b"], "x")),
        ('tail(["a", "b"], "x")', Tail, Tail(["a", "b"], "x")),
        ('tail(paths="a")', Tail, Tail(["a"])),
        ('chain(5, "a", "b")', Chain, Chain(5, ["a", "b"])),
        ("chain(5)", Chain, Chain(5)),
    ],
)
def test_bind_gives_remaining_positions_to_a_list(text: str, config: type, wanted: msgspec.Struct) -> None:
    assert bind(parse_component(text), config) == wanted


@pytest.mark.parametrize(
    ("text", "config", "message"),
    [
        ("file()", File, 'f:1:1: file needs "path"; arguments: path, [prefix], [roll], [rollSize]'),
        ('file("p", rol=1)', File, 'f:1:11: file has no argument "rol"; did you mean "roll"?'),
        ('file("p", zzz=1)', File, "arguments: path"),
        ('file("p", path="q")', File, '"path" is given twice'),
        ("file(5)", File, "f:1:6: file, path: the number 5 was given; wanted is a string"),
        ("file(abc)", File, 'put it in quotes, "abc"'),
        ('file("p", roll="10m")', File, "wanted is a duration such as 30s"),
        ('file("p", roll=-1)', File, "-1 was given; Expected `float` >= 0"),
        ('file("p", rollSize=10m)', File, "the duration 10m was given; wanted is a size"),
        ('file("p", rollSize=0.5B)', File, "whole number of bytes"),
        ('file("p", level=10s)', File, "a whole number without a unit"),
        ('file("p", level=1.5)', File, "wanted is a whole number"),
        ('file("p", sync=1)', File, "wanted is true or false"),
        ('file("p", start="begining")', File, 'did you mean "beginning"?'),
        ('file("p", format=avro("deflat"))', File, 'f:1:23: avro, codec: the string "deflat" was given'),
        ('file("p", format=jsn)', File, "wanted is one of raw, json"),
        ('tail("a", 3)', Tail, "f:1:11: tail, paths: the number 3"),
        ("interval(1)", Interval, "takes at most 0 positional arguments"),
        ("interval(low=3, high=2)", Interval, "interval: low=3 is above high=2"),
    ],
)
def test_bind_says_what_is_wrong_and_where(text: str, config: type[msgspec.Struct], message: str) -> None:
    found = faults(text, config)
    assert len(found) == 1, found
    assert message in found[0]


def test_bind_reports_all_faults_at_once() -> None:
    assert len(faults('file(5, rol=1, start="x", sync=1, format=avro(1, codex=2))', File)) == 6

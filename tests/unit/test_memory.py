"""Work in a forked process: its result, its errors, and nothing of it left behind."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from qanat.errors import ConfigError
from qanat.flow.parser import parse
from qanat.memory import in_child


def test_in_child_gives_the_result_of_another_process():
    assert in_child(os.getpid) != os.getpid()


def test_in_child_keeps_imports_to_itself():
    flow = in_child(parse, 'a : tail("x", poll=1.5s, size=2MiB) | file("y") ;', "f")
    assert flow == parse('a : tail("x", poll=1.5s, size=2MiB) | file("y") ;', "f")
    assert flow.nodes[0].source.place.column == 5
    probe = "from qanat.memory import in_child; import sys; in_child(lambda: bool(__import__('colorsys'))); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert "colorsys" not in done.stdout.split()


def test_in_child_raises_what_the_call_raised():
    with pytest.raises(ConfigError) as raised:
        in_child(parse, "a : tail( | file ;\nb : ;", "f.flow")
    assert len(raised.value.faults) == 2
    assert str(raised.value.place) == "f.flow:1:11"


def test_in_child_repeats_a_call_that_killed_its_process():
    parent = os.getpid()

    def die_elsewhere() -> str:
        if os.getpid() != parent:
            os._exit(3)
        return "here"

    assert in_child(die_elsewhere) == "here"

"""The ledger over the numbered files."""

from __future__ import annotations

import pytest

from qanat.demo import ledger
from qanat.demo.plan import prepare
from qanat.demo.writer import Application


@pytest.fixture
def plan(tmp_path):
    """A finished demo without logs of the machine: 300 lines each, one rotation, all stored by one collector."""
    plan = prepare(_made(tmp_path / "demo"), [])
    content = b""
    for agent in ("a1", "a2"):
        application = Application(plan.busy(agent))
        application.write(100)
        application.rotate()
        application.write(300)
        application.close()
        content += plan.busy(agent).with_name(f"{plan.busy(agent).name}.1").read_bytes()
        content += plan.busy(agent).read_bytes()
    (plan.stored / "busy").mkdir()
    _stored(plan).write_bytes(content)
    return plan


def _made(directory):
    directory.mkdir()
    return directory


def _stored(plan):
    return plan.stored / "busy" / "busy@c1-20260101T000000.000Z-00000001.log"


def test_ledger_is_clean_when_all_is_stored(plan):
    settled = ledger.settle(plan, [])
    assert settled.clean
    assert (settled.total.read, settled.total.stored) == (600, 600)


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        (lambda lines: lines[:-1], {"lost": 1}),
        (lambda lines: lines[1:], {"lost": 1}),
        (lambda lines: [*lines[:10], *lines[9:]], {"doubled": 1}),
        (lambda lines: [lines[1], lines[0], *lines[2:]], {"reordered": 1}),
        (lambda lines: [], {"lost": 600}),
    ],
    ids=["last missing", "first missing", "twice", "swapped", "nothing"],
)
def test_ledger_sees_what_is_wrong(plan, change, wrong):
    lines = _stored(plan).read_bytes().splitlines(keepends=True)
    _stored(plan).write_bytes(b"".join(change(lines)))
    settled = ledger.settle(plan, [])
    assert not settled.clean
    assert {name: getattr(settled.total, name) for name in wrong} == wrong

"""The delivery protocol in a few hundred schedules of trouble; thousands are run by hand, see docs/delivery.md."""

from __future__ import annotations

import json

import pytest

from qanat.testing import simulator
from qanat.testing.simulation.kernel import Violation
from qanat.testing.simulation.run import run
from qanat.testing.simulation.world import World

CHUNK = 150
CHUNKS = 5


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_protocol_keeps_every_invariant(chunk: int) -> None:
    summary = simulator.simulate(chunk * CHUNK, CHUNK)
    assert not summary.violations, simulator.as_text(summary)


def test_schedule_is_a_function_of_its_seed() -> None:
    told: list[list[str]] = [[], []]
    outcomes = [run(4242, tell=lines.append) for lines in told]
    assert told[0] == told[1]
    assert outcomes[0] == outcomes[1]


def test_schedules_inject_every_kind_of_fault() -> None:
    faults = simulator.simulate(0, 150).faults
    expected = {
        "collector_power_cut", "collector_pause", "collector_stop", "agent_crash", "agent_pause", "second_agent",
        "cut_up", "cut_down", "store_away", "reply_lost", "applied_late", "stale_read", "disk_full", "sync_failure",
        "corrupt_batch", "hello_again", "handover", "source_state_lost", "connection_lost_by_collector",
        "chain_changes", "branch_away", "destination_away", "adoption",
    }  # fmt: skip
    assert expected <= set(faults)


def test_violation_tells_seed_and_story(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(World, "unfinished_business", lambda self: ["nothing is ever enough"])
    with pytest.raises(Violation, match=r"seed 7: no progress .* nothing is ever enough") as caught:
        run(7)
    assert caught.value.seed == 7
    assert any("heals" in line or "c0" in line for line in caught.value.story)


def test_command_prints_one_object_when_asked_for_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert simulator.main(["--seeds", "3", "--first", "5", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["schedules"] == 3
    assert summary["violations"] == []
    assert summary["events"] > 0


def test_command_exits_1_and_tells_how_to_replay(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(World, "unfinished_business", lambda self: ["nothing is ever enough"])
    assert simulator.main(["--seeds", "1", "--first", "9"]) == 1
    assert "--trace 9" in capsys.readouterr().out
    assert simulator.main(["--trace", "9"]) == 1

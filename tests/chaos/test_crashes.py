"""Agents and collectors killed and stopped at random moments, while files rotate."""

from __future__ import annotations

from tests.chaos.driver import SECONDS, chaos


def test_two_agents_and_two_collectors_under_random_kills_and_pauses():
    with chaos("kills_and_pauses") as trouble:
        c1, c2 = trouble.collector("c1"), trouble.collector("c2")
        trouble.agent("a1", c1, c2)
        trouble.agent("a2", c2, c1)
        with trouble.writing():
            trouble.torment(SECONDS)
        trouble.assert_exactly_once()


def test_truncation_at_rest_between_rounds_of_kills():
    with chaos("truncation_at_rest") as trouble:
        c1 = trouble.collector("c1")
        trouble.agent("a1", c1)
        with trouble.writing() as writers:
            for _ in range(2):
                trouble.torment(SECONDS / 2)
                with writers.hold:
                    trouble.settle()
                    for log in trouble.logs:
                        log.copytruncate()
        trouble.assert_exactly_once()


def test_agents_alone_are_killed_again_and_again():
    with chaos("agents_alone") as trouble:
        c1, c2 = trouble.collector("c1"), trouble.collector("c2")
        trouble.agent("a1", c1, c2)
        trouble.agent("a2", c1, c2)
        with trouble.writing():
            trouble.torment(SECONDS, ["a1", "a2"])
        trouble.assert_exactly_once()

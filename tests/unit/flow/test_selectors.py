"""Label selectors: Kubernetes' meaning, a few of its words."""

from __future__ import annotations

import pytest
from hypothesis import given

from qanat.errors import ConfigError
from qanat.flow.parser import parse
from qanat.flow.selectors import Selector, matches
from tests.unit.flow.generated import selectors

LABELS = {"role": "web", "dc": "a", "rack": "07", "canary": ""}


def selector(text: str) -> Selector:
    found = parse(f"x @ {text} : s | k ;").nodes[0].selector
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("role=web", True),
        ("role=db", False),
        ("role!=db", True),
        ("role != web", False),
        ("zone=a", False),
        ("zone!=a", True),
        ("dc in (a, b)", True),
        ("dc in (b)", False),
        ("zone in (a)", False),
        ("dc notin (b, c)", True),
        ("dc notin (a)", False),
        ("zone notin (a)", True),
        ("canary", True),
        ("zone", False),
        ("!zone", True),
        ("!canary", False),
        ('canary=""', True),
        ('rack="07"', True),
        ("rack=07", True),
        ("rack=7", False),
        ("role=web, dc in (a, b), !zone, env != prod", True),
        ("role=web, dc in (b), !zone", False),
    ],
)
def test_selector_matches(text: str, meant: bool) -> None:
    assert matches(selector(text), LABELS) is meant


@given(selectors)
def test_selector_prints_and_parses_back(given_selector: Selector) -> None:
    assert selector(str(given_selector)) == given_selector


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x @ : s | k ;", ":1:5: found"),
        ("x @ role= : s | k ;", ":1:11: found"),
        ("x @ role in () : s | k ;", 'found ")", expected a value'),
        ("x @ role inn (a) : s | k ;", 'did you mean "in"?'),
        ("x @ role=a role=b : s | k ;", 'found "role", expected "," or ":"'),
        ('x @ role="\\q" : s | k ;', ":1:11: unknown escape"),
    ],
)
def test_selector_faults(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert len(caught.value.faults) == 1
    assert message in caught.value.faults[0]

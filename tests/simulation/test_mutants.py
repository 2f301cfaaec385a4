"""The simulator is worth something: whatever part of the protocol is switched off, it notices."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from qanat.testing.simulator import simulate

SEEDS_MAX = 2000  # most mutants are caught within ten


def _load_mutants() -> ModuleType:
    """`mutants.py` beside this file; the tests are not packages."""
    spec = importlib.util.spec_from_file_location("qanat_mutants", Path(__file__).with_name("mutants.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


MUTANTS = _load_mutants().MUTANTS


@pytest.mark.parametrize("name", MUTANTS)
def test_simulator_catches_the_protocol_without(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MUTANTS[name](monkeypatch)
    summary = simulate(0, SEEDS_MAX, violations_max=1)
    assert summary.violations, f"{name} survived {SEEDS_MAX} schedules"

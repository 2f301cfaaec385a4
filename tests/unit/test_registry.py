"""Finding components through entry points."""

from __future__ import annotations

import importlib.abc
import sys
from importlib import metadata

import msgspec
import pytest

from qanat import registry
from qanat.component import Source
from qanat.errors import ConfigError


class Fixed(Source):
    """A source as far as the registry looks at it."""

    name = "fixed"
    Config = msgspec.Struct


def provide(monkeypatch: pytest.MonkeyPatch, *entries: tuple[str, str]) -> None:
    points = [metadata.EntryPoint(name, value, registry.SOURCES) for name, value in entries]
    monkeypatch.setattr(registry, "entries", lambda group: points if group == registry.SOURCES else [])


def test_names_lists_the_components_of_this_distribution() -> None:
    assert "tail" in registry.names(registry.SOURCES)
    assert "file" in registry.names(registry.SINKS)


def test_names_imports_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refuse(importlib.abc.MetaPathFinder):
        def find_spec(self, fullname: str, path: object, target: object = None) -> None:
            assert not fullname.startswith(("agent", "collector")), fullname

    for name in [name for name in sys.modules if name.startswith(("agent", "collector"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Refuse(), *sys.meta_path])
    registry.names(registry.SOURCES)


def test_source_gives_the_class(monkeypatch: pytest.MonkeyPatch) -> None:
    provide(monkeypatch, ("lines", f"{__name__}:Fixed"))
    assert issubclass(registry.source("lines"), Source)


def test_source_suggests_a_name_when_it_is_misspelt(monkeypatch: pytest.MonkeyPatch) -> None:
    provide(monkeypatch, ("tail", "a:B"), ("exec", "a:C"))
    with pytest.raises(ConfigError, match=r'no source "tial"; did you mean "tail"\?; there are: exec, tail'):
        registry.source("tial")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("qanat.nowhere:X", "could not be imported: No module named 'qanat.nowhere'"),
        ("qanat.errors:Nothing", "could not be imported: module 'qanat.errors' has no attribute"),
        ("qanat.errors:ConfigError", "is not a subclass of qanat.component.Source"),
    ],
)
def test_source_refuses_what_is_no_component(
    monkeypatch: pytest.MonkeyPatch, target: str, message: str
) -> None:
    provide(monkeypatch, ("x", target))
    with pytest.raises(ConfigError) as caught:
        registry.source("x")
    assert message in str(caught.value)


def test_source_refuses_a_name_with_two_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    provide(monkeypatch, ("x", "a:B"), ("x", "c:D"))
    with pytest.raises(ConfigError, match="provided twice"):
        registry.source("x")

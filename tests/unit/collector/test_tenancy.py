"""Who has a sink's working directory, and who may still write to what is in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from collector.files import tenancy
from collector.files.tenancy import Tenancy
from qanat.errors import RetryableError


def died(last: Tenancy) -> None:
    """Its lock is free and still there, as after SIGKILL."""
    lock = last._lock_path(last.life)
    content = lock.read_bytes()
    last.end()
    lock.write_bytes(content)


def begun(home: Path, *, by_force: bool = False) -> Tenancy:
    made = Tenancy(home)
    made.begin(by_force=by_force)
    return made


def test_directory_goes_from_life_to_life(tmp_path: Path) -> None:
    first = begun(tmp_path / "home")
    (first.work / "file").write_text("x")
    first.end()
    second = begun(tmp_path / "home")
    assert (second.work / "file").read_text() == "x"
    assert second.work != first.work
    assert first.is_lost()
    assert not second.is_lost()
    assert [path.name for path in second.home.iterdir() if path.is_dir()] == [second.work.name]
    second.end()


def test_begin_waits_for_a_living_one_unless_by_force(tmp_path: Path) -> None:
    owner = begun(tmp_path)
    with pytest.raises(RetryableError, match="locked: another process runs this very sink"):
        begun(tmp_path)
    adopter = begun(tmp_path, by_force=True)
    assert owner.is_lost()
    with pytest.raises(RetryableError, match="locked"):
        owner.begin()
    adopter.end()
    owner.begin()
    assert not owner.is_lost()
    owner.end()


def test_what_was_taken_by_force_counts_as_uncopied_until_it_is_copied(tmp_path: Path) -> None:
    owner = begun(tmp_path)
    adopter = begun(tmp_path, by_force=True)
    assert adopter.is_uncopied
    died(adopter)
    successor = begun(tmp_path)
    assert successor.is_uncopied, "the first owner may still be alive"
    successor.copied()
    assert not successor.is_uncopied
    died(successor)
    last = begun(tmp_path)
    assert not last.is_uncopied
    last.end()
    owner.end()


def test_free_lock_of_another_host_is_no_proof_of_death(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    died(begun(tmp_path))
    monkeypatch.setattr(tenancy, "_here", lambda: b"another boot")
    elsewhere = begun(tmp_path)
    assert elsewhere.is_uncopied
    elsewhere.copied()
    elsewhere.end()
    monkeypatch.undo()
    assert not begun(tmp_path).is_uncopied, "the last life ended in order"


def test_locks_of_the_dead_are_removed(tmp_path: Path) -> None:
    for _ in range(3):
        died(begun(tmp_path))
    last = begun(tmp_path)
    assert [path.name for path in tmp_path.glob("*.lock")] == [f"{last.life}.lock"]
    last.end()
    assert not list(tmp_path.glob("*.lock"))


def test_first_directory_is_not_made_twice(tmp_path: Path) -> None:
    late = Tenancy(tmp_path)
    owner = begun(tmp_path)
    late._create()  # it looked before the owner began
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [owner.work.name]
    owner.end()

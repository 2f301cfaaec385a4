"""Any sequence of puts, syncs, crashes, full disks and reads: nothing lost, nothing twice, nothing out of order."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qanat.channels.wal.settings import Fsync
from tests.unit.channels.wal_model import CAPACITY, Model

ORIGIN = st.integers(0, 1)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), ORIGIN, st.integers(1, 40)),
        st.tuples(st.just("put"), ORIGIN, st.integers(1, 40)),
        st.tuples(st.just("sync")),
        st.tuples(st.just("read"), ORIGIN, st.integers(1, 8)),
        st.tuples(st.just("acknowledge"), ORIGIN, st.booleans()),
        st.tuples(st.just("reap")),
        st.tuples(st.just("end")),
        st.tuples(st.just("kill")),
        st.tuples(st.just("cut_power"), st.integers(0, 1 << 30)),
        st.tuples(st.just("full"), st.integers(0, 2_000)),
        st.tuples(st.just("room")),
        st.tuples(st.just("broken"), st.sampled_from(["append", "sync", "create"])),
    ),
    max_size=60,
)


def do(model: Model, step: tuple[object, ...]) -> None:
    match step:
        case ("put", int(origin), int(events)):
            model.put(model.origins[origin], events)
        case ("read", int(destination), int(batches)):
            model.read(model.destinations[destination], batches)
        case ("acknowledge", int(destination), bool(save)):
            model.acknowledge(model.destinations[destination], save=save)
        case ("full", int(left)):
            used = sum(len(inode.data) for inode in model.directory.names.values())
            model.directory.capacity = used + left
        case ("room",):
            model.directory.capacity = None
            model.directory.failing.clear()
        case ("broken", str(operation)):
            model.directory.failing.add(operation)
        case ("cut_power", int(seed)):
            heal(model)
            model.cut_power(seed)
        case ("end" | "kill" | "sync" | "reap" as name,):
            if name in ("end", "kill"):
                heal(model)
            getattr(model, name)()
        case _:
            raise AssertionError(step)


def heal(model: Model) -> None:
    """What `open` does about a disk that does not work is to say so; here somebody has repaired it."""
    model.directory.failing.clear()
    model.directory.capacity = None


@pytest.mark.parametrize("fsync", [Fsync.COMMIT, Fsync.ALWAYS])
@given(steps=STEPS)
def test_nothing_is_lost_doubled_or_reordered_whatever_happens(fsync, steps):
    model = Model(fsync)
    for step in steps:
        do(model, step)
        model.check_order()
        assert model.log.segments.bytes <= CAPACITY + 4_000
    heal(model)
    model.log.rescue()
    model.sync()
    model.check_complete()
    assert not model.counts, "nothing was lost, so nothing is counted"


def step(random: Random) -> tuple[object, ...]:
    """One of a long life: mostly work, now and then trouble."""
    choice = random.random()
    if choice < 0.4:
        return ("put", random.randint(0, 1), random.randint(1, 40))
    if choice < 0.6:
        return ("read", random.randint(0, 1), random.randint(1, 8))
    if choice < 0.7:
        return ("acknowledge", random.randint(0, 1), random.random() < 0.5)
    if choice < 0.85:
        return ("sync",)
    if choice < 0.9:
        return ("reap",)
    return random.choice(
        [
            ("end",),
            ("kill",),
            ("cut_power", random.randint(0, 1 << 30)),
            ("cut_power", random.randint(0, 1 << 30)),
            ("full", random.randint(0, 2_000)),
            ("room",),
            ("room",),
            ("broken", random.choice(["append", "sync", "create"])),
        ]
    )


@pytest.mark.parametrize("fsync", [Fsync.COMMIT, Fsync.ALWAYS])
@pytest.mark.parametrize("seed", range(8))
def test_long_life_loses_and_doubles_nothing(fsync, seed):
    random = Random(seed)
    model = Model(fsync)
    for number in range(400):
        do(model, step(random))
        if number % 20 == 0:
            model.check_order()
    heal(model)
    model.log.rescue()
    model.check_complete()
    assert not model.counts
    assert model.log.segments.oldest > 0, "segments were deleted on the way"

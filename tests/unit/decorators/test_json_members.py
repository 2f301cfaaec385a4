"""`json` without names: what it finds in a batch does not depend on the batches before."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.decorators.batches import chain, events, lines

values = st.one_of(st.text("ab1", max_size=2), st.integers(0, 9), st.booleans(), st.none(), st.just([1]))
objects = st.dictionaries(st.sampled_from(["a", "b", "c.d", 'q"', "\\", ""]), values, max_size=4)
bodies = st.one_of(
    objects.map(lambda each: json.dumps(each).encode()), st.sampled_from([b"{", b"1", b"", b'{"a":1}{'])
)


@given(st.lists(st.lists(bodies, min_size=1, max_size=4), min_size=2, max_size=5))
def test_what_json_finds_is_the_same_for_an_old_decorator_and_a_new_one(batches: list[list[bytes]]) -> None:
    old = chain("json")
    for each in batches:
        batch = lines(*each)
        assert events(old.apply(batch)) == events(chain("json").apply(batch))


KEYS = ("a", "b", 'q"', "\\")


@given(st.lists(bodies, min_size=1, max_size=4))
def test_members_with_quotes_in_their_names_can_be_asked_for(found: list[bytes]) -> None:
    batch = lines(*found)
    asked, every = (
        [{key: each.get(key) for key in KEYS} for each in events(chain(text).apply(batch))]
        for text in (r'json("a", "b", "q\"", "\\")', "json")
    )
    assert asked == every

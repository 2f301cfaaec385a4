"""What the control plane stores, and where."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qanat.control import paths
from qanat.control.documents import RECENT_MAX, Config, Limit, Recent, Revision, decode, encode
from qanat.errors import CorruptError


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_name_is_a_path_and_back(name):
    path = paths.of(paths.CONFIG, name)
    assert paths.name(path) == name
    assert "/" not in path.removeprefix(f"{paths.CONFIG}/")


def test_document_is_read_back_and_written_alike():
    config = Config(text="a : b | c ;", version=3, author="me", time_ns=5)
    assert decode(Config, encode(config), "/x") == config
    assert encode(Limit(1.0, 2.0)) == b'{"bytes_s":2.0,"events_s":1.0}'


@pytest.mark.parametrize("value", [b"{}", b"", b"\xff", b'{"text":"\xff"}'])
def test_document_that_is_none_is_an_error_that_names_it(value):
    with pytest.raises(CorruptError, match=r"/qanat/config/a .* no Config"):
        decode(Config, value, "/qanat/config/a")


def test_changes_since_a_revision_are_the_paths_of_all_later_ones():
    revision = Revision()
    for number in range(1, 6):
        revision = revision.after(Recent(number, f"t{number}", [f"/{number}", "/all"]))
    assert revision.changed_since(3) == {"/4", "/5", "/all"}
    assert revision.made_by("t2") == 2
    assert revision.made_by("t9") is None


def test_changes_are_unknown_when_one_is_not_listed():
    revision = Revision().after(Recent(7, "a", ["/a"])).after(Recent(8, "b", None))
    assert revision.changed_since(5) is None
    assert revision.changed_since(6) is None
    assert Revision().after(Recent(7, "a", ["/a"])).changed_since(6) == {"/a"}


def test_list_of_changes_is_bounded():
    revision = Revision()
    for number in range(1, 200):
        revision = revision.after(Recent(number, "t", ["/p"]))
    assert len(revision.recent) == RECENT_MAX
    assert revision.after(Recent(200, "t", ["/p"] * 1999)).recent[0].revision == 199

"""Quoting in the shell: Flume OG's, and where it goes further."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qanat.cli.shell.words import UnfinishedError, is_unfinished, quoted, read, split
from qanat.errors import ConfigError

# The first eight are from Flume OG's TestCommandParser.
READ = [
    ("config", ["config"]),
    ("config this is a test", ["config", "this", "is", "a", "test"]),
    ("config bla bla-3409h", ["config", "bla", "bla-3409h"]),
    ("1 -2 :3 .4", ["1", "-2", ":3", ".4"]),
    ('config bla "foo" sdlkjfs', ["config", "bla", "foo", "sdlkjfs"]),
    ('config "foo blah bkur"', ["config", "foo blah bkur"]),
    ("config '\"foo blah bkur\"'", ["config", '"foo blah bkur"']),
    (
        "multiconfig 'b : console | {delay(100) => console(\"avrojson\")};'",
        ["multiconfig", 'b : console | {delay(100) => console("avrojson")};'],
    ),
    (r'config a "tail(\"/l\")" "x\\y\u0041\101\t"', ["config", "a", 'tail("/l")', "x\\yAA\t"]),
    (r"config a 'a\b\'", ["config", "a", "a\\b\\"]),
    ("  spaces \t and tabs  ", ["spaces", "and", "tabs"]),
    ("# all a comment, with ' and \"", []),
    ("status # and one behind", ["status"]),
    ("status a#b", ["status", "a#b"]),
    ("apply /etc/a@b.flow --flow=x -m m1:1,m2:2", ["apply", "/etc/a@b.flow", "--flow=x", "-m", "m1:1,m2:2"]),
    ("get --flow='a b'", ["get", "--flow=a b"]),
    ("multiconfig 'a\n b'", ["multiconfig", "a\n b"]),
    ("x ''", ["x", ""]),
    ("", []),
]


@pytest.mark.parametrize(("text", "words"), READ)
def test_line_is_read_as_flume_og_read_it(text, words):
    assert split(text) == words
    assert not is_unfinished(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('exec config web tail("/l") agentSink', r"'tail\(\"/l\"\)'"),
        ("config 'a''b'", "put a space between"),
        ("config 'a', 'b'", "put a space between"),
        (r'config "\q"', r"unknown escape \\q"),
    ],
)
def test_what_would_be_read_otherwise_than_meant_is_refused(text, why):
    with pytest.raises(ConfigError, match=why):
        split(text)
    assert not is_unfinished(text)


@pytest.mark.parametrize("text", ["a 'b", 'a "b', "a 'b\n\n", 'a "b\\"', "--flow='x"])
def test_open_quote_asks_for_more(text):
    assert is_unfinished(text)
    with pytest.raises(UnfinishedError, match="never closed"):
        split(text)


@pytest.mark.parametrize(
    ("text", "words", "rest", "start", "quote"),
    [
        ("", [], "", 0, ""),
        ("sta", [], "sta", 0, ""),
        ("status ", ["status"], "", 7, ""),
        ("status we", ["status"], "we", 7, ""),
        ("exec config web 'ta", ["exec", "config", "web"], "ta", 17, "'"),
        ("status 'web'", ["status", "web"], "", 12, ""),
    ],
)
def test_line_that_is_being_typed_has_a_word_that_goes_on(text, words, rest, start, quote):
    line = read(text)
    assert (line.words, line.rest, line.start, line.quote) == (words, rest, start, quote)


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8), max_size=4))
def test_quoted_words_are_read_back(words):
    assert split(" ".join(map(quoted, words))) == words


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text):
    try:
        line = read(text)
    except ConfigError:
        return
    assert line.start <= len(text)

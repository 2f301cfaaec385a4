"""`tailDir`, `multitail`, and `tail` with the arguments that Flume OG had."""

from __future__ import annotations

import pytest

from agent.sources.multitail import Multitail
from agent.sources.tail import Tail
from agent.sources.tail_dir import TailDir
from qanat.component import Context, StreamFound
from qanat.errors import ConfigError
from qanat.flow.bind import bind
from qanat.flow.parser import parse_component


@pytest.fixture
def read(tmp_path):
    """What a source gives of what there is now, by base name, and the attributes of each; `$` is the directory of logs."""
    logs = tmp_path / "logs"
    logs.mkdir()
    for name in ("a.log", "b.log", "a.log.gz", "c.txt", "x/d.log", "x/y/e.log", "[z].log"):
        (logs / name).parent.mkdir(exist_ok=True)
        (logs / name).write_text(f"{name}\n")
    made = []

    def read(text, later=()):
        kinds = {kind.name: kind for kind in (Tail, TailDir, Multitail)}
        call = parse_component(text.replace("$", str(logs)), "SOURCE")
        state = tmp_path / f"state{len(made)}"
        state.mkdir()
        kind = kinds[call.name]
        source = kind(bind(call, kind.Config), Context("a", "l", "h", state))
        made.append(source)
        source.open()
        source.recover({})
        found = {}
        for name in [None, *later]:
            if name is not None:
                (logs / name).parent.mkdir(exist_ok=True)
                with (logs / name).open("a") as file:
                    file.write(f"later {name}\n")
            for _ in range(5):
                for event in source.poll(0.05):
                    if isinstance(event, StreamFound):
                        source.seek(event.stream, event.position)
                while (batch := source.read(1 << 20)) is not None:
                    found.setdefault(batch.attributes["tailSrcFile"], {}).update(batch.attributes)
                    found[batch.attributes["tailSrcFile"]].setdefault("lines", "")
                    found[batch.attributes["tailSrcFile"]]["lines"] += batch.payload.decode()
        return found

    yield read
    for source in made:
        source.close()


def test_tail_dir_follows_all_files_of_a_directory(read):
    found = read('tailDir("$")', later=["b.log", "new.log", "x/no.log"])
    assert set(found) == {"a.log", "b.log", "c.txt", "[z].log", "new.log"}
    assert found["b.log"]["lines"] == "b.log\nlater b.log\n"


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ('"$", "[ab]\\\\.log"', {"a.log", "b.log"}),
        ('"$", ".*\\\\.log", false, 1', {"a.log", "b.log", "[z].log", "d.log"}),
        ('"$", fileregex=".*\\\\.log", recursedepth=2', {"a.log", "b.log", "[z].log", "d.log", "e.log"}),
        ('"$", ".*", true', set()),
        ('"$", exclude=["c*"], fileregex="[ac].*"', {"a.log", "a.log.gz"}),
    ],
)
def test_tail_dir_takes_what_flume_og_took(read, arguments, wanted):
    assert set(read(f"tailDir({arguments})")) == wanted


def test_tail_dir_from_the_end_reads_what_is_written_later(read):
    found = read('tailDir("$", ".*", true, 1)', later=["a.log", "x/new.log"])
    assert {name: one["lines"] for name, one in found.items()} == {
        "a.log": "later a.log\n",
        "new.log": "later x/new.log\n",
    }


def test_groups_have_headers_of_their_own(read):
    found = read(
        'tailDir(groups=[group("a", "$/a.*", ["service=shop", "tier=1"]), group("x", "$/x/.*", ["service=db"]), '
        'group("r", "$/.*")], file_header="path")'
    )
    assert {name: one.get("service") for name, one in found.items()} == {
        "a.log": "shop",
        "b.log": None,
        "c.txt": None,
        "[z].log": None,
        "d.log": "db",
    }
    assert found["a.log"]["tier"] == "1"
    assert found["d.log"]["path"] == found["d.log"]["file"]


def test_multitail_follows_paths_as_they_are(read):
    assert set(read('multitail("$/a.log", "$/[z].log", "$/a.log.gz")')) == {"a.log", "[z].log", "a.log.gz"}


@pytest.mark.parametrize(
    "source", ['tail("$/a.log", true)', 'tail("$/a.log", startFromEnd=true)', 'tail("$/a.log", start="end")']
)
def test_tail_starts_from_the_end_as_flume_og_was_told(read, source):
    assert read(source, later=["a.log"])["a.log"]["lines"] == "later a.log\n"


@pytest.mark.parametrize(
    "source",
    [
        "tailDir()",
        'tailDir("$", "(")',
        'tailDir(groups=[group("a", "b.*")])',
        'tailDir(groups=[group("a", "$/b", ["c"])])',
        'tailDir("$", event_bytes=0)',
        'multitail("")',
        "tail(true)",
        'tail("$/a", true, "$/b")',
    ],
)
def test_bad_arguments_are_refused(read, source):
    with pytest.raises(ConfigError):
        read(source)

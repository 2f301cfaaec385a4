"""`qanat check`: all faults of all files, for people and for programs."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path

import pytest

from qanat.cli.main import EXIT_OK, EXIT_USAGE, main

WRONG = """\
web : tail("/var/log/x", strt=end) | fiel("/data/") ;
app : tail("/var/log/x", start=middle | file("/data/", "app-") ;
coll : collectorSource("35853") | regex("a", 1, "b") roll(5) { collectorSink("file:///data/", "x", 500) } ;
two : [ tail("a"), syslogUdp(1) ] | agentSink ;
end : tail("a") | < file("/a/") ? file("/b/") > ;
"""


def test_check_finds_syntax_and_components_in_one_go(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    wrong, right = tmp_path / "wrong.flow", tmp_path / "right.flow"
    wrong.write_text(WRONG)
    right.write_text('web @ role=web : tail("/x") | autoE2EChain ;')
    assert main(["check", str(right), str(wrong), str(tmp_path / "none")]) == EXIT_USAGE
    out = capfd.readouterr().out
    found = re.findall(rf"^{re.escape(str(tmp_path))}/(\w+)[^:]*:(\d+):(\d+): (.*)", out, re.MULTILINE)
    assert [place for *place, _ in found] == [
        ["wrong", "1", "26"],
        ["wrong", "1", "38"],
        ["wrong", "2", "39"],
        ["wrong", "3", "24"],
        ["wrong", "3", "46"],
        ["wrong", "3", "100"],
        ["wrong", "4", "20"],
        ["wrong", "5", "19"],
        ["none", "1", "1"],
    ]
    for (*_, message), beginning in zip(
        found,
        [
            'tail has no argument "strt"; did you mean "start"?',
            'there is no sink "fiel"; did you mean "file"?',
            'found "|", expected',
            "collectorSource, port: ",
            "regex: group 1 was asked for",
            "file is rolled in two ways",
            "sources that are pushed to",
            "< file(",
            "can't be read: No such file",
        ],
        strict=True,
    ):
        assert message.startswith(beginning)
    assert out.splitlines()[1] == f"    {WRONG.splitlines()[0]}"
    assert out.splitlines()[2] == "    " + " " * 25 + "^"


def test_check_says_nothing_of_files_without_a_fault(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    flow = tmp_path / "right.flow"
    flow.write_text(
        'flow f { c : autoCollectorSource | collectorSink("file:///data/%Y/", "x-%{rolltag}", 500) ; }'
    )
    assert main(["check", str(flow)]) == EXIT_OK
    assert capfd.readouterr() == ("", "")
    assert main(["check", "--json", str(flow)]) == EXIT_OK
    assert json.loads(capfd.readouterr().out) == []


def test_check_gives_faults_as_json(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    text = 'a : tail("é") | agentSnk ;\n'.encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
    assert main(["check", "--json", "-"]) == EXIT_USAGE
    (fault,) = json.loads(capfd.readouterr().out)
    assert fault.pop("message").startswith('there is no sink "agentSnk"; did you mean "agentSink"?')
    assert fault == {"file": "<stdin>", "line": 1, "column": 17}


def test_check_says_where_a_file_is_no_utf8(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    flow = tmp_path / "latin.flow"
    flow.write_bytes(b'# one\na : tail("\xe9") | agentSink ;')
    assert main(["check", str(flow)]) == EXIT_USAGE
    assert capfd.readouterr().out == f"{flow}:2:1: the byte 0xe9 is no UTF-8; flow files are UTF-8\n"

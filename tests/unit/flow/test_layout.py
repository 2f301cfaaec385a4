"""The canonical layout: comments stay, the flow stays, and laying out again changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qanat.errors import ConfigError
from qanat.flow.layout import COLUMNS_MAX, layout
from qanat.flow.model import Flow
from qanat.flow.parser import parse
from qanat.flow.printer import print_flow
from qanat.flow.tokens import COMMENT, Source, tokens
from tests.unit.flow.generated import flows

gaps = st.sampled_from(
    [
        "",
        " ",
        "\n",
        "\n\n\n",
        " // c\n",
        "\n# d\n",
        "/* e */",
        " /* f\n   g */ ",
        "\n\n/* h */\n",
        "\r\n",
        "//\n",
        "/**/",
    ]
)


def meaning(text: str) -> list[str]:
    return [token.text for token in tokens(Source(text, "x"))]


def comments(text: str) -> list[str]:
    return sorted(
        token.text.strip() for token in tokens(Source(text, "x"), comments=True) if token.type == COMMENT
    )


@given(flows, st.data())
def test_layout_changes_white_space_only(flow: Flow, data: st.DataObject) -> None:
    parts = [data.draw(gaps)]
    for token in tokens(Source(print_flow(flow), "x")):
        # Without any space two words would be one.
        parts += [token.text, " ", data.draw(gaps)]
    text = "".join(parts)
    laid_out = layout(text)
    assert meaning(laid_out) == meaning(text)
    assert comments(laid_out) == comments(text)
    assert parse(laid_out) == flow
    assert layout(laid_out) == laid_out


@given(flows)
def test_layout_of_a_printed_flow_with_short_statements_is_the_same(flow: Flow) -> None:
    printed = print_flow(flow)
    if all(len(line) <= COLUMNS_MAX for line in printed.split("\n")):
        assert layout(printed) == printed
    else:
        assert parse(layout(printed)) == flow


BEFORE = """\


// head
web  @ role = web,dc in(a,b), !x: tail("/var/log/nginx/access.log")|autoE2EChain ;   // why


# second
flow audit{

  // inside
  sys:[syslogUdp(5140),syslogTcp(5140)]|fileChannel(capacity=10GiB)|agentE2EChain("c1","c2", "c3", "c4");
  coll : autoCollectorSource | regex("level=(\\\\w+)", 1, "level") // the level
         switch("%{level}") { "ERROR" => [ file("/data/err/%Y-%m-%d/", "e-") // one
           , elasticsearch("http://es:9200", "errors") ],
            // everything else
                              else    => hdfs("hdfs://nn/logs/%{host}/%Y/%m/%d/%H/", "log-", roll=10m),
           // last
           } ;
   /* two
      lines */
   x : a | /* in */ b  // end
     ;
   // end of group

}
y : a("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", z(1), x=[1,2,3]) | b ;
// eof"""

AFTER = """\
// head
web @ role=web, dc in (a, b), !x : tail("/var/log/nginx/access.log") | autoE2EChain ; // why

# second
flow audit {
  // inside
  sys : [syslogUdp(5140), syslogTcp(5140)]
    | fileChannel(capacity=10GiB)
    | agentE2EChain("c1", "c2", "c3", "c4") ;
  coll : autoCollectorSource
    | regex("level=(\\\\w+)", 1, "level") // the level
      switch("%{level}") {
        "ERROR" => [
          file("/data/err/%Y-%m-%d/", "e-"), // one
          elasticsearch("http://es:9200", "errors")
        ],
        // everything else
        else => hdfs("hdfs://nn/logs/%{host}/%Y/%m/%d/%H/", "log-", roll=10m),
        // last
      } ;
  /* two
      lines */
  x : a | /* in */ b ; // end
  // end of group
}
y : a(
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
    z(1),
    x=[1, 2, 3]
  )
  | b ;
// eof
"""


def test_layout_breaks_what_is_too_long_and_keeps_comments_where_they_belong() -> None:
    assert layout(BEFORE) == AFTER


@pytest.mark.parametrize(
    ("text", "laid_out"),
    [
        ("", ""),
        (" \n\n ", ""),
        ("\n# only\n\n\n# comments\n\n", "# only\n\n# comments\n"),
        ("\ufeffa:b|c;\r\nd:e|f;", "a : b | c ;\nd : e | f ;\n"),
        ("a:b|c;d:e|f;", "a : b | c ;\nd : e | f ;\n"),
        ("a:b|c; /* x */ d:e|f;", "a : b | c ;\n/* x */ d : e | f ;\n"),
        ("a:b(x=-1,y=017,z=0x1F)|{d=>c};", "a : b(x=-1, y=017, z=0x1F) | { d => c } ;\n"),
        ("flow f{}", "flow f {\n}\n"),
    ],
)
def test_layout_of_small_texts(text: str, laid_out: str) -> None:
    assert layout(text) == laid_out


def test_layout_refuses_what_is_no_flow() -> None:
    with pytest.raises(ConfigError, match=r"x\.flow:1:9: found"):
        layout("a : b | ; // kept nowhere", "x.flow")


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[3] / "deploy").rglob("*.flow")), ids=lambda p: p.name
)
def test_flow_files_that_we_ship_are_laid_out(path: Path) -> None:
    assert layout(path.read_text(), str(path)) == path.read_text()


def test_the_example_in_the_documentation_is_laid_out() -> None:
    page = (Path(__file__).parents[3] / "docs" / "flow-language.md").read_text()
    example = page.partition("## Layout")[2].split("```")[1].lstrip("\n")
    assert layout(example) == example

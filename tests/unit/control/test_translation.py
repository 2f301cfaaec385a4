"""What each physical node should run."""

from __future__ import annotations

import functools
import random
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qanat.control.documents import Config, Live
from qanat.control.language import installed_language
from qanat.control.translation import CHAIN_MAX, Cluster, Physical
from qanat.flow.parser import parse
from qanat.flow.printer import print_node

LANGUAGE = installed_language()
NAMES = st.sampled_from([f"c{number}" for number in range(30)])


@functools.cache
def configs(text):
    return {
        node.name: Config(text=print_node(node), flow=node.flow, version=1, author="a", time_ns=0)
        for node in parse(text).nodes
    }


def live(names, logical="coll"):
    return Live({name: {logical: f"{name}:35853"} for name in names})


def cluster(text, mapping=None, collectors=()):
    return Cluster(LANGUAGE, configs(text), mapping or {}, live(collectors))


FLOW = (
    'web @ role=web : tail("/l") | autoE2EChain ; coll @ role=collector : autoCollectorSource | file("/d/") ;'
)
WEB = Physical("host1", "agent", "host1", {"role": "web"})


def texts(made, node):
    return {each.logical: each.text for each in made.assignment(node).statements}


def chain(made, node):
    """The collectors that the statement of `web` names, in its order."""
    return re.findall(r'agentE2ESink\("(\w+)"', texts(made, node)["web"])


def test_selector_places_a_logical_node_on_nodes_with_the_label():
    made = cluster(FLOW, collectors=["c1"])
    assert list(texts(made, WEB)) == ["web"]
    assert list(texts(made, Physical("host2", "agent", labels={"role": "db"}))) == []
    assert list(texts(made, Physical("c1", "collector"))) == ["coll"]


def test_own_label_wins_over_the_one_that_every_node_has():
    assert WEB.all_labels == {"role": "web", "name": "host1", "host": "host1"}


@pytest.mark.parametrize("name", ["web", "host9"])
def test_name_or_mapping_places_a_logical_node(name):
    made = cluster('web : tail("/l") | agentE2ESink("c") ;', {"host9": ("web",)})
    assert texts(made, Physical(name, "agent")) == {"web": 'web : tail("/l") | agentE2ESink("c") ;'}


def test_logical_node_runs_only_on_its_tier():
    made = cluster(FLOW, {"host1": ("coll",)}, ["c1"])
    assert list(texts(made, WEB)) == ["web"]


def test_statement_is_in_general_form_without_its_selector():
    made = cluster(FLOW, collectors=["c1"])
    assert texts(made, WEB) == {"web": 'web : tail("/l") | agentE2ESink("c1", 35853) ;'}


def test_without_a_live_collector_the_statement_waits_and_says_for_what():
    collects = 'coll @ role=collector : autoCollectorSource | file("/d/") ;'
    made = cluster(f'flow audit {{ web @ role=web : tail("/l") | autoDFOChain ; {collects} }}')
    (assigned,) = made.assignment(WEB).statements
    assert (assigned.text, assigned.hash) == ("", "")
    assert assigned.waiting == "no live collector in flow audit"
    assert made.missing("web") == ""


@pytest.mark.parametrize(
    ("sink", "missing"),
    [
        ("autoDFOChain", "no collector is configured in flow audit"),
        ('logicalSink("store")', "logical node store is not configured"),
    ],
)
def test_statement_that_can_not_run_as_it_is_configured_says_what_is_missing(sink, missing):
    made = cluster(f'flow audit {{ web @ role=web : tail("/l") | {sink} ; }}')
    (assigned,) = made.assignment(WEB).statements
    assert missing in assigned.waiting == made.missing("web")


def test_logical_names_become_addresses():
    text = 'a @ role=web : tail("/l") | logicalSink("store") ; store @ role=collector : logicalSource | file("/d/") ;'
    made = Cluster(LANGUAGE, configs(text), {}, live(["c1"], "store"))
    assert texts(made, WEB) == {"a": 'a : tail("/l") | agentE2ESink("c1", 35853) ;'}
    assert texts(made, Physical("c1", "collector")) == {
        "store": 'store : autoCollectorSource | file("/d/") ;'
    }


def test_statement_that_this_master_cannot_translate_stays_as_it_runs():
    broken = Config(text="web : tail( ;", flow="default-flow", version=2, author="a", time_ns=0)
    (assigned,) = Cluster(LANGUAGE, {"web": broken}, {"host1": ("web",)}).assignment(WEB).statements
    assert not assigned.text
    assert "can't translate" in assigned.waiting


@given(st.sets(NAMES, min_size=1), st.randoms(use_true_random=False))
def test_translation_does_not_depend_on_order_or_history(names, chance):
    ordered = sorted(names)
    chance.shuffle(ordered)
    direct = Cluster(LANGUAGE, configs(FLOW), {}, live(ordered))
    grown = Cluster(LANGUAGE)
    for end in range(len(ordered) + 1):
        grown = grown.changed(configs(FLOW), {}, live(reversed(ordered[:end])))
    assert grown.assignment(WEB) == direct.assignment(WEB)


@given(st.sets(NAMES, min_size=1))
def test_chain_has_distinct_live_collectors_and_is_bounded(names):
    found = chain(cluster(FLOW, collectors=names), WEB)
    assert len(found) == len(set(found)) == min(CHAIN_MAX, len(names))
    assert set(found) <= names


def firsts(made, agents):
    return [tuple(chain(made, agent)) for agent in agents]


AGENTS = [Physical(f"web-{number}.example.org", "agent", labels={"role": "web"}) for number in range(2000)]


def test_agents_are_balanced_over_collectors():
    counts = Counter(
        each[0] for each in firsts(cluster(FLOW, collectors=map("c{}".format, range(10))), AGENTS)
    )
    # 200 each; a binomial deviates by 13.4, so that five of those are passed once in a million.
    assert all(133 <= counts[f"c{number}"] <= 267 for number in range(10)), counts


def test_second_collectors_are_balanced_too_when_one_fails():
    chains = firsts(cluster(FLOW, collectors=map("c{}".format, range(10))), AGENTS)
    seconds = Counter(each[1] for each in chains if each[0] == "c3")
    assert len(seconds) == 9
    assert max(seconds.values()) <= 50, seconds  # 22 of 200


def test_tenth_collector_moves_a_tenth_of_the_agents_and_all_of_them_to_itself():
    before = firsts(cluster(FLOW, collectors=map("c{}".format, range(9))), AGENTS)
    after = firsts(cluster(FLOW, collectors=map("c{}".format, range(10))), AGENTS)
    moved = [new[0] for old, new in zip(before, after, strict=True) if old[0] != new[0]]
    assert 133 <= len(moved) <= 267
    assert set(moved) == {"c9"}


@given(st.sets(NAMES, min_size=2), st.data())
def test_collector_that_goes_moves_only_its_own_agents_to_their_second(names, data):
    gone = data.draw(st.sampled_from(sorted(names)))
    before = firsts(cluster(FLOW, collectors=names), AGENTS[:50])
    after = firsts(cluster(FLOW, collectors=names - {gone}), AGENTS[:50])
    for old, new in zip(before, after, strict=True):
        assert new[0] == (old[1] if old[0] == gone else old[0])


def test_new_address_of_a_collector_moves_nobody():
    names = [f"c{number}" for number in range(9)]
    moved = Live({name: {"coll": f"{name}:1"} for name in names})
    before, after = (Cluster(LANGUAGE, configs(FLOW), {}, each) for each in (live(names), moved))
    for agent in AGENTS[:50]:
        assert chain(before, agent) == chain(after, agent)
        assert before.assignment(agent).revision != after.assignment(agent).revision


@given(st.sets(NAMES), st.sets(NAMES), st.sets(NAMES))
def test_flows_are_isolated_from_each_other(ours, theirs, others):
    text = "".join(
        f'flow {name} {{ {name}-web @ role=web : tail("/l") | autoE2EChain ;'
        f' {name}-coll @ role=collector : autoCollectorSource | file("/d/") ; }}'
        for name in ("a", "b")
    )

    def made(of_b):
        collectors = {name: {"a-coll": f"{name}:1"} for name in ours}
        for name in of_b:
            collectors.setdefault(name, {})["b-coll"] = f"{name}:2"
        return Cluster(LANGUAGE, configs(text), {}, Live(collectors))

    assert texts(made(theirs), WEB)["a-web"] == texts(made(others), WEB)["a-web"]
    assert all(f'"{name}", 2)' not in texts(made(theirs), WEB)["a-web"] for name in theirs)


def test_change_of_one_statement_changes_only_that_one():
    before = cluster(FLOW + 'db @ role=web : tail("/d") | agentBESink("x") ;', collectors=["c1"])
    after = before.changed(
        configs(FLOW + 'db @ role=web : tail("/e") | agentBESink("x") ;'), {}, live(["c1"])
    )
    old, new = (
        {each.logical: each.hash for each in made.assignment(WEB).statements} for made in (before, after)
    )
    assert {name for name in old if old[name] != new[name]} == {"db"}


def test_a_thousand_selectors_cost_a_node_only_its_own(monkeypatch):
    text = "".join(f'n{i} @ group=g{i} : tail("/l") | agentBESink("x") ;' for i in range(200))
    made = cluster(text)
    looked_at = []
    monkeypatch.setattr("qanat.control.translation.matches", lambda *_: looked_at.append(1) or True)
    chosen = random.Random(1).randrange(200)
    assert made.runs(Physical("h", "agent", labels={"group": f"g{chosen}"})) == [f"n{chosen}"]
    assert len(looked_at) == 1

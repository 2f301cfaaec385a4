"""What each physical node should run, as a function of what the store holds. [pure]

A logical node runs on a physical one if it was mapped to it by hand, has its name, or selects its labels; and if its tier is the
node's. Automatic chains name live collectors of the same flow, chosen by rendezvous hashing, so that all masters agree without
talking. Everything that is computed is remembered until what it was computed from changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from qanat.control.assignment import Assigned, Assignment, assign
from qanat.control.documents import Config, Live
from qanat.control.rendezvous import Candidates
from qanat.control.statements import AUTO_SOURCE, Chain, Language, Statement
from qanat.flow.selectors import matches

# Collectors that an agent may fail over to. With two, a second failure during a restart stops it; a fourth adds nothing that
# the next push would not bring, and every one more is one more reason to change an agent's statement.
CHAIN_MAX = 3

# Assignments that are remembered: agents with chains of three of ten collectors have 720 different ones.
ASSIGNMENTS_MAX = 10_000

Groups = dict[str, Candidates]


@dataclass(frozen=True)
class Physical:
    """A physical node, as far as translation looks at it."""

    name: str
    role: str
    host: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def all_labels(self) -> dict[str, str]:
        """With those that every node has; its own win."""
        return {"role": self.role, "name": self.name, "host": self.host, **self.labels}


class Cluster:
    """All that translation depends on, besides the node. Not changed: `changed` gives another, which shares what is the same."""

    def __init__(
        self,
        language: Language,
        configs: Mapping[str, Config] | None = None,
        mapping: Mapping[str, tuple[str, ...]] | None = None,
        live: Live | None = None,
        former: Cluster | None = None,
    ) -> None:
        self.language = language
        self.mapping = mapping or {}
        self.live = live or Live()
        configured = {name: config for name, config in (configs or {}).items() if config.text}
        self.statements = {name: self._statement(name, config, former) for name, config in configured.items()}
        self._assignments: dict[tuple[Assigned, ...], Assignment] = {}
        self._collecting = {
            each.flow for each in self.statements.values() if each.gives_chain and not each.fault
        }
        self._selecting = _Selecting(self.statements)
        self._of_flow: Groups = _candidates(self._auto_places(), former._of_flow if former else {})
        self._of_logical: Groups = _candidates(self._logical_places(), former._of_logical if former else {})

    def changed(
        self,
        configs: Mapping[str, Config],
        mapping: Mapping[str, tuple[str, ...]],
        live: Live,
    ) -> Cluster:
        """The cluster after a change."""
        return Cluster(self.language, configs, mapping, live, self)

    def runs(self, node: Physical) -> list[str]:
        """The logical nodes that `node` should run, sorted."""
        names = set(self.mapping.get(node.name, ()))
        names.add(node.name)
        names.update(self._selecting.by(node.all_labels))
        return sorted(name for name in names if self._fits(name, node))

    def assignment(self, node: Physical) -> Assignment:
        """What `node` should run."""
        statements = tuple(self._assigned(name, node) for name in self.runs(node))
        found = self._assignments.get(statements)
        if found is None:
            if len(self._assignments) >= ASSIGNMENTS_MAX:
                self._assignments.clear()
            found = self._assignments[statements] = assign(statements)
        return found

    def missing(self, name: str) -> str:
        """What has to be configured before logical node `name` can run anywhere; "" when nothing has."""
        statement = self.statements[name]
        if statement.fault:
            return statement.fault
        if statement.needs_chain and statement.flow not in self._collecting:
            return f"no collector is configured in flow {statement.flow}: no logical node of it has {AUTO_SOURCE} as its source"
        unknown = [each for each in statement.needs_logical if each not in self.statements]
        return f"logical node {unknown[0]} is not configured" if unknown else ""

    def _fits(self, name: str, node: Physical) -> bool:
        statement = self.statements.get(name)
        return statement is not None and (bool(statement.fault) or statement.role == node.role)

    def _assigned(self, name: str, node: Physical) -> Assigned:
        statement = self.statements[name]
        if missing := self.missing(name):
            return Assigned(name, statement.flow, "", "", missing)
        key = f"{statement.flow}/{node.name}/{name}"
        chain: Chain = ()
        if statement.needs_chain:
            chain = self._chain(self._of_flow.get(statement.flow), key)
            if not chain:
                return Assigned(name, statement.flow, "", "", f"no live collector in flow {statement.flow}")
        of_logical = tuple(self._chain(self._of_logical.get(each), key) for each in statement.needs_logical)
        if not all(of_logical):
            absent = statement.needs_logical[of_logical.index(())]
            return Assigned(name, statement.flow, "", "", f"no live collector runs logical node {absent}")
        text, digest = statement.rendered(chain, of_logical)
        return Assigned(name, statement.flow, text, digest)

    def _chain(self, candidates: Candidates | None, key: str) -> Chain:
        if candidates is None:
            return ()
        places = (place.partition("\0") for place in candidates.best(key, CHAIN_MAX))
        return tuple(self.live.collectors[physical][logical] for physical, _, logical in places)

    def _statement(self, name: str, config: Config, former: Cluster | None) -> Statement:
        known = former.statements.get(name) if former else None
        if known is not None and (known.text, known.flow) == (config.text, config.flow):
            return known
        return self.language.statement(config.text, config.flow)

    def _places(self) -> Iterator[tuple[str, str, str]]:
        """Logical node, and the place where it listens; by place and not by address, so that a new port moves nobody."""
        for physical, listening in self.live.collectors.items():
            for logical, address in listening.items():
                if address.rpartition(":")[0]:  # without a port nobody can connect to it
                    yield logical, physical, f"{physical}\0{logical}"

    def _auto_places(self) -> Iterator[tuple[str, str]]:
        for logical, _, place in self._places():
            statement = self.statements.get(logical)
            if statement is not None and not statement.fault and statement.gives_chain:
                yield statement.flow, place

    def _logical_places(self) -> Iterator[tuple[str, str]]:
        for logical, _, place in self._places():
            yield logical, place


def _candidates(places: Iterable[tuple[str, str]], former: Groups) -> Groups:
    """Places by their group; the former ones where nothing changed, for what they remember."""
    grouped: dict[str, set[str]] = {}
    for group, place in places:
        grouped.setdefault(group, set()).add(place)
    return {
        group: known if (known := former.get(group)) and known.names == names else Candidates(names)
        for group, names in grouped.items()
    }


class _Selecting:
    """Statements with a selector, by a label that they ask for: a node looks at few of a thousand."""

    def __init__(self, statements: Mapping[str, Statement]) -> None:
        self._by_label: dict[tuple[str, str], list[tuple[str, Statement]]] = {}
        self._others: list[tuple[str, Statement]] = []
        for name, statement in statements.items():
            if statement.node is None or statement.node.selector is None:
                continue
            requirement = statement.first_equality
            if requirement is None:
                self._others.append((name, statement))
            else:
                for value in requirement.values:
                    self._by_label.setdefault((requirement.label, value), []).append((name, statement))

    def by(self, labels: Mapping[str, str]) -> Iterator[str]:
        """The logical nodes that select `labels`."""
        for label in labels.items():
            for name, statement in self._by_label.get(label, ()):
                if _selects(statement, labels):
                    yield name
        for name, statement in self._others:
            if _selects(statement, labels):
                yield name


def _selects(statement: Statement, labels: Mapping[str, str]) -> bool:
    node = statement.node
    return node is not None and node.selector is not None and matches(node.selector, labels)

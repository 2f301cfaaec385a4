"""From a stored statement to what translation needs of it: read once, used for every physical node. [pure]"""

from __future__ import annotations

import functools
import re
import weakref
from collections.abc import Collection
from dataclasses import dataclass, field, replace

from qanat.control.assignment import statement_hash
from qanat.errors import ConfigError
from qanat.flow.faults import Faults
from qanat.flow.flume import TakesRoll, translate
from qanat.flow.model import DEFAULT_FLOW, Call, Flow, LogicalNode, SinkExpression, Text
from qanat.flow.parser import parse
from qanat.flow.printer import print_flow, print_node
from qanat.flow.routes import GeneralForm, generalise
from qanat.flow.selectors import Operator, Requirement
from qanat.flow.sinks import calls, with_calls
from qanat.flow.strings import quote

AUTO_SOURCE = "autoCollectorSource"
LOGICAL_SOURCE = "logicalSource"
LOGICAL_SINK = "logicalSink"
_AUTO_CHAIN = re.compile(r"auto(E2E|DFO|BE)Chain")

AGENT, COLLECTOR = "agent", "collector"

# Texts of a statement that are remembered: as many as a master's agents have chains, not those of all collectors that ever lived.
RENDERED_MAX = 20_000

Chain = tuple[str, ...]  # host:port of each collector, preferred first
Chains = tuple[Chain, tuple[Chain, ...]]  # the automatic one, and one for each logical name


@dataclass(frozen=True, slots=True)
class Language:
    """What has to be known of the installed components, with the names that only masters know."""

    collector_sources: Collection[str]
    agent_sinks: Collection[str]
    takes_roll: TakesRoll
    general_form: GeneralForm
    _known: weakref.WeakValueDictionary[tuple[str, str], Statement] = field(
        default_factory=weakref.WeakValueDictionary, compare=False, repr=False
    )

    def statement(self, text: str, flow: str) -> Statement:
        """The statement, read once for all who have it at a time: the check of a change, its plan, and the nodes' cluster.

        *Thread*: any; two at a time may read the same."""
        found = self._known.get((text, flow))
        if found is None:
            found = self._known[text, flow] = Statement(text, flow, self)
        return found


class Statement:
    """One logical node's statement. `fault`: why this master can't translate it; then nobody is told to run it anew.

    `role`: of the physical nodes that can run it; "" when none can (a source straight into storage).
    """

    def __init__(self, text: str, flow: str, language: Language) -> None:
        self.text, self.flow = text, flow
        self.fault = self.role = ""
        self.node: LogicalNode | None = None
        self.needs_chain = self.gives_chain = False
        self.needs_logical: tuple[str, ...] = ()
        self._language = language
        self._templates: dict[tuple[int, tuple[int, ...]], str] = {}
        self._rendered: dict[Chains, tuple[str, str]] = {}
        try:
            self._read(language)
        except ConfigError as error:
            self.fault = f"this master can't translate it: {error}"

    def _read(self, language: Language) -> None:
        node = parse(with_flow(self.text, self.flow)).nodes[0]
        faults = Faults()
        self.node = translate(node, language.takes_roll, faults)
        faults.raise_if_any()
        self.role = _role(self.node, language)
        sinks = list(calls(self.node.sink))
        self.needs_chain = any(_AUTO_CHAIN.fullmatch(call.name) for call in sinks)
        self.needs_logical = tuple(dict.fromkeys(map(_target, filter(_is_logical, sinks))))
        self.gives_chain = any(source.name == AUTO_SOURCE for source in self.node.sources)

    @property
    def first_equality(self) -> Requirement | None:
        """A requirement of the selector that names the values which a label must have, to find the statement by."""
        selector = None if self.node is None else self.node.selector
        for requirement in () if selector is None else selector.requirements:
            if requirement.operator in (Operator.IS, Operator.IN):
                return requirement
        return None

    def rendered(self, chain: Chain, of_logical: tuple[Chain, ...]) -> tuple[str, str]:
        """Text in general form, and its hash, with these collectors for the automatic chains, and for each of `needs_logical`."""
        key = (chain, of_logical)
        found = self._rendered.get(key)
        if found is None:
            if len(self._rendered) >= RENDERED_MAX:
                self._rendered.clear()
            text = self._text(key)
            found = self._rendered[key] = (text, statement_hash(text))
        return found

    def _text(self, chains: Chains) -> str:
        """By a template for chains of these lengths, since ten thousand agents have as many different chains."""
        shape = (len(chains[0]), tuple(map(len, chains[1])))
        template = self._templates.get(shape)
        if template is None:
            named = _named(chains)
            template = self._templates[shape] = print_node(
                self._general(named[0], dict(zip(self.needs_logical, named[1], strict=True)))
            )
        text = template
        for name, address in zip(_addresses(_named(chains)), _addresses(chains), strict=True):
            text = text.replace(_printed(name), _printed(address))
        return text

    def _general(self, chain: Chain, of_logical: dict[str, Chain]) -> LogicalNode:
        assert self.node is not None, self.fault

        def named(call: Call) -> SinkExpression:
            if automatic := _AUTO_CHAIN.fullmatch(call.name):
                return replace(call, name=f"agent{automatic[1]}Chain", positional=tuple(map(Text, chain)))
            if _is_logical(call):
                addresses = tuple(map(Text, of_logical[_target(call)]))
                return replace(call, name="agentE2EChain", positional=addresses)
            return call

        sink = with_calls(self.node.sink, named)
        if self.role == AGENT:
            sink = generalise(sink, self._language.general_form)
        sources = tuple(
            replace(each, name=AUTO_SOURCE) if each.name == LOGICAL_SOURCE else each
            for each in self.node.sources
        )
        return replace(self.node, sources=sources, sink=sink, selector=None, flow=DEFAULT_FLOW)


def with_flow(text: str, flow: str) -> str:
    """A statement as it stands in a file: in its flow."""
    return text if flow == DEFAULT_FLOW else f"flow {flow} {{ {text} }}"


def as_file(statements: dict[str, tuple[str, str]]) -> str:
    """One text that says them all: `(text, flow)` by logical node, sorted by flow and name."""
    ordered = sorted(statements.items(), key=lambda item: (item[1][1] != DEFAULT_FLOW, item[1][1], item[0]))
    nodes = [parse(with_flow(text, flow)).nodes[0] for _, (text, flow) in ordered]
    return print_flow(Flow(tuple(nodes)))


def _role(node: LogicalNode, language: Language) -> str:
    if any(source.name in language.collector_sources for source in node.sources):
        return COLLECTOR
    return AGENT if any(call.name in language.agent_sinks for call in calls(node.sink)) else ""


def _named(chains: Chains) -> Chains:
    """Chains of the same lengths, of addresses that nobody has (RFC 6761, section 6.4)."""
    chain, of_logical = chains
    return (
        tuple(f"c{place}.qanat.invalid:1" for place in range(len(chain))),
        tuple(
            tuple(f"c{place}-{number}.qanat.invalid:1" for place in range(len(each)))
            for number, each in enumerate(of_logical)
        ),
    )


def _addresses(chains: Chains) -> Chain:
    return chains[0] + tuple(address for chain in chains[1] for address in chain)


@functools.lru_cache(maxsize=4096)
def _printed(address: str) -> str:
    """An address as the arguments of a sink in general form."""
    host, _, port = address.rpartition(":")
    return f"{quote(host)}, {port}"


def _is_logical(call: Call) -> bool:
    return call.name == LOGICAL_SINK


def _target(call: Call) -> str:
    first = call.positional[0] if call.positional else None
    if not isinstance(first, Text):
        raise ConfigError(f'{call.place}: {LOGICAL_SINK} names a logical node: {LOGICAL_SINK}("collector-a")')
    return first.value

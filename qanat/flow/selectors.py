"""Label selectors: which physical nodes run a logical node. [pure]

A small part of Kubernetes' label selectors, with their meaning: all requirements have to hold, and a label that is missing
is different from every value.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass

from qanat.flow.strings import quote

# What may stand without quotes: the same as NAME in the grammar, or digits with letters, `_` and `.` after them.
_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*\Z|[0-9][0-9_.]*\Z")


class Operator(enum.Enum):
    """How a label is compared."""

    IS = "="
    IS_NOT = "!="
    IN = "in"
    NOT_IN = "notin"
    EXISTS = ""
    MISSING = "!"


@dataclass(frozen=True, slots=True)
class Requirement:
    """`values`: one for IS and IS_NOT, any number but none for IN and NOT_IN, none for the others."""

    label: str
    operator: Operator
    values: tuple[str, ...] = ()

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Whether a physical node with `labels` is meant."""
        match self.operator:
            case Operator.EXISTS:
                return self.label in labels
            case Operator.MISSING:
                return self.label not in labels
            case Operator.IS | Operator.IN:
                return labels.get(self.label) in self.values
            case Operator.IS_NOT | Operator.NOT_IN:
                return labels.get(self.label) not in self.values

    def __str__(self) -> str:
        match self.operator:
            case Operator.EXISTS | Operator.MISSING:
                return f"{self.operator.value}{self.label}"
            case Operator.IS | Operator.IS_NOT:
                return f"{self.label}{self.operator.value}{_print_value(self.values[0])}"
            case Operator.IN | Operator.NOT_IN:
                return f"{self.label} {self.operator.value} ({', '.join(map(_print_value, self.values))})"


@dataclass(frozen=True, slots=True)
class Selector:
    """`role=web, dc in (a, b), !canary`; at least one requirement."""

    requirements: tuple[Requirement, ...]

    def __str__(self) -> str:
        return ", ".join(map(str, self.requirements))


def matches(selector: Selector, labels: Mapping[str, str]) -> bool:
    """Whether a physical node with `labels` runs what is selected."""
    return all(requirement.holds(labels) for requirement in selector.requirements)


def _print_value(value: str) -> str:
    return value if _BARE.match(value) else quote(value)

"""A program's metrics, by logical node, for its reports: one pass over all of them serves all logical nodes of a report."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence

from qanat.metrics import Metrics

# Reading all of a thousand metrics takes some 10 ms of the event loop: not for each logical node.
_FRESH_S = 0.2


class Measured:
    """The metrics of one logical node, and of its further destinations, which are called `<name>#<number>`."""

    def __init__(self, own: Mapping[str, float], further: Sequence[Mapping[str, float]]) -> None:
        self._own, self._further = own, further

    def first(self, name: str) -> float:
        """Of the first destination."""
        return self._own.get(name, 0.0)

    def most(self, name: str) -> float:
        """The largest of all."""
        return max(each.get(name, 0.0) for each in (self._own, *self._further))

    def total(self, name: str) -> float:
        """The sum of all, over their other labels."""
        return sum(each.get(name, 0.0) for each in (self._own, *self._further))


class Measures:
    """*Thread*: one."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._at_s = -_FRESH_S
        self._values: dict[str, dict[str, float]] = {}

    def read(self, logical: str) -> Measured:
        """Now, or as they were a moment ago."""
        now_s = time.monotonic()
        if now_s - self._at_s >= _FRESH_S:
            self._at_s, self._values = now_s, self._collect()
        further = [
            values
            for label, values in self._values.items()
            if label.startswith(f"{logical}#") and label[len(logical) + 1 :].isdigit()
        ]
        return Measured(self._values.get(logical, {}), further)

    def positions(self, logical: str) -> dict[str, int]:
        """Up to where its streams are acknowledged, as far as its first destination goes; those that moved last."""
        return self._metrics.moved(logical).read()

    def _collect(self) -> dict[str, dict[str, float]]:
        found: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        for metric in self._metrics.registry.collect():
            if metric.name.endswith("_state"):
                continue
            for sample in metric.samples:
                label = sample.labels.get("logical_node")
                if label is None or "le" in sample.labels:
                    continue
                values = found[label]
                if sample.name.endswith("_seconds"):  # since when: the oldest of its branches or streams
                    values[sample.name] = max(values[sample.name], sample.value)
                else:
                    values[sample.name] += sample.value
        return found

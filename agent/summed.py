"""What several deliveries of one logical node measure, as if they were one."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from qanat.metrics import AgentMetrics, Metrics

_OF_ALL: dict[str, Callable[[Iterable[float]], float]] = {
    "lag_bytes": sum,
    "lag_s": max,
    "unacked_age_s": max,
    "unacked_bytes": sum,
}


class Summed:
    """`of(part)` is what a delivery is given; its measures count until it is idle. *Thread*: any, one at a time."""

    def __init__(self, metrics: Metrics, label: str) -> None:
        self._metrics = metrics
        self._label = label
        self._all = metrics.agent(label)
        self._values: dict[str, dict[str, float]] = {name: {} for name in _OF_ALL}

    def of(self, part: str) -> AgentMetrics:
        """The metrics of the logical node, of which this is a part."""
        made = self._metrics.agent(self._label)
        for name in _OF_ALL:
            setattr(made, name, self._setter(name, part))
        return made

    def _setter(self, name: str, part: str) -> Callable[[float], None]:
        values, of_all, total = self._values[name], _OF_ALL[name], getattr(self._all, name)

        def measured(value: float) -> None:
            if value:
                values[part] = value
            else:
                values.pop(part, None)
            total(of_all(values.values()) if values else 0.0)

        return measured

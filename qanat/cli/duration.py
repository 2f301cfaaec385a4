"""Durations on command lines. By itself, so that commands that ask a master start without the components."""

from __future__ import annotations

from typing import Any

import click

from qanat.flow.units import DURATION_NS, parse_number


class DurationParam(click.ParamType[float]):
    """A duration as flows write it (`200ms`); gives seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            parsed = parse_number(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if not isinstance(parsed, tuple) or parsed[1] not in DURATION_NS:
            self.fail(f"{value!r} is not a duration; write for example 200ms, 5s or 1m", param, ctx)
        return float(parsed[0]) * DURATION_NS[parsed[1]] / 1e9

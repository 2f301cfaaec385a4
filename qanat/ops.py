"""Arrow's operations, with constants of definite types among their arguments.

Arrow guesses the type of a bare Python value, and tries to import pandas to do so, each time: 0.2 ms where there is none.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

_TYPES: dict[type, pa.DataType] = {
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
    str: pa.string(),
    bytes: pa.binary(),
}

NO_TEXT = pa.scalar(None, pa.string())
NO_INTEGER = pa.scalar(None, pa.int64())


# Those in the code, and some that come with a configuration: a batch's own values are not kept for long.
@functools.lru_cache(maxsize=256, typed=True)
def constant(value: bool | int | float | str | bytes) -> pa.Scalar:
    """A scalar of the type that a column of such values has: boolean, int64, double, string or binary."""
    return pa.scalar(value, _TYPES[type(value)])


def repeated(value: bool | int | float | str | bytes, count: int) -> pa.Array:
    """A column of one value."""
    return pa.repeat(constant(value), count)


def _typed(function: Callable[..., pa.Array]) -> Callable[..., pa.Array]:
    """The function, with bare values among its arguments made constants."""

    def call(*arguments: Any) -> pa.Array:
        return function(*(constant(each) if type(each) in _TYPES else each for each in arguments))

    return call


add, subtract, multiply, divide = map(_typed, (pc.add, pc.subtract, pc.multiply, pc.divide))
equal, not_equal = map(_typed, (pc.equal, pc.not_equal))
bit_wise_and, shift_right = map(_typed, (pc.bit_wise_and, pc.shift_right))
less, less_equal = map(_typed, (pc.less, pc.less_equal))
greater, greater_equal = map(_typed, (pc.greater, pc.greater_equal))
fill_null, if_else, coalesce = map(_typed, (pc.fill_null, pc.if_else, pc.coalesce))
join = _typed(pc.binary_join_element_wise)

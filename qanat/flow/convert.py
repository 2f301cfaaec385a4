"""From a value of the flow language to a value of a configuration field, by the field's type. [pure]"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import inspect

from qanat.flow.faults import Faults, did_you_mean
from qanat.flow.model import (
    Boolean,
    Call,
    Duration,
    Integer,
    Items,
    Real,
    Size,
    SourcePlace,
    Text,
    Value,
)
from qanat.flow.printer import print_value
from qanat.secret import Secret


class Mismatch(Exception):
    """A value that does not fit its field; the message says what was given and what is wanted.

    `nested`: the faults within a nested call, instead of a message. `conceals`: its line shows what should be secret.
    """

    def __init__(
        self, place: SourcePlace, message: str, nested: Faults | None = None, conceals: bool = False
    ) -> None:
        super().__init__(message)
        self.place = place
        self.nested = nested
        self.conceals = conceals


# Binds a nested call to a nested configuration; given by bind.py, which needs this module in turn.
BindCall = Callable[[Call, type[msgspec.Struct]], msgspec.Struct]


def convert(value: Value, wanted: inspect.Type, bind_call: BindCall) -> Any:
    """The Python value of `value` as a `wanted`. Raises Mismatch."""
    unit = None
    if isinstance(wanted, inspect.Metadata):
        unit = (wanted.extra or {}).get("unit")
        wanted = wanted.type
    if unit == "s":
        return _seconds(value)
    if unit == "bytes":
        return _bytes(value)
    match wanted:
        case inspect.UnionType():
            return _first_fitting(value, wanted, bind_call)
        case inspect.ListType() | inspect.VarTupleType():
            values = value.values if isinstance(value, Items) else (value,)
            return [convert(item, wanted.item_type, bind_call) for item in values]
        case inspect.LiteralType():
            return _choice(value, list(wanted.values))
        case inspect.EnumType():
            return wanted.cls(_choice(value, [member.value for member in wanted.cls]))
        case inspect.CustomType() if wanted.cls is Secret:
            return _secret(value)
        case inspect.StructType() if isinstance(value, Call):
            return bind_call(value, wanted.cls)
        case _:
            return _scalar(value, wanted)


def describe(wanted: inspect.Type) -> str:
    """What to write for a field of this type."""
    match wanted:
        case inspect.Metadata():
            return _UNITS.get((wanted.extra or {}).get("unit", ""), describe(wanted.type))
        case inspect.UnionType():
            return " or ".join(describe(t) for t in wanted.types if not isinstance(t, inspect.NoneType))
        case inspect.ListType() | inspect.VarTupleType():
            return f"a list ([..., ...]), each item {describe(wanted.item_type)}"
        case inspect.LiteralType():
            return _one_of(wanted.values)
        case inspect.EnumType():
            return _one_of(member.value for member in wanted.cls)
        case inspect.CustomType() if wanted.cls is Secret:
            return 'a secret such as secret("env:NAME") or secret("file:/path")'
        case _:
            return _SIMPLE.get(type(wanted), "another type of value")


_UNITS = {"s": "a duration such as 30s or 10m", "bytes": "a size such as 64MiB"}

_SIMPLE: dict[type, str] = {
    inspect.StrType: 'a string in quotes ("...")',
    inspect.BytesType: 'a string in quotes ("...")',
    inspect.IntType: "a whole number",
    inspect.FloatType: "a number",
    inspect.BoolType: "true or false",
    inspect.StructType: "a function such as name(argument, ...)",
}


def _one_of(choices: Any) -> str:
    return f"one of {', '.join(map(str, choices))}"


def _refuse(value: Value, wanted: str) -> Mismatch:
    return Mismatch(value.place, f"{_kind(value)} was given; wanted is {wanted}")


def _secret(value: Value) -> Secret:
    match value:
        case Call(name="secret", positional=(Text() as reference,), keywords=()):
            try:
                return Secret(reference.value)
            except ValueError as error:
                raise Mismatch(reference.place, f"{print_value(value)} was given; {error}") from None
    raise Mismatch(
        value.place,
        'this is kept secret: write secret("env:NAME") or secret("file:/path"), and the value on the node that needs it; what '
        "stands in a flow is stored and shown",
        conceals=True,
    )


def _is_bare_name(value: Value) -> bool:
    return isinstance(value, Call) and not value.positional and not value.keywords


def _kind(value: Value) -> str:
    kinds = {
        Text: "the string",
        Integer: "the number",
        Real: "the number",
        Boolean: "the truth value",
        Duration: "the duration",
        Size: "the size",
        Items: "the list",
        Call: "the name"
        if isinstance(value, Call) and not value.positional + value.keywords
        else "the function",
    }
    return f"{kinds[type(value)]} {print_value(value)}"


def _seconds(value: Value) -> float:
    match value:
        case Duration():
            return value.seconds
        case Integer() | Real():  # milliseconds, as Flume OG meant it
            return value.value / 1000
        case _:
            raise _refuse(value, "a duration such as 30s or 10m (a bare number is milliseconds)")


def _bytes(value: Value) -> int:
    match value:
        case Size():
            size = value.bytes
            if size != size.to_integral_value():
                raise _refuse(value, "a whole number of bytes")
            return int(size)
        case Integer():
            return value.value
        case _:
            raise _refuse(value, "a size such as 64MiB (a bare number is bytes)")


def _choice(value: Value, choices: list[Any]) -> Any:
    match value:
        case Text() | Integer():
            given: Any = value.value
        case Call(name=given, positional=(), keywords=()):
            pass
        case _:
            raise _refuse(value, _one_of(choices))
    for choice in choices:
        if choice == given and not isinstance(choice, bool):
            return choice
    raise _refuse(value, _one_of(choices) + did_you_mean(str(given), map(str, choices)))


def _first_fitting(value: Value, wanted: inspect.UnionType, bind_call: BindCall) -> Any:
    options = [option for option in wanted.types if not isinstance(option, inspect.NoneType)]
    refusals = []
    for option in options:
        try:
            return convert(value, option, bind_call)
        except Mismatch as refusal:
            refusals.append(refusal)
    within = [refusal for refusal in refusals if refusal.nested is not None]
    if within or len(refusals) == 1:
        raise (within or refusals)[0]
    raise _refuse(value, describe(wanted))


def _scalar(value: Value, wanted: inspect.Type) -> Any:
    match wanted, value:
        case inspect.StrType(), Text():
            return value.value
        case inspect.BytesType(), Text():
            return value.value.encode()
        case inspect.IntType(), Integer():
            return value.value
        case inspect.FloatType(), Integer() | Real():
            return float(value.value)
        case inspect.BoolType(), Boolean():
            return value.value
        case inspect.BoolType(), Text(value="true" | "false"):  # Flume OG's guide has base64="..."
            return value.value == "true"
        case inspect.IntType() | inspect.FloatType(), Duration() | Size():
            raise _refuse(value, f"{describe(wanted)} without a unit")
        case _, Call(name="secret"):
            raise Mismatch(
                value.place,
                f"{print_value(value)} was given; this is no secret: its value is shown in status and logs",
            )
        case inspect.StrType(), Call(positional=(), keywords=()):
            raise _refuse(value, f'a string: put it in quotes, "{value.name}"')
        case _:
            raise _refuse(value, describe(wanted))

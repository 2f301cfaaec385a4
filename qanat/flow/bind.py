"""From a component's arguments in a flow to its typed configuration. [pure]

Positional arguments go to the fields in their order (`kw_only` fields have none); a field that is a list
takes all the positional arguments that remain: `tail("a", "b")` fills `paths: list[str]`. Keywords go by name.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any, TypeVar, cast

import msgspec
from msgspec import inspect

from qanat.flow.concealed import looks_secret
from qanat.flow.convert import Mismatch, convert
from qanat.flow.faults import Faults, did_you_mean
from qanat.flow.model import Call, Items, Keyword, SourcePlace, Value
from qanat.flow.printer import print_value

S = TypeVar("S", bound=msgspec.Struct)

_HIDDEN = "what was given is not what it takes, and is not shown, since it may be a secret"


def bind(call: Call, config: type[S]) -> S:
    """A `config` with the arguments of `call`. Raises ConfigError with every fault at its place."""
    faults = Faults()
    bound = _Binder(call, config, faults).bind()
    faults.raise_if_any()
    return cast(S, bound)


def argument_place(call: Call, config: type[msgspec.Struct], argument: str) -> SourcePlace:
    """Where `call` gives `argument`; where the call is, if it leaves it to the default."""
    for keyword in call.keywords:
        if keyword.name == argument:
            return keyword.value.place
    names = [_fields(config)[name].encode_name for name in config.__match_args__]
    if argument in names and call.positional:
        at = names.index(argument)
        if at < len(call.positional):
            return call.positional[at].place
    return call.place


class _Binder:
    """One call against one configuration."""

    def __init__(self, call: Call, config: type[msgspec.Struct], faults: Faults) -> None:
        self._call = call
        self._config = config
        self._faults = faults
        self._fields = _fields(config)
        self._given: dict[str, tuple[SourcePlace, Value]] = {}

    def bind(self) -> msgspec.Struct | None:
        """The configuration, or None when there were faults."""
        self._take_positional()
        self._take_keywords()
        values = {name: self._convert(name) for name in self._given}
        for name, field in self._fields.items():
            if field.required and name not in self._given:
                wanted = f'{self._call.name} needs "{field.encode_name}"; arguments: {self._signature()}'
                self._faults.add(self._call.place, wanted)
        if self._faults:
            return None
        try:
            return self._config(**values)
        except (TypeError, ValueError) as error:  # what __post_init__ refuses: a rule over several fields
            self._faults.add(self._call.place, f"{self._call.name}: {error}")
            return None

    def _take_positional(self) -> None:
        names = list(self._config.__match_args__)
        rest = list(self._call.positional)
        while rest and names:
            name = names.pop(0)
            if _is_list(_types(self._config)[name]) and not isinstance(rest[0], Items):
                self._given[name] = (rest[0].place, Items(tuple(rest), rest[0].place))
                return
            value = rest.pop(0)
            self._given[name] = (value.place, value)
        if rest:
            self._faults.add(
                rest[0].place,
                f"{self._call.name} takes at most {len(self._config.__match_args__)} positional arguments, "
                f"this is one more: {print_value(rest[0])}; arguments: {self._signature()}",
            )

    def _take_keywords(self) -> None:
        by_keyword = {field.encode_name: name for name, field in self._fields.items()}
        for keyword in self._call.keywords:
            name = by_keyword.get(keyword.name)
            if name is None:
                hint = did_you_mean(keyword.name, by_keyword) or f"; arguments: {self._signature()}"
                message = f'{self._call.name} has no argument "{keyword.name}"{hint}'
                self._faults.add(_without_value(keyword), message)
            elif name in self._given:
                message = f'"{keyword.name}" is given twice: by its position, and here by name'
                self._faults.add(keyword.place, message)
            else:
                self._given[name] = (keyword.value.place, keyword.value)

    def _convert(self, name: str) -> Any:
        place, value = self._given[name]
        field = self._fields[name]
        hidden = looks_secret(field.encode_name) and _is_text(_types(self._config)[name])
        try:
            converted = convert(value, _types(self._config)[name], self._bind_nested)
            # Constraints such as ge, pattern and length are msgspec's to check.
            return msgspec.convert(converted, field.type)
        except Mismatch as error:
            if error.nested is not None:
                self._faults.extend(error.nested)
            else:
                told = _HIDDEN if hidden else str(error)
                message = f"{self._call.name}, {field.encode_name}: {told}"
                self._faults.add(error.place, message, hidden or error.conceals)
        except msgspec.ValidationError as error:
            why = str(error).partition(" - at ")[0]
            given = _HIDDEN if hidden else f"{print_value(value)} was given"
            self._faults.add(place, f"{self._call.name}, {field.encode_name}: {given}; {why}", hidden)
        return None

    def _bind_nested(self, call: Call, config: type[msgspec.Struct]) -> msgspec.Struct:
        tag = config.__struct_config__.tag
        if tag is not None and tag != call.name:
            raise Mismatch(call.place, f"the function {call.name} was given; wanted is {tag}")
        faults = Faults()
        bound = _Binder(call, config, faults).bind()
        if bound is None:
            raise Mismatch(call.place, "", nested=faults)
        return bound

    def _signature(self) -> str:
        fields = self._fields.values()
        return ", ".join(f.encode_name if f.required else f"[{f.encode_name}]" for f in fields)


def _without_value(keyword: Keyword) -> SourcePlace:
    """Where an argument is that does not exist: nobody knows whether a text that it is given may be shown, so the line ends
    before that."""
    place, value = keyword.place, keyword.value.place
    line = place.source_line
    is_quoted = value.line == place.line and line[value.column - 1 : value.column] in ("'", '"')
    if not line or not (is_quoted or looks_secret(keyword.name)):
        return place
    return replace(place, source_line=f"{line[: place.column - 1 + len(keyword.name)]}=...")


# Reading annotations takes a hundred times as long as binding a call; there are about as many configurations as components.
@functools.lru_cache(maxsize=256)
def _fields(config: type[msgspec.Struct]) -> dict[str, msgspec.structs.FieldInfo]:
    return {field.name: field for field in msgspec.structs.fields(config)}


@functools.lru_cache(maxsize=256)
def _types(config: type[msgspec.Struct]) -> dict[str, inspect.Type]:
    return {name: inspect.type_info(field.type) for name, field in _fields(config).items()}


def _is_text(kind: inspect.Type) -> bool:
    return isinstance(kind, inspect.StrType) or (
        isinstance(kind, inspect.UnionType) and any(map(_is_text, kind.types))
    )


def _is_list(wanted: inspect.Type) -> bool:
    if isinstance(wanted, inspect.Metadata):
        wanted = wanted.type
    return isinstance(wanted, inspect.ListType | inspect.VarTupleType)

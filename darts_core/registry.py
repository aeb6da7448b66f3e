"""Name -> factory. A factory's keyword-only signature is its configuration schema."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import typing
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Generic, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


def suggest(name: str, known: typing.Iterable[str]) -> str:
    """Return ``" (did you mean 'x'?)"`` for the nearest known name in any case, or nothing."""
    spelled = {str(candidate).lower(): candidate for candidate in known}
    near = get_close_matches(str(name).lower(), list(spelled), n=1)
    return f" (did you mean '{spelled[near[0]]}'?)" if near else ""


_KINDS = {
    "bool": "must be true or false",
    "int": "must be a whole number",
    "float": "must be a number",
    "string": "must be text, in quotes where it looks like something else",
    "path": "must be a path, in quotes where it looks like something else",
    "tuple": "must be a list such as [a, b]",
    "list": "must be a list such as [a, b]",
    "dict": "must be keys with values such as {a: 1}",
    "missing": "must have more items",  # of a list; that a key is missing is said elsewhere
}
_WORDS = {"None": "null", "True": "true", "False": "false"}


def plain(error: Any) -> str:
    """Return one of pydantic's errors as ``must be .... Got ...``, in the words of somebody who edits a YAML file."""
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    kind = str(error["type"])
    message = next((words for start, words in _KINDS.items() if kind.startswith(start)), None)
    if kind == "too_long":
        message = f"must have {error['ctx']['max_length']} items"
    elif message is None:
        message = str(error["msg"]).replace("Input should", "must", 1)
    return f"{message}. Got {_WORDS.get(repr(error['input']), repr(error['input']))}."


class Registry(Generic[T]):
    """Factories of one kind of part, found by name; the options of each are its keyword-only parameters.

    ``key`` is the section of ``params.yaml`` that selects an entry, for error messages: ``Registry("method", key="method")``;
    or the one key that does, where there is no section of its own: ``key="derive.rule"``. ``common`` is called with what a factory
    built, and its keyword-only parameters are options of every entry, beside the factory's own, which come first where both have one.
    """

    def __init__(self, kind: str, *, key: str, common: Callable[..., T] | None = None) -> None:
        self.kind = kind
        self.key = key
        self._common = common
        self._name_key = key if "." in key else f"{key}.name"  # a section has a name; a key of its own is one
        self._factories: dict[str, Callable[..., T]] = {}

    def register(self, name: str) -> Callable[[F], F]:
        """Decorate a factory (function or class); a name that is taken is an error."""

        def add(factory: F) -> F:
            if name in self._factories:
                raise ValueError(f"{self.kind} '{name}' is registered twice: {self._factories[name]} and {factory}.")
            self._factories[name] = factory
            return factory

        return add

    def __contains__(self, name: object) -> bool:
        return name in self._factories

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._factories))

    def names(self) -> list[str]:
        """Return the registered names, sorted."""
        return sorted(self._factories)

    def get(self, name: str) -> Callable[..., T]:
        """Return the factory. Raise ``ValueError`` that lists the known names if there is none."""
        if name not in self._factories:
            raise ValueError(f"{self._name_key}: {self._unknown(name)}")
        return self._factories[name]

    def returns(self, name: str) -> object:
        """Return what a factory says that it builds: its annotation."""
        return typing.get_type_hints(self.get(name)).get("return")

    def summary(self, name: str) -> str:
        """Return the first line of the factory's docstring."""
        return (inspect.getdoc(self.get(name)) or "").partition("\n")[0]

    def options(self, name: str) -> dict[str, inspect.Parameter]:
        """Return the keyword-only parameters of a factory, then those that every entry has: its configuration schema."""
        own = _options(self.get(name))
        return own if self._common is None else {**own, **{key: p for key, p in _options(self._common).items() if key not in own}}

    def types(self, name: str) -> dict[str, Any]:
        """Return the types of a factory's parameters, by name."""
        own = _hints(self.get(name))
        return own if self._common is None else {**_hints(self._common), **own}

    def errors(self, name: str, options: Mapping[str, Any], *, beside: typing.Iterable[str] = ()) -> list[tuple[str, str]]:
        """Return every fault of a selection as ``(dotted key, message)``; an empty list means that it can be built.

        ``beside`` names the other keys that may stand in the same section, so that a typo in one of them is recognised.
        """
        return self._validated(name, options, beside)[1]

    def build(self, name: str, options: Mapping[str, Any] | None = None) -> T:
        """Check ``options`` against the factory's signature and call it. Raise ``ValueError`` that names the key to change."""
        values, faults = self._validated(name, options or {})
        if faults:
            raise ValueError("; ".join(f"{key}: {message}" for key, message in faults))
        factory = self.get(name)
        own = _options(factory)
        built = factory(**{key: value for key, value in values.items() if key in own})
        others = {key: value for key, value in values.items() if key not in own}
        return built if self._common is None or not others else self._common(built, **others)

    def _validated(
        self, name: str, options: Mapping[str, Any], beside: typing.Iterable[str] = ()
    ) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        """Return the options as the factory wants them (a list becomes a tuple, 1 a float), and all faults."""
        if name not in self._factories:
            return {}, [(self._name_key, self._unknown(name))]
        parameters, hints = self.options(name), self.types(name)
        values: dict[str, Any] = {}
        faults = [
            (f"{self.key}.{p.name}", f"missing: {self.kind} '{name}' needs it.")
            for p in parameters.values()
            if p.default is p.empty and p.name not in options
        ]
        for option, value in options.items():
            if option not in parameters:
                known = [key for key in [*parameters, *beside] if key != "name"]
                message = f"not an option of {self.kind} '{name}'{suggest(option, known)}. Known: {', '.join(known) or 'none'}."
                faults.append((f"{self.key}.{option}", message))
                continue
            try:
                values[option] = _read(hints.get(option, Any), value)
            except ValidationError as error:
                faults += [(f"{self.key}.{option}", message) for message in dict.fromkeys(plain(e) for e in error.errors())]
        return values, faults

    def _unknown(self, name: object) -> str:
        return f"no {self.kind} is called '{name}'{suggest(str(name), self._factories)}. Known: {', '.join(self.names())}."


def _options(factory: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    return {p.name: p for p in inspect.signature(factory).parameters.values() if p.kind is p.KEYWORD_ONLY}


def _hints(factory: Callable[..., Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(factory)
    return {**hints, **typing.get_type_hints(factory.__init__)} if inspect.isclass(factory) else hints


def _read(hint: Any, value: Any) -> Any:
    """Check one option strictly: '64', 64.0 and true are no counts. By way of JSON, where a list may stand for a tuple."""
    reader: TypeAdapter[Any] = TypeAdapter(hint, config=ConfigDict(allow_inf_nan=False))
    return reader.validate_json(json.dumps(value, default=str), strict=True)


def discover(package: str) -> None:
    """Import every module of ``package``, so that its decorated factories register themselves."""
    path = importlib.import_module(package).__path__
    for module in pkgutil.iter_modules(path):
        importlib.import_module(f"{package}.{module.name}")

"""Read a configuration file of KubeEdge by a table that says what becomes of each key. Pure.

The tables are ``cloudcore.kubeedgeconfig`` and ``edgecore.kubeedgeconfig``. Nothing of a file gets
lost silently: a key is used, or it is named, unless it says what holds here anyway. As KubeEdge
does, keys are found whatever the size of their letters.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from msgspec import Struct

Convert = Callable[[Any], Mapping[str, object]]
"""Returns options by name, for a value; none for one that leaves it to the default.

Raises ValueError for a value that is none of this key."""


class Used(Struct, frozen=True):
    """A key that becomes options of ours."""

    convert: Convert
    default: object = None
    """KubeEdge's value where the file has none, if ours is another; None if not."""


class Unused(Struct, frozen=True):
    """A key that has no counterpart here: named, unless its value is one of ``usual``."""

    usual: tuple[object, ...] = ()
    """KubeEdge's defaults. Values that are empty need not be among them."""


class Quiet(Struct, frozen=True):
    """A key, with all below it, that is never named."""

    why: str
    """For readers of the table."""


class Fixed(Struct, frozen=True):
    """A key that can have one value only; with another one the file cannot be used."""

    value: object
    why: str


class Missing(Struct, frozen=True):
    """A part of KubeEdge that is not here: named where it is enabled, else without a meaning."""

    what: str
    """What it is for."""


Rule = Used | Unused | Quiet | Fixed | Missing


class Table(Struct, frozen=True):
    """What becomes of the keys of one kind of file."""

    api_version: str
    kind: str
    rules: Mapping[str, Rule]
    """By path: ``modules.cloudHub.https.port``."""


class Translated(Struct, frozen=True):
    """What a file says in our words."""

    options: Mapping[str, object]
    origins: Mapping[str, str]
    """For each option the path that it comes from."""
    unused: tuple[str, ...]
    """Paths that have no effect, each with what it is for where that is known."""
    faults: tuple[str, ...]
    """What cannot be used: ``path: why``."""


def translate(document: Mapping[str, object], table: Table) -> Translated:
    """Return what ``document`` says, by ``table``."""
    stated = (document.get("apiVersion"), document.get("kind", table.kind))
    if stated != (table.api_version, table.kind):
        fault = f"apiVersion: expected {table.api_version} of kind {table.kind}, not {stated[0]}"
        return Translated({}, {}, (), (fault,))
    return _Reading(table).read(document)


class _Reading:
    def __init__(self, table: Table) -> None:
        self._rules = {path.lower(): (path, rule) for path, rule in table.rules.items()}
        self._groups = {
            path[:at]
            for path in self._rules
            for at, character in enumerate(path)
            if character == "."
        }
        self._options: dict[str, object] = {}
        self._origins: dict[str, str] = {}
        self._unused: list[str] = []
        self._faults: list[str] = []
        self._seen: set[str] = set()

    def read(self, document: Mapping[str, object]) -> Translated:
        for path, value in self._leaves("", document):
            found = self._rules.get(path.lower())
            if found is None:
                if not _is_off(value):
                    self._unused.append(path)
            else:
                self._judge(path, found[1], value)
        for folded, (path, rule) in self._rules.items():
            if isinstance(rule, Used) and rule.default is not None and folded not in self._seen:
                self._use(path, rule, rule.default)
        unused, faults = tuple(self._unused), tuple(self._faults)
        return Translated(self._options, self._origins, unused, faults)

    def _leaves(self, parent: str, mapping: Mapping[Any, object]) -> Iterator[tuple[str, object]]:
        """Yield what there is a rule for, and the top of what there is none for."""
        for key, value in mapping.items():
            path = f"{parent}.{key}" if parent else str(key)
            if path in {"apiVersion", "kind"}:
                continue
            if path.lower() not in self._groups or path.lower() in self._rules:
                yield path, value
            elif isinstance(value, Mapping):
                yield from self._leaves(path, value)
            elif value is not None:
                self._faults.append(f"{path}: expected a mapping")

    def _judge(self, path: str, rule: Rule, value: object) -> None:
        match rule:
            case Used():
                if not _is_empty(value):
                    self._use(path, rule, value)
            case Unused(usual):
                if not _is_empty(value) and not any(_is_same(value, one) for one in usual):
                    self._unused.append(path)
            case Fixed(wanted, why):
                if value != wanted and value is not None:
                    self._faults.append(f"{path}: must be {str(wanted).lower()}: {why}")
            case Missing(what):
                if isinstance(value, Mapping) and value.get("enable"):
                    self._unused.append(f"{path} ({what})")
            case _:
                assert isinstance(rule, Quiet)

    def _use(self, path: str, rule: Used, value: object) -> None:
        self._seen.add(path.lower())
        try:
            options = rule.convert(value)
        except ValueError as error:
            self._faults.append(f"{path}: {error}")
            return
        for name, option in options.items():
            before = self._options.setdefault(name, option)
            origin = self._origins.setdefault(name, path)
            if isinstance(before, list) and isinstance(option, list) and origin != path:
                self._options[name] = [*before, *(one for one in option if one not in before)]
            elif before != option:
                self._faults.append(f"{path}: says another thing than {origin}: one is possible")


def text(name: str) -> Convert:
    """Return what takes a text as the option ``name``."""

    def convert(value: Any) -> Mapping[str, object]:
        if not isinstance(value, str):
            raise ValueError("expected a text")  # noqa: TRY004 - a fault of the file
        return {name: value}

    return convert


def number(name: str) -> Convert:
    """Return what takes a number as the option ``name``."""

    def convert(value: Any) -> Mapping[str, object]:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError("expected a number")  # noqa: TRY004 - a fault of the file
        return {name: value}

    return convert


def texts(name: str) -> Convert:
    """Return what takes a list of texts, of which empty ones are left out, as ``name``."""

    def convert(value: Any) -> Mapping[str, object]:
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise ValueError("expected a list of texts")
        found = [one for one in value if one]
        return {name: found} if found else {}

    return convert


def pairs(name: str) -> Convert:
    """Return what takes a mapping of texts as the option ``name``."""

    def convert(value: Any) -> Mapping[str, object]:
        if not isinstance(value, Mapping) or not all(
            isinstance(one, str) for pair in value.items() for one in pair
        ):
            raise ValueError("expected a mapping of texts")
        return {name: dict(value)}

    return convert


_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def _is_off(value: object) -> bool:
    return _is_empty(value) or (isinstance(value, Mapping) and value.get("enable") is False)


def _is_empty(value: object) -> bool:
    return value is None or value in ("", [], {})


def _is_same(value: object, usual: object) -> bool:
    """Whether both are the same, also as durations: ``1m`` is ``1m0s``."""
    if type(value) is type(usual) and value == usual:
        return True
    seconds = _seconds(value)
    return seconds is not None and seconds == _seconds(usual)


def _seconds(value: object) -> float | None:
    if not isinstance(value, str) or not value or _DURATION.sub("", value):
        return None
    return sum(float(amount) * _SECONDS[unit] for amount, unit in _DURATION.findall(value))

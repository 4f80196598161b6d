"""Judge a value that somebody has written for an option, and say what is expected there. Pure."""

from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Final, Literal, get_args, get_origin

import msgspec
from msgspec import Struct

from common.settings import Between, Check, FromText, Option

_YES_OR_NO: Final = {
    **dict.fromkeys(("true", "yes", "on", "y", "t", "1"), True),
    **dict.fromkeys(("false", "no", "off", "n", "f", "0"), False),
}
_SIMPLE: Final = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    Path: "a path",
}


def judge(one: Option, value: object) -> Any:
    """Return what ``value`` means for the option: text becomes what it stands for.

    Raises:
        ValueError: it is none of this option's; the text says what is expected.
    """
    kind = _kind(one)
    for item in kind.about:
        match item:
            case FromText(read) if isinstance(value, str):
                value = read(value)
            case _:
                pass
    if isinstance(value, str) and kind.plain in {bool, int, float}:
        value = value.strip()
        value = _YES_OR_NO.get(value.lower(), value) if kind.plain is bool else value
    try:
        judged = msgspec.convert(value, type=kind.plain, strict=False, dec_hook=_path)
    except msgspec.ValidationError:
        raise ValueError(f"expected {expected(one)}") from None
    for item in kind.about:
        match item:
            case Between() if not _is_between(item, judged):
                raise ValueError(f"expected {expected(one)}")
            case Check(check):
                check(judged)
            case _:
                pass
    return judged


def expected(one: Option) -> str:
    """Return in words what may stand for an option."""
    kind = _kind(one)
    words = _words(kind.plain)
    for item in kind.about:
        match item:
            case Between(least, most) if kind.plain in {int, float}:
                words += f" from {_number(least)}"
                words += "" if most is None else f" to {_number(most)}"
            case Between():
                words += ", not empty"
            case _:
                pass
    return words


def schema(options: Iterable[Option]) -> dict[str, object]:
    """Return the JSON Schema of a file that tells ``options``."""
    told = list(options)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": False,
        "properties": {one.name: _schema_of(one) for one in told},
        "required": [one.name for one in told if one.is_required],
    }


class _Kind(Struct, frozen=True):
    plain: Any
    about: tuple[object, ...]


def _kind(one: Option) -> _Kind:
    if get_origin(one.type) is not Annotated:
        return _Kind(one.type, ())
    plain, *about = get_args(one.type)
    return _Kind(plain, tuple(about))


def _is_between(bounds: Between, value: Any) -> bool:
    number = value if isinstance(value, int | float) else len(value)
    return bool(bounds.least <= number and (bounds.most is None or number <= bounds.most))


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)


def _words(plain: Any) -> str:
    if plain in _SIMPLE:
        return _SIMPLE[plain]
    if isinstance(plain, type) and issubclass(plain, Enum):
        return f"one of {', '.join(str(one.value) for one in plain)}"
    parts = get_args(plain)
    match get_origin(plain):
        case origin if origin is Literal:
            return f"one of {', '.join(parts)}"
        case origin if origin in {tuple, frozenset}:
            return f"a list, each {_words(parts[0])}"
        case origin if origin is dict:
            return f"a mapping, each {_words(parts[1])}"
        case _:
            return " or ".join(_words(part) for part in parts if part is not NoneType)


def _path(kind: type[Any], value: object) -> object:
    if kind is Path and isinstance(value, str | Path):
        return Path(value)
    raise ValueError(f"no {kind}")


def _schema_of(one: Option) -> dict[str, object]:
    kind = _kind(one)
    (found,), named = msgspec.json.schema_components([kind.plain], schema_hook=_path_schema)
    reference = str(found.get("$ref", ""))
    made: dict[str, object] = dict(named[reference.rpartition("/")[2]] if reference else found)
    for item in kind.about:
        match item:
            case Between(least, most) if kind.plain in {int, float}:
                made |= {"minimum": least} | ({} if most is None else {"maximum": most})
            case Between(least) if kind.plain is str:
                made["minLength"] = least
            case Between(least):
                made["minItems"] = least
            case FromText():  # also as one text
                made = {"anyOf": [made, {"type": "string"}]}
            case _:
                pass
    return made | {"description": one.help}


def _path_schema(kind: type[Any]) -> dict[str, object]:
    assert kind is Path
    return {"type": "string"}

"""Takes secrets out of what people hand on: configuration, logs, objects. Pure.

It is the second line of defence: who collects leaves Secrets and keys out by kind and place. What
is here finds what has got into a text all the same, and rather removes too much.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

REMOVED: Final = "(removed)"

_PEM: Final = re.compile(
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)", re.DOTALL
)
_JWT: Final = re.compile(r"(?<![\w-])eyJ[\w-]{6,}+\.[\w-]{2,}(?:\.[\w-]*)?")
_BEARER: Final = re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{6,}")
_USERINFO: Final = re.compile(r"(://)[^/\s:@]*:[^/\s@]*@")
_WORDS: Final = (
    r"(?:pass(?:word|wd|phrase)|secret|token|credentials?|authorization|api-?key|private-?key"
    r"|client-key-data|secret-?(?:access-?)?key|access-?key|dockerc(?:onfigjson|fg))"
).replace("-?", "[-_]?")
_AUTH: Final = r"auth(?=\\*[\"']|[ \t]*=|:[ \t])"  # not a host of that name, with its port
_MARK: Final = r"(?:\\*[\"'])?"  # a quote, which has backslashes in a text within a text
# From a quote to the next one with as many backslashes; without one, to the end of the line.
_QUOTED: Final = (
    r"(?P<escape>\\*)(?P<quote>[\"'])"
    r"(?:''|(?!(?<!\\)(?P=escape)(?P=quote))[^\n])*(?:(?P=escape)(?P=quote))?"
)
_SECRET: Final = rf"(?:{_QUOTED}|[^\s,;}}\]]+)"
_NAMED: Final = re.compile(rf"(?i)((?:{_WORDS}|{_AUTH}){_MARK}[ \t]*[=:][ \t]*){_SECRET}")
# As an environment has it: name: DB_PASSWORD, value: …
_NAME_AND_VALUE: Final = re.compile(
    rf"(?i)(\bname{_MARK}[ \t]*[=:][ \t]*{_MARK}[\w.-]{{0,100}}{_WORDS}{_MARK}"
    rf"[,;]?\s{{0,40}}{_MARK}value{_MARK}[ \t]*[=:][ \t]*){_SECRET}"
)
# As a command line has it, or a list of arguments in JSON or YAML: --token …
_OPTION: Final = re.compile(
    rf"(?i)((?<![\w-])--?[\w-]{{0,100}}{_WORDS}"
    rf"(?:{_MARK},?[ \t]+|{_MARK},|{_MARK}\n[ \t]*-[ \t]+|{_MARK},\n[ \t]*))(?!{_MARK}-){_SECRET}"
)
_SENSITIVE: Final = re.compile(rf"(?i)(?:{_WORDS}|auth)$|^(?:data|stringdata)$")
_SENSITIVE_OPTION: Final = re.compile(rf"(?i)^--?[\w-]*{_WORDS}$")
_LIMIT: Final = 8  # levels; what is nested deeper is nothing that people have written


def redact(text: str) -> str:
    """Return ``text`` without private keys, tokens, and what follows a word such as ``password``.

    Whether a value is secret is judged by its form and by the word before it, so that a path behind
    ``token:`` goes too.
    """
    text = _PEM.sub(REMOVED, text)
    text = _JWT.sub(REMOVED, text)
    text = _BEARER.sub(rf"\1 {REMOVED}", text)
    text = _USERINFO.sub(rf"\1{REMOVED}@", text)
    for pattern in (_NAMED, _NAME_AND_VALUE, _OPTION):
        text = pattern.sub(rf"\1{REMOVED}", text)
    return text


def redact_object(shown: Any, depth: int = 0) -> Any:
    """Return ``shown``, made of mappings, lists and values, without what seems to be secret.

    A value goes by its key (``password``, ``…-token``, ``data``), by the ``name`` beside it or by
    the option before it, a text by what is in it. Where an option names a file, say so by its key:
    ``token_file`` stays.
    """
    if depth > _LIMIT:
        return REMOVED
    if isinstance(shown, Mapping):
        name = str(shown.get("name", ""))
        return {
            key: _value(name if key == "value" else str(key), value, depth)
            for key, value in shown.items()
        }
    if isinstance(shown, list | tuple | set | frozenset):
        items = list(shown)
        return [_item(before, one, depth) for before, one in zip(["", *items], items, strict=False)]
    return redact(shown) if isinstance(shown, str) else shown


def _value(key: str, value: Any, depth: int) -> Any:
    if _SENSITIVE.search(key) and value not in (None, "", [], {}) and not isinstance(value, bool):
        return REMOVED
    return redact_object(value, depth + 1)


def _item(before: Any, item: Any, depth: int) -> Any:
    is_told = isinstance(before, str) and _SENSITIVE_OPTION.search(before)
    if is_told and isinstance(item, str) and not item.startswith("-"):
        return REMOVED
    return redact_object(item, depth + 1)

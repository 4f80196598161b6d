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
    r"|client-key-data)"
)
_NAMED: Final = re.compile(
    rf"(?i)({_WORDS.replace('-?', '[-_]?')}[\"']?[ \t]*[=:][ \t]*)"
    r"(?:\"[^\"\n]*\"|'[^'\n]*'|[^\s,;}\]]+)"
)
_SENSITIVE: Final = re.compile(rf"(?i){_WORDS.replace('-?', '[-_]?')}$|^(?:data|stringdata)$")
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
    return _NAMED.sub(rf"\1{REMOVED}", text)


def redact_object(shown: Any, depth: int = 0) -> Any:
    """Return ``shown``, made of mappings, lists and values, without what seems to be secret.

    A value goes by its key (``password``, ``…-token``, ``data``), a text by what is in it. Where an
    option names a file, say so by its key: ``token_file`` stays.
    """
    if depth > _LIMIT:
        return REMOVED
    if isinstance(shown, Mapping):
        return {key: _value(str(key), value, depth) for key, value in shown.items()}
    if isinstance(shown, list | tuple | set | frozenset):
        return [redact_object(one, depth + 1) for one in shown]
    return redact(shown) if isinstance(shown, str) else shown


def _value(key: str, value: Any, depth: int) -> Any:
    if _SENSITIVE.search(key) and value not in (None, "", [], {}) and not isinstance(value, bool):
        return REMOVED
    return redact_object(value, depth + 1)

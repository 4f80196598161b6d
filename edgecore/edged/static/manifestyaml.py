"""YAML as Kubernetes reads it: what is neither a number nor yes or no is text. Pure.

PyYAML's own reading makes dates of texts like ``2026-01-01`` and numbers of times like ``12:30``.

This is a module of its own because it costs an edge a MiB, which only one with such files pays:
whoever needs it imports it then.
"""

import re
from typing import Any, Final

import yaml

_NOT_OURS: Final = frozenset({"timestamp", "int", "float"})
_WHAT_TAGS_RAISE: Final = (ValueError, AttributeError, LookupError, TypeError, OverflowError)
"""The library believes ``!!timestamp x`` and ``!!bool x``, and then it fails."""

_PREFIX: Final = "tag:yaml.org,2002:"

_INT: Final = re.compile(r"[-+]?(0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]*|[1-9][0-9_]*)\Z")
_FLOAT: Final = re.compile(
    r"([-+]?([0-9][0-9_]*)?\.[0-9][0-9_]*([eE][-+]?[0-9]+)?"
    r"|[-+]?[0-9][0-9_]*(\.[0-9_]*([eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)"
    r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))\Z"
)


class YamlError(Exception):
    """A text is no YAML document; says where, and nothing of what stands there."""


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = {  # noqa: RUF012 - of the base class
        first: [
            (tag, pattern) for tag, pattern in found if tag.removeprefix(_PREFIX) not in _NOT_OURS
        ]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver(f"{_PREFIX}int", _INT, list("-+0123456789"))
_Loader.add_implicit_resolver(f"{_PREFIX}float", _FLOAT, list("-+0123456789."))


def parse_yaml(data: bytes) -> Any:
    """Return what the one document in ``data`` says; None if there is none.

    Raises:
        YamlError: it is not YAML, or there are several documents.
    """
    try:
        return yaml.load(data, _Loader)  # noqa: S506 - it is a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" in line {mark.line + 1}" if mark else ""
        raise YamlError(f"{error.problem or error.context}{place}") from error
    except (yaml.YAMLError, RecursionError, *_WHAT_TAGS_RAISE) as error:
        raise YamlError(type(error).__name__) from error

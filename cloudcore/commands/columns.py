"""Rows as people read them, and as programs do."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

_GAP: Final = 3


def lay_out(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return ``rows`` below ``head`` in columns as wide as they need, as ``kubectl get`` does.

    An empty cell is shown as ``-``, so that a row has as many words as there are columns, as long
    as no cell has a space in it.
    """
    table = [list(head), *([cell or "-" for cell in row] for row in rows)]
    widths = [max(map(len, column)) + _GAP for column in zip(*table, strict=True)]
    lines = ("".join(map(str.ljust, row, widths)).rstrip() for row in table)
    return "\n".join(lines)


def to_json(shown: Any) -> str:
    """Return ``shown`` in indented JSON; times are RFC 3339."""
    return msgspec.json.format(msgspec.json.encode(shown), indent=2).decode()

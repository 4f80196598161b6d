"""What commands print: rows as people read them, and JSON or YAML as programs do. Pure.

A command has one shape for programs, made of mappings with keys in camelCase, and a table for
people. The shape for programs is kept from version to version; the table is not.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, Final

import typer

_GAP: Final = 3
_EMPTY: Final = "-"
_RESET: Final = "\x1b[0m"


class OutputFormat(StrEnum):
    """How a command prints what it found."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


Output = Annotated[
    OutputFormat, typer.Option("--output", "-o", help="How to print: table, json or yaml.")
]
"""The option ``--output`` of a command."""


class Tone(StrEnum):
    """What a word in a table means to who reads it; the value is how a terminal shows it."""

    GOOD = "\x1b[32m"
    DOUBTFUL = "\x1b[33m"
    BAD = "\x1b[31m"


Tones = Mapping[str, Tone]
"""Words that are shown in a colour, where they are all that is in a cell."""


def has_colours(environ: Mapping[str, str], *, is_terminal: bool) -> bool:
    """Return whether colours help: on a terminal that has them, unless the user wants none.

    Source: https://no-color.org
    """
    return is_terminal and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def render(output: OutputFormat, shown: Any, table: Callable[[], str]) -> str:
    """Return the text to print, without a line's end.

    Args:
        output: what was asked for.
        shown: for programs: mappings with keys in camelCase, lists, texts, numbers, None and times.
        table: makes what people read.
    """
    if output is OutputFormat.JSON:
        return to_json(shown)
    if output is OutputFormat.YAML:
        return to_yaml(shown)
    return table()


def lay_out(head: Sequence[str], rows: Sequence[Sequence[str]], tones: Tones | None = None) -> str:
    """Return ``rows`` below ``head`` in columns as wide as they need, as ``kubectl get`` does.

    An empty cell is shown as ``-``, so that a row has as many words as there are columns, as long
    as no cell has a space in it. What a terminal would obey instead of showing it is replaced:
    cells hold what others have written.

    Args:
        head: the names of the columns.
        rows: their cells.
        tones: the colours of words; None where there is no terminal to show them.
    """
    table = [list(head), *([printable(cell) or _EMPTY for cell in row] for row in rows)]
    widths = [max(map(len, column)) + _GAP for column in zip(*table, strict=True)]
    return "\n".join(_line(row, widths, tones or {}) for row in table)


def printable(text: str) -> str:
    """Return ``text`` with a question mark for each character that is none to be read."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def to_json(shown: Any) -> str:
    """Return ``shown`` in indented JSON; times are RFC 3339."""
    import msgspec  # noqa: PLC0415 - what imports a daemon's options shall not pay for this

    return msgspec.json.format(msgspec.json.encode(shown), indent=2).decode()


def to_yaml(shown: Any) -> str:
    """Return ``shown`` in YAML, with the same names and texts as in JSON."""
    import msgspec  # noqa: PLC0415 - as above
    import yaml  # noqa: PLC0415 - as above

    text = yaml.safe_dump(msgspec.to_builtins(shown), sort_keys=False, allow_unicode=True)
    return str(text).rstrip("\n")


def _line(row: Sequence[str], widths: Sequence[int], tones: Tones) -> str:
    padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
    padded[-1] = row[-1]
    return "".join(
        text.replace(cell, f"{tones[cell]}{cell}{_RESET}", 1) if cell in tones else text
        for cell, text in zip(row, padded, strict=True)
    )

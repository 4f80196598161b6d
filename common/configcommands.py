"""``config show``, ``validate`` and ``schema``: what a daemon is told, and whether it may be.

All three judge as ``run`` does: the same file, environment and flags, and the same words.
"""

import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from common.commandline import as_sources_command, shown
from common.config import Loaded, Sources, load
from common.handover import to_plain
from common.judging import schema
from common.output import Output, OutputFormat, lay_out, render, to_json
from common.settings import Option, Settings

HIDDEN: Final = "(hidden)"
"""Stands for a secret that is set."""

_DEFAULT: Final = "default"


def config_commands(model: type[Settings], *, env_prefix: str) -> typer.Typer:
    """Return the group ``config`` of a daemon that ``model`` configures.

    Args:
        model: what ``run`` is told.
        env_prefix: see ``Sources``.
    """
    commands = typer.Typer(no_args_is_help=True, help="See and judge what run is told.")

    def show(sources: Callable[[], Sources], *, output: OutputFormat) -> None:
        """Print every option as run would have it now, and where it was told."""
        loaded = load(model, sources())
        rows = effective(model.options(), loaded)
        typer.echo(render(output, rows, lambda: _table(rows)))
        _say(loaded)

    def validate(sources: Callable[[], Sources]) -> None:
        """Judge a file as run would, with the environment and the flags that are given here."""
        wanted = sources()
        loaded = load(model, wanted)
        typer.echo(f"{wanted.file}: run takes it")
        _say(loaded)

    def print_schema() -> None:
        """Print the JSON Schema of the configuration file, for editors and other programs."""
        typer.echo(to_json(schema(model.options().values())))

    how = inspect.Parameter(
        "output", inspect.Parameter.KEYWORD_ONLY, default=OutputFormat.TABLE, annotation=Output
    )
    commands.command("show")(as_sources_command(model, show, env_prefix=env_prefix, more=(how,)))
    file = Annotated[
        Path, typer.Argument(metavar="FILE", help="YAML file, of our own or KubeEdge's.")
    ]
    commands.command("validate")(
        as_sources_command(model, validate, env_prefix=env_prefix, file=file)
    )
    commands.command("schema")(print_schema)
    return commands


def effective(options: Mapping[str, Option], loaded: Loaded[Any]) -> dict[str, dict[str, object]]:
    """Return value and origin of each option, as JSON has them; secrets are hidden."""
    return {
        name: {
            "value": _visible(one, getattr(loaded.settings, name)),
            "from": loaded.origins.get(name, _DEFAULT),
        }
        for name, one in options.items()
    }


def _visible(one: Option, value: object) -> object:
    return HIDDEN if one.is_secret and value else to_plain(value)


def _table(rows: Mapping[str, Mapping[str, object]]) -> str:
    return lay_out(
        ("OPTION", "VALUE", "FROM"),
        [(name, _cell(row["value"]), str(row["from"])) for name, row in rows.items()],
    )


def _cell(value: object) -> str:
    if isinstance(value, dict):
        return ",".join(f"{key}={one}" for key, one in value.items())
    return "" if value is None else shown(value)


def _say(loaded: Loaded[Any]) -> None:
    """Print what is to be known of the file where it is in no program's way."""
    for note in loaded.settings.notes:
        print(note, file=sys.stderr)  # noqa: T201 - the command line's own words

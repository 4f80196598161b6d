"""Commands that other packages add to ``cloudcore``, by entry points; loaded when they are named.

So cloudcore has ``edgesite`` where that is installed, and imports nothing of an edge.
"""

from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

import typer
from typer.core import TyperGroup

from common.errors import ConfigError

GROUP: Final = "cloudcore.commands"
"""Of entry points. Each names a function that returns a command as ``as_command`` does."""


class WithAdded(TyperGroup):
    """A group of commands, and what others add to it."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands."""
        return [*super().list_commands(ctx), *sorted(_added())]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command by its name; None where there is none.

        One that needs a package that is not installed says so when it is run.
        """
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        point = _added().get(cmd_name)
        return None if point is None else _loaded(point)


def _added() -> Mapping[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def _loaded(point: EntryPoint) -> Any:
    try:
        command = point.load()()
    except ModuleNotFoundError as error:
        command = _lacking(f"{point.name}: needs {error.name}: install cloudedge[cloud,edge]")
    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    alone.command(point.name)(command)
    return typer.main.get_command(alone)


def _lacking(fault: str) -> Callable[[], None]:
    def command() -> None:
        """Not installed."""
        raise ConfigError([fault])

    return command

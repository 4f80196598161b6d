"""The command line of edgecore."""

import os
import sys
from dataclasses import replace
from typing import Final

import typer

from common.commandline import add_version, as_command
from common.daemon import fail, raise_descriptor_limit, run_daemon
from common.errors import EdgeError
from common.handover import hand_over
from edgecore.commands.status import status
from edgecore.commands.store import store_commands
from edgecore.config import ENV_PREFIX, EdgeCoreSettings, HollowSettings
from edgecore.kubeedge.command import import_kubeedge
from edgecore.tokensource import SettingsT, clear_traces, credential_token, take_token

NAME: Final = "edgecore"


def main() -> None:
    """Run the command line; exit with 2 for a faulty configuration and 1 for a failure."""
    try:
        _commands()()
    except EdgeError as error:
        fail(NAME, [error])


def _commands() -> typer.Typer:
    # Without rich: it would cost an edge some MiB for as long as it runs.
    commands = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
        help="Run the pods of an edge machine, with or without its cloud.",
    )
    add_version(commands, NAME)
    commands.command("run")(as_command(EdgeCoreSettings, run, env_prefix=ENV_PREFIX))
    commands.command("import")(import_kubeedge)
    commands.add_typer(store_commands(), name="store")
    commands.command("status")(status)
    commands.command("hollow")(as_command(HollowSettings, hollow, env_prefix=ENV_PREFIX))
    return commands


def run(settings: EdgeCoreSettings) -> None:
    """Run this edge until SIGTERM or SIGINT; a second signal stops it at once."""
    hand_over("edgecore.daemon", _without_traces(settings), settings.node_name)


def hollow(settings: HollowSettings) -> None:
    """Run many edges without containers in one process, for tests of the cloud's scale."""
    # Not at the top: no other command runs an edge by itself.
    from edgecore.app import run_hollow  # noqa: PLC0415

    raise_descriptor_limit()  # each edge holds seven files
    run_daemon(NAME, run_hollow, _without_traces(settings))


def _without_traces(settings: SettingsT) -> SettingsT:
    """Return ``settings`` with the token in them, which lies nowhere else afterwards."""
    notes = clear_traces(os.environ, sys.argv)
    taken = take_token(credential_token(settings, os.environ), sys.stdin.buffer)
    return replace(taken, notes=(*taken.notes, *notes))

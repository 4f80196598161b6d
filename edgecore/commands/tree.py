"""All commands of edgecore, as typer knows them."""

import typer

from common.commandline import add_version, as_command
from common.configcommands import config_commands
from edgecore.commands.doctor import doctor_command
from edgecore.commands.running import NAME, hollow, run
from edgecore.commands.status import status
from edgecore.commands.store import store_commands
from edgecore.commands.supportbundle import support_bundle_command
from edgecore.config import ENV_PREFIX, EdgeCoreSettings, HollowSettings
from edgecore.install.commands import join, reset
from edgecore.install.slotcommands import rollback, upgrade
from edgecore.kubeedge.command import import_kubeedge


def commands() -> typer.Typer:
    """Return edgecore's command line."""
    made = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,  # a device may be slow, and rich takes its time
        pretty_exceptions_enable=False,
        add_completion=True,
        help="Run the pods of an edge machine, with or without its cloud.",
    )
    add_version(made, NAME)
    made.command("run")(as_command(EdgeCoreSettings, run, env_prefix=ENV_PREFIX))
    made.command("join")(join)
    made.command("reset")(reset)
    made.command("upgrade")(upgrade)
    made.command("rollback")(rollback)
    made.command("import")(import_kubeedge)
    made.add_typer(config_commands(EdgeCoreSettings, env_prefix=ENV_PREFIX), name="config")
    made.add_typer(store_commands(), name="store")
    made.command("status")(status)
    made.command("doctor")(doctor_command())
    made.command("support-bundle")(support_bundle_command())
    made.command("hollow")(as_command(HollowSettings, hollow, env_prefix=ENV_PREFIX))
    return made

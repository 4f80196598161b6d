"""The command line of cloudcore."""

from collections.abc import Callable
from functools import partial

import typer

from cloudcore import app
from cloudcore.commands.added import WithAdded
from cloudcore.commands.ca import ca_commands
from cloudcore.commands.cert import cert_commands
from cloudcore.commands.doctor import doctor
from cloudcore.commands.init import ENV_PREFIX as INIT_ENV_PREFIX
from cloudcore.commands.init import InitSettings, init
from cloudcore.commands.nodes import nodes
from cloudcore.commands.supportbundle import support_bundle
from cloudcore.commands.token import token_commands
from cloudcore.config import ENV_PREFIX, CloudCoreSettings
from cloudcore.memory import give_large_blocks_own_pages
from common.commandline import add_version, as_command, as_rereading_command
from common.configcommands import config_commands
from common.daemon import raise_descriptor_limit, run_daemon
from common.errors import EdgeError
from common.failing import fail

NAME = "cloudcore"


def main() -> None:
    """Run the command line; exit with 2 for a faulty configuration and 1 for a failure."""
    try:
        _commands()()
    except EdgeError as error:
        fail(NAME, [error])


def _commands() -> typer.Typer:
    commands = typer.Typer(
        cls=WithAdded,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=True,
        help="Join edge machines to a Kubernetes cluster.",
    )
    add_version(commands, NAME)
    commands.command("run")(as_rereading_command(CloudCoreSettings, run, env_prefix=ENV_PREFIX))
    commands.command("init")(as_command(InitSettings, init, env_prefix=INIT_ENV_PREFIX))
    commands.command("nodes")(nodes)
    commands.command("doctor")(doctor)
    commands.command("support-bundle")(support_bundle)
    commands.add_typer(config_commands(CloudCoreSettings, env_prefix=ENV_PREFIX), name="config")
    commands.add_typer(token_commands(), name="token")
    commands.add_typer(ca_commands(), name="ca")
    commands.add_typer(cert_commands(), name="cert")
    return commands


def run(read: Callable[[], CloudCoreSettings]) -> None:
    """Serve the edges of a cluster until SIGTERM or SIGINT; a second signal stops it at once.

    SIGHUP makes it read its configuration again, of which a changed --advertise-address holds at
    once.
    """
    settings = read()
    raise_descriptor_limit()  # each connection is one
    give_large_blocks_own_pages()  # and has a large buffer
    run_daemon(NAME, partial(app.run, reread=read), settings)

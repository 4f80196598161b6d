"""The command line of cloudcore."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from cloudcore import app
from cloudcore.cloudhub import credentials, tokens
from cloudcore.config import ENV_PREFIX, CloudCoreSettings
from cloudcore.kube.client import KubeClient
from cloudcore.memory import give_large_blocks_own_pages
from common.config import as_command
from common.daemon import add_version, fail, raise_descriptor_limit, run_daemon
from common.errors import EdgeError

NAME = "cloudcore"


def main() -> None:
    """Run the command line; exit with 2 for a faulty configuration and 1 for a failure."""
    try:
        _commands()()
    except EdgeError as error:
        fail(NAME, [error])


def _commands() -> typer.Typer:
    commands = typer.Typer(
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
        help="Join edge machines to a Kubernetes cluster.",
    )
    add_version(commands, NAME)
    commands.command("run")(as_command(CloudCoreSettings, run, env_prefix=ENV_PREFIX))
    token = typer.Typer(no_args_is_help=True, help="Tokens with which edges join.")
    token.command("create")(create_token)
    token.callback()(_group)
    commands.add_typer(token, name="token")
    return commands


def _group() -> None:
    """Keep ``token create`` a command of a group, however few commands that has."""


def run(settings: CloudCoreSettings) -> None:
    """Serve the edges of a cluster until SIGTERM or SIGINT; a second signal stops it at once."""
    raise_descriptor_limit()  # each connection is one
    give_large_blocks_own_pages()  # and has a large buffer
    run_daemon(NAME, app.run, settings)


def create_token(
    kubeconfig: Annotated[
        Path | None, typer.Option(help="How to reach the API server; not needed inside a pod.")
    ] = None,
    node_name: Annotated[
        str,
        typer.Option(
            help="Bind the token to this node; it then enrols it though the name is taken."
        ),
    ] = "",
    ttl_hours: Annotated[
        float,
        typer.Option(
            min=0.01,
            max=tokens.MAX_LIFETIME / timedelta(hours=1),
            help="Hours for which the token is good.",
        ),
    ] = 24.0,
) -> None:
    """Print a join token, alone on one line."""
    typer.echo(asyncio.run(_create_token(kubeconfig, node_name, timedelta(hours=ttl_hours))))


async def _create_token(kubeconfig: Path | None, node: str, lifetime: timedelta) -> str:
    now = datetime.now(UTC)
    async with KubeClient(kubeconfig) as client:
        authority = await credentials.load_authority(client, now)
    return tokens.new_token(authority, now, lifetime, node)

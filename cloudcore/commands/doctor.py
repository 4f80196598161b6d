"""``cloudcore doctor``: what is wrong with a cluster and its cloudcores, and how to fix it."""

import os
import sys
from typing import Annotated

import typer

from cloudcore.commands.asking import Kubeconfig, ask
from cloudcore.doctor.looking import Place, look
from common.checks import Finding, as_json, as_text, exit_code
from common.output import has_colours
from common.underway import Underway

Addresses = Annotated[
    str,
    typer.Option(
        "--advertise-address",
        envvar="CLOUDCORE_ADVERTISE_ADDRESS",
        help="Names and addresses by which edges reach cloudcore, with commas between.",
    ),
]
WebsocketPort = Annotated[
    int,
    typer.Option(min=1, max=65535, help="Where edges connect.", envvar="CLOUDCORE_WEBSOCKET_PORT"),
]
HttpsPort = Annotated[
    int, typer.Option(min=1, max=65535, help="Where edges enrol.", envvar="CLOUDCORE_HTTPS_PORT")
]


def doctor(
    *,
    kubeconfig: Kubeconfig = None,
    advertise_address: Addresses = "",
    websocket_port: WebsocketPort = 10000,
    https_port: HttpsPort = 10002,
    json: Annotated[bool, typer.Option("--json", help="Print for programs.")] = False,
) -> None:
    """Look at the API server, rights, certificates, ports and nodes; exit with 3 if a check fails.

    Nothing is changed. Give the addresses that edges use, and run it from where edges are, or as
    near to them as you can.
    """
    place = place_of(advertise_address, websocket_port, https_port)
    with Underway("looking at cloudcore and its cluster"):
        findings: list[Finding] = ask(kubeconfig, lambda client: look(client, place))
    colours = has_colours(os.environ, is_terminal=sys.stdout.isatty())
    typer.echo(as_json(findings) if json else as_text(findings, has_colours=colours))
    raise typer.Exit(exit_code(findings))


def place_of(addresses: str, websocket_port: int, https_port: int) -> Place:
    """Return where cloudcore is to be looked for; ``addresses`` have commas between them."""
    named = tuple(part.strip() for part in addresses.split(",") if part.strip())
    return Place(named, websocket_port, https_port)

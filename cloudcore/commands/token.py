"""``cloudcore token``: make, list and revoke the tokens with which edges join."""

import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from msgspec import Struct

from cloudcore.commands.asking import Kubeconfig, ask
from cloudcore.kube.client import KubeClient
from cloudcore.trust import authoritystore, tokenrecord, tokens
from cloudcore.trust.authoritystore import RotationError
from cloudcore.trust.keptsecrets import NAMESPACE
from cloudcore.trust.tokenrecord import Kept, TokenRecord
from cloudcore.trust.tokenrecords import TokenRecords
from common.clock import rfc3339
from common.errors import ConfigError
from common.files import write_private
from common.output import Output, OutputFormat, lay_out, render

_HEAD: Final = ("NAME", "FOR", "STATE", "EXPIRES", "SINGLE-USE", "USED-BY", "USED", "REVOKED")
_ID_BYTES: Final = 16
_ANY: Final = "any"


class Wish(Struct, frozen=True):
    """What a new token is to be."""

    name: str
    node: str
    lifetime: timedelta
    single_use: bool


def token_commands() -> typer.Typer:
    """Return the group ``token``."""
    group = typer.Typer(no_args_is_help=True, help="Tokens with which edges join.")
    group.command("create")(create)
    group.command("list")(list_all)
    group.command("revoke")(revoke)
    return group


def create(
    *,
    kubeconfig: Kubeconfig = None,
    name: Annotated[
        str, typer.Option(help="What to call the token; a name is made up if none is given.")
    ] = "",
    node_name: Annotated[
        str,
        typer.Option(
            help="Bind the token to this node, which it then enrols though the name is taken; or to"
            " the nodes of a pattern such as 'store-*', as long as their names are free."
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
    single_use: Annotated[
        bool, typer.Option("--single-use", help="Let the token enrol one machine only.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(help="Write the token to this file, which only its owner may read."),
    ] = None,
) -> None:
    """Print a join token, alone on one line."""
    name = name or f"token-{secrets.token_hex(4)}"
    wish = Wish(name, node_name, timedelta(hours=ttl_hours), single_use)
    _require_sound(wish, output)
    token = ask(kubeconfig, lambda client: _create(client, wish))
    if output is None:
        typer.echo(token)
        return
    try:
        write_private(output, f"{token}\n".encode())
    except OSError as error:
        ask(kubeconfig, lambda client: _revoke(client, name))  # nobody will ever have it
        raise ConfigError([f"--output: {output}: {error.strerror}"]) from error


def list_all(
    *,
    kubeconfig: Kubeconfig = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """List the tokens: for whom they are, until when, and whether they were used or revoked.

    Expired ones are listed for a week more.
    """
    listed = ask(kubeconfig, lambda client: TokenRecords(client).list())
    now = datetime.now(UTC)
    shown = [_item(kept, now) for kept in listed.records]
    rows = [_row(kept, now) for kept in listed.records]
    typer.echo(render(output, shown, lambda: lay_out(_HEAD, rows)))
    for fault in listed.faults:
        typer.echo(fault, err=True)


def revoke(
    name: Annotated[str, typer.Argument(help="Of the token, as `cloudcore token list` shows it.")],
    *,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Have a token let in nobody any more; nodes that it has let in are not touched."""
    kept = ask(kubeconfig, lambda client: _revoke(client, name))
    used = kept.record.used
    if used is not None:
        by = used.node if kept.record.single_use else f"{used.node} and maybe others"
        typer.echo(
            f"{name} was used before, by {by}: `cloudcore cert revoke` shuts a node out", err=True
        )


def _require_sound(wish: Wish, output: Path | None) -> None:
    """Raise a ``ConfigError`` that names all faults, if there are any."""
    faults = []
    if fault := tokenrecord.fault_of_name(wish.name):
        faults.append(f"--name: {fault}")
    if wish.node and (fault := tokenrecord.fault_of_nodes(wish.node)):
        faults.append(f"--node-name: {fault}")
    if output is not None and output.is_symlink() | (output.exists() and not output.is_file()):
        faults.append(f"--output: {output}: not a file")
    if faults:
        raise ConfigError(faults)


async def _create(client: KubeClient, wish: Wish) -> str:
    now = datetime.now(UTC)
    found = await authoritystore.find_authorities(client)
    if found is None:  # one that is made here would be taken over, and shut all edges out
        raise RotationError(
            "there is no authority: `cloudcore run` makes one, or restore the Secret"
            f" {NAMESPACE}/{authoritystore.CA_SECRET}"
        )
    authority = found.current
    expires = tokenrecord.to_whole_seconds(now + wish.lifetime)
    token_id = secrets.token_hex(_ID_BYTES)
    bound = wish.node if tokenrecord.is_exact(wish.node) else ""
    token = tokens.new_named_token(authority, expires, wish.name, token_id, bound)
    record = TokenRecord(
        digest=tokenrecord.digest_of(token.partition(".")[2]),
        expires=expires,
        node=wish.node,
        single_use=wish.single_use,
    )
    await TokenRecords(client).create(wish.name, record)
    return token


async def _revoke(client: KubeClient, name: str) -> Kept:
    return await TokenRecords(client).revoke(name, datetime.now(UTC))


def _row(kept: Kept, now: datetime) -> list[str]:
    record = kept.record
    return [
        kept.name,
        record.node or _ANY,
        record.state(now),
        rfc3339(record.expires),
        "yes" if record.single_use else "no",
        record.used.node if record.used else "",
        rfc3339(record.used.time) if record.used else "",
        rfc3339(record.revoked) if record.revoked else "",
    ]


def _item(kept: Kept, now: datetime) -> dict[str, Any]:
    record = kept.record
    used = record.used and {"node": record.used.node, "time": rfc3339(record.used.time)}
    return {
        "name": kept.name,
        "node": record.node or None,
        "state": record.state(now),
        "expires": rfc3339(record.expires),
        "singleUse": record.single_use,
        "used": used,
        "revoked": rfc3339(record.revoked) if record.revoked else None,
    }

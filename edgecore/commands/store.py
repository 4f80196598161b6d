"""``edgecore store``: what this edge holds, whether edgecore runs or not; never writes."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from common.errors import StoreError
from common.output import Output, OutputFormat, lay_out, render, to_json, to_yaml
from edgecore.commands import storeview
from edgecore.commands.place import ConfigOption, DataDirOption, find_place, key_of
from edgecore.edgestore.reading import read_store
from edgecore.edgestore.store import FILE_NAME


def store_commands() -> typer.Typer:
    """Return the group ``store``."""
    group = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        help="What this edge holds; works beside a running edgecore, and without a cloud.",
    )
    group.command("ls")(ls)
    group.command("get")(get)
    return group


def ls(
    kind: Annotated[
        str | None, typer.Argument(help="pods, configmaps, secrets, …; everything unless given.")
    ] = None,
    *,
    namespace: Annotated[
        str | None, typer.Option("--namespace", "-n", help="Of this namespace only.")
    ] = None,
    output: Output = OutputFormat.TABLE,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """List what this edge holds, without the contents."""
    wanted = None if kind is None else storeview.kind_of(kind)
    path = find_place(config, data_dir).data_dir / FILE_NAME
    held = read_store(path, lambda reader: reader.listing(wanted, namespace))
    typer.echo(
        render(
            output,
            {"items": [storeview.item(one) for one in held]},
            lambda: lay_out(storeview.HEAD, [storeview.row(one) for one in held]),
        )
    )


def get(
    kind: Annotated[str, typer.Argument(help="pod, configmap, secret, …")],
    name: Annotated[
        str, typer.Argument(metavar="[NAMESPACE/]NAME", help="The namespace is default if missing.")
    ],
    *,
    output: Output = OutputFormat.YAML,
    reveal: Annotated[
        bool, typer.Option("--reveal", help="Show what is secret, too; needs the edge-store's key.")
    ] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Show one object as this edge holds it; what is secret in it is hidden unless asked for."""
    kind = storeview.kind_of(kind)
    place = find_place(config, data_dir)
    found = _find(place.data_dir, kind, storeview.name_of(kind, name))
    shown = found if reveal else storeview.without_secrets(kind, found)
    typer.echo(to_json(shown) if output is OutputFormat.JSON else to_yaml(shown))


def _find(folder: Path, kind: str, name: tuple[str, str]) -> Any:
    keys = key_of(folder)
    found = read_store(folder / FILE_NAME, lambda reader: reader.get(kind, *name, keys))
    words = "/".join(part for part in name if part)
    if found is None:
        raise StoreError(
            f"this edge holds no {kind} {words}; `edgecore store ls` lists what it has"
        )
    if found.value is None:
        raise StoreError(
            f"{kind} {words} is here (UID {found.held.uid}, version {found.held.version}) and"
            f" cannot be opened: {keys} is not the key that sealed it. Put that key back, or let"
            " edgecore connect: it asks the cloud for what it cannot open"
        )
    return json.loads(found.value)

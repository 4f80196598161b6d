"""The command lines of both daemons: a flag for each option of a configuration."""

import inspect
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import typer

from common.config import SettingsT, Sources, load
from common.settings import Option, Settings

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        help="YAML file with the same options, or KubeEdge's; environment and flags win over it."
    ),
]
"""Where a command has its file, if it has one."""


def as_command(
    model: type[SettingsT], run: Callable[[SettingsT], None], *, env_prefix: str
) -> Callable[..., None]:
    """Return ``run`` as a typer command that has a flag for each option of ``model``.

    ``run`` is called with the loaded configuration. Flags have no defaults of their own, so that
    what was not given is known; the help shows the model's.

    Args:
        model: the configuration.
        run: what the command does.
        env_prefix: see ``Sources``.
    """

    def read_once(read: Callable[[], SettingsT]) -> None:
        run(read())

    read_once.__doc__ = run.__doc__
    return as_rereading_command(model, read_once, env_prefix=env_prefix)


def as_rereading_command(
    model: type[SettingsT], run: Callable[[Callable[[], SettingsT]], None], *, env_prefix: str
) -> Callable[..., None]:
    """Return ``run`` as ``as_command`` does, for a command that reads its configuration again.

    ``run`` is called with what reads the configuration, and does so each time it is called: file
    and environment as they are then, and the flags of this command, which still win over both.
    """

    def with_sources(sources: Callable[[], Sources]) -> None:
        run(lambda: load(model, sources()).settings)

    with_sources.__doc__ = run.__doc__
    return as_sources_command(model, with_sources, env_prefix=env_prefix)


def as_sources_command(
    model: type[Settings],
    run: Callable[..., None],
    *,
    env_prefix: str,
    file: Any = ConfigFile,
    more: Sequence[inspect.Parameter] = (),
) -> Callable[..., None]:
    """Return ``run`` as ``as_command`` does, called with what returns where it is all to be read.

    Args:
        model: the configuration.
        run: what the command does; gets a function that returns ``Sources``, and ``more`` by name.
        env_prefix: see ``Sources``.
        file: what typer is to know of the parameter ``config``.
        more: further parameters of the command.
    """
    others = {one.name for one in more}

    def command(config: Path | None = None, **told: object) -> None:
        flags = {name: value for name, value in told.items() if name not in others}
        run(
            lambda: Sources(env_prefix, config, os.environ, flags),
            **{name: told[name] for name in others},
        )

    is_needed = file is not ConfigFile
    parameters = [
        inspect.Parameter(
            "config",
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if is_needed else None,
            annotation=file,
        ),
        *(_parameter(one, env_prefix) for one in model.options().values()),
        *more,
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined] # what typer reads
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__doc__ = run.__doc__
    return command


def add_version(commands: typer.Typer, name: str) -> None:
    """Give the program ``name`` an option ``--version``."""

    def show(wanted: bool) -> None:  # noqa: FBT001 - the signature of typer's callbacks
        if wanted:
            # Not at the top: it brings half a MiB along.
            from importlib.metadata import version  # noqa: PLC0415

            typer.echo(f"{name} {version('cloudedge')}")
            raise typer.Exit

    @commands.callback()
    def root(
        *,
        show_version: Annotated[
            bool,
            typer.Option(
                "--version", callback=show, is_eager=True, help="Print the version and exit."
            ),
        ] = False,
    ) -> None:
        del show_version  # its callback has done it


def _parameter(one: Option, env_prefix: str) -> inspect.Parameter:
    default = "" if one.is_required else f" (default: {shown(one.default)})"
    help_text = f"{one.help}{default} (env: {env_prefix}{one.name.upper()})"
    # Text is passed on as it is: the model is the one that judges values, wherever they come from.
    kind: Any = bool | None if one.type is bool else str | None
    flag = typer.Option(help=help_text, show_default=False)
    if one.type is not bool:
        flag.metavar = _metavar(one.type)
    return inspect.Parameter(
        one.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, flag]
    )


def shown(value: object) -> str:
    """Return a value as an option is written."""
    if isinstance(value, frozenset):
        value = sorted(value)
    return ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def _metavar(annotated: Any) -> str:
    kind = get_args(annotated)[0] if get_origin(annotated) is Annotated else annotated
    return kind.__name__.upper() if isinstance(kind, type) else "VALUE"

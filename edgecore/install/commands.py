"""``edgecore join`` and ``edgecore reset``, as they stand on the command line."""

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from common.config import Sources, load, read_document
from common.errors import ConfigError, RuntimeServiceError
from common.underway import Underway
from edgecore.commands.place import CONFIG_FILE, DATA_DIR
from edgecore.config import ENV_PREFIX, EdgeCoreSettings, RuntimeName
from edgecore.doctor.lookmachine import strangers
from edgecore.edged.runtime.base import Runtime
from edgecore.install import joining, resetting
from edgecore.install.installer import install, version_of
from edgecore.install.machine import Machine
from edgecore.install.slotcommands import as_edge_errors
from edgecore.install.slots import HOME, is_in_slot, launcher_of, read_state
from edgecore.tokensource import take_token

EXIT_REFUSED: Final = 4
"""The user answered no."""

_CONFIG_NAME: Final = CONFIG_FILE.name
_KUBELET: Final = "kubelet"
_PROC: Final = Path("/proc")
_SHOWN_PODS: Final = 10

RootOption = Annotated[
    Path,
    typer.Option("--root", help="Furnish this folder instead of the machine; nothing is started."),
]
ConfigDirOption = Annotated[
    Path, typer.Option(help="Folder of the configuration, edgecore.yaml.", show_default=True)
]


def join(  # noqa: PLR0913 - the options of the command
    host: Annotated[
        str,
        typer.Argument(
            metavar="HOST", help="Name or address of cloudcore, as it stands in its certificate."
        ),
    ],
    *,
    token_file: Annotated[
        Path | None,
        typer.Option(help="File with the join token, or - for standard input. It is not kept."),
    ] = None,
    node_name: Annotated[
        str | None, typer.Option(help="Name of this edge's Node; the host's name unless given.")
    ] = None,
    runtime: Annotated[
        RuntimeName | None, typer.Option(help="What runs the pods; cri where nothing was said.")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option(help="KEY=VALUE: a label of the Node; may be repeated.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="OPTION=VALUE: any other option of edgecore run; may be repeated."
        ),
    ] = None,
    config_dir: ConfigDirOption = CONFIG_FILE.parent,
    data_dir: Annotated[
        Path | None,
        typer.Option(help=f"Folder of what this edge keeps; {DATA_DIR} where nothing was said."),
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option(
            help="Install the version in this bundle first, and run that: needs no network."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Look, and say what would be done; change nothing.")
    ] = False,
    root: RootOption = Path("/"),
) -> None:
    """Make this machine an edge of a cluster: look, enrol, configure, start, wait.

    What is as it should be is left alone: it may be called again, also to change something. What
    the configuration says already holds unless it is said anew.
    """
    machine, config = Machine(root), config_dir / _CONFIG_NAME
    if bundle is not None and not machine.is_here:
        raise ConfigError(
            [f"--bundle: a version runs only where it was installed: not with --root {root}"]
        )
    present = _present(machine, config)
    given = options_of(
        {
            "cloud": host,
            "node_name": node_name,
            "runtime": runtime,
            "labels": ",".join(label or []) or None,
        },
        settings or [],
        data_dir or Path(str(present.get("data_dir", DATA_DIR))),
    )
    told = _judged(machine, config if present else None, given, token_file)
    options = {**present, **given, "runtime": told.runtime.value}
    options["node_name"] = told.node_name  # the host may be renamed, and the node may not
    if "labels" in given:
        options["labels"] = told.labels
    wish = joining.Wish(told, options, config, command_of(bundle is not None), present)
    if dry_run:
        with Underway(f"looking whether this machine can join {host}") as underway:
            asyncio.run(joining.plan(wish, machine, underway.say))
        return
    installing = None if bundle is None else partial(install_bundle, bundle, HOME)
    with Underway(f"joining {host}") as underway:
        asyncio.run(joining.join(wish, machine, underway.say, install=installing))


def _present(machine: Machine, config: Path) -> Mapping[str, object]:
    """Return the options in the configuration; none where there is none, or it is KubeEdge's.

    Raises:
        ConfigError: it cannot be read.
    """
    file = machine.path(config)
    if not machine.is_root() or not file.exists():
        return {}
    document = read_document(file)
    return {} if "apiVersion" in document else document


def _judged(
    machine: Machine, config: Path | None, given: Mapping[str, object], token_file: Path | None
) -> EdgeCoreSettings:
    """Return what edgecore will be told: what is given lies over what the configuration says.

    Raises:
        ConfigError: it cannot be used; the text says where each fault stands.
    """
    flags = {**given, "data_dir": machine.path(Path(str(given["data_dir"])))}
    if token_file is not None:
        flags |= {"token": "", "token_file": token_file}
    file = None if config is None else machine.path(config)
    told = load(EdgeCoreSettings, Sources(ENV_PREFIX, file, {}, flags)).settings
    told = take_token(told, sys.stdin.buffer)
    return replace(told, token=told.read_token(), token_file=None)


def install_bundle(bundle: Path, home: Path, say: Callable[[str], None]) -> None:
    """Install the version in ``bundle``; say so, and whether it is another one that runs.

    Raises:
        EdgeError: it cannot be installed.
    """
    with as_edge_errors():
        for line in install(bundle, home):
            say(line)
        installed, current = version_of(bundle), read_state(home).current
    if installed != current:
        say(f"not chosen: version {current} runs; `edgecore upgrade --to {installed}` tries it")


def options_of(
    named: Mapping[str, object], settings: Sequence[str], data_dir: Path
) -> dict[str, Any]:
    """Return what is to stand in the configuration, by the names of options.

    Raises:
        ConfigError: one is no option, or is no ``OPTION=VALUE``, or is the token.
    """
    options = {name: value for name, value in named.items() if value is not None}
    for one in settings:
        name, equals, value = one.partition("=")
        name = name.strip().replace("-", "_")
        if not equals:
            raise ConfigError([f"--set {one}: expected OPTION=VALUE"])
        if name in {"token", "token_file", "data_dir", *named}:
            raise ConfigError([f"--set {name}: there is a flag of its own for it"])
        options[name] = value
    return {**options, "data_dir": str(data_dir)}


def command_of(is_bundled: bool) -> tuple[str, ...]:  # noqa: FBT001 - one fact
    """Return what runs edgecore from now on: the launcher of slots, or this very program."""
    if is_bundled or is_in_slot(Path(sys.prefix)):
        return (str(launcher_of(HOME)),)
    return (str(Path(sys.executable).with_name("edgecore")),)


def reset(
    *,
    keep_data: Annotated[
        bool, typer.Option("--keep-data", help="Leave the data folder, with certificate and store.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    config_dir: ConfigDirOption = CONFIG_FILE.parent,
    root: RootOption = Path("/"),
) -> None:
    """Take edgecore from this machine: its service, its pods, its configuration and its data.

    Nothing is done in the cloud: delete the Node there, and revoke its certificate, if it is to go.
    """
    machine, config = Machine(root), config_dir / _CONFIG_NAME
    if not machine.is_root():
        raise ConfigError(["only root can take edgecore from this machine: run it with sudo"])
    told = _told(machine, config)
    if told is None:
        typer.echo(f"unchanged: there is no {config}, so this machine has not joined")
        return
    here = replace(told, data_dir=machine.path(told.data_dir))
    make = _runtime(machine, here)
    if not yes and not _is_agreed(here.node_name, make):
        typer.echo("nothing was done", err=True)
        raise typer.Exit(EXIT_REFUSED)
    removal = resetting.Removal(
        config, told.data_dir, told.root_dir or told.data_dir, keeps_data=keep_data
    )
    with Underway("taking edgecore from this machine") as underway:
        asyncio.run(resetting.reset(removal, machine, make, underway.say))


def _told(machine: Machine, config: Path) -> EdgeCoreSettings | None:
    file = machine.path(config)
    if not file.exists():
        return None
    return load(EdgeCoreSettings, Sources(ENV_PREFIX, file, {}, {})).settings


def _runtime(machine: Machine, settings: EdgeCoreSettings) -> Callable[[], Runtime] | None:
    """Return what makes the runtime whose pods end; None where that is not ``machine``'s own.

    Raises:
        ConfigError: a kubelet runs, whose pods the engine would show as well.
    """
    if settings.runtime is RuntimeName.CRI:
        if not machine.is_here:  # the engine is that of the machine this is typed on
            return None
        if _KUBELET in strangers(_PROC):
            raise ConfigError(["kubelet runs here, and its pods would end as well: stop it first"])
    # Not at the top: it brings the whole daemon along.
    from edgecore.app import runtime_of  # noqa: PLC0415

    return lambda: runtime_of(settings)


def _is_agreed(node_name: str, make: Callable[[], Runtime] | None) -> bool:
    try:
        pods = [] if make is None else asyncio.run(resetting.pods_of(make()))
    except RuntimeServiceError as error:
        typer.echo(f"which pods run here cannot be said: {error}", err=True)
        pods = []
    names = [f"{pod.namespace}/{pod.name}" for pod in pods]
    if names:
        more = f" and {len(names) - _SHOWN_PODS} more" if len(names) > _SHOWN_PODS else ""
        typer.echo(f"these pods end: {', '.join(names[:_SHOWN_PODS])}{more}", err=True)
    question = f"Take edgecore of node {node_name} from this machine?"
    try:
        return typer.confirm(question, err=True)
    except typer.Abort:  # nobody there to answer
        return False

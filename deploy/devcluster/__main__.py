"""Run a control plane or a container engine by hand: ``python -m deploy.devcluster up``."""

import asyncio
import signal
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from deploy.devcluster.build import BuildError, find_or_build
from deploy.devcluster.containerd import ContainerEngine
from deploy.devcluster.controlplane import ControlPlane
from deploy.devcluster.demo import ENDPOINT_VARIABLE
from deploy.devcluster.machine import ContainerEngineError, missing_packages, why_not
from deploy.devcluster.program import ProgramError

cli = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="A Kubernetes control plane on loopback, and a container engine.",
)


@cli.command()
def build() -> None:
    """Find or build etcd, kube-apiserver, kube-controller-manager and kube-scheduler."""
    typer.echo(f"control plane: {find_or_build()}")


@cli.command()
def up(
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Keep objects, credentials and logs here; temporary where left out."),
    ] = None,
) -> None:
    """Start a control plane, print how to reach it, and run it until interrupted."""
    asyncio.run(_up(data_dir))


@cli.command()
def engine() -> None:
    """Start a container engine, print where it listens, and run it until interrupted."""
    reason = why_not()
    if reason:
        raise ContainerEngineError(f"no container can run here: {reason}")
    with tempfile.TemporaryDirectory(prefix="engine-") as folder:
        asyncio.run(_engine(Path(folder)))


@cli.command()
def packages() -> None:
    """Print the Debian packages that a container engine needs and that are missing."""
    typer.echo(" ".join(missing_packages()))


async def _up(data_dir: Path | None) -> None:
    async with ControlPlane(data_dir) as control_plane:
        export = f"export KUBECONFIG={control_plane.kubeconfig}"
        await _until_interrupted(export, control_plane.server)


async def _engine(folder: Path) -> None:
    async with ContainerEngine(folder) as engine:
        await _until_interrupted(f"export {ENDPOINT_VARIABLE}={engine.endpoint}", engine.endpoint)


async def _until_interrupted(export: str, what: str) -> None:
    interrupted = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupted.set)
    typer.echo(export)
    typer.echo(f"{what} is ready; Ctrl-C stops it", err=True)
    await interrupted.wait()
    typer.echo("stopping", err=True)


def main() -> None:
    """Run the command line; a foreseeable failure is one message, not a traceback."""
    try:
        cli()
    except (BuildError, ProgramError, ContainerEngineError) as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()

"""Run a control plane by hand: ``python -m deploy.devcluster up``."""

import asyncio
import signal
from pathlib import Path
from typing import Annotated

import typer

from deploy.devcluster.build import BuildError, find_or_build
from deploy.devcluster.controlplane import ControlPlane
from deploy.devcluster.program import ProgramError

cli = typer.Typer(
    no_args_is_help=True, add_completion=False, help="A Kubernetes control plane on loopback."
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


async def _up(data_dir: Path | None) -> None:
    interrupted = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with ControlPlane(data_dir) as control_plane:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, interrupted.set)
        typer.echo(f"export KUBECONFIG={control_plane.kubeconfig}")
        typer.echo(f"{control_plane.server} is ready; Ctrl-C stops it", err=True)
        await interrupted.wait()
        typer.echo("stopping", err=True)


def main() -> None:
    """Run the command line; a foreseeable failure is one message, not a traceback."""
    try:
        cli()
    except (BuildError, ProgramError) as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()

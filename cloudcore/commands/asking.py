"""What the commands share that ask the API server."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Final, TypeVar

import typer

from cloudcore.kube.client import KubeClient

T = TypeVar("T")

Kubeconfig = Annotated[
    Path | None, typer.Option(help="How to reach the API server; not needed inside a pod.")
]

_SILENT: Final = logging.NullHandler()
"""A command says itself what fails, once; the log is a daemon's."""


def ask(kubeconfig: Path | None, work: Callable[[KubeClient], Awaitable[T]]) -> T:
    """Return what ``work`` returns, which gets a client and a loop of its own.

    Raises:
        ConfigError: the kubeconfig cannot be used; or whatever ``work`` raises.
    """

    async def run() -> T:
        async with KubeClient(kubeconfig) as client:
            return await work(client)

    logging.getLogger("cloudcore").addHandler(_SILENT)  # which it has once, however often asked
    return asyncio.run(run())

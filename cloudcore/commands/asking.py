"""What the commands share that ask the API server."""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Annotated, Final, TypeVar

import typer

from cloudcore.kube.client import KubeClient

T = TypeVar("T")

Kubeconfig = Annotated[
    Path | None,
    typer.Option(
        help="How to reach the API server; where it is not given, as kubectl finds it:"
        " $KUBECONFIG, the pod that this is in, ~/.kube/config."
    ),
]

_SILENT: Final = logging.NullHandler()
"""A command says itself what fails, once; the log is a daemon's."""


def ask(kubeconfig: Path | None, work: Callable[[KubeClient], Awaitable[T]]) -> T:
    """Return what ``work`` returns, which gets a client and a loop of its own.

    Raises:
        ConfigError: the kubeconfig cannot be used; or whatever ``work`` raises.
    """

    async def run() -> T:
        async with KubeClient(found_kubeconfig(kubeconfig, os.environ)) as client:
            return await work(client)

    logging.getLogger("cloudcore").addHandler(_SILENT)  # which it has once, however often asked
    return asyncio.run(run())


def found_kubeconfig(given: Path | None, environ: Mapping[str, str]) -> Path | None:
    """Return the kubeconfig to use; None for what a pod has in its place.

    Of several in ``$KUBECONFIG`` the first is taken.

    Source: https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig
    """
    if given is not None:
        return given
    if named := environ.get("KUBECONFIG", "").partition(os.pathsep)[0]:
        return Path(named)
    if "KUBERNETES_SERVICE_HOST" in environ:
        return None
    usual = Path(environ.get("HOME", "/"), ".kube", "config")
    return usual if usual.exists() else None

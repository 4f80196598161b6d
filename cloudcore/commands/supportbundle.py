"""``cloudcore support-bundle``: what whoever helps needs to know, in a file, without secrets."""

import json
import os
import platform
from contextlib import closing
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from cloudcore.commands import nodestates
from cloudcore.commands.asking import Kubeconfig, ask
from cloudcore.commands.doctor import Addresses
from cloudcore.commands.nodes import see_nodes
from cloudcore.config import ENV_PREFIX, CloudCoreSettings
from cloudcore.doctor.looking import Place, look
from cloudcore.kube import kinds
from cloudcore.kube.client import KubeClient
from cloudcore.trust.keptsecrets import NAMESPACE
from cloudcore.trust.ledger import Ledger
from common.checks import as_json
from common.clock import rfc3339
from common.config import Sources, load
from common.configcommands import effective
from common.errors import ConfigError, EdgeError
from common.settings import split_address
from common.supportbundle import SupportBundle
from common.underway import Underway

LOG_LINES: Final = 5000
"""Of each cloudcore's log, the last ones."""

_APP: Final = {"labelSelector": "app=cloudcore"}
_MONITOR_S: Final = 5.0


class NoMonitorError(EdgeError):
    """There is nothing that answers as a monitor."""


def support_bundle(
    file: Annotated[
        Path, typer.Argument(help="File to write, for example cloud.tar.gz; must not be there yet.")
    ],
    *,
    kubeconfig: Kubeconfig = None,
    config: Annotated[
        Path | None, typer.Option(help="YAML file that `cloudcore run` is given.")
    ] = None,
    advertise_address: Addresses = "",
) -> None:
    """Put what is known of cloudcore and its nodes into a file for whoever helps, without secrets.

    Version, configuration, nodes, what the doctor finds, records of certificates (no keys), the
    logs of cloudcores in the cluster, and metrics where a cloudcore runs on this machine.
    """
    bundle = SupportBundle("cloudcore", datetime.now(UTC))
    bundle.add("version.txt", _version())
    told = {"kubeconfig": kubeconfig, "advertise_address": advertise_address or None}
    sources = Sources(ENV_PREFIX, config, os.environ, told)
    with Underway("collecting"):
        bundle.collect("configuration.json", lambda: _configuration(sources))
        place, monitor = _where(sources)
        bundle.collect("doctor.json", lambda: _doctor(kubeconfig, place))
        bundle.collect("nodes.json", lambda: _nodes(kubeconfig))
        bundle.collect("certificates.json", lambda: ask(kubeconfig, _certificates))
        bundle.collect("pods.json", lambda: ask(kubeconfig, _pods))
        bundle.collect("logs.txt", lambda: ask(kubeconfig, _logs))
        bundle.collect("readyz.txt", lambda: _told(monitor, "/readyz?verbose"))
        bundle.collect("metrics.txt", lambda: _told(monitor, "/metrics"))
    bundle.save(file)
    typer.echo(f"{file} is written: look through it before you give it to others", err=True)
    for line in bundle.missing:
        typer.echo(f"not in it: {line}", err=True)


def _version() -> str:
    python, system = platform.python_version(), platform.platform()
    return f"cloudcore {version('cloudedge')}\nPython {python}\n{system}\n"


def _configuration(sources: Sources) -> Any:
    return effective(CloudCoreSettings.options(), load(CloudCoreSettings, sources))


def _where(sources: Sources) -> tuple[Place, str]:
    """Return where cloudcore and its monitor are looked for: where run would have them."""
    try:
        settings = load(CloudCoreSettings, sources).settings
    except ConfigError:  # the bundle says so already
        settings = CloudCoreSettings(advertise_address=())
    place = Place(settings.advertise_address, settings.websocket_port, settings.https_port)
    return place, settings.monitor_address


def _doctor(kubeconfig: Path | None, place: Place) -> Any:
    return json.loads(as_json(ask(kubeconfig, lambda client: look(client, place))))


def _nodes(kubeconfig: Path | None) -> Any:
    seen = ask(kubeconfig, see_nodes)
    shown = [nodestates.item(state) for state in seen.states]
    return {"time": rfc3339(seen.now), "nodes": shown, "faults": seen.faults}


async def _certificates(client: KubeClient) -> Any:
    listing = await Ledger(client).list_all()
    entries = [
        {
            "node": node,
            "serial": entry.serial,
            "until": rfc3339(entry.not_after),
            "authority": entry.issuer,
            "isShutOut": entry.is_shut_out,
        }
        for node, entry in sorted(listing.entries.items())
    ]
    return {"entries": entries, "damaged": listing.damaged}


async def _pods(client: KubeClient) -> Any:
    return [
        {
            "name": pod["metadata"]["name"],
            "node": pod["spec"].get("nodeName"),
            "images": [container["image"] for container in pod["spec"]["containers"]],
            "status": pod.get("status"),
        }
        async for pod in client.items(kinds.PODS.path(NAMESPACE), _APP)
    ]


async def _logs(client: KubeClient) -> str:
    found = []
    async for pod in client.items(kinds.PODS.path(NAMESPACE), _APP):
        name = pod["metadata"]["name"]
        path, asked = kinds.PODS.path(NAMESPACE, name, "log"), {"tailLines": str(LOG_LINES)}
        try:
            text = (await client.get(path, params=asked)).decode(errors="replace")
        except EdgeError as error:
            text = f"not to be had: {error}"
        found.append(f"== {name}\n{text}\n")
    return "".join(found)


def _told(address: str, path: str) -> str:
    """Return what the monitor says.

    Raises:
        NoMonitorError: there is none at ``address``.
    """
    try:
        with closing(HTTPConnection(*split_address(address), timeout=_MONITOR_S)) as connection:
            connection.request("GET", path)
            with connection.getresponse() as answer:
                return answer.read().decode(errors="replace")
    except (OSError, ValueError, HTTPException) as error:
        raise NoMonitorError(f"no monitor answers at {address}: {error}") from error

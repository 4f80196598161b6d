"""``cloudcore init``: cloudcore in a cluster, with all that it needs there."""

import asyncio
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer

from cloudcore.commands.asking import ask
from cloudcore.install import choices, preflight, rollout
from cloudcore.install.applying import InstallError, apply
from cloudcore.install.choices import NAME, Choices, ServiceType
from cloudcore.install.kustomization import Object, to_yaml
from cloudcore.install.manifests import read_manifests
from cloudcore.kube import kinds
from cloudcore.kube.client import KubeClient
from cloudcore.trust.keptsecrets import NAMESPACE
from common.settings import Between, Settings, Texts, configuration, option
from common.underway import Underway

ENV_PREFIX: Final = "CLOUDEDGE_INIT_"

_POLL_S: Final = 1.0


@configuration
class InitSettings(Settings):
    """What ``cloudcore init`` is told."""

    advertise_address: Annotated[Texts, Between(1)] = option(
        help="Names and addresses by which edges reach cloudcore, with commas between; they stand"
        " in its certificate.",
    )
    kubeconfig: Path | None = option(
        default=None,
        help="The cluster, and who installs; as kubectl finds it where it is not given.",
    )
    image: str = option(
        default=f"cloudedge/cloudcore:{version('cloudedge')}",
        help="cloudcore's image, where the cluster's nodes can get it.",
    )
    replicas: Annotated[int, Between(1, 100)] = option(
        default=2, help="How many cloudcores there are to be."
    )
    service_type: ServiceType = option(
        default=ServiceType.LOAD_BALANCER,
        help="How edges reach it: LoadBalancer; NodePort, by 30000 and 30002; or ClusterIP.",
    )
    components: Texts = option(
        default=(),
        help="What is added, with commas between: " + ", ".join(choices.COMPONENTS),
    )
    dry_run: bool = option(
        default=False, help="Print what would be applied, as YAML, and ask no cluster."
    )
    take_over: bool = option(
        default=False,
        help="Take the place of KubeEdge's cloudcore, and over what others have changed.",
    )
    wait: bool = option(default=True, help="Wait until all replicas are available.")
    wait_s: Annotated[float, Between(1, 86_400)] = option(
        default=300.0, help="Seconds to wait at most."
    )

    def chosen(self) -> Choices:
        """Return what is chosen of the manifests."""
        return Choices(
            self.image,
            self.replicas,
            self.advertise_address,
            self.service_type,
            self.components,
        )


def init(settings: InitSettings) -> None:
    """Install cloudcore into a cluster, or bring what is there up to date; it can be repeated.

    Namespace, rights, Deployment, Service, and the components that are asked for. What it says on
    standard output is what became of each object. The authority of the certificates is made by
    cloudcore itself when it starts; one that is there is used.
    """
    objects = choices.objects(read_manifests(), settings.chosen())
    if settings.dry_run:
        typer.echo(to_yaml(objects), nl=False)
        return
    ask(settings.kubeconfig, lambda client: _install(client, settings, objects))
    _say(_next_step(settings))


async def _install(client: KubeClient, settings: InitSettings, objects: Sequence[Object]) -> None:
    found = await preflight.check(client, settings.chosen(), objects)
    _say(f"the cluster at {client.server} has Kubernetes {found}")
    if await preflight.is_anothers(client, objects):
        await _take_place(client, settings)
    with Underway("applying", len(objects)) as underway:
        async for place, outcome in apply(client, objects, force=settings.take_over):
            underway.advance()
            underway.say(f"{place} {outcome}")
    if settings.wait:
        await _wait(client, settings.wait_s)


async def _take_place(client: KubeClient, settings: InitSettings) -> None:
    if not settings.take_over:
        raise InstallError(
            f"there is another Deployment {NAMESPACE}/{NAME}, KubeEdge's it seems. --take-over"
            " deletes it and uses its authority, tokens and Service; its edges connect again by"
            " themselves. Its configuration is not read: see docs/how-to/migrate-from-kubeedge.md"
        )
    _say(f"deleting the Deployment {NAMESPACE}/{NAME} that is there, with its pods")
    await preflight.remove_anothers(client)


async def _wait(client: KubeClient, wait_s: float) -> None:
    told = ""
    try:
        with Underway("waiting for cloudcore") as underway:
            async with asyncio.timeout(wait_s):
                while True:
                    how_far = rollout.judge(await _get(client, preflight.DEPLOYMENT))
                    if str(how_far) != told:
                        told = str(how_far)
                        underway.say(told, err=True)
                    if how_far.is_done:
                        return
                    await asyncio.sleep(_POLL_S)
    except TimeoutError:
        faults = await _faults(client)
        raise InstallError(
            "\n".join([f"cloudcore is not available after {wait_s:g} s: {told}", *faults])
        ) from None


async def _faults(client: KubeClient) -> list[str]:
    how_far = rollout.judge(await _get(client, preflight.DEPLOYMENT))
    pods = client.items(kinds.PODS.path(NAMESPACE), {"labelSelector": f"app={NAME}"})
    return [*how_far.problems, *rollout.problems([pod async for pod in pods])]


async def _get(client: KubeClient, path: str) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(await client.get(path))
    return found


def _next_step(settings: InitSettings) -> str:
    host = settings.advertise_address[0]
    ports = (
        " --set websocket_port=30000 --set https_port=30002"
        if settings.service_type is ServiceType.NODE_PORT
        else ""
    )
    return (
        "next, for each edge:\n"
        f"  kubectl -n {NAMESPACE} exec deploy/{NAME} -- cloudcore token create > token\n"
        f"and on the edge, with that file:\n"
        f"  edgecore join {host} --token-file token{ports}"
    )


def _say(text: str) -> None:
    """Tell people; what programs read is on standard output."""
    typer.echo(text, err=True)

"""Getting hold of what a pod needs: ConfigMaps, Secrets, service account tokens and services.

The edge-store answers first; what it does not have it asks the cloud for. A token is asked for when
it is first needed and again at 80 % of its life. When the cloud cannot be asked, the pod keeps the
token that it has, expired or not: a pod that starts with an old token is better off than one that
does not start.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, Final

from msgspec import Struct

from common.beehive.message import raw
from common.clock import Clock, parse_rfc3339
from common.names import CLUSTER_SCOPE, Operation, ResourceType
from common.podrefs import pod_refs
from common.resource import build_resource
from edgecore.edged.objects import Objects, Ref, TokenRef
from edgecore.edged.podview import Object, spec_of, uid_of
from edgecore.edged.requests import Answer, Requests
from edgecore.edged.volumes.volumes import tokens_of

_REFRESH_AT: Final = 0.8
_SHORTEST_LIFE_S: Final = 60.0


def refs_of(pod: Object) -> frozenset[Ref]:
    """Return the ConfigMaps and Secrets that the pod's environment and volumes name.

    Secrets for pulling images are not among them: without one, the image may still be there.
    """
    refs = pod_refs({**pod, "spec": {**spec_of(pod), "imagePullSecrets": []}})
    configmaps = (Ref(ResourceType.CONFIGMAP, name) for name in refs.configmaps)
    return frozenset(configmaps) | {Ref(ResourceType.SECRET, name) for name in refs.secrets}


def pull_secrets_of(pod: Object) -> list[Ref]:
    """Return the Secrets for pulling images, in the order in which they are tried."""
    named = spec_of(pod).get("imagePullSecrets") or ()
    return [Ref(ResourceType.SECRET, entry["name"]) for entry in named if entry.get("name")]


class _Token(Struct):
    value: str
    refresh_at_s: float


class Dependencies:
    """What one pod needs."""

    def __init__(self, requests: Requests, clock: Clock) -> None:
        self._requests, self._clock = requests, clock
        self._tokens: dict[TokenRef, _Token] = {}

    async def fetch(self, pod: Object) -> Objects:
        """Return everything that could be found out; never raises for what could not.

        Cancellation: nothing was found out but the tokens that had come.
        """
        namespace = pod["metadata"]["namespace"]
        services: list[Object] = []

        async def look_for_services() -> None:
            resource = build_resource("", CLUSTER_SCOPE, ResourceType.SERVICE, "", edge_site=True)
            listed = (await self._requests.ask(Operation.QUERY, resource)).obj.get("items")
            services.extend(listed if isinstance(listed, list) else ())

        async with asyncio.TaskGroup() as asked:
            found = asked.create_task(self.look(namespace, refs_of(pod)), name="objects")
            for token in tokens_of(pod):
                asked.create_task(self._renew(pod, token), name=f"token {namespace}")
            asked.create_task(look_for_services(), name="list services")
        tokens = {ref: token.value for ref, token in self._tokens.items()}
        return Objects(namespace, found.result(), tokens, tuple(services))

    async def look(self, namespace: str, refs: Iterable[Ref]) -> dict[Ref, Object | None]:
        """Return what ``refs`` are: None where there is nothing, no entry where it is not known."""
        found: dict[Ref, Object | None] = {}

        async def look(ref: Ref) -> None:
            resource = build_resource("", namespace, ref.kind, ref.name, edge_site=True)
            answer = await self._requests.ask(Operation.QUERY, resource)
            if answer.ok:
                found[ref] = answer.obj
            elif answer.not_found:
                found[ref] = None

        async with asyncio.TaskGroup() as asked:
            for ref in refs:
                asked.create_task(look(ref), name=f"query {ref.kind} {namespace}/{ref.name}")
        return found

    def refresh_in_s(self) -> float | None:
        """Return the seconds until a token should be asked for again; None where there is none."""
        if not self._tokens:
            return None
        at_s = min(token.refresh_at_s for token in self._tokens.values())
        return max(0.0, at_s - self._clock.monotonic())

    async def _renew(self, pod: Object, ref: TokenRef) -> None:
        known = self._tokens.get(ref)
        if known is not None and self._clock.monotonic() < known.refresh_at_s:
            return
        resource = build_resource(
            "",
            pod["metadata"]["namespace"],
            ResourceType.SERVICE_ACCOUNT_TOKEN,
            ref.service_account,
            edge_site=True,
        )
        answer = await self._requests.ask(Operation.QUERY, resource, raw(token_request(pod, ref)))
        value = (answer.obj.get("status") or {}).get("token", "")
        if value:
            life_s = self._life_s(answer, ref)
            self._tokens[ref] = _Token(value, self._clock.monotonic() + _REFRESH_AT * life_s)
        elif known is not None:
            known.refresh_at_s = self._clock.monotonic() + _SHORTEST_LIFE_S

    def _life_s(self, answer: Answer, ref: TokenRef) -> float:
        """Return how long a new token lives: the server may grant less, or more, than was asked."""
        expires = answer.obj["status"].get("expirationTimestamp")
        if not expires:
            return float(ref.expiration_s)
        left_s = (parse_rfc3339(expires) - self._clock.now()).total_seconds()
        # A device whose clock is wrong by years must not ask in a loop, nor never again.
        return min(max(left_s, _SHORTEST_LIFE_S), float(max(ref.expiration_s, 86400)))


def token_request(pod: Object, ref: TokenRef) -> dict[str, Any]:
    """Return the TokenRequest for a pod's token, bound to the pod as kubelet's are."""
    return {
        "metadata": {"creationTimestamp": None},
        "spec": {
            "audiences": [ref.audience] if ref.audience else None,
            "expirationSeconds": ref.expiration_s,
            "boundObjectRef": {
                "kind": "Pod",
                "apiVersion": "v1",
                "name": pod["metadata"]["name"],
                "uid": uid_of(pod),
            },
        },
        "status": {"token": "", "expirationTimestamp": None},
    }

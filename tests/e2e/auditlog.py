"""What RBAC's rules allow, and what of that was used: by the manifests and the API server's log."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.devcluster.api import Object
from deploy.devcluster.site import whole_lines

IMPERSONATE = "impersonate"
AS_A_NODE = "impersonate:arbitrary-node"
ON_A_NODE = "impersonate-on:arbitrary-node:"


@dataclass(frozen=True, order=True)
class Grant:
    """One verb on one resource, as a rule allows it."""

    namespace: str
    """Of a Role; "" is a ClusterRole, which holds in all of them and for what is in none."""

    group: str
    resource: str
    name: str
    """The only one of its objects; "" for any."""

    verb: str


@dataclass(frozen=True)
class Use:
    """What a request has asked RBAC for."""

    namespace: str
    group: str
    resource: str
    name: str
    verb: str

    def is_by(self, grant: Grant) -> bool:
        """Whether ``grant`` allows it."""
        return (
            grant.namespace in ("", self.namespace)
            and grant.name in ("", self.name)
            and (grant.group, grant.resource, grant.verb) == (self.group, self.resource, self.verb)
        )


@dataclass(frozen=True)
class Request:
    """A request as the API server has logged it."""

    text: str
    code: int
    uses: tuple[Use, ...]


def grants(objects: Iterable[Object]) -> list[Grant]:
    """Return what the roles among ``objects`` allow."""
    return [
        Grant(role["metadata"].get("namespace", ""), group, resource, name, verb)
        for role in objects
        if role["kind"] in ("Role", "ClusterRole")
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", [""])
        for verb in rule["verbs"]
    ]


def policy(user: str) -> str:
    """Return an audit policy that logs the requests of ``user``, without what is in them."""
    rules = [{"level": "Metadata", "users": [user]}, {"level": "None"}]
    return json.dumps(
        {
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "omitStages": ["RequestReceived"],
            "rules": rules,
        }
    )


def requests(log: Path) -> list[Request]:
    """Return what the API server has logged so far."""
    lines = whole_lines(log.read_text()) if log.exists() else []
    return [_request(json.loads(line)) for line in lines]


def _request(event: dict[str, Any]) -> Request:
    as_whom = event.get("impersonatedUser")
    who = f" as {as_whom['username']}" if as_whom else ""
    return Request(
        f"{event['verb']} {event['requestURI']}{who}",
        event.get("responseStatus", {}).get("code", 0),
        tuple(_uses(event)),
    )


def _uses(event: dict[str, Any]) -> Iterator[Use]:
    as_whom = event.get("impersonatedUser")
    constraint = event.get("authenticationMetadata", {}).get("impersonationConstraint")
    if as_whom is not None and constraint == AS_A_NODE:
        yield Use("", "authentication.k8s.io", "nodes", as_whom["username"], AS_A_NODE)
        yield _target(event, ON_A_NODE + event["verb"])
        return
    if as_whom is not None:
        # What it asks for then is allowed to the other one, or not.
        yield Use("", "", "users", as_whom["username"], IMPERSONATE)
        # The API server adds that group by itself.
        for group in set(as_whom.get("groups", ())) - {"system:authenticated"}:
            yield Use("", "", "groups", group, IMPERSONATE)
        return
    yield _target(event, event["verb"])


def _target(event: dict[str, Any], verb: str) -> Use:
    target = event.get("objectRef", {})
    resource = "/".join(filter(None, (target.get("resource"), target.get("subresource"))))
    namespace, group = target.get("namespace", ""), target.get("apiGroup", "")
    return Use(namespace, group, resource, target.get("name", ""), verb)

"""Paths of kinds. Pure."""

import pytest

from cloudcore.kube import kinds
from cloudcore.kube.kinds import ResourceKind


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (kinds.PODS.path(), "/api/v1/pods"),
        (kinds.PODS.path("default"), "/api/v1/namespaces/default/pods"),
        (kinds.PODS.path("default", "web"), "/api/v1/namespaces/default/pods/web"),
        (
            kinds.PODS.path("default", "web", "status"),
            "/api/v1/namespaces/default/pods/web/status",
        ),
        (kinds.NODES.path("ignored", "n1"), "/api/v1/nodes/n1"),
        (
            kinds.LEASES.path("kube-node-lease", "n1"),
            "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n1",
        ),
        (
            kinds.SERVICE_ACCOUNTS.path("a", "default", "token"),
            "/api/v1/namespaces/a/serviceaccounts/default/token",
        ),
    ],
)
def test_a_path_is_where_the_api_server_keeps_it(path: str, expected: str) -> None:
    assert path == expected


@pytest.mark.parametrize(
    ("name", "segment"), [("a/b", "a%2Fb"), ("..", "%2E%2E"), (".", "%2E"), ("a?b#c", "a%3Fb%23c")]
)
def test_no_name_leads_anywhere_else(name: str, segment: str) -> None:
    assert kinds.NODES.path(name=name) == f"/api/v1/nodes/{segment}"


def test_the_head_of_an_item_is_its_kind_and_version() -> None:
    kind = ResourceKind("Lease", "leases", "coordination.k8s.io/v1")
    assert kind.head() == b'{"kind":"Lease","apiVersion":"coordination.k8s.io/v1",'

"""What a pod names is found wherever Kubernetes lets a pod name it. Pure: nothing is faked."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.podrefs import PodRefs, pod_refs


def pod(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "web", "namespace": "default"}, "spec": spec}


@pytest.mark.parametrize(
    "spec",
    [
        {"volumes": [{"name": "v", "configMap": {"name": "c"}}]},
        {"volumes": [{"name": "v", "projected": {"sources": [{"configMap": {"name": "c"}}]}}]},
        {"containers": [{"envFrom": [{"configMapRef": {"name": "c"}}]}]},
        {"initContainers": [{"envFrom": [{"configMapRef": {"name": "c", "optional": True}}]}]},
        {"ephemeralContainers": [{"env": [{"valueFrom": {"configMapKeyRef": {"name": "c"}}}]}]},
    ],
)
def test_a_configmap_is_found_in_every_place(spec: dict[str, Any]) -> None:
    assert pod_refs(pod(**spec)).configmaps == {"c"}


@pytest.mark.parametrize(
    "spec",
    [
        {"imagePullSecrets": [{"name": "s"}]},
        {"volumes": [{"name": "v", "secret": {"secretName": "s"}}]},
        {"volumes": [{"name": "v", "projected": {"sources": [{"secret": {"name": "s"}}]}}]},
        {"volumes": [{"name": "v", "csi": {"nodePublishSecretRef": {"name": "s"}}}]},
        {"volumes": [{"name": "v", "azureFile": {"secretName": "s"}}]},
        {"containers": [{"envFrom": [{"secretRef": {"name": "s"}}]}]},
        {"containers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}]},
    ],
)
def test_a_secret_is_found_in_every_place(spec: dict[str, Any]) -> None:
    assert pod_refs(pod(**spec)).secrets == {"s"}


def test_the_service_account_is_default_unless_named() -> None:
    assert pod_refs(pod()).service_accounts == {"default"}
    assert pod_refs(pod(serviceAccountName="builder")).service_accounts == {"builder"}


def test_claims_are_found_and_those_of_ephemeral_volumes_are_called_after_the_pod() -> None:
    volumes = [
        {"name": "a", "persistentVolumeClaim": {"claimName": "data"}},
        {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {}}},
    ]
    assert pod_refs(pod(volumes=volumes)).claims == {"data", "web-scratch"}


def test_a_pod_without_a_spec_names_its_service_account_only() -> None:
    assert pod_refs({}) == PodRefs(service_accounts=frozenset({"default"}))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["spec", "volumes", "containers", "env", "envFrom", "configMap"]),
                inner,
                max_size=4,
            )
        ),
    )
)
def test_no_shape_of_a_pod_is_an_error(value: object) -> None:
    refs = pod_refs(value if isinstance(value, dict) else {"spec": value})
    assert "" not in refs.configmaps | refs.secrets | refs.claims

"""What is chosen of the manifests. Real: the manifests."""

import pytest
from msgspec.structs import replace

from cloudcore.install import choices
from cloudcore.install.choices import COMPONENTS, LEAST_MINOR, Choices, ServiceType
from cloudcore.install.kustomization import Object
from cloudcore.install.manifests import read_manifests
from common.errors import ConfigError

CHOSEN = Choices("registry/cloudcore:9", 3, ("a.example", "::1"), ServiceType.LOAD_BALANCER, ())


def one_of(objects: list[Object], kind: str) -> Object:
    (found,) = [one for one in objects if one["kind"] == kind]
    return found


def test_image_replicas_and_addresses_are_set() -> None:
    spec = one_of(choices.objects(read_manifests(), CHOSEN), "Deployment")["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    assert (spec["replicas"], container["image"]) == (3, "registry/cloudcore:9")
    assert container["env"] == [{"name": "CLOUDCORE_ADVERTISE_ADDRESS", "value": "a.example,::1"}]


@pytest.mark.parametrize("service_type", list(ServiceType))
def test_the_service_is_of_the_type_that_was_chosen(service_type: ServiceType) -> None:
    chosen = replace(CHOSEN, service_type=service_type)
    spec = one_of(choices.objects(read_manifests(), chosen), "Service")["spec"]
    assert spec["type"] == service_type
    ports = [one.get("nodePort") for one in spec["ports"]]
    assert ports == ([30000, 30002] if service_type is ServiceType.NODE_PORT else [None, None])


def test_a_component_that_is_named_twice_is_there_once() -> None:
    chosen = replace(CHOSEN, components=("networkpolicy", "networkpolicy"))
    assert one_of(choices.objects(read_manifests(), chosen), "NetworkPolicy")


def test_each_component_says_what_it_is_for_and_which_kubernetes_it_wants() -> None:
    files = read_manifests()
    for name, least in COMPONENTS.items():
        what = files[f"components/{name}/kustomization.yaml"].split("\n")[0]
        assert what.endswith(".")
        assert (f"Kubernetes 1.{least} and newer" in what) == (least > LEAST_MINOR)


def test_every_component_has_its_name_or_is_a_type_of_service() -> None:
    paths = [path.split("/") for path in read_manifests() if path.startswith("components/")]
    services = {f"service-{one.lower()}" for one in ServiceType} - {"service-clusterip"}
    assert {path[1] for path in paths} == {*COMPONENTS, *services}


def test_an_unknown_component_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ConfigError, match="'helm' is none of cloud-daemonsets, constrained"):
        choices.objects(read_manifests(), replace(CHOSEN, components=("helm",)))
    with pytest.raises(ConfigError):  # has an option of its own
        choices.objects(read_manifests(), replace(CHOSEN, components=("service-nodeport",)))


def test_an_older_kubernetes_is_told_what_it_lacks() -> None:
    chosen = replace(CHOSEN, components=("networkpolicy", "cloud-daemonsets"))
    assert choices.too_new(chosen, 36) == []
    assert choices.too_new(chosen, 35) == [
        "cloud-daemonsets needs Kubernetes 1.36 or newer, and this is 1.35"
    ]
    assert choices.too_new(CHOSEN, LEAST_MINOR) == []
    assert choices.too_new(CHOSEN, 29) == [
        "cloudcore needs Kubernetes 1.30 or newer, and this is 1.29"
    ]

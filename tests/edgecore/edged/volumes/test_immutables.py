"""What a pod keeps of its objects: pure, nothing faked."""

from typing import Any

from common.names import ResourceType
from edgecore.edged.objects import Objects, Ref
from edgecore.edged.volumes.immutables import immutable_of, with_immutable
from tests.edgecore.edged.world import config_object

WEB = Ref(ResourceType.CONFIGMAP, "web")
DB = Ref(ResourceType.SECRET, "db")
NONE = Ref(ResourceType.CONFIGMAP, "none")


def configmap(value: str, **fields: Any) -> dict[str, Any]:
    return config_object("ConfigMap", "web", a=value) | fields


def test_an_immutable_object_stays_as_it_was_first_seen() -> None:
    secret = config_object("Secret", "db", p="aGk=")
    first = Objects("default", {WEB: configmap("1", immutable=True), DB: secret, NONE: None})
    kept = immutable_of(first)
    assert kept == {WEB: configmap("1", immutable=True)}
    later = Objects("default", {WEB: configmap("2"), DB: secret}, {}, ({"kind": "Service"},))
    seen = with_immutable(later, kept)
    assert seen.data(WEB, optional=False) == {"a": b"1"}
    assert (seen.found[DB], seen.services) == (secret, later.services)
    assert immutable_of(seen) == kept


def test_an_immutable_object_that_is_deleted_stays_as_well() -> None:
    kept = immutable_of(Objects("default", {WEB: configmap("1", immutable=True)}))
    for later in (Objects("default", {WEB: None}), Objects("default")):
        assert with_immutable(later, kept).data(WEB, optional=False) == {"a": b"1"}


def test_an_object_is_kept_from_when_it_became_immutable() -> None:
    assert immutable_of(Objects("default", {WEB: configmap("1", immutable=False)})) == {}
    later = with_immutable(Objects("default", {WEB: configmap("2", immutable=True)}), {})
    assert immutable_of(later)[WEB]["data"] == {"a": "2"}

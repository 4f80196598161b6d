"""The rights that a doctor asks for are those that the manifests grant. Pure, but for the files."""

from pathlib import Path
from typing import Any

import yaml

from cloudcore.doctor.rights import IMPERSONATION, RIGHTS, Right

BASE = Path(__file__).parents[3] / "deploy" / "kubernetes" / "base"


def granted(file: str) -> set[Right]:
    found = set()
    for manifest in yaml.safe_load_all((BASE / file).read_text()):
        namespace = manifest["metadata"].get("namespace", "")
        for rule in manifest.get("rules", ()):
            found |= set(rights_of(rule, namespace))
    return found


def rights_of(rule: dict[str, Any], namespace: str) -> list[Right]:
    return [
        Right(verb, resource, group, namespace, name)
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames", [""])
    ]


def test_it_asks_for_what_the_manifests_grant() -> None:
    assert len(set(RIGHTS)) == len(RIGHTS)
    assert set(RIGHTS) == granted("rbac.yaml")


def test_it_asks_for_the_names_of_nodes_where_the_manifests_grant_those_of_any_user() -> None:
    of_any = {Right(one.verb, one.resource) for one in IMPERSONATION if one.resource == "users"}
    groups = {one for one in IMPERSONATION if one.resource == "groups"}
    assert of_any | groups == granted("impersonation.yaml")


def test_a_right_is_said_as_people_ask_for_it() -> None:
    right = Right("patch", "configmaps", namespace="kubeedge", name="edgecertificates")
    assert str(right) == "patch configmaps/edgecertificates in kubeedge"
    assert str(Right("list", "endpointslices", "discovery.k8s.io")) == (
        "list endpointslices.discovery.k8s.io"
    )
    assert right.review()["spec"]["resourceAttributes"] == {
        "verb": "patch",
        "resource": "configmaps",
        "namespace": "kubeedge",
        "name": "edgecertificates",
    }

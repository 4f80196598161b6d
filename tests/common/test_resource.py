"""Resources are built and parsed as exact inverses. Pure: nothing is faked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import ResourceError
from common.names import NodeID
from common.resource import Resource, build_resource, parse_resource, split_node, to_node

part = st.text(min_size=1, max_size=20).filter(lambda text: "/" not in text)


def test_a_resource_names_node_namespace_type_and_name() -> None:
    assert build_resource("n1", "default", "pod", "web") == "node/n1/default/pod/web"
    assert build_resource("n1", "default", "pod") == "node/n1/default/pod"


def test_at_an_edge_site_there_is_no_node() -> None:
    assert build_resource("", "default", "pod", "web", edge_site=True) == "default/pod/web"
    assert build_resource("n1", "default", "pod", edge_site=True) == "default/pod"


@pytest.mark.parametrize(
    ("node", "namespace", "kind", "missing"),
    [
        ("", "default", "pod", "node id"),
        ("n1", "", "pod", "namespace"),
        ("n1", "default", "", "resource type"),
        ("", "", "", "node id and a namespace and a resource type"),
    ],
)
def test_what_is_missing_is_named(node: str, namespace: str, kind: str, missing: str) -> None:
    with pytest.raises(ResourceError, match=missing):
        build_resource(node, namespace, kind)


def test_a_part_with_a_slash_is_an_error() -> None:
    with pytest.raises(ResourceError, match="'/'"):
        build_resource("n1", "default", "pod", "a/b")


@given(node=part, namespace=part, kind=part, name=st.one_of(st.just(""), part), site=st.booleans())
def test_parsing_is_the_inverse_of_building(
    node: str, namespace: str, kind: str, name: str, *, site: bool
) -> None:
    text = build_resource(node, namespace, kind, name, edge_site=site)
    parsed = parse_resource(text, edge_site=site)
    assert parsed == Resource(NodeID("" if site else node), namespace, kind, name)
    assert str(parsed) == text


@given(st.text())
def test_any_text_parses_to_itself_or_is_an_error(text: str) -> None:
    for site in (False, True):
        try:
            parsed = parse_resource(text, edge_site=site)
        except ResourceError:
            continue
        assert str(parsed) == text


@pytest.mark.parametrize(
    "text", ["", "node", "node/n1", "node//default/pod", "pod/web/x/y/z", "node/n1/a"]
)
def test_what_is_no_resource_of_a_node_is_refused(text: str) -> None:
    with pytest.raises(ResourceError):
        parse_resource(text)


@given(node=part, site_form=st.text(min_size=1))
def test_the_node_is_put_in_front_and_taken_off_again(node: str, site_form: str) -> None:
    assert split_node(to_node(NodeID(node), site_form)) == (node, site_form)


@pytest.mark.parametrize("text", ["", "node/", "node/n1", "node/n1/", "default/pod/web"])
def test_there_is_no_node_to_take_off(text: str) -> None:
    with pytest.raises(ResourceError):
        split_node(text)

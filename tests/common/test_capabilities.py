"""What a peer can do. Everything is real; there is nothing to fake."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import capabilities
from common.capabilities import ALL, NONE, Capabilities, Capability, agree, choose, render

subsets = st.frozensets(st.sampled_from(Capability))


@given(subsets)
def test_what_is_rendered_is_parsed_to_itself(some: Capabilities) -> None:
    assert capabilities.parse(capabilities.render(some)) == some


def test_all_of_them_stand_in_the_header_in_order() -> None:
    assert capabilities.render(capabilities.ALL) == "acks, beats, chunks, deflate, digest"


@pytest.mark.parametrize("header", [None, "", ",", "  ", "ACKS", "ack", "acks;beats"])
def test_a_peer_that_says_nothing_of_sense_has_none(header: str | None) -> None:
    assert capabilities.parse(header) == capabilities.NONE


def test_words_of_a_later_version_are_passed_over() -> None:
    agreed = capabilities.parse("telepathy,acks , beats,,")
    assert agreed == {Capability.ACKS, Capability.BEATS}


@given(st.text())
def test_any_header_is_understood(header: str) -> None:
    assert capabilities.parse(header) <= capabilities.ALL


@given(subsets, subsets)
def test_two_sides_agree_on_what_both_have_whoever_says_it_first(
    edge: Capabilities, cloud: Capabilities
) -> None:
    by_cloud = agree(cloud, [render(edge)])
    assert by_cloud == edge & cloud
    assert agree(edge, [render(by_cloud)]) == by_cloud


def test_connections_that_agree_on_all_share_one_set() -> None:
    own = frozenset(Capability)
    assert agree(own, [render(ALL)]) is own


def test_a_header_may_come_in_parts_or_not_at_all() -> None:
    assert agree(ALL, ["acks", "beats, acks"]) == {Capability.ACKS, Capability.BEATS}
    assert agree(ALL, []) == NONE


@given(subsets.filter(bool))
def test_an_option_names_some_of_them(some: Capabilities) -> None:
    assert choose(render(some)) == choose(",".join(some)) == some


def test_an_option_may_say_that_there_are_none() -> None:
    assert choose("none") == NONE


@pytest.mark.parametrize(
    ("words", "unknown"),
    [("", "''"), ("acks,", "''"), ("acks,telepathy", "'telepathy'"), ("acks,none", "'none'")],
)
def test_an_option_with_a_word_that_is_none_of_them_is_told_which_there_are(
    words: str, unknown: str
) -> None:
    expected = f"{unknown} is none of acks, beats, chunks, deflate, digest, nor none"
    with pytest.raises(ValueError, match=expected):
        choose(words)

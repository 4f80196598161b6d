"""What a peer can do. Everything is real; there is nothing to fake."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import capabilities
from common.capabilities import Capability


@given(st.frozensets(st.sampled_from(Capability)))
def test_what_is_rendered_is_parsed_to_itself(some: frozenset[Capability]) -> None:
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

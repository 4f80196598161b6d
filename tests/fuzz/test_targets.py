"""Every target with what is kept for it, with any bytes, and with what is like the kept.

All is real but the API server behind the enrolment's HTTP, which knows nobody. ``python -m
tests.fuzz`` does the same for longer, with other inputs each time.
"""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.corpora import FOLDER, corpus
from tests.fuzz.mutation import mutate
from tests.fuzz.targets import TARGETS

every_target = pytest.mark.parametrize("name", TARGETS)


@every_target
def test_what_is_kept_is_borne(name: str) -> None:
    kept = corpus(name)
    assert kept
    for data in kept:
        TARGETS[name](data)


def test_nothing_is_kept_for_what_is_no_target() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(TARGETS)


@every_target
@settings(max_examples=100)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_borne(name: str, data: bytes) -> None:
    TARGETS[name](data)


@every_target
def test_what_is_like_the_kept_is_borne(name: str) -> None:
    random, seeds = Random(1), corpus(name)
    for number in range(300):
        data = mutate(random, seeds)
        try:
            TARGETS[name](data)
        except Exception as error:
            error.add_note(f"input {number}: {data[:1000]!r}")
            raise

"""Pauses grow, stay below the cap and are spread. Pure: randomness is given."""

from hypothesis import given
from hypothesis import strategies as st

from common.delivery.backoff import Backoff, BackoffPolicy


def test_pauses_double_up_to_the_cap() -> None:
    backoff = Backoff(BackoffPolicy(first_s=1, factor=2, cap_s=5, jitter=0))
    assert [backoff.next_s() for _ in range(5)] == [1, 2, 4, 5, 5]


def test_after_a_success_it_starts_again() -> None:
    backoff = Backoff(BackoffPolicy(first_s=1, jitter=0))
    backoff.next_s()
    backoff.next_s()
    backoff.reset()
    assert backoff.next_s() == 1


@given(st.floats(0, 0.999), st.integers(0, 5000))
def test_no_pause_is_negative_or_above_the_cap_however_long_it_goes_on(
    unit: float, attempts: int
) -> None:
    policy = BackoffPolicy()
    backoff = Backoff(policy, lambda: unit)
    backoff.attempts = attempts
    assert 0 <= backoff.next_s() <= policy.cap_s

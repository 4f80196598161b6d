"""Reasons to close. Pure."""

import pytest

from cloudcore.cloudhub import closing


def test_a_close_frame_holds_as_much_of_the_reason_as_fits() -> None:
    close = closing.malformed("ü" * 200)
    text = close.frame_text()
    assert len(text.encode()) <= closing.MAX_REASON_BYTES
    assert text == "ü" * 61


@pytest.mark.parametrize(
    ("code", "counted_as"), [(1002, "protocol_error"), (1007, "malformed"), (1009, "too_large")]
)
def test_what_the_library_refuses_by_itself_has_the_same_names(code: int, counted_as: str) -> None:
    close = closing.by_library(code, "why")
    assert close is not None
    assert (close.code, close.counted_as, close.text) == (code, counted_as, "why")


@pytest.mark.parametrize("code", [1000, 1001, 1006, 1011])
def test_other_codes_are_no_refusals(code: int) -> None:
    assert closing.by_library(code, "") is None


def test_every_code_is_listed() -> None:
    listed = closing.__doc__ or ""
    for close in (
        closing.GOING_AWAY,
        closing.BINARY_FRAME,
        closing.malformed(""),
        closing.too_large(""),
        closing.silent(30),
        closing.REVOKED,
        closing.REPLACED,
        closing.STALLED,
        closing.NODE_LIMIT,
    ):
        assert str(close.code) in listed
        assert close.counted_as in listed
        assert close.frame_text() == close.text

"""Join tokens. Pure; PyJWT is real."""

from datetime import UTC, datetime, timedelta

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudcore.trust import tokens
from cloudcore.trust.tokens import (
    Grant,
    TokenError,
    check_token,
    check_token_of_any,
    new_named_token,
    new_token,
)
from common import issuing, pki
from common.names import NodeID

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
AUTHORITY = issuing.new_authority(NOW)


def presented(token: str) -> str:
    return token.partition(".")[2]


def test_a_token_has_kubeedges_form() -> None:
    token = new_token(AUTHORITY, NOW)
    digest, *parts = token.split(".")
    assert digest == pki.fingerprint(AUTHORITY.der)
    assert len(parts) == 3
    claims = jwt.decode(presented(token), options={"verify_signature": False})
    assert claims == {"exp": int((NOW + timedelta(hours=24)).timestamp())}


def test_a_token_is_good_until_it_expires() -> None:
    token = presented(new_token(AUTHORITY, NOW, timedelta(hours=1)))
    last = NOW + timedelta(minutes=59, seconds=59)
    assert check_token(AUTHORITY, token, last).node is None
    with pytest.raises(TokenError, match=r"expired.*cloudcore token create"):
        check_token(AUTHORITY, token, NOW + timedelta(hours=1))


def test_a_token_may_be_bound_to_a_node() -> None:
    token = presented(new_token(AUTHORITY, NOW, node="n1"))
    assert check_token(AUTHORITY, token, NOW) == Grant(NodeID("n1"), None)


def test_a_named_token_has_kubeedges_form_and_names_its_record() -> None:
    expires = NOW + timedelta(hours=1)
    token = new_named_token(AUTHORITY, expires, "shops", "0123")
    digest, *parts = token.split(".")
    assert (digest, len(parts)) == (pki.fingerprint(AUTHORITY.der), 3)
    claims = jwt.decode(presented(token), options={"verify_signature": False})
    assert claims == {"exp": int(expires.timestamp()), "jti": "0123", "sub": "shops"}
    assert check_token(AUTHORITY, presented(token), NOW) == Grant(None, "shops")
    with pytest.raises(TokenError, match="expired"):
        check_token(AUTHORITY, presented(token), expires)


def test_a_named_token_tells_an_earlier_version_to_which_node_it_is_bound() -> None:
    token = presented(new_named_token(AUTHORITY, NOW + timedelta(hours=1), "shops", "1", "n1"))
    assert jwt.decode(token, options={"verify_signature": False})["node"] == "n1"
    assert check_token(AUTHORITY, token, NOW) == Grant(None, "shops"), "its record decides"


def test_two_tokens_of_one_name_are_not_the_same() -> None:
    one, other = (new_named_token(AUTHORITY, NOW, "shops", number) for number in ("1", "2"))
    assert one != other


def test_a_token_of_any_of_two_authorities_is_taken() -> None:
    following = issuing.new_authority(NOW)
    for signer in (AUTHORITY, following):
        token = presented(new_named_token(signer, NOW + timedelta(hours=1), "shops", "1"))
        assert check_token_of_any((following, AUTHORITY), token, NOW).name == "shops"
        with pytest.raises(TokenError, match="not one of this cluster"):
            check_token_of_any((), token, NOW)


def signed(claims: dict[str, object], key: bytes, algorithm: str = "HS256") -> str:
    return jwt.encode(claims, key, algorithm=algorithm)


KEY = pki.key_to_der(AUTHORITY.key)
LATER = int((NOW + timedelta(hours=1)).timestamp())


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "a.b.c",
        new_token(AUTHORITY, NOW),  # with the hash in front, which the edge takes off
        presented(new_token(issuing.new_authority(NOW), NOW)),
        signed({"exp": LATER}, KEY, "HS512"),
        signed({"exp": LATER}, b"0" * 64),
        jwt.encode({"exp": LATER}, "", algorithm="none"),
        signed({}, KEY),
        signed({"exp": LATER, "node": 7}, KEY),
        signed({"exp": str(LATER)}, KEY),
        signed({"exp": LATER, "jti": "1"}, KEY),
        signed({"exp": LATER, "jti": "1", "sub": ""}, KEY),
        signed({"exp": LATER, "jti": 1, "sub": "shops"}, KEY),
        "x" * (tokens.MAX_TOKEN_CHARS + 1),
    ],
)
def test_what_is_no_token_of_ours_is_refused(token: str) -> None:
    with pytest.raises(TokenError):
        check_token(AUTHORITY, token, NOW)


@given(st.text(max_size=300))
def test_any_text_is_a_token_or_refused(text: str) -> None:
    with pytest.raises(TokenError):
        check_token(AUTHORITY, text, NOW)


@given(st.integers(0, 10**6))
def test_a_token_with_one_character_changed_is_refused(at: int) -> None:
    token = presented(new_token(AUTHORITY, NOW))
    at %= token.rindex(".")  # in the signature's last character, bits may be unused
    other = "A" if token[at] != "A" else "B"
    with pytest.raises(TokenError):
        check_token(AUTHORITY, token[:at] + other + token[at + 1 :], NOW)


def test_bytes_that_are_no_text_are_refused() -> None:
    """HTTP hands them on as surrogates, which the JWT library does not take."""
    with pytest.raises(TokenError):
        check_token(AUTHORITY, b"a.b.\xff".decode(errors="surrogateescape"), NOW)

"""Join tokens: what is let in, and that nothing but ``TokenError`` keeps the rest out. All real."""

import base64
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudcore.cloudhub.tokens import LIFETIME, MAX_TOKEN_CHARS, TokenError, check_token, new_token
from common import pki

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
AUTHORITY = pki.new_authority(NOW)


def jwt_of(token: str) -> str:
    return token.partition(".")[2]


def signed(claims: dict[str, object], *, algorithm: str = "HS256") -> str:
    return jwt.encode(claims, pki.key_to_der(AUTHORITY.key), algorithm=algorithm)


def encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def refusal(presented: str, now: datetime = NOW) -> str:
    with pytest.raises(TokenError) as refused:
        check_token(AUTHORITY, presented, now)
    return str(refused.value)


def test_a_token_begins_with_the_hash_of_the_authority_and_is_good_for_any_node() -> None:
    token = new_token(AUTHORITY, NOW)
    assert token.startswith(f"{pki.fingerprint(AUTHORITY.der)}.")
    assert check_token(AUTHORITY, jwt_of(token), NOW).node is None


def test_a_bound_token_is_good_for_its_node_only() -> None:
    token = new_token(AUTHORITY, NOW, node="n1")
    assert check_token(AUTHORITY, jwt_of(token), NOW).node == "n1"


def test_a_token_ends_with_its_lifetime() -> None:
    token = jwt_of(new_token(AUTHORITY, NOW))
    end = NOW + LIFETIME
    check_token(AUTHORITY, token, end - timedelta(seconds=1))
    assert "expired" in refusal(token, end)
    assert "cloudcore token create" in refusal(token, end)


def test_a_token_of_another_authority_is_refused() -> None:
    foreign = new_token(pki.new_authority(NOW), NOW)
    assert "not one of this cluster" in refusal(jwt_of(foreign))


def test_a_token_as_kubeedge_makes_it_is_taken() -> None:
    claims: dict[str, object] = {"exp": int(NOW.timestamp()) + 60}
    assert check_token(AUTHORITY, signed(claims), NOW).node is None


def test_a_token_without_an_end_or_with_claims_of_other_types_is_refused() -> None:
    end = NOW.timestamp() + 60
    faulty: list[dict[str, object]] = [
        {},
        {"node": "n1"},
        {"exp": "soon"},
        {"exp": [end]},
        {"exp": end, "node": 7},
    ]
    for claims in faulty:
        assert refusal(signed(claims))


def test_a_token_that_was_altered_is_refused() -> None:
    header, claims, signature = jwt_of(new_token(AUTHORITY, NOW, node="n1")).split(".")
    other = encoded(b'{"exp":4102444800,"node":"n2"}')
    unsigned = encoded(b'{"alg":"none","typ":"JWT"}')
    for altered in (
        f"{header}.{other}.{signature}",
        f"{unsigned}.{claims}.",
        f"{unsigned}.{claims}.{signature}",
        f"{header}.{claims}.",
        f"{header}.{claims}",
        signed({"exp": 4102444800}, algorithm="HS512"),
        new_token(AUTHORITY, NOW),  # with the hash in front, which the edge keeps to itself
    ):
        assert refusal(altered)


@pytest.mark.parametrize(
    "header",
    [b"[1]", b"\xff", b'{"alg":1}', b'{"alg":["HS256"]}', b'{"alg":"HS256","kid":5}', b"[" * 2900],
)
def test_a_header_of_another_shape_is_refused(header: bytes) -> None:
    _, claims, signature = jwt_of(new_token(AUTHORITY, NOW)).split(".")
    assert refusal(f"{encoded(header)}.{claims}.{signature}")


def test_bytes_that_are_no_text_are_refused() -> None:
    assert refusal(b"a.b.\xff".decode(errors="surrogateescape"))


def test_what_is_too_long_is_refused_before_it_is_read() -> None:
    assert "too long" in refusal("a" * (MAX_TOKEN_CHARS + 1))
    assert "too long" not in refusal("a" * MAX_TOKEN_CHARS)


ANY_TEXT = st.text(st.characters(codec=None, categories=None))
DOTTED = st.lists(ANY_TEXT | st.binary(max_size=64).map(encoded), max_size=5).map(".".join)


@given(ANY_TEXT | DOTTED)
def test_any_text_is_refused_with_words(text: str) -> None:
    assert refusal(text)

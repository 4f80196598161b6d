"""What is secret does not leave with what people hand on. Pure. Keys and tokens are made up."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.redaction import REMOVED, redact, redact_object

KEY = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIH\nabc=\n-----END EC PRIVATE KEY-----"
JWT = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ0In0.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"before\n{KEY}\nafter", f"before\n{REMOVED}\nafter"),
        ("-----BEGIN PRIVATE KEY-----\ncut off", REMOVED),
        (f"joined with 0123abcd.{JWT} today", f"joined with 0123abcd.{REMOVED} today"),
        (
            "curl -H 'Authorization: Bearer abcdef123'",
            f"curl -H 'Authorization: {REMOVED} {REMOVED}'",
        ),
        ("https://me:hidden@host/path", f"https://{REMOVED}@host/path"),
        ("password: 'two words', user: a", f"password: {REMOVED}, user: a"),
        ('{"join_token": "abc"}', f'{{"join_token": {REMOVED}}}'),
        ("API_KEY=abc next", f"API_KEY={REMOVED} next"),
        ("client-key-data: LS0tLS1CRUdJTg==", f"client-key-data: {REMOVED}"),
        ('{"auths":{"r":{"auth":"dTpw"}}}', f'{{"auths":{{"r":{{"auth":{REMOVED}}}}}}}'),
        ("auth: dTpw", f"auth: {REMOVED}"),
        ("AWS_SECRET_ACCESS_KEY=abc next", f"AWS_SECRET_ACCESS_KEY={REMOVED} next"),
        ("S3_SECRET_KEY: abc", f"S3_SECRET_KEY: {REMOVED}"),
        (r'{"password":"ab\"cd","user":"a"}', f'{{"password":{REMOVED},"user":"a"}}'),
        (r'"{\"password\":\"ab\\\"cd\",\"u\":1}"', rf'"{{\"password\":{REMOVED},\"u\":1}}"'),
        ("password: 'it''s', user: a", f"password: {REMOVED}, user: a"),
        ("password: '', user: a", f"password: {REMOVED}, user: a"),
        ('password: "cut off', f"password: {REMOVED}"),
        ("join --token abc --cloud c", f"join --token {REMOVED} --cloud c"),
        ("join --token 'a b' --cloud c", f"join --token {REMOVED} --cloud c"),
        ('["--token", "abc", "--x"]', f'["--token", {REMOVED}, "--x"]'),
        ('["--token","abc","--x"]', f'["--token",{REMOVED},"--x"]'),
        ("- --db-password\n- abc\n- --x", f"- --db-password\n- {REMOVED}\n- --x"),
        ('"--token",\n  "abc",\n', f'"--token",\n  {REMOVED},\n'),
        (
            '{"name":"DB_PASSWORD","value":"abc"}',
            f'{{"name":"DB_PASSWORD","value":{REMOVED}}}',
        ),
        ("- name: DB_PASSWORD\n  value: abc\n", f"- name: DB_PASSWORD\n  value: {REMOVED}\n"),
        ('{"name":"DB_PASSWORD","valueFrom":{}}', '{"name":"DB_PASSWORD","valueFrom":{}}'),
        ("--token-file /run/t --x", "--token-file /run/t --x"),
        ("--token --x", "--token --x"),
        ('["--token", "--x"]', '["--token", "--x"]'),
        ("https://auth:8443/path", "https://auth:8443/path"),
        ("node edge-1 is connected: since 12:00", "node edge-1 is connected: since 12:00"),
        ("cloudcore_token_door_total 3", "cloudcore_token_door_total 3"),
        ("https://host:10002/path", "https://host:10002/path"),
    ],
)
def test_secrets_go_and_the_rest_stays(text: str, expected: str) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ({"data": {"a": "YQ=="}, "kind": "Secret"}, {"data": REMOVED, "kind": "Secret"}),
        ({"token": "abc", "token_file": "/t"}, {"token": REMOVED, "token_file": "/t"}),
        ({"token": "", "password": None}, {"token": "", "password": None}),
        ({"plain_token": True}, {"plain_token": True}),
        ([{"a": (JWT, 1)}], [{"a": [REMOVED, 1]}]),
        ({"auths": {"r": {"auth": "dTpw"}}}, {"auths": {"r": {"auth": REMOVED}}}),
        ({".dockerconfigjson": "e30="}, {".dockerconfigjson": REMOVED}),
        ({"name": "DB_PASSWORD", "value": "a"}, {"name": "DB_PASSWORD", "value": REMOVED}),
        ({"name": "DB_HOST", "value": "a"}, {"name": "DB_HOST", "value": "a"}),
        (["run", "--token", "a", "-v"], ["run", "--token", REMOVED, "-v"]),
        (["--token", "--token-file", "a"], ["--token", "--token-file", "a"]),
    ],
)
def test_objects_lose_what_their_keys_call_secret(shown: Any, expected: Any) -> None:
    assert redact_object(shown) == expected


@pytest.mark.parametrize("part", ["-", "a", "\\", '"', "token", "name", "--token ", "''", "auth"])
def test_a_long_text_of_anything_is_done_with(part: str) -> None:
    redact(f"--token={part * 20_000}")
    redact(part * 20_000)


def test_what_is_nested_without_an_end_ends() -> None:
    nested: list[Any] = []
    nested.append(nested)
    assert REMOVED in str(redact_object(nested))


@given(st.text(), st.text(), st.sampled_from([KEY, JWT, f"{'0' * 64}.{JWT}"]))
def test_a_key_or_a_token_is_found_wherever_it_stands(before: str, after: str, secret: str) -> None:
    middle = secret.splitlines()[1] if "\n" in secret else "c2lnbmF0dXJl"
    assert middle not in redact(f"{before} {secret} {after}").replace(before, "").replace(after, "")

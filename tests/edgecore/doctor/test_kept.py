"""Judgements of what lies on an edge's disk. Nothing is faked: it is pure."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from common.checks import Finding, Verdict
from edgecore.doctor.kept import MIN_FREE_BYTES, Certificate, Folder, Kept, Store, Token, judge

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
GIB = 1 << 30
FOLDER = Folder("/d", 0o700, is_ours=True, free_bytes=5 * GIB, total_bytes=10 * GIB)
STORE = Store(is_there=True, is_opened=True, key="/d/key", is_complete=True)
CERTIFICATE = Certificate(
    "/d/pki/e.pem", is_there=True, node="e", until=NOW + timedelta(days=90), is_of_authority=True
)
TOKEN = Token("/t", expires=NOW + timedelta(hours=1), is_of_authority=True)
NO_CERTIFICATE = Certificate("/d/pki/e.pem", is_there=False)
KEPT = Kept("e", NOW, FOLDER, STORE, CERTIFICATE, Token(""))


def found(kept: Kept, name: str) -> Finding:
    (finding,) = [one for one in judge(kept) if one.name == name]
    return finding


def test_an_edge_in_order_has_nothing_to_mend() -> None:
    findings = list(judge(KEPT))
    assert [one.name for one in findings] == [
        "data folder",
        "disk",
        "edge-store",
        "edge-store key",
        "certificate",
    ]
    assert all(one.verdict is Verdict.OK and not one.fix for one in findings)


@pytest.mark.parametrize(
    ("folder", "verdict", "words"),
    [
        (Folder("/d", error="Permission denied"), Verdict.FAIL, "Permission denied"),
        (Folder("/d"), Verdict.WARN, "is not there"),
        (replace(FOLDER, is_ours=False), Verdict.FAIL, "another user"),
        (replace(FOLDER, mode=0o755), Verdict.WARN, "mode 0755"),
    ],
)
def test_a_folder_that_is_not_ours_alone_is_told(
    folder: Folder, verdict: Verdict, words: str
) -> None:
    finding = found(replace(KEPT, folder=folder), "data folder")
    assert finding.verdict is verdict
    assert words in finding.found
    assert finding.fix


@pytest.mark.parametrize(
    ("free", "verdict"),
    [(MIN_FREE_BYTES - 1, Verdict.FAIL), (GIB // 2, Verdict.WARN), (2 * GIB, Verdict.OK)],
)
def test_a_disk_that_fills_up_is_told(free: int, verdict: Verdict) -> None:
    kept = replace(KEPT, folder=replace(FOLDER, free_bytes=free))
    assert found(kept, "disk").verdict is verdict


@pytest.mark.parametrize(
    ("store", "verdict", "words"),
    [
        (Store(is_there=False), Verdict.WARN, "never told anything"),
        (Store(is_there=True, error="has schema 9"), Verdict.FAIL, "has schema 9"),
        (replace(STORE, fault="row 3 missing"), Verdict.FAIL, "damaged: row 3 missing"),
        (replace(STORE, is_complete=False), Verdict.WARN, "not confirmed"),
    ],
)
def test_a_store_that_is_not_in_order_is_told(store: Store, verdict: Verdict, words: str) -> None:
    finding = found(replace(KEPT, store=store), "edge-store")
    assert finding.verdict is verdict
    assert words in finding.found
    assert finding.fix


def test_a_key_that_does_not_open_the_secrets_is_told() -> None:
    finding = found(replace(KEPT, store=replace(STORE, is_opened=False)), "edge-store key")
    assert finding.verdict is Verdict.FAIL
    names = [one.name for one in judge(replace(KEPT, store=replace(STORE, is_opened=None)))]
    assert "edge-store key" not in names


@pytest.mark.parametrize(
    ("certificate", "verdict", "words"),
    [
        (NO_CERTIFICATE, Verdict.WARN, "none yet"),
        (replace(CERTIFICATE, error="bad"), Verdict.FAIL, "bad"),
        (replace(CERTIFICATE, until=None), Verdict.FAIL, "no dates"),
        (replace(CERTIFICATE, node="f"), Verdict.FAIL, "is of f, not of e"),
        (replace(CERTIFICATE, node=None), Verdict.FAIL, "nobody that this project knows"),
        (replace(CERTIFICATE, is_of_authority=False), Verdict.FAIL, "signed by none"),
        (replace(CERTIFICATE, until=NOW), Verdict.WARN, "has expired on 2026-01-01"),
        (replace(CERTIFICATE, until=NOW + timedelta(days=3)), Verdict.WARN, "ends on 2026-01-04"),
    ],
)
def test_a_certificate_that_is_not_in_order_is_told(
    certificate: Certificate, verdict: Verdict, words: str
) -> None:
    finding = found(replace(KEPT, certificate=certificate, token=TOKEN), "certificate")
    assert finding.verdict is verdict
    assert words in finding.found
    assert finding.fix


TOKENS = [
    (Token("/t", "Permission denied"), "Permission denied"),
    (replace(TOKEN, expires=NOW), "has expired at 2026-01-01 12:00 UTC"),
    (replace(TOKEN, node="f"), "is for f, not for e"),
    (replace(TOKEN, is_of_authority=False), "another authority"),
]


@pytest.mark.parametrize(("token", "words"), TOKENS)
def test_a_token_of_no_use_fails_where_it_is_needed_and_is_told_where_not(
    token: Token, words: str
) -> None:
    needed = found(replace(KEPT, certificate=NO_CERTIFICATE, token=token), "token")
    assert needed.verdict is Verdict.FAIL
    assert words in needed.found
    assert needed.fix == "on the cloud side: cloudcore token create --node-name e"
    assert found(replace(KEPT, token=token), "token").verdict is Verdict.WARN


def test_neither_a_certificate_nor_a_token_fails() -> None:
    finding = found(replace(KEPT, certificate=NO_CERTIFICATE), "token")
    assert finding.verdict is Verdict.FAIL
    assert "cannot join" in finding.found


@pytest.mark.parametrize("token", [TOKEN, Token("/t"), replace(TOKEN, node="e")])
def test_a_good_token_is_good(token: Token) -> None:
    kept = replace(KEPT, certificate=NO_CERTIFICATE, token=token)
    assert found(kept, "token").verdict is Verdict.OK

"""Dates and hashes of certificates: pure; the certificates are real ones."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from common import issuing, pki, subjects
from common.errors import CertificateError
from common.names import NodeID
from edgecore.edgehub.certificates import (
    RENEWED_AT,
    SPREAD,
    Validity,
    ders_of,
    fault_of_cloud,
    fingerprint,
    how_far_off,
    validity,
)

NOW = datetime(2026, 11, 26, 12, 30, 15, tzinfo=UTC)
YEAR = timedelta(days=365)


def server(made: datetime) -> bytes:
    certificate = issuing.issue_server(issuing.new_authority(made), pki.new_key(), ["cloud"], made)
    return certificate.public_bytes(Encoding.DER)


@pytest.mark.parametrize("made", [NOW, datetime(1971, 1, 1, tzinfo=UTC), NOW + 40 * YEAR])
def test_dates_are_read_as_the_library_reads_them(made: datetime) -> None:
    authority = issuing.new_authority(made)
    node = NodeID("n" * 250)
    issued = issuing.issue_node(authority, subjects.new_csr(pki.new_key(), node), node, made)
    for der in (authority.der, issued.der, server(made)):
        loaded = pki.load_certificate(der)
        assert validity(der) == Validity(loaded.not_valid_before_utc, loaded.not_valid_after_utc)


@given(st.binary(max_size=200))
def test_what_is_no_certificate_is_a_certificate_error(data: bytes) -> None:
    with pytest.raises(CertificateError):
        validity(data)


@pytest.mark.parametrize("cut", [1, 2, 3, 4, 20, 60, 100])
def test_a_certificate_that_is_cut_off_is_none(cut: int) -> None:
    with pytest.raises(CertificateError):
        validity(server(NOW)[:cut])


def test_a_certificate_whose_times_are_something_else_is_none() -> None:
    der = server(NOW)
    at = der.index(b"\x17\x0d")
    with pytest.raises(CertificateError):
        validity(der[:at] + b"\x16" + der[at + 1 :])


def sequence(content: bytes) -> bytes:
    return b"\x30" + bytes([len(content)]) + content


def test_a_certificate_without_a_version_is_one_of_the_first_version() -> None:
    empty = sequence(b"")
    times = sequence(b"\x17\x0d261126123015Z" + b"\x18\x0f20771126123015Z")
    der = sequence(sequence(b"\x02\x01\x01" + empty + empty + times))
    assert validity(der) == Validity(NOW, NOW.replace(year=2077))


def test_certificates_are_found_in_a_file_in_their_order() -> None:
    first, second = issuing.new_authority(NOW), issuing.new_authority(NOW)
    key = pki.key_to_pem(first.key).decode()
    assert ders_of(f"{first.pem}\n# a remark\n{key}{second.pem}") == [first.der, second.der]
    assert ders_of("nothing") == []
    assert fingerprint(first.der) == pki.fingerprint(first.der)
    with pytest.raises(CertificateError):
        ders_of("-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----")


def test_nodes_renew_at_two_thirds_of_the_life_and_not_all_at_once() -> None:
    life = Validity(NOW, NOW + YEAR)
    dues = {life.renewal_due(f"n{number}") for number in range(1000)}
    assert min(dues) >= NOW + RENEWED_AT * YEAR
    assert max(dues) <= NOW + (RENEWED_AT + SPREAD) * YEAR
    assert max(dues) - min(dues) > 0.9 * SPREAD * YEAR
    assert life.renewal_due("n1") == life.renewal_due("n1")


def test_the_cloud_is_judged_by_what_is_known_and_not_by_the_machines_clock() -> None:
    der = server(NOW)
    in_1970, two_years_ahead = datetime(1970, 1, 1, tzinfo=UTC), NOW + 2 * YEAR
    for wall in (in_1970, NOW, two_years_ahead):
        assert fault_of_cloud(der, NOW, wall) == ""
        assert fault_of_cloud(der, None, wall) == ""
        assert fault_of_cloud(der, NOW - YEAR, wall) == ""  # it was away for a year
        assert "has expired on 2027-11-26" in fault_of_cloud(der, NOW + 2 * YEAR, wall)


def test_the_words_tell_of_a_clock_that_is_certainly_behind() -> None:
    der, known = server(NOW), NOW + 2 * YEAR
    assert "58.9 years behind" in fault_of_cloud(der, known, datetime(1970, 1, 1, tzinfo=UTC))
    assert "clock" not in fault_of_cloud(der, known, known + 3 * YEAR)


@pytest.mark.parametrize(
    ("off", "words"),
    [
        (timedelta(minutes=59), ""),
        (timedelta(hours=-2), "2.0 hours behind"),
        (timedelta(days=3), "3.0 days ahead"),
        (2 * YEAR, "2.0 years ahead"),
    ],
)
def test_a_clock_that_is_far_off_is_told_in_words(off: timedelta, words: str) -> None:
    assert how_far_off(NOW + off, NOW) == (words and f"this machine's clock is {words}")

"""Judgements of the way to the cloud. Real certificates; nothing is faked: it is pure."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from common import issuing
from common.checks import Finding, Verdict
from edgecore.doctor.reach import Exchanges, Port, Reach, Shown, judge

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
DER = issuing.new_authority(NOW).der
SHOWN = Shown(hosts=("cloud",), is_named=True, is_trusted=True, der=DER)
REACH = Reach(
    "cloud",
    NOW,
    NOW,
    addresses=("10.0.0.1",),
    ports=(Port("--websocket-port", 10000), Port("--https-port", 10002)),
    shown=SHOWN,
    exchanges=Exchanges(date=NOW),
)


def found(reach: Reach, name: str) -> Finding:
    (finding,) = [one for one in judge(reach) if one.name == name]
    return finding


def test_a_cloud_in_reach_has_nothing_to_mend() -> None:
    findings = list(judge(REACH))
    assert [one.name for one in findings] == [
        "name of the cloud",
        "port 10000",
        "port 10002",
        "name in the certificate",
        "authority of the cloud",
        "dates of the cloud's certificate",
        "large packets",
        "clock",
    ]
    assert all(one.verdict is Verdict.OK and not one.fix for one in findings)


def test_a_name_that_is_not_resolved_is_all_there_is_to_say() -> None:
    findings = list(judge(Reach("cloud", NOW, None, name_error="Name or service not known")))
    assert [(one.name, one.verdict) for one in findings] == [("name of the cloud", Verdict.FAIL)]


def test_a_port_that_does_not_answer_names_its_option() -> None:
    ports = (Port("--websocket-port", 10000, "Connection refused"),)
    finding = found(replace(REACH, ports=ports, shown=None), "port 10000")
    assert finding.verdict is Verdict.FAIL
    assert "--websocket-port" in finding.fix


def test_an_address_that_is_not_in_the_certificate_names_the_fix() -> None:
    shown = replace(SHOWN, is_named=False, hosts=("a", "b"))
    finding = found(replace(REACH, shown=shown), "name in the certificate")
    assert finding.verdict is Verdict.FAIL
    assert "not valid for cloud, but for a, b" in finding.found
    assert "--advertise-address cloud" in finding.fix


def test_a_certificate_for_nobody_is_told() -> None:
    shown = replace(SHOWN, is_named=False, hosts=())
    assert "but for nobody" in found(replace(REACH, shown=shown), "name in the certificate").found


def test_a_port_that_speaks_no_tls_is_told() -> None:
    finding = found(replace(REACH, shown=Shown(error="no TLS: WRONG_VERSION_NUMBER")), "TLS")
    assert finding.verdict is Verdict.FAIL


def test_another_authority_fails_and_none_yet_does_not() -> None:
    other = replace(REACH, shown=replace(SHOWN, is_trusted=False))
    assert found(other, "authority of the cloud").verdict is Verdict.FAIL
    none = replace(REACH, shown=replace(SHOWN, is_trusted=None))
    assert "authority of the cloud" not in [one.name for one in judge(none)]


def test_an_expired_certificate_of_the_cloud_is_judged_by_the_time_that_is_known() -> None:
    later = replace(REACH, known=NOW + timedelta(days=365 * 1000))
    assert found(later, "dates of the cloud's certificate").verdict is Verdict.FAIL
    broken = replace(REACH, shown=replace(SHOWN, der=b"x"))
    assert found(broken, "dates of the cloud's certificate").verdict is Verdict.FAIL


def test_a_path_that_swallows_large_packets_is_told_with_the_mtu() -> None:
    exchanges = Exchanges(large="no answer within 5 s", date=NOW)
    finding = found(replace(REACH, exchanges=exchanges), "large packets")
    assert finding.verdict is Verdict.WARN
    assert "mtu 1400" in finding.fix


def test_an_endpoint_that_accepts_and_says_nothing_is_told() -> None:
    finding = found(
        replace(REACH, exchanges=Exchanges(small="no answer within 5 s")), "enrolment endpoint"
    )
    assert finding.verdict is Verdict.FAIL


@pytest.mark.parametrize("hours", [-48, 48])
def test_a_clock_that_is_off_by_the_cloud_s_is_told(hours: int) -> None:
    exchanges = Exchanges(date=NOW + timedelta(hours=hours))
    finding = found(replace(REACH, exchanges=exchanges), "clock")
    assert finding.verdict is Verdict.WARN
    assert "2.0 days" in finding.found


def test_a_clock_that_is_a_little_off_is_told_by_how_much() -> None:
    exchanges = Exchanges(date=NOW + timedelta(minutes=5))
    finding = found(replace(REACH, exchanges=exchanges), "clock")
    assert (finding.verdict, finding.found) == (Verdict.OK, "300 s from the cloud's")


def test_offline_a_clock_is_judged_by_the_last_time_that_was_told() -> None:
    offline = replace(REACH, exchanges=None, known=NOW + timedelta(days=2))
    assert found(offline, "clock").verdict is Verdict.WARN
    for known in (None, NOW - timedelta(days=2), NOW + timedelta(seconds=1)):
        names = [one.name for one in judge(replace(offline, known=known))]
        assert "clock" not in names


def test_a_proxy_is_noted_and_a_reason_where_the_cloud_cannot_be_reached() -> None:
    reach = replace(REACH, proxies={"HTTPS_PROXY": "http://proxy:3128"})
    assert found(reach, "proxies").verdict is Verdict.OK
    cut = replace(reach, ports=(Port("--websocket-port", 1, "refused"),))
    assert found(cut, "proxies").verdict is Verdict.WARN

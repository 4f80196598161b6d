"""Kernel settings of pods: pure, nothing faked."""

from typing import Any

import pytest

from edgecore.edged.spec.sysctls import forbidden_sysctl, sysctls_of
from tests.edgecore.edged.world import pod_object


def asking(name: str, **spec: Any) -> dict[str, Any]:
    context = {"sysctls": [{"name": name, "value": "1"}]}
    return pod_object("web", securityContext=context, **spec)


@pytest.mark.parametrize(
    ("name", "dotted"),
    [
        ("net.ipv4.tcp_syncookies", "net.ipv4.tcp_syncookies"),
        ("net/ipv4/tcp_syncookies", "net.ipv4.tcp_syncookies"),
        ("net.ipv4.conf.eno2/100.rp_filter", "net.ipv4.conf.eno2/100.rp_filter"),
        ("net/ipv4/conf/eno2.100/rp_filter", "net.ipv4.conf.eno2/100.rp_filter"),
        ("odd", "odd"),
    ],
)
def test_names_have_dots(name: str, dotted: str) -> None:
    assert sysctls_of(asking(name)) == ((dotted, "1"),)


def test_a_pod_that_asks_for_none_gets_none() -> None:
    assert sysctls_of(pod_object("web")) == ()
    assert forbidden_sysctl(pod_object("web")) == ""


@pytest.mark.parametrize(
    ("name", "spec", "fault"),
    [
        ("net.ipv4.tcp_syncookies", {}, ""),
        ("kernel.shm_rmid_forced", {"hostNetwork": True}, ""),
        ("net.ipv4.tcp_rmem", {"hostIPC": True}, ""),
        ("kernel.msgmax", {}, '"kernel.msgmax" not allowlisted'),
        ("net/core/somaxconn", {}, '"net.core.somaxconn" not allowlisted'),
        (
            "net.ipv4.tcp_rmem",
            {"hostNetwork": True},
            '"net.ipv4.tcp_rmem" not allowed with host Net enabled',
        ),
        (
            "kernel.shm_rmid_forced",
            {"hostIPC": True},
            '"kernel.shm_rmid_forced" not allowed with host IPC enabled',
        ),
    ],
)
def test_only_what_nobody_else_notices_may_be_set(
    name: str, spec: dict[str, Any], fault: str
) -> None:
    assert forbidden_sysctl(asking(name, **spec)) == (fault and f"forbidden sysctl: {fault}")

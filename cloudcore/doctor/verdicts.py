"""What a doctor says of the facts about a cluster and its cloudcores. Pure.

Each function takes what was seen, and returns what that means and how it is put right.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from cloudcore.commands.nodestates import NodeState
from cloudcore.trust.authorities import Authorities
from common.checks import Finding, Verdict
from common.clock import rfc3339

OLDEST_API: Final = (1, 30)
NEWEST_API: Final = (1, 37)
"""Minor versions of Kubernetes: below lacks what cloudcore uses, above is not tried."""

CLOCK_WARN_S: Final = 5.0
CLOCK_FAIL_S: Final = 60.0

NODE_CERTIFICATE: Final = timedelta(days=30)
AUTHORITY: Final = timedelta(days=180)
SERVER_CERTIFICATE: Final = timedelta(days=7)

DESCRIPTORS: Final = 20_000
"""Open files: a connection is one, and 10,000 nodes come back at one moment."""

_NAMED: Final = 10
_DEPLOY: Final = "kubectl apply -k deploy/kubernetes"
_MINOR: Final = re.compile(r"v?(\d+)\.(\d+)")
_OWN: Final = re.compile(r"-cloudedge-(\d+)\.(\d+)")
_KUBELET_SKEW: Final = 3
"""Source: https://kubernetes.io/releases/version-skew-policy/#kubelet"""


def names(found: Sequence[str]) -> str:
    """Return the first of them, and how many there are."""
    shown = ", ".join(found[:_NAMED])
    return f"{shown}, ... ({len(found)})" if len(found) > _NAMED else shown


def api_version(version: str) -> Finding:
    """Judge the version of Kubernetes."""
    name, minor = "api-server", _minor(version)
    if minor is None or not OLDEST_API <= minor <= NEWEST_API:
        span = f"{OLDEST_API[0]}.{OLDEST_API[1]} to {NEWEST_API[0]}.{NEWEST_API[1]}"
        fix = f"use a Kubernetes of {span}, or try this one first with a node that matters little"
        return Finding(name, Verdict.WARN, f"Kubernetes {version}, not of {span}", fix)
    return Finding(name, Verdict.OK, f"Kubernetes {version}")


def clock(here: datetime, there: datetime, took: timedelta) -> Finding:
    """Judge this machine's clock by that of the API server, which told it within ``took``."""
    name, apart_s = "clock", abs((here - there).total_seconds())
    # It tells whole seconds, at some moment while we waited.
    apart_s = max(0.0, apart_s - 1.0 - took.total_seconds())
    if apart_s < CLOCK_WARN_S:
        return Finding(name, Verdict.OK, "agrees with that of the API server")
    verdict = Verdict.WARN if apart_s < CLOCK_FAIL_S else Verdict.FAIL
    fix = "set the clocks by NTP: tokens, certificates and leases are judged by them"
    return Finding(name, verdict, f"{apart_s:.0f} s apart from that of the API server", fix)


def rights(who: str, missing: Sequence[str], asked: int) -> Finding:
    """Judge what ``who`` may not do of what cloudcore needs."""
    if not missing:
        return Finding("rights", Verdict.OK, f"{who} has all {asked} that cloudcore needs")
    fix = f"{_DEPLOY}, and run cloudcore as that ServiceAccount"
    return Finding("rights", Verdict.FAIL, f"{who} may not: {names(missing)}", fix)


def kubeedge(crds: Sequence[str]) -> Finding:
    """Say which kinds of KubeEdge the cluster has, of which cloudcore needs none."""
    if not crds:
        return Finding("kubeedge-crds", Verdict.OK, "none, and none is needed")
    found = f"of KubeEdge, not used by this cloudcore: {names(crds)}"
    return Finding("kubeedge-crds", Verdict.OK, found)


def authority(found: Authorities | None, now: datetime) -> list[Finding]:
    """Judge the Secret ``casecret``, and a replacement that was begun and not ended."""
    name = "authority"
    if found is None:
        fix = "start cloudcore, which makes one; where there were nodes before: restore the Secret"
        return [Finding(name, Verdict.FAIL, "there is no Secret kubeedge/casecret", fix)]
    until = found.current.certificate.not_valid_after_utc
    good = _expiry(name, until, now, AUTHORITY, "cloudcore ca rotate")
    if found.previous is None:
        return [good]
    old = "an earlier authority is trusted still"
    fix = "see `cloudcore ca status`, and end it with `cloudcore ca finish`"
    return [good, Finding("authority-replaced", Verdict.WARN, old, fix)]


def server_certificate(
    address: str, hosts: frozenset[str], until: datetime, now: datetime, *, is_signed: bool
) -> Finding:
    """Judge the certificate that is shown at ``address``, which has the names ``hosts``."""
    name = f"certificate-of {address}"
    if address not in hosts:
        found = f"is not good for {address}, but for {names(sorted(hosts))}"
        fix = f"add {address} to --advertise-address of cloudcore (SIGHUP has it read that again)"
        return Finding(name, Verdict.FAIL, found, fix)
    if not is_signed:
        found = "was signed by none of this cluster's authorities"
        fix = "does the address lead to another cluster's cloudcore, or through a proxy?"
        return Finding(name, Verdict.FAIL, found, fix)
    return _expiry(name, until, now, SERVER_CERTIFICATE, "restart cloudcore, which renews it")


def port(address: str, number: int, what: str, fault: str) -> Finding:
    """Judge whether a port can be reached; ``fault`` is empty where it can."""
    name = f"{what}-port"
    if not fault:
        return Finding(name, Verdict.OK, f"{address}:{number} answers")
    fix = (
        "does cloudcore run, does it listen there (--websocket-address, --https-address), and do"
        " Service and firewall let it through?"
    )
    return Finding(name, Verdict.FAIL, f"{address}:{number}: {fault}", fix)


def node_certificates(states: Sequence[NodeState], now: datetime) -> Finding:
    """Judge until when the certificates of nodes are good."""
    name = "node-certificates"
    ending = [
        state.node
        for state in states
        if not state.is_revoked
        and state.certificate_until is not None
        and state.certificate_until < now + NODE_CERTIFICATE
    ]
    if not ending:
        return Finding(name, Verdict.OK, f"none of {len(states)} nodes ends within 30 days")
    fix = (
        "edges renew by themselves when they are connected: bring these online; who comes later"
        " than --renewal-grace-days needs `cloudcore token create --node-name NAME`"
    )
    return Finding(name, Verdict.WARN, f"end within 30 days: {names(ending)}", fix)


def node_versions(states: Sequence[NodeState], api: str, own: str) -> Finding:
    """Judge the versions of nodes by that of cloudcore, and by that of the API server."""
    name = "node-versions"
    apart = [state.node for state in states if _is_apart(state.version, own)]
    if apart:
        found = f"more than one minor version apart from cloudcore {own}: {names(apart)}"
        return Finding(name, Verdict.WARN, found, "upgrade them, or cloudcore, one minor at a time")
    kubelets = [state.node for state in states if _is_skewed(state.version, api)]
    if kubelets:
        found = f"newer than Kubernetes {api}, or more than three minors older: {names(kubelets)}"
        return Finding(name, Verdict.WARN, found, "upgrade the API server, or these nodes")
    return Finding(name, Verdict.OK, f"{len(states)} nodes fit to cloudcore {own}")


def cloud_pods(pods: Sequence[Mapping[str, Any]], edges: frozenset[str]) -> Finding:
    """Judge whether DaemonSets of the cloud's network were put on edge nodes."""
    name = "cloud-daemonsets"
    found = sorted({_daemonset_of(pod) for pod in pods if _is_cloud_pod(pod, edges)})
    if not found:
        return Finding(name, Verdict.OK, "no pod of kube-proxy or of a CNI is bound to an edge")
    fix = (
        "keep them off nodes with the label node-role.kubernetes.io/edge:"
        " deploy/kubernetes/components/cloud-daemonsets does that"
    )
    return Finding(name, Verdict.WARN, f"bound to edge nodes: {names(found)}", fix)


def descriptors(limit: int) -> Finding:
    """Judge how many files a process of this machine may open."""
    if limit >= DESCRIPTORS:
        return Finding("open-files", Verdict.OK, f"{limit} here")
    fix = "raise it (LimitNOFILE= of the unit, or of the container engine)"
    found = f"{limit} here: each node that is connected takes one"
    return Finding("open-files", Verdict.WARN, found, fix)


def unknown(name: str, why: str) -> Finding:
    """Say that something could not be looked at."""
    return Finding(name, Verdict.WARN, f"not known: {why}", "mend that, and ask again")


def _expiry(name: str, until: datetime, now: datetime, early: timedelta, fix: str) -> Finding:
    if until <= now:
        return Finding(name, Verdict.FAIL, f"has ended at {rfc3339(until)}", fix)
    if until < now + early:
        return Finding(name, Verdict.WARN, f"ends at {rfc3339(until)}", fix)
    return Finding(name, Verdict.OK, f"good until {rfc3339(until)}")


def _is_apart(version: str, own: str) -> bool:
    theirs, ours = _OWN.search(version), _minor(own)
    if theirs is None or ours is None:  # of KubeEdge, or nothing is said yet
        return False
    major, minor = int(theirs[1]), int(theirs[2])
    return major != ours[0] or abs(minor - ours[1]) > 1


def _is_skewed(version: str, api: str) -> bool:
    kubelet, server = _minor(version), _minor(api)
    if kubelet is None or server is None:
        return False
    return kubelet > server or server[1] - kubelet[1] > _KUBELET_SKEW


def _minor(version: str) -> tuple[int, int] | None:
    found = _MINOR.match(version)
    return None if found is None else (int(found[1]), int(found[2]))


_NETWORK: Final = re.compile(
    r"kube-proxy|calico|canal|cilium|flannel|weave|kindnet|antrea|kube-router|aws-node|cni"
)


def _is_cloud_pod(pod: Mapping[str, Any], edges: frozenset[str]) -> bool:
    node = (pod.get("spec") or {}).get("nodeName")
    return node in edges and _NETWORK.search(_daemonset_of(pod)) is not None


def _daemonset_of(pod: Mapping[str, Any]) -> str:
    owners = pod["metadata"].get("ownerReferences") or ()
    owner = next((one["name"] for one in owners if one["kind"] == "DaemonSet"), "")
    return f"{pod['metadata']['namespace']}/{owner}" if owner else ""

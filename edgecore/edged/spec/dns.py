"""What stands in a pod's ``/etc/resolv.conf``. Pure.

Source: Kubernetes pkg/kubelet/network/dns/dns.go;
https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/
"""

from collections.abc import Iterable, Sequence
from typing import Final

from edgecore.edged.podview import Object, spec_of
from edgecore.edged.runtime.spec import DNSConfig
from edgecore.edged.spec.refusals import Notice, described

MAX_SERVERS: Final = 3
MAX_SEARCHES: Final = 32
MAX_SEARCH_CHARS: Final = 2048

_MAX_DOMAIN_CHARS: Final = 253
_CLUSTER_OPTIONS: Final = ("ndots:5",)


def dns_config(
    pod: Object, host_resolv_conf: str, cluster_dns: Sequence[str], cluster_domain: str
) -> tuple[DNSConfig, tuple[Notice, ...]]:
    """Return how the pod looks up names, and what had to be left out.

    Args:
        pod: with its policy and its own settings.
        host_resolv_conf: text of the machine's ``resolv.conf``.
        cluster_dns: addresses of the cluster's name servers; none where pods cannot reach any.
        cluster_domain: last part of the cluster's names (``cluster.local``); may be empty.
    """
    config, notices = parse_resolv_conf(host_resolv_conf), []
    policy = _policy(pod)
    if policy == "None":
        config = DNSConfig()
    elif policy == "ClusterFirst" and cluster_dns:
        namespace = pod["metadata"]["namespace"]
        searches = _cluster_searches(namespace, cluster_domain, config.searches)
        config = DNSConfig(tuple(cluster_dns), searches, _CLUSTER_OPTIONS)
    elif policy == "ClusterFirst":
        notices.append(_no_cluster_dns(pod))
    config = _merged(config, spec_of(pod).get("dnsConfig") or {})
    servers = config.servers[:MAX_SERVERS]
    if servers != config.servers:
        notices.append(_cut("Nameserver", "nameservers", "nameserver", servers))
    searches = _fitting(config.searches)
    if searches != config.searches:
        notices.append(_cut("Search Line", "search paths", "search", searches))
    return DNSConfig(servers, searches, config.options), tuple(notices)


def parse_resolv_conf(text: str) -> DNSConfig:
    """Return what a ``resolv.conf`` says; lines that say nothing are left out.

    Servers add up, the last line of searches counts, and so does the last value of each option.
    """
    servers: list[str] = []
    searches: list[str] = []
    options: dict[str, str] = {}
    for line in text.splitlines():
        match line.split():
            case ["nameserver", server, *_]:
                servers.append(server)
            case ["search", *domains]:
                # "a." and "a" are the same and count once; "." alone means no domain.
                searches = [domain.removesuffix(".") for domain in domains if domain != "."]
            case ["options", *words]:
                options |= {word.partition(":")[0]: word for word in words}
    return DNSConfig(tuple(servers), tuple(searches), tuple(options.values()))


def _policy(pod: Object) -> str:
    """Return ``ClusterFirst``, ``Default`` or ``None``, whichever comes out."""
    policy = spec_of(pod).get("dnsPolicy") or "ClusterFirst"
    if policy in {"None", "Default"}:
        return str(policy)
    on_host = policy == "ClusterFirst" and spec_of(pod).get("hostNetwork")
    return "Default" if on_host else "ClusterFirst"


def _cluster_searches(namespace: str, domain: str, host: Sequence[str]) -> tuple[str, ...]:
    if not domain:
        return tuple(host)
    return _unique([f"{namespace}.svc.{domain}", f"svc.{domain}", domain, *host])


def _merged(config: DNSConfig, own: Object) -> DNSConfig:
    """Return ``config`` with what the pod adds to it; its options win."""
    options = {option.partition(":")[0]: option for option in config.options}
    for option in own.get("options") or ():
        name, value = option.get("name", ""), option.get("value")
        options[name] = f"{name}:{value}" if value else name
    return DNSConfig(
        _unique([*config.servers, *(own.get("nameservers") or ())]),
        _unique([*config.searches, *(own.get("searches") or ())]),
        tuple(options.values()),
    )


def _fitting(searches: Sequence[str]) -> tuple[str, ...]:
    """Return as many domains as resolvers bear: those too long and the last ones are left out."""
    kept = [domain for domain in searches[:MAX_SEARCHES] if len(domain) <= _MAX_DOMAIN_CHARS]
    while len(" ".join(kept)) > MAX_SEARCH_CHARS:
        kept.pop()
    return tuple(kept)


def _cut(line: str, left_out: str, applied: str, rest: Sequence[str]) -> Notice:
    return Notice(
        "DNSConfigForming",
        f"{line} limits were exceeded, some {left_out} have been omitted, "
        f"the applied {applied} line is: {' '.join(rest)}",
    )


def _no_cluster_dns(pod: Object) -> Notice:
    return Notice(
        "MissingClusterDNS",
        f'pod: "{described(pod)}". edged does not have ClusterDNS IP configured and cannot create '
        'Pod using "ClusterFirst" policy. Falling back to "Default" policy.',
    )


def _unique(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))

"""A pod's own name, and its ``/etc/hosts``. Pure.

Source: Kubernetes pkg/kubelet/kubelet_pods.go (GeneratePodHostNameAndDomain, ensureHostsFile) and
pkg/kubelet/util/util.go (GetNodenameForKernel);
https://kubernetes.io/docs/tasks/network/customize-hosts-file-for-pods/
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from edgecore.edged.podview import Object, spec_of
from edgecore.edged.spec.refusals import SpecError

HOSTS_PATH: Final = "/etc/hosts"

_MAX_NAME_CHARS: Final = 63
_MAX_KERNEL_CHARS: Final = 64
_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_WRITTEN_BY: Final = "# Written by edged for this pod; a restart of the container undoes changes."
_OF_NODE: Final = "# The node's own entries follow, since the pod uses the node's network."
_OF_POD: Final = "# From the pod's hostAliases."
_LOCAL: Final = (
    "127.0.0.1\tlocalhost",
    "::1\tlocalhost ip6-localhost ip6-loopback",
    "fe00::0\tip6-localnet",
    "fe00::0\tip6-mcastprefix",
    "fe00::1\tip6-allnodes",
    "fe00::2\tip6-allrouters",
)


class PodName(NamedTuple):
    """What a pod is called in its own network."""

    hostname: str
    domain: str
    """Empty for a pod without a ``subdomain``."""


def pod_name(pod: Object, cluster_domain: str) -> PodName:
    """Return what ``pod`` calls itself, cut to what fits.

    Raises:
        SpecError: a part of it cannot be part of a name.
    """
    spec = spec_of(pod)
    override = spec.get("hostnameOverride")
    if override is not None:
        return PodName(_cut(_checked("hostnameOverride", override, override.split("."))), "")
    metadata = pod["metadata"]
    hostname, subdomain = spec.get("hostname"), spec.get("subdomain")
    if hostname:
        _checked("hostname", hostname, [hostname])
    domain = ""
    if subdomain:
        _checked("subdomain", subdomain, [subdomain])
        domain = f"{subdomain}.{metadata['namespace']}.svc.{cluster_domain}"
    return PodName(_cut(hostname or metadata["name"]), domain)


def kernel_hostname(pod: Object, cluster_domain: str) -> str:
    """Return what ``hostname`` says in the pod; empty where that is the machine's own name.

    Raises:
        SpecError: a part of it cannot be part of a name, or the whole name is wanted and is longer
            than the kernel bears.
    """
    spec = spec_of(pod)
    if spec.get("hostNetwork"):
        return ""
    hostname, domain = pod_name(pod, cluster_domain)
    if not (domain and spec.get("setHostnameAsFQDN")):
        return hostname
    whole = f"{hostname}.{domain}"
    if len(whole) > _MAX_KERNEL_CHARS:
        raise SpecError(
            f"failed to construct FQDN from pod hostname and cluster domain, FQDN {whole} is too "
            f"long ({_MAX_KERNEL_CHARS} characters is the max, {len(whole)} characters requested)"
        )
    return whole


def hosts_file(pod: Object, ips: Sequence[str], cluster_domain: str, node_hosts: str) -> bytes:
    """Return what stands in the ``/etc/hosts`` of the pod's containers.

    Args:
        pod: with its ``hostAliases``.
        ips: the pod's addresses, which it has once its sandbox is there.
        cluster_domain: last part of the cluster's names.
        node_hosts: text of the machine's own file, for pods that use the machine's network.

    Raises:
        SpecError: the pod's name cannot be one.
    """
    return "".join(f"{line}\n" for line in _lines(pod, ips, cluster_domain, node_hosts)).encode()


def _lines(pod: Object, ips: Sequence[str], cluster_domain: str, node_hosts: str) -> Iterator[str]:
    yield _WRITTEN_BY
    if spec_of(pod).get("hostNetwork"):
        yield _OF_NODE
        yield from node_hosts.splitlines()
    else:
        yield from _LOCAL
        hostname, domain = pod_name(pod, cluster_domain)
        names = f"{hostname}.{domain}\t{hostname}" if domain else hostname
        yield from (f"{ip}\t{names}" for ip in ips)
    aliases = spec_of(pod).get("hostAliases") or ()
    if aliases:
        yield ""
        yield _OF_POD
    for alias in aliases:
        names = "\t".join(alias.get("hostnames") or ())
        yield f"{alias.get('ip', '')}\t{names}"


def _checked(field: str, name: str, labels: Sequence[str]) -> str:
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise SpecError(f"{field} {name[:128]!r} of the pod cannot be a DNS name")
    return name


def _cut(hostname: str) -> str:
    """Return a name that fits and does not end where a name cannot."""
    if len(hostname) <= _MAX_NAME_CHARS:
        return hostname
    return hostname[:_MAX_NAME_CHARS].rstrip("-.")

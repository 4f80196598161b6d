"""The labels and annotations by which kubelet's containers are known, and ours as well. Pure.

With the same ones, edgecore takes over what another kubelet left running on a machine, and the
other way round. What they do not tell has an annotation of our own.

Source: Kubernetes pkg/kubelet/kuberuntime/labels.go, staging/src/k8s.io/kubelet/pkg/types/labels.go
and pkg/kubelet/container/helpers.go (HashContainer).
"""

import json
from typing import Final

POD_NAME: Final = "io.kubernetes.pod.name"
POD_NAMESPACE: Final = "io.kubernetes.pod.namespace"
POD_UID: Final = "io.kubernetes.pod.uid"
CONTAINER_NAME: Final = "io.kubernetes.container.name"

HASH: Final = "io.kubernetes.container.hash"
RESTART_COUNT: Final = "io.kubernetes.container.restartCount"
MESSAGE_PATH: Final = "io.kubernetes.container.terminationMessagePath"
MESSAGE_POLICY: Final = "io.kubernetes.container.terminationMessagePolicy"

POLICY_FILE: Final = "File"
POLICY_LOG: Final = "FallbackToLogsOnError"

SPEC_HASH: Final = "cloudedge.io/spec-hash"
"""Of edged's own choice of fields. A container without it was made by another kubelet."""

_FNV_OFFSET: Final = 0x811C9DC5
_FNV_PRIME: Final = 0x01000193


def kubelet_hash(name: str, image: str) -> str:
    """Return what kubelet would note as the hash of a container, whose change means a restart.

    Without it, a kubelet that takes over the machine would restart every container.
    """
    text = json.dumps({"image": image, "name": name}, separators=(",", ":"), ensure_ascii=False)
    for char in "<>&":  # Go's encoder hides them from HTML
        text = text.replace(char, f"\\u{ord(char):04x}")
    dumped = " ".join(str(byte) for byte in text.encode())
    value = _FNV_OFFSET
    for byte in f"([]uint8)[{dumped}]".encode():
        value = ((value ^ byte) * _FNV_PRIME) & 0xFFFFFFFF
    return f"{value:x}"

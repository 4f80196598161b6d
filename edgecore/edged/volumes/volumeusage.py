"""Whether a pod's ``emptyDir`` volumes have become larger than it said.

Source: Kubernetes pkg/kubelet/eviction/eviction_manager.go (emptyDirLimitEviction).

All functions block, and look at every file: call them in a thread, and seldom.
"""

from contextlib import suppress

from edgecore.edged.podview import Object, spec_of
from edgecore.edged.spec.quantity import parse_quantity
from edgecore.edged.volumes.podfiles import Plugin, PodFiles
from edgecore.edged.volumes.trees import disk_usage


def empty_dir_over_limit(files: PodFiles, pod: Object) -> str:
    """Return why the pod is to be evicted, in kubelet's words; empty if it keeps its limits."""
    for volume in spec_of(pod).get("volumes") or ():
        limit = (volume.get("emptyDir") or {}).get("sizeLimit")
        if limit is None:
            continue
        with suppress(FileNotFoundError, ValueError):  # not set up, or no quantity
            limit_bytes = parse_quantity(str(limit))
            used = disk_usage(files.volume_dir(Plugin.EMPTY_DIR, volume["name"]))
            if 0 < limit_bytes < used:
                return f'Usage of EmptyDir volume "{volume["name"]}" exceeds the limit "{limit}".'
    return ""

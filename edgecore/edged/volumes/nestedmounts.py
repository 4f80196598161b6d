"""Where something is mounted inside a volume that only edged may write. Pure.

A runtime makes a missing mount point by itself, but not in a read-only volume.

Source: Kubernetes pkg/volume/util/nested_volumes.go.
"""

from collections.abc import Iterator
from posixpath import normpath

from edgecore.edged.podview import Object, containers_of, init_containers_of


def nested_mount_points(pod: Object, volume: str) -> Iterator[str]:
    """Yield the directories, relative to ``volume``, over which containers mount others.

    Of those that lie in each other only the outermost: the rest is not in this volume.
    """
    for container in (*init_containers_of(pod), *containers_of(pod)):
        mounts = container.get("volumeMounts") or ()
        points = sorted(normpath(mount["mountPath"]) for mount in mounts)
        for own in (normpath(m["mountPath"]) for m in mounts if m["name"] == volume):
            outermost: list[str] = []
            for point in points:
                if not point.startswith(f"{own}/"):
                    continue
                if not any(point.startswith(f"{outer}/") for outer in outermost):
                    outermost.append(point)
            yield from (point[len(own) + 1 :] for point in outermost)

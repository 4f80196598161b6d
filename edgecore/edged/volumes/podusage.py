"""What a pod takes of the disk, apart from what the runtime keeps for its containers.

All functions block: call them in a thread.
"""

from contextlib import suppress

from edgecore.edged.node.eviction import PodUsage
from edgecore.edged.podview import Object, containers_of, init_containers_of, spec_of
from edgecore.edged.volumes.podfiles import Plugin, PodFiles
from edgecore.edged.volumes.trees import disk_usage, entries_below


def usage_of(files: PodFiles, pod: Object) -> PodUsage:
    """Return what the logs and the ``emptyDir`` volumes of ``pod`` take."""
    logs: dict[str, int] = {}
    for container in (*containers_of(pod), *init_containers_of(pod)):
        with suppress(OSError):
            logs[container["name"]] = disk_usage(files.log_dir / container["name"])
    volumes = inodes = 0
    for volume in spec_of(pod).get("volumes") or ():
        source = volume.get("emptyDir")
        if source is None or source.get("medium"):
            continue  # what is in memory is not on the disk
        with suppress(OSError):
            path = files.volume_dir(Plugin.EMPTY_DIR, volume["name"])
            volumes += disk_usage(path)
            inodes += sum(1 for _ in entries_below(path))
    return PodUsage(logs=logs, volumes=volumes, volumes_inodes=inodes)

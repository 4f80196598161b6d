"""Where the files of a pod are. Pure.

The layout is kubelet's, so that edgecore can take the place of a kubelet, or of another edge that
is built on it, without moving a running pod.
"""

from enum import StrEnum
from pathlib import Path

from msgspec import Struct

from edgecore.edged.podview import Object, uid_of


class Plugin(StrEnum):
    """What a volume is made by, as the layout names it."""

    CONFIGMAP = "configmap"
    SECRET = "secret"  # noqa: S105 - a kind of volume
    PROJECTED = "projected"
    DOWNWARD_API = "downward-api"
    EMPTY_DIR = "empty-dir"


class PodFiles(Struct, frozen=True):
    """The files of one pod."""

    pod_dir: Path
    """Everything but the logs."""
    log_dir: Path

    @property
    def hosts_path(self) -> Path:
        """The containers' ``/etc/hosts``."""
        return self.pod_dir / "etc-hosts"

    def log_path(self, container: str, attempt: int) -> Path:
        """Return the log of one start of a container."""
        return self.log_dir / container / f"{attempt}.log"

    def volume_dir(self, plugin: Plugin, name: str) -> Path:
        """Return where the volume ``name`` is."""
        return self.pod_dir / "volumes" / f"kubernetes.io~{plugin}" / name

    def ready_path(self, name: str) -> Path:
        """Return the file that says that the ``emptyDir`` ``name`` is the containers' own now."""
        return self.pod_dir / "plugins" / f"kubernetes.io~{Plugin.EMPTY_DIR}" / name / "ready"

    def subpath(self, volume: str, container: str, index: int) -> Path:
        """Return where the part of a volume stands that the mount ``index`` of a container shows.

        Args:
            volume: name of the volume.
            container: name of the container.
            index: place in ``volumeMounts``, from 0.
        """
        return self.pod_dir / "volume-subpaths" / volume / container / str(index)

    def termination_path(self, container: str, attempt: int) -> Path:
        """Return the termination message of one start of a container.

        kubelet takes a random name of eight digits; ours tells which start it was.
        """
        return self.pod_dir / "containers" / container / f"{attempt & 0xFFFFFFFF:08x}"


def pod_files(root: Path, logs: Path, pod: Object) -> PodFiles:
    """Return where the files of ``pod`` are.

    Args:
        root: kubelet's is ``/var/lib/kubelet``.
        logs: kubelet's is ``/var/log/pods``.
        pod: with its UID.
    """
    metadata, uid = pod["metadata"], uid_of(pod)
    name = f"{metadata['namespace']}_{metadata['name']}_{uid}"
    return PodFiles(root / "pods" / uid, logs / name)

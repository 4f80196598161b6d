"""The static pods of this node: the manifests in a folder, followed while edged runs.

What cannot be read is never taken for what was removed: a file that is broken, or a folder that is
away, leaves the pods alone that came from it. Only a file that is gone from a folder that could be
listed ends its pod.

Files are looked at every few seconds: a look is one ``stat`` for each file, and a file is read
again when its ``stat`` is another. That costs less than a watch would in code, and works on every
file system.

Source: Kubernetes pkg/kubelet/config/file.go.
"""

import asyncio
import errno
import logging
import os
import stat
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeAlias

from msgspec import Struct

from common.errors import WireError
from common.metrics import MessageMetrics
from common.wire import check_depth, loads
from edgecore.edged.ondemand import OnDemand
from edgecore.edged.podview import Object, key_of
from edgecore.edged.static.manifests import HASH_ANNOTATION, ManifestError, StaticSet, static_pod

logger = logging.getLogger(__name__)

PERIOD_S: Final = 5.0
"""Seconds between two looks at the folder. kubelet looks every 20 s, and follows inotify."""

MAX_BYTES: Final = 1024 * 1024
"""Largest manifest; the API server takes no larger object from etcd either."""

_Signature: TypeAlias = tuple[int, int, int, int]


class _File(Struct):
    """A manifest as it was last looked at."""

    signature: _Signature | None = None
    pod: Object | None = None
    """What it gave when it was last understood."""
    fault: str = ""


class ManifestFolder:
    """The manifests in one folder. Blocks: for use in a thread, by one at a time."""

    def __init__(self, folder: Path, node: str, now: Callable[[], datetime]) -> None:
        """Args: node: name of this node; now: the time of day."""
        self._folder, self._node, self._now = folder, node, now
        self._files: dict[str, _File] = {}
        self._fault = ""
        self._is_listed = False

    def look(self) -> list[str]:
        """Look at all files, read those that changed, and return what was found wrong just now.

        The same fault is returned again when the file has changed and still has it.
        """
        faults = []
        before, self._fault = self._fault, ""
        try:
            names = self._names()
        except OSError as error:
            self._fault = f"{self._folder}: {error.strerror}"
            return [self._fault] if self._fault != before else []
        self._is_listed = True
        self._files = {name: self._files.get(name) or _File() for name in names}
        for name, file in self._files.items():
            if fault := self._look_at(self._folder / name, file):
                faults.append(fault)
        return faults

    def pods(self) -> tuple[StaticSet, list[str]]:
        """Return the pods, and which of them there are twice: the first by file name is taken."""
        pods: dict[str, Object] = {}
        twice = []
        for name, file in self._files.items():
            if file.pod is None:
                continue
            if pods.setdefault(key_of(file.pod), file.pod) is not file.pod:
                twice.append(f"{self._folder / name}: there is a static pod {key_of(file.pod)}")
        understood = all(file.signature and not file.fault for file in self._files.values())
        complete = self._is_listed and not self._fault and understood
        return StaticSet(tuple(pods.values()), complete=complete), twice

    def _names(self) -> list[str]:
        with os.scandir(self._folder) as entries:
            return sorted(
                entry.name for entry in entries if entry.name[0] != "." and not entry.is_dir()
            )

    def _look_at(self, path: Path, file: _File) -> str:
        """Read ``path`` if it changed; return what is wrong with it, if that is news."""
        before = file.fault
        try:
            signature = _signature(path.stat())
            if signature == file.signature:
                return ""
            data = _read(path)
            if _signature(path.stat()) != signature:
                return ""  # it is being written; the next look will find it another
        except OSError as error:
            file.signature, file.fault = None, f"{path}: {error.strerror}"
            return file.fault if file.fault != before else ""
        file.signature, file.fault = signature, ""
        try:
            pod = static_pod(decode(data), self._node, str(path), self._now())
        except ManifestError as error:
            file.fault = f"{path}: {error}"
            return file.fault
        if file.pod is None or _hash(file.pod) != _hash(pod):
            file.pod = pod  # else it was seen before
        return ""


def decode(data: bytes) -> Any:
    """Return what a manifest says, in JSON or YAML.

    Raises:
        ManifestError: it is neither, or more than one document.
    """
    if data.lstrip().startswith(b"{"):
        try:
            check_depth(data)
            return loads(data)
        except WireError:
            pass  # YAML may begin with a brace as well
    # Not at the top: an edge without such files does without this MiB.
    from edgecore.edged.static.manifestyaml import YamlError, parse_yaml  # noqa: PLC0415

    try:
        return parse_yaml(data)
    except YamlError as error:
        raise ManifestError(f"not YAML: {error}") from error


class StaticPods:
    """Follows the folder and tells what pods there are in it."""

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        folder: ManifestFolder,
        metrics: MessageMetrics,
        changed: Callable[[StaticSet], None],
        period_s: float = PERIOD_S,
    ) -> None:
        """Make it; ``wake`` has it look, and go on looking.

        Args:
            tasks: where its task lives.
            folder: where the manifests are.
            metrics: counts the files that could not be used.
            changed: called after the first look, and after each that found another set.
            period_s: seconds between two looks.
        """
        self._folder, self._metrics = folder, metrics
        self._changed, self._period_s = changed, period_s
        self._told: StaticSet | None = None
        self._twice: list[str] = []
        self._looker = OnDemand(tasks, "static pods", self._step)

    def wake(self) -> None:
        """Look now."""
        self._looker.wake()

    def close(self) -> None:
        """Look no more."""
        self._looker.close()

    async def _step(self) -> float | None:
        faults = await asyncio.to_thread(self._folder.look)
        found, twice = self._folder.pods()
        if twice != self._twice:
            faults += twice
            self._twice = twice
        for fault in faults:
            self._metrics.refused.inc("unusable_manifest")
            logger.warning("manifest cannot be used", extra={"why": fault[:512]})
        if found != self._told:
            self._told = found
            self._changed(found)
        return self._period_s


def _hash(pod: Object) -> Any:
    return pod["metadata"]["annotations"][HASH_ANNOTATION]


def _signature(status: os.stat_result) -> _Signature:
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _read(path: Path) -> bytes:
    # Not waiting: a pipe would hold the thread for ever.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        if status.st_size > MAX_BYTES:
            raise OSError(errno.EFBIG, f"it is larger than {MAX_BYTES} bytes")
        return stream.read(MAX_BYTES)

"""What a container left to be said of its end: its termination message.

Source: Kubernetes pkg/kubelet/kuberuntime/kuberuntime_container.go (getTerminationMessage) and
https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/.
"""

import os
import stat
from typing import Final

from edgecore.edged.runtime.cri import cri_pb2 as cri
from edgecore.edged.runtime.cri import names

_FILE_BYTES: Final = 4096
_LOG_BYTES: Final = 2048
_LOG_LINES: Final = 80
_LOG_TAIL_BYTES: Final = 16 * 1024
"""Holds the lines that count, with the moment and the stream that the engine puts before each."""


def last_words(status: cri.ContainerStatus) -> str:
    """Return the message of an exited container: of its file, else of its log if it wants that.

    Reads files: call it in a thread. Whatever cannot be read says so in place of the message.
    """
    text = _from_file(status)
    wants_log = status.annotations.get(names.MESSAGE_POLICY) == names.POLICY_LOG
    if text or not wants_log or status.exit_code == 0 or not status.log_path:
        return text
    try:
        lines = _tail(status.log_path, _LOG_TAIL_BYTES).splitlines(keepends=True)[-_LOG_LINES:]
    except OSError as error:
        return f"Error on reading termination message from logs: {error.strerror}"
    return b"".join(map(_text, lines))[-_LOG_BYTES:].decode(errors="replace")


def _from_file(status: cri.ContainerStatus) -> str:
    path = status.annotations.get(names.MESSAGE_PATH)
    for mount in status.mounts:
        if path and mount.container_path == path:
            try:
                return _tail(mount.host_path, _FILE_BYTES).decode(errors="replace")
            except FileNotFoundError:
                return ""
            except OSError as error:
                return f"Error on reading termination log: {error.strerror}"
    return ""


def _tail(path: str, size: int) -> bytes:
    """Return the end of a file that others wrote: it may be no file at all, or be endless."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            return b""
        file.seek(max(0, facts.st_size - size))
        return file.read(size)


def _text(line: bytes) -> bytes:
    """Return what the container wrote of a line ``<moment> <stream> <P or F> <text>``."""
    parts = line.split(b" ", 3)
    if len(parts) < 4:  # the tail begins within a line
        return b""
    return parts[3].rstrip(b"\n") if parts[2] == b"P" else parts[3]

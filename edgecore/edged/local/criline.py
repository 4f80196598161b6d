"""One line of a container's log, as container runtimes write it. Pure.

``2026-11-24T07:08:09.123456789Z stdout F text``: the moment, the stream, whether the line is full
(F) or a part of one that goes on in the next line (P), and what the container wrote.

Source: https://github.com/kubernetes/design-proposals-archive/blob/main/node/kubelet-cri-logging.md
"""

import re
from datetime import datetime
from typing import Final, NamedTuple

_HEAD: Final = re.compile(
    rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)) (?:stdout|stderr) (\S+) "
)
_STAMP: Final = re.compile(r"([^.Z+]*?)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)")
_PARTIAL: Final = b"P"


class LogLine(NamedTuple):
    """A line of a log, or a part of one."""

    time: bytes
    """As it stands there; empty in a line that is not in the format."""
    is_partial: bool
    """Whether the line goes on in the next one."""
    text: bytes
    """What the container wrote, with its line end unless the line goes on."""


def parse_line(line: bytes) -> LogLine:
    """Return what ``line`` says; one that is not in the format stands for itself."""
    head = _HEAD.match(line)
    if head is None:
        return LogLine(b"", is_partial=False, text=line)
    is_partial = head[2].split(b":")[0] == _PARTIAL
    text = line[head.end() :]
    return LogLine(head[1], is_partial, text.removesuffix(b"\n") if is_partial else text)


def moment_of(line: LogLine) -> datetime | None:
    """Return when the line was written; None if it does not say so."""
    stamp = _STAMP.fullmatch(line.time.decode("ascii", "replace"))
    if stamp is None:
        return None
    seconds, fraction, zone = stamp.groups()
    try:
        return datetime.fromisoformat(f"{seconds}.{(fraction or '0')[:6]:0<6}{zone}")
    except ValueError:  # the 99th of a month
        return None

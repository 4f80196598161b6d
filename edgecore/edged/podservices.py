"""What the workers of all pods of a node share."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from common.clock import Clock
from edgecore.edged.availability import Availability
from edgecore.edged.events import Events
from edgecore.edged.requests import Link, Requests
from edgecore.edged.runtime.base import Runtime
from edgecore.edged.spec.cgroups import Cgroups
from edgecore.edged.spec.containerspec import NodeSetup
from edgecore.edged.volumes.mounts import Mounter

if TYPE_CHECKING:
    from edgecore.edged.images.imagepuller import ImagePuller


class PodServices(Struct, frozen=True):
    """What the workers of a node share."""

    tasks: asyncio.TaskGroup
    runtime: Runtime
    requests: Requests
    clock: Clock
    link: Link
    events: Events
    root_dir: Path
    """``<root_dir>/pods/<uid>`` has the files of a pod."""
    logs_dir: Path
    """``<logs_dir>/<namespace>_<name>_<uid>`` has its logs."""
    availability: Availability
    setup: Callable[[], NodeSetup]
    mounter: Mounter
    images: "ImagePuller | None" = None
    """None where the runtime has no images."""
    cgroups: Cgroups | None = None
    """None where containers have none of their own."""
    note_start: Callable[[float], None] = lambda _seconds: None
    """Called once for each pod that has not run before, with the seconds until it ran."""

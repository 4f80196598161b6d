"""Which images may be removed, in which order, and how much of them. Pure.

Seconds are those of a monotonic clock. Nothing is kept over a restart: an image then counts as new.

Source: Kubernetes pkg/kubelet/images/image_gc_manager.go. There an image that a pod names is safe
only while a container of it exists; here it is as long as the pod is assigned to this node, since
a cold boot without a network must not find it gone.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from edgecore.edged.images.gcpolicy import GCPolicy
from edgecore.edged.images.imagerefs import InvalidImageNameError, parse_image
from edgecore.edged.node.facts import Amount
from edgecore.edged.podview import Object, containers_of, init_containers_of, spec_of
from edgecore.edged.runtime.images import Image

# Its sandboxes need it, and an engine that is older than pinning (containerd 1.6) does not say so.
_PAUSE: Final = re.compile(r"(?:.*/)?(?:[^/:@]+-)?pause(?:-[^/:@]+)?(?:[:@].*)?")

_UNITS: Final = ("KiB", "MiB", "GiB", "TiB")


class Sight(Struct, frozen=True):
    """When an image was seen for the first time, and when in use for the last."""

    first_s: float
    used_s: float = float("-inf")


Sights: TypeAlias = Mapping[str, Sight]
"""By id of the image."""


def observe(
    sights: Sights, images: Iterable[Image], used: frozenset[str], now_s: float
) -> dict[str, Sight]:
    """Return ``sights`` with what can now be seen; images that are gone are forgotten."""
    seen = {image.id: sights.get(image.id, Sight(now_s)) for image in images}
    return {
        image_id: replace(sight, used_s=now_s) if image_id in used else sight
        for image_id, sight in seen.items()
    }


def used_percent(disk: Amount) -> int:
    """Return how much of a file system is used, as kubelet rounds it."""
    return 100 - min(disk.available, disk.capacity) * 100 // disk.capacity


def bytes_to_free(policy: GCPolicy, disk: Amount) -> int:
    """Return how much has to go; 0 below the high threshold."""
    if not disk.capacity or used_percent(disk) < policy.high_percent:
        return 0
    return max(0, disk.capacity * (100 - policy.low_percent) // 100 - disk.available)


def references_of(pods: Iterable[Object]) -> frozenset[str]:
    """Return the images that ``pods`` name, those of image volumes among them."""
    found: set[str] = set()
    for pod in pods:
        containers = (*containers_of(pod), *init_containers_of(pod))
        others = spec_of(pod).get("ephemeralContainers") or ()
        found.update(container.get("image") or "" for container in (*containers, *others))
        for volume in spec_of(pod).get("volumes") or ():
            found.add((volume.get("image") or {}).get("reference") or "")
    return frozenset(found - {""})


def meant_by(images: Iterable[Image], references: Iterable[str]) -> frozenset[str]:
    """Return the ids of the images that ``references`` mean: names, digests or ids."""
    texts = set(references)
    for reference in tuple(texts):
        try:
            texts.add(str(parse_image(reference)))
        except InvalidImageNameError:
            continue  # an id, or nothing
    return frozenset(
        image.id
        for image in images
        if not texts.isdisjoint(
            (image.id, image.id.rpartition(":")[2], *image.tags, *image.digests)
        )
    )


def removable(
    images: Iterable[Image], sights: Sights, kept: frozenset[str], policy: GCPolicy, now_s: float
) -> tuple[Image, ...]:
    """Return the images that may go, the one that was longest out of use first.

    An image that by its name is the one of sandboxes never goes: no pod could start without it.

    Args:
        images: all that there are.
        sights: of them, up to date.
        kept: ids of those that are in use or needed.
        policy: says how old they must be.
        now_s: on the clock of ``sights``.
    """
    old = [
        image
        for image in images
        if not image.pinned
        and not any(map(_PAUSE.fullmatch, (*image.tags, *image.digests)))
        and image.id not in kept
        and image.id in sights
        and now_s - sights[image.id].first_s >= policy.min_age_s
    ]

    def order(image: Image) -> tuple[float, float, str]:
        sight = sights[image.id]
        return sight.used_s, sight.first_s, image.id

    return tuple(sorted(old, key=order))


def not_enough(disk: Amount, freed_bytes: int) -> str:
    """Return what an event says when there is no more to remove, and too little was freed."""
    return (
        "Insufficient free disk space on the node's image filesystem "
        f"({used_percent(disk)}% of {_size(disk.capacity)} used). "
        "Failed to free sufficient space by deleting unused images "
        f"(freed {freed_bytes} bytes). Investigate disk usage, as it could be used by active "
        "images, logs, volumes, or other data."
    )


def _size(size_bytes: int) -> str:
    size, unit = float(size_bytes), ""
    for larger in _UNITS:
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:.1f} {unit}" if unit else f"{size_bytes} B"

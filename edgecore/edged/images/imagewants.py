"""What containers want of images, what they get, and the words for it. Pure.

Source: Kubernetes pkg/kubelet/images/image_manager.go, whose words and reasons these are.
"""

from typing import TypeAlias

from msgspec import Struct

from common.errors import RuntimeServiceError
from edgecore.edged.images.imagerefs import PullPolicy
from edgecore.edged.runtime.images import Image, ImageAuth


class Want(Struct, frozen=True):
    """An image that a container needs."""

    container: str
    reference: str
    """As the pod's spec has it."""
    policy: PullPolicy
    auths: tuple[ImageAuth, ...] = ()
    """To be tried in this order; none: ask without."""


class Present(Struct, frozen=True):
    """The image is here, and good to use."""

    image: Image


class Pulling(Struct, frozen=True):
    """The image is on its way, or waits for its turn."""


class Failed(Struct, frozen=True):
    """The image cannot be had; ``reason`` and ``message`` are for the container's status."""

    reason: str
    message: str
    retry_at_s: float
    """When to ask again, on the monotonic clock."""


Outcome: TypeAlias = Present | Pulling | Failed
"""Of one look."""


def serves(want: Want, used: ImageAuth | None) -> bool:
    """Whether a pull with ``used`` serves ``want``.

    With ``Always``, each pod has to show that it may have the image: what another pod's
    credentials brought is not enough, but what anybody may have is.
    """
    return want.policy is not PullPolicy.ALWAYS or used is None or used in want.auths


def failure(name: str, error: RuntimeServiceError) -> tuple[str, str]:
    """Return reason and message of a failed pull, for the container's status."""
    match error.reason:
        case "RegistryUnavailable":
            why = "the registry is unavailable"
        case "SignatureValidationFailed":
            why = "the signature validation failed"
        case _:
            return "ErrImagePull", str(error)
    return error.reason, f"image pull failed for {name} because {why}: {error}"


def pulled(want: Want, pull_s: float, waited_s: float, size_bytes: int) -> str:
    """Return what an event says of a pull that went well; ``waited_s`` is all of the time."""
    times = f"{duration(pull_s)} ({duration(waited_s)} including waiting)"
    return (
        f'Successfully pulled image "{want.reference}" in {times}. Image size: {size_bytes} bytes.'
    )


def present(want: Want, *, reachable: bool) -> str:
    """Return what an event says of an image that was not pulled."""
    message = f'Container image "{want.reference}" already present on machine'
    if want.policy is PullPolicy.ALWAYS and not reachable:
        message += ", and used although its registry cannot be reached"
    return message


def duration(seconds: float) -> str:
    """Return a duration as Go writes it, to the millisecond: ``1m2.5s``."""
    milliseconds = round(seconds * 1000)
    if milliseconds < 1000:
        return f"{milliseconds}ms" if milliseconds else "0s"
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{rest / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text

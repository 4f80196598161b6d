"""What edged asks of a runtime that has images, in the shape of the Kubernetes CRI.

Source: https://github.com/kubernetes/cri-api (ImageService v1).
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from msgspec import Struct


class Image(Struct, frozen=True):
    """An image on this machine."""

    id: str
    tags: tuple[str, ...] = ()
    """Full names with a tag: ``registry.example/app:v1``."""
    digests: tuple[str, ...] = ()
    """Full names with a digest: ``registry.example/app@sha256:…``."""
    size_bytes: int = 0
    user: int | None = None
    """Numeric user that the image runs as; None where it has a name or says nothing."""
    username: str = ""
    pinned: bool = False
    """Whether the runtime itself needs it (the pause image): never removed."""


@dataclass(frozen=True, slots=True)
class ImageAuth:
    """How to log in to the registry of one image. Never logged."""

    username: str = ""
    password: str = field(default="", repr=False)
    server_address: str = ""
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)


class FilesystemUsage(Struct, frozen=True):
    """What images take of the disk that they are on."""

    mountpoint: Path
    used_bytes: int
    inodes_used: int


class Images(Protocol):
    """The images of a runtime. All calls may raise ``RuntimeServiceError``."""

    async def image(self, reference: str) -> Image | None:
        """Return the image that ``reference`` (name, digest or id) means, if it is here."""

    async def pull(self, reference: str, auth: ImageAuth | None) -> str:
        """Get the image from its registry and return its id.

        Raises:
            RuntimeServiceError: ``ErrImagePull``, ``RegistryUnavailable`` or
                ``SignatureValidationFailed``, with the runtime's words.

        Cancellation: the runtime may finish what it began.
        """

    async def list_images(self) -> list[Image]:
        """Return all images on this machine."""

    async def remove_image(self, image_id: str) -> None:
        """Remove an image with all its names; one that is gone already is fine."""

    async def filesystem(self) -> FilesystemUsage:
        """Return where images lie and what they take."""

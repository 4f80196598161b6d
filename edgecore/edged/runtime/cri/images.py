"""The images of a container engine."""

from typing import Final

from grpclib.const import Status

from common.errors import RuntimeServiceError
from edgecore.edged.runtime.cri import cri_pb2 as cri
from edgecore.edged.runtime.cri import methods
from edgecore.edged.runtime.cri.client import CriClient
from edgecore.edged.runtime.cri.convert import auth_config
from edgecore.edged.runtime.cri.observe import filesystem_of, image_of
from edgecore.edged.runtime.cri.refusals import EngineError
from edgecore.edged.runtime.images import FilesystemUsage, Image, ImageAuth

_NOT_MEASURED: Final = "the container runtime has not measured its images yet"


class CriImages:
    """``Images`` of the engine that ``client`` is connected to."""

    def __init__(self, client: CriClient) -> None:
        self._client = client

    async def image(self, reference: str) -> Image | None:
        """Return the image that ``reference`` means, if it is here."""
        request = cri.ImageStatusRequest(image=cri.ImageSpec(image=reference))
        try:
            answer = await self._client.call(methods.IMAGE_STATUS, request)
        except EngineError as error:
            if error.status is Status.NOT_FOUND:
                return None
            raise
        return image_of(answer.image) if answer.HasField("image") else None

    async def pull(self, reference: str, auth: ImageAuth | None) -> str:
        """Get the image from its registry, for as long as that takes, and return its id.

        Cancellation: containerd stops, and goes on where it was at the next call.
        """
        request = cri.PullImageRequest(image=cri.ImageSpec(image=reference), auth=auth_config(auth))
        return (await self._client.call(methods.PULL_IMAGE, request)).image_ref

    async def list_images(self) -> list[Image]:
        """Return all images on this machine."""
        answer = await self._client.call(methods.LIST_IMAGES, cri.ListImagesRequest())
        return [image_of(image) for image in answer.images]

    async def remove_image(self, image_id: str) -> None:
        """Remove an image with all its names."""
        request = cri.RemoveImageRequest(image=cri.ImageSpec(image=image_id))
        try:
            await self._client.call(methods.REMOVE_IMAGE, request)
        except EngineError as error:
            if error.status is not Status.NOT_FOUND:
                raise

    async def filesystem(self) -> FilesystemUsage:
        """Return where images lie and what they take, as of some seconds ago."""
        answer = await self._client.call(methods.IMAGE_FS_INFO, cri.ImageFsInfoRequest())
        if not answer.image_filesystems:
            raise RuntimeServiceError(methods.IMAGE_FS_INFO.reason, _NOT_MEASURED)
        return filesystem_of(answer.image_filesystems[0])

"""The images of one pod: with its policies, and with the credentials that it names."""

from collections.abc import Callable

from edgecore.edged.dependencies import Dependencies, pull_secrets_of
from edgecore.edged.images.imagepuller import Asker, ImagePuller
from edgecore.edged.images.imagerefs import InvalidImageNameError, parse_image, pull_policy
from edgecore.edged.images.imagewants import Outcome, Want
from edgecore.edged.images.keyring import PullSecret, keyring_of
from edgecore.edged.objects import MissingError, secret_data
from edgecore.edged.podview import Object
from edgecore.edged.runtime.images import ImageAuth


class PodImages:
    """Gets the images that the containers of one pod need."""

    def __init__(
        self,
        puller: ImagePuller,
        dependencies: Dependencies,
        wake: Callable[[], None],
        event: Callable[[str, str, str, str], None],
    ) -> None:
        """Make it.

        Args:
            puller: of the node.
            dependencies: of the pod, for its Secrets.
            wake: called when an image that was being pulled is there, or cannot be had.
            event: records an Event: kind, reason, message, name of the container.
        """
        self._puller, self._dependencies, self._event = puller, dependencies, event
        self._asker = Asker(wake, event)

    async def look(self, pod: Object, container: Object) -> Outcome:
        """Return what there is of the container's image; a pull is begun and not waited for."""
        want = Want(
            container["name"],
            container.get("image", ""),
            pull_policy(container),
            await self._auths(pod, container),
        )
        return await self._puller.look(self._asker, want)

    def leave(self) -> None:
        """Need no image any more."""
        self._puller.leave(self._asker)

    async def _auths(self, pod: Object, container: Object) -> tuple[ImageAuth, ...]:
        refs = pull_secrets_of(pod)
        if not refs:
            return ()
        try:
            name = parse_image(container.get("image", ""))
        except InvalidImageNameError:
            return ()  # which the puller says in its own words
        found = await self._dependencies.look(pod["metadata"]["namespace"], refs)
        lacking = [ref.name for ref in refs if found.get(ref) is None]
        secrets = []
        for ref in refs:
            secret = found.get(ref)
            if secret is None:
                continue
            try:
                data = secret_data(secret)
            except MissingError:
                lacking.append(ref.name)
                continue
            secrets.append(PullSecret(ref.name, str(secret.get("type", "")), data))
        keyring = keyring_of(secrets)
        problems = [f"could not be had: {', '.join(lacking)}"] if lacking else []
        for fault in (*problems, *keyring.faults):
            message = f"Image pull secrets: {fault}. Without them the pull may not succeed."
            self._event("Warning", "FailedToRetrieveImagePullSecret", message, "")
        return keyring.auths(name)

"""Getting images: one pull at a time for each, whoever waits for it, with pauses when it fails.

A pod worker asks with ``ImagePuller.look`` and gets an answer at once; if that is ``Pulling``, it
is woken when there is another one. Events about images are recorded here and nowhere else.

Source: Kubernetes pkg/kubelet/images/image_manager.go. There each pod pulls for itself, and pauses
for itself.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final, TypeAlias

from msgspec import Struct, field

from common.clock import Clock
from common.delivery.backoff import Backoff, BackoffPolicy
from common.errors import RuntimeServiceError
from edgecore.edged.images.imagerefs import (
    Decision,
    InvalidImageNameError,
    decide,
    is_unreachable,
    with_tag,
)
from edgecore.edged.images.imagewants import (
    Failed,
    Outcome,
    Present,
    Pulling,
    Want,
    failure,
    present,
    pulled,
    serves,
)
from edgecore.edged.runtime.images import Image, ImageAuth, Images

logger = logging.getLogger(__name__)

_PAUSES: Final = BackoffPolicy(first_s=10.0, cap_s=300.0, jitter=0.2)
"""As kubelet's, a little apart from each other: a fleet pulls the same image at the same time."""

_SHOWN_S: Final = 2.0
"""How long ``ErrImagePull`` shows before it becomes ``ImagePullBackOff``."""

_INSPECT_AGAIN_S: Final = 10.0
_LOOK_AGAIN_S: Final = 60.0
"""After which something may be different that nobody tells: an image imported by hand."""

_FORGET_S: Final = 3600.0
_NO_AUTH: Final = (None,)


class Asker(Struct, frozen=True, eq=False):
    """Whoever needs images: a pod's worker makes one, and keeps it."""

    wake: Callable[[], None]
    """Called when an image that was being pulled is there, or cannot be had."""
    event: Callable[[str, str, str, str], None]
    """Takes a kind (``Normal``, ``Warning``), a reason, a message and a container's name."""


_Auth: TypeAlias = ImageAuth | None
_Waiter: TypeAlias = tuple[Asker, str]
_ErrorOf: TypeAlias = dict[_Auth, RuntimeServiceError]


class _Pull(Struct):
    """A pull that is going on."""

    asked_at_s: float
    waiters: dict[_Waiter, Want] = field(default_factory=dict)
    auths: list[_Auth] = field(default_factory=list)
    """In the order in which they are tried; grows while others join."""
    errors: _ErrorOf = field(default_factory=dict)
    task: asyncio.Task[None] | None = None


class _Trouble(Struct):
    """What is remembered of pulls that failed, until one succeeds."""

    pauses: Backoff
    tried: frozenset[int] = frozenset()
    """Hashes of the credentials that had no success since the last pause ended: what one pod tries
    during it must not make another try again, which would go on for ever."""
    text: str = ""
    retry_at_s: float = 0.0
    asked_at_s: float = 0.0
    unreachable: bool = False
    told: set[_Waiter] = field(default_factory=set)
    """Who knows of the pause that is going on."""


class ImagePuller:
    """Gets the images of all pods of a node."""

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        images: Images,
        clock: Clock,
        *,
        parallel: int = 2,
        online: Callable[[], bool] = lambda: True,
    ) -> None:
        """Make it idle.

        Args:
            tasks: where pulls live.
            images: of the runtime.
            clock: for durations.
            parallel: how many pulls may go on at once.
            online: whether there is a network, as far as is known: without one, an image that is
                here is used without asking its registry, which may take minutes not to answer.
        """
        self._tasks, self._images, self._clock, self._online = tasks, images, clock, online
        self._slots = asyncio.Semaphore(parallel)
        self._pulls: dict[str, _Pull] = {}
        self._troubles: dict[str, _Trouble] = {}
        # What a pull came to, for those who waited and have not asked since.
        self._results: dict[_Waiter, tuple[str, Failed | None]] = {}

    async def look(self, asker: Asker, want: Want) -> Outcome:
        """Return what there is of an image, and have it pulled if that is due. Never waits for it.

        Cancellation: a pull that was begun goes on; ``leave`` ends it.
        """
        try:
            name = with_tag(want.reference)
        except InvalidImageNameError as error:
            asker.event("Warning", "InspectFailed", str(error), want.container)
            return Failed("InvalidImageName", str(error), self._clock.monotonic() + _LOOK_AGAIN_S)
        try:
            image = await self._images.image(name)
        except RuntimeServiceError as error:
            message = f'Failed to inspect image "{want.reference}": {error}'
            asker.event("Warning", "InspectFailed", message, want.container)
            return Failed("ImageInspectError", message, self._clock.monotonic() + _INSPECT_AGAIN_S)
        return self._judge(asker, want, name, image)

    def leave(self, asker: Asker) -> None:
        """Take note that ``asker`` needs nothing any more; a pull that nobody wants is ended.

        Not while it is looking.
        """
        for waiter in [waiter for waiter in self._results if waiter[0] is asker]:
            del self._results[waiter]
        for trouble in self._troubles.values():
            trouble.told = {waiter for waiter in trouble.told if waiter[0] is not asker}
        for name, pull in list(self._pulls.items()):
            for waiter in [waiter for waiter in pull.waiters if waiter[0] is asker]:
                del pull.waiters[waiter]
            if not pull.waiters and pull.task is not None:
                pull.task.cancel()
                del self._pulls[name]

    def reconnected(self) -> None:
        """Let registries that could not be reached be asked again now: there is a network."""
        for trouble in self._troubles.values():
            if trouble.unreachable:
                trouble.retry_at_s, trouble.unreachable = 0.0, False

    def _judge(self, asker: Asker, want: Want, name: str, image: Image | None) -> Outcome:
        """Decide, and act on it; nothing is waited for from here on."""
        waiter = (asker, want.container)
        for_name, failed = self._results.pop(waiter, ("", None))
        trouble = self._troubles.get(name)
        if image is not None and for_name == name and failed is None:
            return Present(image)
        unreachable = trouble is not None and trouble.unreachable and self._is_pausing(trouble)
        reachable = self._online() and not unreachable
        match decide(want.policy, present=image is not None, reachable=reachable):
            case Decision.USE:
                assert image is not None
                asker.event("Normal", "Pulled", present(want, reachable=reachable), want.container)
                return Present(image)
            case Decision.REFUSE:
                message = (
                    f'Container image "{want.reference}" is not present with pull policy of Never'
                )
                asker.event("Warning", "ErrImageNeverPull", message, want.container)
                retry_at_s = self._clock.monotonic() + _LOOK_AGAIN_S
                return Failed("ErrImageNeverPull", message, retry_at_s)
            case Decision.PULL:
                if failed is not None and for_name == name:
                    message = f"Error: {failed.reason}"
                    asker.event("Warning", "Failed", message, want.container)
                    return failed
                return self._pull_or_pause(asker, want, name)

    def _pull_or_pause(self, asker: Asker, want: Want, name: str) -> Outcome:
        now_s = self._clock.monotonic()
        auths = want.auths or _NO_AUTH
        pull, trouble = self._pulls.get(name), self._troubles.get(name)
        if pull is None and trouble is not None:
            trouble.asked_at_s = now_s
            # Credentials that were not tried yet are no reason to wait.
            if self._is_pausing(trouble) and trouble.tried.issuperset(map(hash, auths)):
                return self._pause(asker, want, trouble)
        if pull is None:
            pull = self._pulls[name] = _Pull(now_s)
            pull.task = self._tasks.create_task(self._run(name, pull), name=f"pull {name}")
        if (asker, want.container) not in pull.waiters:
            asker.event("Normal", "Pulling", f'Pulling image "{want.reference}"', want.container)
        pull.waiters[asker, want.container] = want
        pull.auths += [auth for auth in auths if auth not in pull.auths]
        return Pulling()

    def _pause(self, asker: Asker, want: Want, trouble: _Trouble) -> Failed:
        message = f'Back-off pulling image "{want.reference}"'
        if (asker, want.container) not in trouble.told:
            trouble.told.add((asker, want.container))
            asker.event("Normal", "BackOff", message, want.container)
            asker.event("Warning", "Failed", "Error: ImagePullBackOff", want.container)
        return Failed("ImagePullBackOff", f"{message}: {trouble.text}", trouble.retry_at_s)

    async def _run(self, name: str, pull: _Pull) -> None:
        async with self._slots:
            began_s = self._clock.monotonic()
            used = await self._try_all(name, pull)
            size_bytes = 0
            if used is not None:
                size_bytes = await self._size_bytes(name)
        ended_s = self._clock.monotonic()
        del self._pulls[name]
        if used is None:
            self._note_trouble(name, pull)
        else:
            self._troubles.pop(name, None)
        for (asker, container), want in pull.waiters.items():
            if used is None:
                self._results[asker, container] = (name, self._fail(asker, want, name, pull))
            elif serves(want, used[0]):
                times = (ended_s - began_s, ended_s - pull.asked_at_s)
                asker.event("Normal", "Pulled", pulled(want, *times, size_bytes), container)
                self._results[asker, container] = (name, None)
            # Else the image was had with what is not this pod's: it asks again, with its own.
            asker.wake()

    async def _try_all(self, name: str, pull: _Pull) -> tuple[_Auth] | None:
        """Pull with one credential after the other; return the one that was good, in a tuple."""
        # By index: the list may grow while this goes on.
        index = 0
        while index < len(pull.auths):
            auth = pull.auths[index]
            try:
                await self._images.pull(name, auth)
            except RuntimeServiceError as error:
                pull.errors[auth] = error
                logger.info("pull failed", extra={"image": name, "why": str(error)[:256]})
                if is_unreachable(error.reason, str(error)):
                    return None
            else:
                return (auth,)
            index += 1
        return None

    async def _size_bytes(self, name: str) -> int:
        try:
            image = await self._images.image(name)
        except RuntimeServiceError:
            return 0  # it is only told to people
        return image.size_bytes if image is not None else 0

    def _note_trouble(self, name: str, pull: _Pull) -> None:
        now_s = self._clock.monotonic()
        trouble = self._troubles.setdefault(name, _Trouble(Backoff(_PAUSES)))
        error = list(pull.errors.values())[-1]
        reason, message = failure(name, error)
        before = trouble.tried if self._is_pausing(trouble) else frozenset()
        trouble.tried = before.union(map(hash, pull.auths))
        trouble.text = f"{reason}: {message}"
        trouble.unreachable = is_unreachable(error.reason, str(error))
        trouble.told.clear()
        trouble.retry_at_s, trouble.asked_at_s = now_s + trouble.pauses.next_s(), now_s
        for other in [n for n, t in self._troubles.items() if now_s - t.asked_at_s > _FORGET_S]:
            del self._troubles[other]

    def _fail(self, asker: Asker, want: Want, name: str, pull: _Pull) -> Failed:
        own = [pull.errors[auth] for auth in want.auths or _NO_AUTH if auth in pull.errors]
        error = own[-1] if own else list(pull.errors.values())[-1]
        reason, message = failure(name, error)
        text = f'Failed to pull image "{want.reference}": {error}'
        asker.event("Warning", "Failed", text, want.container)
        return Failed(reason, message, self._clock.monotonic() + _SHOWN_S)

    def _is_pausing(self, trouble: _Trouble) -> bool:
        return self._clock.monotonic() < trouble.retry_at_s

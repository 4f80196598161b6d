"""Getting images: a real event loop; the runtime's images and the clock are made up."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from common.errors import RuntimeServiceError
from edgecore.edged.images.imagepuller import Asker, ImagePuller
from edgecore.edged.images.imagerefs import PullPolicy
from edgecore.edged.images.imagewants import Failed, Outcome, Present, Pulling, Want
from edgecore.edged.runtime.images import ImageAuth
from tests.edgecore.edged.bus import HandClock
from tests.edgecore.edged.fakeimages import FakeImages

ALWAYS, IF_NOT_PRESENT, NEVER = PullPolicy
GOOD, BAD = ImageAuth("good", "g"), ImageAuth("bad", "b")
NAME = "r.example/a:1"
REFUSED = RuntimeServiceError("Unknown", "r.example/a:1: not found")
AWAY = RuntimeServiceError("Unknown", "dial tcp: lookup r.example: no such host")


@dataclass
class Pod:
    """A pod's worker, as far as the puller knows one."""

    puller: ImagePuller
    woken: int = 0
    events: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.asker = Asker(self._wake, self._event)

    def _wake(self) -> None:
        self.woken += 1

    def _event(self, _kind: str, reason: str, message: str, container: str) -> None:
        assert container == "c"
        self.events.append((reason, message))

    async def look(
        self, policy: PullPolicy = IF_NOT_PRESENT, *auths: ImageAuth, reference: str = NAME
    ) -> Outcome:
        return await self.puller.look(self.asker, Want("c", reference, policy, auths))

    async def failed(self, policy: PullPolicy = IF_NOT_PRESENT, *auths: ImageAuth) -> Failed:
        outcome = await self.look(policy, *auths)
        assert isinstance(outcome, Failed)
        return outcome

    def reasons(self) -> list[str]:
        return [reason for reason, _ in self.events]


class Site:
    """A puller, and what it is made with."""

    def __init__(self, tasks: asyncio.TaskGroup, parallel: int) -> None:
        self.images, self.clock, self.online = FakeImages(), HandClock(), True
        self.puller = ImagePuller(
            tasks, self.images, self.clock, parallel=parallel, online=lambda: self.online
        )

    def pod(self) -> Pod:
        return Pod(self.puller)

    async def settle(self) -> None:
        """Wait until no pull is going on."""
        while tasks := [pull.task for pull in self.puller._pulls.values() if pull.task]:
            await asyncio.wait(tasks)


@asynccontextmanager
async def site(parallel: int = 2) -> AsyncIterator[Site]:
    async with asyncio.TaskGroup() as tasks:
        yield Site(tasks, parallel)


async def test_an_image_that_is_here_is_not_pulled() -> None:
    async with site() as s:
        s.images.add(NAME)
        pod = s.pod()
        assert await pod.look() == Present(s.images.here[NAME])
        assert await pod.look(NEVER) == Present(s.images.here[NAME])
    assert s.images.pulls == []
    assert pod.events == [("Pulled", f'Container image "{NAME}" already present on machine')] * 2


async def test_an_image_that_is_not_here_is_pulled_and_the_pod_is_woken() -> None:
    async with site() as s:
        pod = s.pod()
        assert await pod.look() == Pulling()
        assert pod.woken == 0
        await s.settle()
        assert pod.woken == 1
        assert await pod.look() == Present(s.images.here[NAME])
    assert s.images.pulls == [(NAME, None)]
    assert pod.reasons() == ["Pulling", "Pulled"]
    assert pod.events[1][1].startswith(f'Successfully pulled image "{NAME}" in 0s')


async def test_the_runtime_is_asked_for_a_tag_and_events_have_the_name_of_the_spec() -> None:
    async with site() as s:
        pod = s.pod()
        await pod.look(reference="busybox")
        await s.settle()
    assert s.images.pulls == [("busybox:latest", None)]
    assert pod.events[0] == ("Pulling", 'Pulling image "busybox"')


async def test_always_pulls_again_each_time() -> None:
    async with site() as s:
        s.images.add(NAME)
        pod = s.pod()
        for _ in range(2):
            assert await pod.look(ALWAYS) == Pulling()
            await s.settle()
            assert isinstance(await pod.look(ALWAYS), Present)
    assert len(s.images.pulls) == 2


async def test_pods_that_want_others_are_left_alone_when_one_leaves() -> None:
    async with site() as s:
        s.images.gate.clear()
        first, second = s.pod(), s.pod()
        await first.look(reference="a:1")
        await second.look(reference="b:1")
        s.puller.leave(first.asker)
        s.images.gate.set()
        await s.settle()
        assert isinstance(await second.look(reference="b:1"), Present)


async def test_pods_that_want_the_same_share_one_pull() -> None:
    async with site() as s:
        s.images.gate.clear()
        pods = [s.pod() for _ in range(5)]
        for pod in pods:
            assert await pod.look() == Pulling()
            assert await pod.look() == Pulling()
        s.images.gate.set()
        await s.settle()
        assert [pod.woken for pod in pods] == [1] * 5
        assert all([isinstance(await pod.look(), Present) for pod in pods])
    assert len(s.images.pulls) == 1
    assert all(pod.reasons() == ["Pulling", "Pulled"] for pod in pods)


async def test_only_so_many_pulls_go_on_at_once() -> None:
    async with site(parallel=2) as s:
        s.images.gate.clear()
        pod = s.pod()
        for n in range(5):
            await pod.look(reference=f"a:{n}")
        await s.images.until_pulls(2)
        s.images.gate.set()
        await s.settle()
    assert len(s.images.pulls) == 5
    assert s.images.most_at_once == 2


async def test_one_that_never_pulls_needs_it_to_be_here() -> None:
    async with site() as s:
        pod = s.pod()
        failed = await pod.failed(NEVER)
    message = f'Container image "{NAME}" is not present with pull policy of Never'
    assert (failed.reason, failed.message) == ("ErrImageNeverPull", message)
    assert failed.retry_at_s > s.clock.monotonic()
    assert pod.events == [("ErrImageNeverPull", message)]


async def test_what_is_no_name_is_said() -> None:
    async with site() as s:
        pod = s.pod()
        outcome = await pod.look(reference="A b")
        assert isinstance(outcome, Failed)
    assert outcome.reason == "InvalidImageName"
    assert pod.reasons() == ["InspectFailed"]


async def test_a_runtime_that_is_away_is_said() -> None:
    async with site() as s:
        s.images.fault = RuntimeServiceError("Down", "connection refused")
        pod = s.pod()
        failed = await pod.failed()
    assert failed.reason == "ImageInspectError"
    assert failed.message == f'Failed to inspect image "{NAME}": connection refused'


async def test_a_failure_shows_for_a_moment_and_then_as_a_pause() -> None:
    async with site() as s:
        s.images.refusal = lambda _reference, _auth: REFUSED
        pod = s.pod()
        await pod.look()
        await s.settle()
        failed = await pod.failed()
        assert (failed.reason, failed.message) == ("ErrImagePull", str(REFUSED))
        s.clock.seconds = failed.retry_at_s
        paused = await pod.failed()
        again = await pod.failed()
    assert paused.reason == "ImagePullBackOff"
    assert paused.message == f'Back-off pulling image "{NAME}": ErrImagePull: {REFUSED}'
    assert again == paused
    assert pod.events == [
        ("Pulling", f'Pulling image "{NAME}"'),
        ("Failed", f'Failed to pull image "{NAME}": {REFUSED}'),
        ("Failed", "Error: ErrImagePull"),
        ("BackOff", f'Back-off pulling image "{NAME}"'),
        ("Failed", "Error: ImagePullBackOff"),
    ]


async def test_pauses_grow_from_ten_seconds_to_five_minutes_and_a_success_ends_them() -> None:
    async with site() as s:
        s.images.refusal = lambda _reference, _auth: REFUSED
        pod, pauses = s.pod(), []
        for _ in range(8):
            assert await pod.look() == Pulling()
            await s.settle()
            assert (await pod.failed()).reason == "ErrImagePull"
            pause_s = (await pod.failed()).retry_at_s - s.clock.monotonic()
            pauses.append(pause_s)
            s.clock.seconds += pause_s
        for pause_s, full_s in zip(pauses, [10, 20, 40, 80, 160, 300, 300, 300], strict=True):
            assert 0.8 * full_s <= pause_s <= full_s
        s.images.refusal = lambda _reference, _auth: None
        await pod.look()
        await s.settle()
        assert isinstance(await pod.look(), Present)
    assert s.puller._troubles == {}


async def test_credentials_are_tried_in_their_order() -> None:
    async with site() as s:
        s.images.refusal = lambda _reference, auth: None if auth == GOOD else REFUSED
        pod = s.pod()
        await pod.look(ALWAYS, BAD, GOOD)
        await s.settle()
        assert isinstance(await pod.look(ALWAYS, BAD, GOOD), Present)
    assert [auth for _, auth in s.images.pulls] == [BAD, GOOD]


async def test_another_pods_credentials_are_tried_in_the_same_pull() -> None:
    async with site() as s:
        s.images.refusal = lambda _reference, auth: None if auth == GOOD else REFUSED
        s.images.gate.clear()
        without, having = s.pod(), s.pod()
        await without.look()
        await s.images.until_pulls(1)
        await having.look(IF_NOT_PRESENT, GOOD)
        s.images.gate.set()
        await s.settle()
        assert isinstance(await having.look(IF_NOT_PRESENT, GOOD), Present)
        assert isinstance(await without.look(), Present)
    assert [auth for _, auth in s.images.pulls] == [None, GOOD]


async def test_with_always_another_pods_credentials_are_not_enough() -> None:
    async with site() as s:
        s.images.refusal = lambda _reference, auth: None if auth == GOOD else REFUSED
        s.images.gate.clear()
        without, having = s.pod(), s.pod()
        await without.look(ALWAYS)
        await s.images.until_pulls(1)
        await having.look(ALWAYS, GOOD)
        s.images.gate.set()
        await s.settle()
        assert without.woken == having.woken == 1
        assert isinstance(await having.look(ALWAYS, GOOD), Present)
        assert await without.look(ALWAYS) == Pulling()
        await s.settle()
        assert (await without.failed(ALWAYS)).reason == "ErrImagePull"


async def test_each_pod_hears_of_the_failure_of_its_own_credentials() -> None:
    async with site() as s:
        s.images.refusal = lambda _reference, auth: RuntimeServiceError("Unknown", f"no {auth}")
        s.images.gate.clear()
        without, having = s.pod(), s.pod()
        await without.look()
        await having.look(IF_NOT_PRESENT, BAD)
        s.images.gate.set()
        await s.settle()
        assert (await without.failed()).message == "no None"
        assert "username='bad'" in (await having.failed(IF_NOT_PRESENT, BAD)).message


async def test_new_credentials_do_not_wait_for_the_pause_of_others() -> None:
    async with site() as s:
        s.images.refusal = lambda _reference, auth: None if auth == GOOD else REFUSED
        pod = s.pod()
        await pod.look(IF_NOT_PRESENT, BAD)
        await s.settle()
        await pod.failed(IF_NOT_PRESENT, BAD)
        assert (await pod.failed(IF_NOT_PRESENT, BAD)).reason == "ImagePullBackOff"
        assert await pod.look(IF_NOT_PRESENT, BAD, GOOD) == Pulling()
        await s.settle()
        assert isinstance(await pod.look(IF_NOT_PRESENT, BAD, GOOD), Present)


async def test_pods_with_different_credentials_do_not_end_each_others_pause() -> None:
    async with site() as s:
        s.images.refusal = lambda *_: REFUSED
        nameless, stranger = s.pod(), s.pod()
        for pod, auths in ((nameless, ()), (stranger, (BAD,))):
            await pod.look(ALWAYS, *auths)
            await s.settle()
            assert (await pod.failed(ALWAYS, *auths)).reason == "ErrImagePull"
        assert (await nameless.failed(ALWAYS)).reason == "ImagePullBackOff"
        assert (await stranger.failed(ALWAYS, BAD)).reason == "ImagePullBackOff"
        assert s.images.pulls == [(NAME, None), (NAME, BAD)]


async def test_always_boots_with_the_image_that_is_here_when_the_registry_is_away() -> None:
    async with site() as s:
        s.images.add(NAME)
        s.images.refusal = lambda _reference, _auth: AWAY
        pod = s.pod()
        assert await pod.look(ALWAYS, BAD, GOOD) == Pulling()
        await s.settle()
        assert len(s.images.pulls) == 1  # other credentials would not reach it either
        assert isinstance(await pod.look(ALWAYS, BAD, GOOD), Present)
        assert isinstance(await pod.look(ALWAYS, BAD, GOOD), Present)
        assert len(s.images.pulls) == 1
        assert "although its registry cannot be reached" in pod.events[-1][1]
        s.clock.seconds += 10
        assert await pod.look(ALWAYS, BAD, GOOD) == Pulling()


async def test_always_does_not_use_an_image_that_the_registry_refused() -> None:
    async with site() as s:
        s.images.add(NAME)
        s.images.refusal = lambda _reference, _auth: REFUSED
        pod = s.pod()
        await pod.look(ALWAYS)
        await s.settle()
        assert (await pod.failed(ALWAYS)).reason == "ErrImagePull"


async def test_without_a_network_an_image_that_is_here_is_used_at_once() -> None:
    async with site() as s:
        s.images.add(NAME)
        s.online = False
        pod = s.pod()
        assert isinstance(await pod.look(ALWAYS), Present)
        assert s.images.pulls == []
        assert await pod.look(ALWAYS, reference="other") == Pulling()  # it may be near


@pytest.mark.parametrize(("error", "outcome"), [(AWAY, Pulling), (REFUSED, Failed)])
async def test_a_new_network_ends_the_pauses_of_those_that_had_none(
    error: RuntimeServiceError, outcome: type[Outcome]
) -> None:
    async with site() as s:
        s.images.refusal = lambda _reference, _auth: error
        pod = s.pod()
        await pod.look()
        await s.settle()
        await pod.failed()
        s.puller.reconnected()
        assert isinstance(await pod.look(), outcome)


async def test_a_pull_that_nobody_wants_any_more_is_ended() -> None:
    async with site() as s:
        s.images.gate.clear()
        first, second = s.pod(), s.pod()
        await first.look()
        await second.look()
        await s.images.until_pulls(1)
        task = s.puller._pulls[NAME].task
        s.puller.leave(first.asker)
        assert task is not None
        assert not task.cancelling()
        s.puller.leave(second.asker)
        await asyncio.wait([task])
        assert task.cancelled()
        third = s.pod()
        assert await third.look() == Pulling()
        s.images.gate.set()
        await s.settle()
        assert isinstance(await third.look(), Present)
    assert (first.woken, second.woken, third.woken) == (0, 0, 1)


async def test_nothing_is_kept_of_a_pod_that_left() -> None:
    async with site() as s:
        pod = s.pod()
        await pod.look()
        await s.settle()
        s.images.refusal = lambda _reference, _auth: REFUSED
        await pod.look(reference="b")
        await s.settle()
        await pod.look(reference="b")
        await pod.look(reference="b")
        await pod.look(reference="c")
        await s.settle()
        s.puller.leave(pod.asker)
    assert s.puller._results == {}
    assert s.puller._troubles["b:latest"].told == set()


async def test_an_image_that_nobody_asked_for_in_an_hour_is_forgotten() -> None:
    async with site() as s:
        s.images.refusal = lambda _reference, _auth: REFUSED
        pod = s.pod()
        await pod.look(reference="old")
        await s.settle()
        s.clock.seconds += 3601
        await pod.look(reference="new")
        await s.settle()
    assert s.puller._troubles.keys() == {"new:latest"}


async def test_an_image_that_goes_between_pull_and_use_is_pulled_again() -> None:
    async with site() as s:
        pod = s.pod()
        await pod.look()
        await s.settle()
        s.images.here.clear()
        assert await pod.look() == Pulling()


async def test_a_size_that_cannot_be_asked_for_does_not_spoil_a_pull() -> None:
    async with site() as s:
        s.images.gate.clear()
        pod = s.pod()
        await pod.look()
        await s.images.until_pulls(1)
        s.images.fault = RuntimeServiceError("Down", "away")
        s.images.gate.set()
        await s.settle()
    assert pod.events[-1][1].endswith("Image size: 0 bytes.")

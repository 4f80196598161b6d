"""Images of real pods: those that are here, those that are fetched, and those that have to go.

Real: control plane, cloudcore, edgecore, containerd and what it keeps. The registry is a double in
this process. Where images are removed, the clock is made up: they are safe for two minutes.
"""

from pathlib import Path

from deploy.devcluster import machine, ociimages
from deploy.devcluster.api import Api, Object
from deploy.devcluster.containerd import ContainerEngine
from deploy.devcluster.ports import free_ports
from deploy.devcluster.sandboxes import has_image
from deploy.devcluster.site import until
from edgecore.edged.images.gcpolicy import GCPolicy
from edgecore.edged.images.imagegc import ImageGC
from edgecore.edged.node.facts import Amount
from edgecore.edged.runtime.cri.runtime import CriRuntime
from tests.e2e.conftest import Join
from tests.e2e.podchecks import OBEY, Place, state_of
from tests.e2e.registry import registry
from tests.edgecore.edged.bus import HandClock
from tests.edgecore.edged.runtime.cri.engines import FOREVER, Pod

NAMES = ("busybox", "guest", "named", "pause", "spare")


def with_image(place: Place, name: str, image: str, policy: str, **spec: object) -> Object:
    container = {"image": image, "imagePullPolicy": policy}
    return place.pod(name, OBEY, container=container, **spec)


async def waits(place: Place, name: str, reason: str) -> tuple[Object, str]:
    """Return the pod and its container's message once it waits for this reason."""
    found = await place.wait(
        name, lambda p: state_of(p, "waiting").get("reason") == reason, f"it waits: {reason}"
    )
    return found, state_of(found, "waiting")["message"]


async def test_each_policy_is_followed_and_what_cannot_be_had_is_told_in_kubelets_words(
    api: Api, join: Join, container_engine: ContainerEngine, namespace: str
) -> None:
    del container_engine
    place = Place(api, await join(runtime="cri"), namespace)
    nowhere = f"localhost:{free_ports(1)[0]}/none:1"
    await place.create(
        with_image(place, "here", "busybox", "IfNotPresent"),
        with_image(place, "never", "nobody/has:this", "Never"),
        with_image(place, "always", nowhere, "Always"),
        with_image(place, "odd", "Not/An:Image!", "IfNotPresent"),
    )

    here = await place.ready("here")
    pulled = await place.event(here, "Pulled")
    assert pulled["message"] == 'Container image "busybox" already present on machine'
    [status] = here["status"]["containerStatuses"]
    assert status["image"] == "docker.io/library/busybox:latest"
    assert "sha256:" in status["imageID"]

    never, message = await waits(place, "never", "ErrImageNeverPull")
    assert message == 'Container image "nobody/has:this" is not present with pull policy of Never'
    assert (await place.event(never, "ErrImageNeverPull"))["message"] == message

    odd, message = await waits(place, "odd", "InvalidImageName")
    assert message.startswith('Failed to apply default image tag "Not/An:Image!"')
    assert (await place.event(odd, "InspectFailed"))["message"] == message

    always, message = await waits(place, "always", "ImagePullBackOff")
    assert message.startswith(f'Back-off pulling image "{nowhere}": ')
    assert "connection refused" in message
    for kind, reason, words in (
        ("Normal", "Pulling", f'Pulling image "{nowhere}"'),
        ("Warning", "Failed", f'Failed to pull image "{nowhere}": '),
        ("Normal", "BackOff", f'Back-off pulling image "{nowhere}"'),
        ("Warning", "Failed", "Error: ImagePullBackOff"),
    ):
        assert (await place.event(always, reason, words))["type"] == kind
    assert {p["status"]["phase"] for p in (never, odd, always)} == {"Pending"}


async def test_a_registry_gives_its_image_to_the_pod_that_names_the_right_secret_only(
    api: Api, join: Join, container_engine: ContainerEngine, namespace: str, tmp_path: Path
) -> None:
    del container_engine
    edge = await join(runtime="cri")
    place = Place(api, edge, namespace)
    async with registry(tmp_path) as found:
        secrets = f"{place.base}/secrets"
        await api.create(secrets, found.secret("right", "open-sesame"))
        await api.create(secrets, found.secret("wrong", "abracadabra"))

        def puller(name: str, *secrets: str) -> Object:
            made = with_image(
                place,
                name,
                found.image,
                "Always",
                imagePullSecrets=[{"name": secret} for secret in secrets],
            )
            del made["spec"]["containers"][0]["command"]
            return made

        await place.create(puller("nameless"), puller("stranger", "wrong", "absent"))
        for name in ("nameless", "stranger"):
            refused, message = await waits(place, name, "ImagePullBackOff")
            assert "401 Unauthorized" in message
            await place.event(refused, "Failed", f'Failed to pull image "{found.image}": ')
        stranger = await place.wait("stranger", bool, "it is here")
        absent = await place.event(stranger, "FailedToRetrieveImagePullSecret")
        assert "could not be had: absent" in absent["message"]

        await place.create(puller("friend", "wrong", "right"))
        friend = await place.ready("friend")
        pulled = await place.event(friend, "Pulled")
        assert pulled["message"].startswith(f'Successfully pulled image "{found.image}" in ')
        await until(lambda: "pulled" in place.output(friend), "the image runs as it says")
        assert found.served
        assert found.refused

        # Another's login must not open the door for who has none; a Secret that is mended does.
        assert not state_of(await place.wait("nameless", bool, "here"), "running")
        right = found.secret("wrong", "open-sesame")
        await api.patch(f"{secrets}/wrong", {"stringData": right["stringData"]})
        await place.ready("stranger")
        assert not state_of(await place.wait("nameless", bool, "here"), "running")
    assert "open-sesame" not in edge.daemon.log.read_text()


async def test_a_full_disk_costs_the_images_that_no_pod_needs_and_no_other(
    containers_run: None, tmp_path: Path
) -> None:
    del containers_run
    events: list[tuple[str, str, str]] = []
    clock, full = HandClock(), Amount(available=0, capacity=1 << 30)
    assigned = [{"spec": {"containers": [{"image": "named"}]}}]
    async with ContainerEngine(tmp_path / "engine") as engine:
        spare = [ociimages.Image("docker.io/library/spare:latest", cmd=("nothing",))]
        ociimages.write_archive(tmp_path / "spare.tar", machine.program("busybox"), spare)
        machine.run("ctr", *engine.at, "images", "import", str(tmp_path / "spare.tar"))
        runtime = CriRuntime(engine.endpoint)
        images = runtime.images
        assert images is not None
        collector = ImageGC(
            runtime,
            images,
            clock,
            GCPolicy(high_percent=0, low_percent=0),
            pods=lambda: assigned,
            event=lambda *event: events.append(event),
        )
        await Pod(tmp_path).run(runtime, *FOREVER)
        await collector.look()
        assert await collector.collect(full) == 0  # they are too new
        clock.seconds += 120
        assert await collector.collect(full) > 0
        kept = {name for name in NAMES if await has_image(engine.endpoint, name)}
        await runtime.close()
    assert kept == {"busybox", "named", "pause"}
    assert {reason for _, reason, _ in events} == {"FreeDiskSpaceFailed"}

"""The container engine; containerd, runc, the network plugins and the containers are real."""

import asyncio
import os
import select
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.devcluster import containerd, engineconfig, machine, remains
from deploy.devcluster.containerd import ContainerEngine
from deploy.devcluster.machine import ContainerEngineError
from deploy.devcluster.ociimages import BUSYBOX, GUEST, IMAGES, NAMED
from deploy.devcluster.ports import LOOPBACK, free_ports
from deploy.devcluster.program import ProgramError
from deploy.devcluster.sandboxes import engine_fault, sandboxes
from deploy.devcluster.site import until
from tests.deploy.devcluster.pods import run_pod, running_containers

containers = pytest.mark.usefixtures("containers_run")

DEADLINE_S = 30.0
SERVE = ("/bin/sh", "-c", "echo hello > /tmp/index.html; httpd -f -p 80 -h /tmp")
STAY = ("/bin/sleep", "1000")

RUN_UNTIL_KILLED = """
import asyncio, pathlib, sys
from deploy.devcluster.containerd import ContainerEngine
from tests.deploy.devcluster.pods import run_pod

async def main():
    async with ContainerEngine(pathlib.Path(sys.argv[1])) as engine:
        await run_pod(engine, "orphan", ["/bin/sleep", "1000"], host_port=int(sys.argv[2]))
        print(engine._guard.pid, engine.network.bridge, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
async def engine(containers_run: None, tmp_path: Path) -> AsyncIterator[ContainerEngine]:
    del containers_run
    async with ContainerEngine(tmp_path / "engine") as running:
        yield running


def ctr(engine: ContainerEngine, *arguments: str) -> str:
    command = ["ctr", *engine.at, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def bridges() -> str:
    return remains.run("ip", "link")


def host_ports() -> str:
    return remains.run("iptables", "--table", "nat", "--list-rules")


async def get(address: str, port: int) -> str:
    """The answer of a server that may still be starting."""
    while True:
        try:
            reader, writer = await asyncio.open_connection(address, port)
        except ConnectionRefusedError:
            await asyncio.sleep(0.01)
            continue
        writer.write(b"GET /index.html HTTP/1.0\r\n\r\n")
        answer = await reader.read()
        writer.close()
        return answer.decode()


def assert_nothing_is_left(folder: Path, bridge: str) -> None:
    for program in (remains.ENGINE, remains.SHIM):
        assert remains.processes_of(folder, program) == []
    assert remains.mounts_below(folder) == []
    assert f"{bridge}:" not in bridges()
    assert f'name: \\"{bridge}\\"' not in host_ports()
    assert list(Path("/var/lib/cni/results").glob(f"{bridge}-*")) == []


def loopbacks() -> set[str]:
    return {path.name for path in Path("/var/lib/cni/results").glob("cni-loopback-*")}


async def test_it_has_its_images(container_engine: ContainerEngine) -> None:
    listed = ctr(container_engine, "images", "list", "--quiet").split()
    assert {image.name for image in IMAGES} <= set(listed)


async def test_a_container_runs(container_engine: ContainerEngine) -> None:
    runc = ("--runc-root", str(container_engine.layout.runc))
    run = ("run", "--rm", *runc, BUSYBOX, "hello", "/bin/echo", "hello")
    assert ctr(container_engine, *run) == "hello\n"


async def test_a_pod_is_reached_at_its_address_and_at_a_port_of_the_host(
    engine: ContainerEngine,
) -> None:
    port = free_ports(1)[0]
    address = await run_pod(engine, "server", SERVE, host_port=port)
    async with asyncio.timeout(DEADLINE_S):
        assert (await get(address, 80)).endswith("hello\n")
        bridge = address.rpartition(".")[0] + ".1"
        assert (await get(bridge, port)).endswith("hello\n")


@pytest.mark.parametrize(("image", "user"), [(BUSYBOX, "0 "), (GUEST, "1000 "), (NAMED, "65534 ")])
async def test_a_container_runs_as_the_user_of_its_image(
    engine: ContainerEngine, image: str, user: str
) -> None:
    command = ("/bin/sh", "-c", "echo $(id -u) $(pwd); sleep 1000")
    await run_pod(engine, "user", command, image=image)
    log = engine.layout.folder / "user" / "c.log"
    await until(
        lambda: log.exists() and f" stdout F {user}" in log.read_text(), "it tells its user"
    )


async def test_an_image_with_an_entry_point_needs_no_command(engine: ContainerEngine) -> None:
    await run_pod(engine, "guest", (), image=GUEST)
    log = engine.layout.folder / "guest" / "c.log"
    await until(lambda: log.exists() and "guest: welcome" in log.read_text(), "it prints its words")


@pytest.mark.both_loops
@pytest.mark.parametrize("how", ["stopped", "killed"])
async def test_containers_survive_the_end_of_their_engine(
    engine: ContainerEngine, how: str
) -> None:
    await run_pod(engine, "survivor", STAY)
    before = await running_containers(engine)
    first = engine.pid
    if how == "killed":
        engine.kill()
    else:
        await engine.stop()
    assert engine.pid is None
    await engine.start()
    assert engine.pid != first
    assert await running_containers(engine) == before
    assert len(before) == 1


async def test_after_a_power_cut_nothing_runs_but_pods_are_remembered(
    engine: ContainerEngine,
) -> None:
    await run_pod(engine, "lost", STAY)
    before = await sandboxes(engine.endpoint)
    kept = {f"cni-loopback-{sandbox}-lo" for sandbox in before}
    assert kept <= loopbacks()
    engine.power_cut()
    assert not kept & loopbacks()
    assert remains.processes_of(engine.layout.folder, remains.SHIM) == []
    assert remains.mounts_below(engine.layout.folder) == []
    await engine.start()
    assert await running_containers(engine) == set()
    assert await sandboxes(engine.endpoint) == before
    assert set(before.values()) == {"tests/lost"}
    await run_pod(engine, "new", STAY)


@containers
async def test_nothing_is_left_after_the_context(tmp_path: Path) -> None:
    async with ContainerEngine(tmp_path / "engine") as engine:
        assert engine.network is not None
        bridge = engine.network.bridge
        await run_pod(engine, "server", SERVE, host_port=free_ports(1)[0])
        assert remains.processes_of(engine.layout.folder, remains.SHIM)
        assert f"{bridge}:" in bridges()
        assert bridge in host_ports()
    assert_nothing_is_left(engine.layout.folder, bridge)


@containers
async def test_nothing_is_left_after_an_engine_that_was_killed_is_closed(tmp_path: Path) -> None:
    engine = ContainerEngine(tmp_path / "engine")
    await engine.start()
    assert engine.network is not None
    bridge = engine.network.bridge
    await run_pod(engine, "server", SERVE, host_port=free_ports(1)[0])
    engine.kill()
    await engine.close()
    assert_nothing_is_left(engine.layout.folder, bridge)


@containers
def test_nothing_is_left_after_the_parent_was_killed(tmp_path: Path) -> None:
    folder, port = tmp_path / "engine", str(free_ports(1)[0])
    with subprocess.Popen(
        [sys.executable, "-c", RUN_UNTIL_KILLED, str(folder), port],
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        pid, bridge = parent.stdout.readline().split()
        guard = os.pidfd_open(int(pid))
        parent.kill()
        assert select.select([guard], [], [], DEADLINE_S)[0] == [guard]
        os.close(guard)
    assert_nothing_is_left(folder, bridge)


async def test_two_engines_run_side_by_side(
    engine: ContainerEngine, container_engine: ContainerEngine
) -> None:
    assert engine.network != container_engine.network
    address = await run_pod(engine, "here", SERVE)
    async with asyncio.timeout(DEADLINE_S):
        assert (await get(address, 80)).endswith("hello\n")
    assert await sandboxes(container_engine.endpoint) == {}


@containers
async def test_an_engine_is_used_again_in_a_former_one_s_folder(tmp_path: Path) -> None:
    for name in ("first", "second"):
        async with ContainerEngine(tmp_path / "engine") as engine:
            await run_pod(engine, name, STAY)
            assert set((await sandboxes(engine.endpoint)).values()) == {f"tests/{name}"}


@containers
async def test_without_overlays_containers_run_on_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "snapshotter", lambda _: "native")
    async with ContainerEngine(tmp_path / "engine") as engine:
        assert 'snapshotter = "native"' in engine.layout.config.read_text()
        await run_pod(engine, "copy", STAY)
        assert len(await running_containers(engine)) == 1


@containers
async def test_a_containerd_without_cri_is_reported_and_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engineconfig, "_NOT_WANTED", ("io.containerd.grpc.v1.cri",))
    engine = ContainerEngine(tmp_path / "engine")
    with pytest.raises(ContainerEngineError, match="no CRI at unix:"):
        await engine.start()
    assert engine.pid is None
    assert engine.network is None


@containers
async def test_a_containerd_that_does_not_start_is_reported_with_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engineconfig, "containerd_config", lambda *_, **__: "nonsense")
    engine = ContainerEngine(tmp_path / "engine")
    with pytest.raises(ProgramError, match=r"(?s)containerd ended \(1\).*toml"):
        await engine.start()
    assert engine.network is None


@containers
async def test_a_failed_network_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fault_of_network(endpoint: str) -> str:
        while "NetworkReady" not in (fault := await engine_fault(endpoint)):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)  # it is not up yet, however long that takes
        return fault

    monkeypatch.setattr(engineconfig, "network_config", lambda *_: "{}")
    monkeypatch.setattr(containerd, "engine_fault", fault_of_network)
    monkeypatch.setattr(containerd, "START_TIMEOUT_S", 0.0)
    with pytest.raises(ProgramError, match=r"(?s)after 0 s.*NetworkReady is false"):
        await ContainerEngine(tmp_path / "engine").start()


def test_a_path_that_is_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContainerEngineError, match="too long for a socket"):
        ContainerEngine(tmp_path / ("long" * 30))


def test_the_engine_listens_where_it_says(container_engine: ContainerEngine) -> None:
    path = Path(container_engine.endpoint.removeprefix("unix://"))
    assert path.is_socket()
    assert LOOPBACK not in container_engine.endpoint

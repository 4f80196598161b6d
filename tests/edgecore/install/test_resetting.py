"""Taking edgecore away: files in a folder, and processes that are real; systemd is made up."""

import errno
from pathlib import Path

import pytest

from common.errors import ConfigError, EdgeError, RuntimeServiceError
from common.names import UID
from edgecore.datadir import SOCKET, locked
from edgecore.edged.local.localapi import TOKEN_FILE
from edgecore.edged.runtime.base import ContainerState, PodObservation, Runtime
from edgecore.edged.runtime.hollow import HollowRuntime
from edgecore.edged.runtime.process import ProcessRuntime
from edgecore.edged.runtime.spec import ContainerConfig, SandboxConfig
from edgecore.edgestore.keyfile import FILE_NAME as KEY
from edgecore.edgestore.store import FILE_NAME as EDGE_STORE
from edgecore.install import resetting, storecopy
from edgecore.install.machine import RECORD, UNIT_FILE, Machine
from edgecore.install.resetting import OWN, Removal, ResetFailedError
from tests.edgecore.install.machines import WithSystemd

CONFIG = Path("/etc/cloudedge/edgecore.yaml")
DATA_DIR = Path("/var/lib/cloudedge/edgecore")
KUBECONFIG = Path("/root/.kube/config")


def removal(*, keeps_data: bool = False) -> Removal:
    return Removal(CONFIG, DATA_DIR, DATA_DIR, keeps_data)


def furnish(machine: Machine) -> None:
    machine.write(CONFIG, "cloud: c\n")
    machine.write(UNIT_FILE, "[Unit]\n")
    for path in (DATA_DIR / "pki" / "n1.pem", KUBECONFIG):
        machine.path(path).parent.mkdir(parents=True, exist_ok=True)
        machine.path(path).write_text("x")


async def reset(
    machine: Machine, runtime: Runtime | None = None, *, keeps_data: bool = False
) -> list[str]:
    said: list[str] = []
    made = runtime or HollowRuntime()
    await resetting.reset(removal(keeps_data=keeps_data), machine, lambda: made, said.append)
    return said


async def test_all_that_is_its_own_goes_and_nothing_else(tmp_path: Path) -> None:
    machine = WithSystemd(tmp_path)
    furnish(machine)
    said = await reset(machine)
    assert said[0] == "stopped: edgecore.service"
    assert set(said[1:]) == {f"removed: {path}" for path in (DATA_DIR, CONFIG, UNIT_FILE, RECORD)}
    assert machine.told == ["disable --now --quiet edgecore.service", "daemon-reload"]
    assert machine.path(KUBECONFIG).exists()
    assert await reset(machine) == []


async def test_the_data_stay_where_that_is_wanted(tmp_path: Path) -> None:
    machine = WithSystemd(tmp_path)
    furnish(machine)
    assert f"kept: {DATA_DIR}" in await reset(machine, keeps_data=True)
    assert machine.path(DATA_DIR / "pki" / "n1.pem").exists()
    assert not machine.path(CONFIG).exists()


async def test_a_service_that_does_not_stop_leaves_everything_as_it_is(tmp_path: Path) -> None:
    def refuse(_: tuple[str, ...]) -> None:
        raise EdgeError("systemctl disable: no")

    machine = WithSystemd(tmp_path, refuse)
    furnish(machine)
    with pytest.raises(ResetFailedError, match="may still run"):
        await reset(machine)
    assert machine.path(CONFIG).exists()


async def test_an_edgecore_that_runs_without_systemd_is_noticed(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    furnish(machine)
    with locked(machine.path(DATA_DIR)), pytest.raises(ConfigError, match="in use"):
        await reset(machine)
    assert machine.path(CONFIG).exists()


class Away(HollowRuntime):
    async def list_pods(self) -> list[PodObservation]:
        raise RuntimeServiceError(RuntimeServiceError.UNAVAILABLE, "engine is away")


async def test_what_an_engine_that_is_away_leaves_goes_when_called_again(tmp_path: Path) -> None:
    machine = WithSystemd(tmp_path)
    furnish(machine)
    with pytest.raises(ResetFailedError, match="engine is away"):
        await reset(machine, Away())
    assert machine.path(DATA_DIR / "pki" / "n1.pem").exists()
    assert not machine.path(UNIT_FILE).exists()
    assert machine.path(CONFIG).exists()
    assert await reset(machine) == [f"removed: {DATA_DIR}", f"removed: {CONFIG}"]


class Stubborn(HollowRuntime):
    async def list_pods(self) -> list[PodObservation]:
        return [PodObservation(UID("u1"), "default", "web", "s1", sandbox_ready=True)]

    async def stop_sandbox(self, uid: UID) -> None:
        raise RuntimeServiceError("Busy", f"{uid} is busy")


async def test_a_pod_that_cannot_be_ended_is_named() -> None:
    said: list[str] = []
    with pytest.raises(EdgeError, match="pod default/web could not be ended: u1 is busy"):
        await resetting.end_pods(Stubborn(), said.append)
    assert said == []


async def test_processes_end_with_their_pods(tmp_path: Path) -> None:
    runtime = ProcessRuntime(tmp_path / "process")
    await runtime.open()
    uid = UID("u1")
    await runtime.run_sandbox(SandboxConfig(uid, "default", "web", 0, tmp_path))
    container = await runtime.create_container(
        uid, ContainerConfig("c", 0, "img", "h", tmp_path / "c.log", ("sleep", "1000"))
    )
    await runtime.start_container(container)
    await runtime.close()
    [pod] = await resetting.pods_of(ProcessRuntime(tmp_path / "process"))
    assert [one.state for one in pod.containers] == [ContainerState.RUNNING]
    said: list[str] = []
    await resetting.end_pods(ProcessRuntime(tmp_path / "process"), said.append)
    assert said == ["ended: pod default/web"]
    assert await resetting.pods_of(ProcessRuntime(tmp_path / "process")) == []


async def test_what_others_have_in_the_data_folder_stays(tmp_path: Path) -> None:
    machine = WithSystemd(tmp_path)
    furnish(machine)
    for name in ("edge-store.db-wal", "photos"):
        (machine.path(DATA_DIR) / name).write_text("")
    assert f"kept: {DATA_DIR}, where others have photos" in await reset(machine)
    assert [path.name for path in machine.path(DATA_DIR).iterdir()] == ["photos"]


async def test_a_data_folder_that_is_a_disk_of_its_own_is_emptied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(_: Path) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    machine = WithSystemd(tmp_path)
    furnish(machine)
    monkeypatch.setattr(Path, "rmdir", busy)
    assert f"emptied: {DATA_DIR}" in await reset(machine)
    assert list(machine.path(DATA_DIR).iterdir()) == []


@pytest.mark.parametrize("how", ["refused", "still there"])
async def test_nothing_is_removed_through_a_mount(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    def unmount(_: Path) -> None:
        if how == "refused":
            raise OSError(errno.EPERM, "Operation not permitted")

    machine = WithSystemd(tmp_path)
    furnish(machine)
    monkeypatch.setattr(resetting, "unmount_below", unmount)
    monkeypatch.setattr(resetting, "mounted_below", lambda folder: [folder / "volume"])
    with pytest.raises(ResetFailedError, match="something is still mounted"):
        await reset(machine)
    assert machine.path(DATA_DIR / "pki" / "n1.pem").exists()
    assert machine.path(CONFIG).exists()


def test_what_is_its_own_is_what_the_others_write() -> None:
    names = {EDGE_STORE, KEY, SOCKET, storecopy.FOLDER, TOKEN_FILE}
    assert all(any(Path(name).match(pattern) for pattern in OWN) for name in names)

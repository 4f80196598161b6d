"""A machine joins: TLS and enrolment on loopback, files in a folder; systemd is made up."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from common.errors import CertificateError, EdgeError, LinkError
from common.health import Health
from common.metrics import Figures
from common.monitor import monitor
from deploy.devcluster.ports import free_ports
from edgecore.app import enroll_in_thread
from edgecore.config import EdgeCoreSettings, RuntimeName
from edgecore.datadir import SOCKET
from edgecore.edgehub.enrollconfig import Task
from edgecore.install import joining
from edgecore.install.joining import ChecksFailedError, Wish
from edgecore.install.machine import UNIT_FILE, Machine
from tests.edgecore.cloud import HOST, Peer, TestCloud
from tests.edgecore.install.machines import WithSystemd

CONFIG = Path("/etc/cloudedge/edgecore.yaml")
DATA_DIR = Path("/var/lib/cloudedge/edgecore")


@pytest.fixture
def cloud(tmp_path: Path) -> TestCloud:
    (tmp_path / "cloud").mkdir()
    return TestCloud(tmp_path / "cloud")


async def silent(peer: Peer) -> None:
    await peer.connection.wait_closed()


def wish(cloud: TestCloud, machine: Machine, token: str | None = None, **more: object) -> Wish:
    settings = EdgeCoreSettings(
        cloud=HOST,
        node_name="n1",
        websocket_port=cloud.websocket_port,
        https_port=cloud.https_port,
        token=cloud.token if token is None else token,
        data_dir=machine.path(DATA_DIR),
        runtime=RuntimeName.PROCESS,
    )
    options = {"cloud": HOST, "node_name": "n1", "data_dir": str(DATA_DIR), **more}
    return Wish(settings, options, CONFIG, ("/opt/cloudedge/edgecore",))


@contextmanager
def daemon_at(data_dir: Path, link: dict[str, object]) -> Iterator[None]:
    """What a running edgecore answers at its socket."""
    data_dir.mkdir(parents=True, exist_ok=True)
    health = Health()
    health.report("edgehub", lambda: link)
    with monitor(None, health, Figures(), data_dir / SOCKET):
        yield


async def test_a_machine_joins_and_a_second_time_changes_nothing(
    cloud: TestCloud, tmp_path: Path
) -> None:
    machine = WithSystemd(tmp_path / "root")
    said: list[str] = []
    async with cloud.listening(silent):
        with daemon_at(machine.path(DATA_DIR), {"connected": True}):
            one = wish(cloud, machine)
            await joining.join(one, machine, said.append, enroll=enroll_in_thread)
            first, said[:] = list(said), []
            again = wish(cloud, machine, token="")
            await joining.join(again, machine, said.append, enroll=enroll_in_thread)
    assert any(line.startswith("warning: token: does not say until") for line in first)
    assert [line for line in first if not line.startswith("warning:")] == [
        "enrolled: node n1",
        f"written: {CONFIG}",
        f"written: {UNIT_FILE}",
        "started: edgecore.service",
        f"connected: {HOST}",
    ]
    again_said = [line.partition(":")[0] for line in said if not line.startswith("warning:")]
    assert again_said == ["unchanged"] * 4 + ["connected"]
    assert machine.told == [
        "daemon-reload",
        "enable --quiet edgecore.service",
        "restart edgecore.service",
        "enable --quiet edgecore.service",
        "start edgecore.service",
    ]
    assert cloud.enrolments == ["n1"]
    written = machine.path(CONFIG).read_text()
    assert "cloud: " in written
    assert cloud.token not in written
    assert "ExecStart=/opt/cloudedge/edgecore run" in machine.path(UNIT_FILE).read_text()


async def test_what_is_asked_for_anew_is_written_and_the_service_started_again(
    cloud: TestCloud, tmp_path: Path
) -> None:
    machine = WithSystemd(tmp_path / "root")
    said: list[str] = []
    async with cloud.listening(silent):
        with daemon_at(machine.path(DATA_DIR), {"connected": True}):
            one = wish(cloud, machine)
            await joining.join(one, machine, said.append, enroll=enroll_in_thread)
            machine.path(CONFIG).write_text("cloud: mine\n")
            other = wish(cloud, machine, max_pods="7")
            await joining.join(other, machine, said.append, enroll=enroll_in_thread)
    assert machine.told[-1] == "restart edgecore.service"
    assert any(line.startswith(f"replaced: {CONFIG}") for line in said)
    assert machine.path(CONFIG).with_name("edgecore.yaml.bak").read_text() == "cloud: mine\n"


async def test_a_join_that_was_cut_off_before_the_start_is_made_good_by_the_next_one(
    cloud: TestCloud, tmp_path: Path
) -> None:
    def fail_once(arguments: tuple[str, ...]) -> None:
        if arguments[0] == "restart" and machine.told.count("restart edgecore.service") == 1:
            raise EdgeError("cut off")

    machine = WithSystemd(tmp_path / "root", fail_once)
    async with cloud.listening(silent):
        with daemon_at(machine.path(DATA_DIR), {"connected": True}):
            one = wish(cloud, machine)
            with pytest.raises(EdgeError, match="cut off"):
                await joining.join(one, machine, print, enroll=enroll_in_thread)
            await joining.join(one, machine, print, enroll=enroll_in_thread)
            assert machine.told[-3:] == [
                "daemon-reload",
                "enable --quiet edgecore.service",
                "restart edgecore.service",
            ]
            await joining.join(one, machine, print, enroll=enroll_in_thread)
    assert machine.told[-1] == "start edgecore.service"


async def test_without_systemd_it_says_how_to_start(cloud: TestCloud, tmp_path: Path) -> None:
    machine = Machine(tmp_path / "root")
    said: list[str] = []
    async with cloud.listening(silent):
        one = wish(cloud, machine)
        await joining.join(one, machine, said.append, enroll=enroll_in_thread)
    assert said[-1].endswith(f"/opt/cloudedge/edgecore run --config={CONFIG}")


async def test_a_dry_run_says_what_would_be_done_and_does_nothing(
    cloud: TestCloud, tmp_path: Path
) -> None:
    machine = WithSystemd(tmp_path / "root")
    said: list[str] = []
    async with cloud.listening(silent):
        await joining.plan(wish(cloud, machine), machine, said.append, enroll=enroll_in_thread)
    assert [line for line in said if not line.startswith("warning:")] == [
        f"would enrol: node n1 at {HOST}",
        f"would be written: {CONFIG}",
        f"would be written: {UNIT_FILE}",
        "would start: edgecore.service",
    ]
    assert not machine.root.exists()
    assert cloud.enrolments == []


async def test_a_machine_that_is_not_ready_is_left_as_it_is(
    cloud: TestCloud, tmp_path: Path
) -> None:
    cloud.https_port, cloud.websocket_port = free_ports(2)
    machine = WithSystemd(tmp_path / "root")
    with pytest.raises(ChecksFailedError, match="no connection to") as caught:
        await joining.join(wish(cloud, machine), machine, print, enroll=enroll_in_thread)
    assert "nothing was changed" in str(caught.value)
    assert not machine.root.exists()
    with pytest.raises(ChecksFailedError, match="--token-file"):
        await joining.join(wish(cloud, machine, token=""), machine, print, enroll=enroll_in_thread)


async def test_what_is_to_run_is_installed_after_the_checks_and_before_enrolment(
    cloud: TestCloud, tmp_path: Path
) -> None:
    machine = Machine(tmp_path / "root")
    said: list[str] = []

    def install(say: Callable[[str], None]) -> None:
        say("installed")

    without_token = wish(cloud, machine, token="")
    with pytest.raises(ChecksFailedError, match="--token-file"):
        await joining.join(
            without_token, machine, said.append, enroll=enroll_in_thread, install=install
        )
    assert said == []
    async with cloud.listening(silent):
        one = wish(cloud, machine)
        await joining.join(one, machine, said.append, enroll=enroll_in_thread, install=install)
    steps = [line for line in said if not line.startswith("warning:")]
    assert steps[:2] == ["installed", "enrolled: node n1"]


async def test_a_cloud_that_gives_no_certificate_leaves_no_configuration(
    cloud: TestCloud, tmp_path: Path
) -> None:
    machine = WithSystemd(tmp_path / "root")
    cloud.enrolment_status = 403
    async with cloud.listening(silent):
        with pytest.raises(LinkError, match="not today"):
            await joining.join(wish(cloud, machine), machine, print, enroll=enroll_in_thread)
    assert not machine.path(CONFIG).exists()
    assert machine.told == []


async def test_a_certificate_that_cannot_be_examined_is_got_anew(
    cloud: TestCloud, tmp_path: Path
) -> None:
    machine = Machine(tmp_path / "root")
    pki = machine.path(DATA_DIR) / "pki"
    pki.mkdir(parents=True)
    (pki / "n1.pem").write_text("rubbish")
    tasks: list[Task] = []

    async def enroll(task: Task) -> str:
        tasks.append(task)
        if len(tasks) == 1:
            raise CertificateError("rubbish")
        return ""

    async with cloud.listening(silent):
        await joining.join(wish(cloud, machine), machine, print, enroll=enroll)
    assert [task.job for task in tasks] == ["examine", "enroll"]


async def test_an_edge_that_does_not_connect_says_why(tmp_path: Path) -> None:
    link: dict[str, object] = {"connected": False, "failure": "no route"}
    with (
        daemon_at(tmp_path, link),
        pytest.raises(EdgeError, match=r"not connected after 0 s: no route"),
    ):
        await joining.until_connected(tmp_path, 0)
    with pytest.raises(EdgeError, match="it does not run"):
        await joining.until_connected(tmp_path, 0)
    assert joining.link_of(tmp_path) is None

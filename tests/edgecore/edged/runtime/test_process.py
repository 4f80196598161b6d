"""The process runtime: real processes, real signals, real files. Nothing is faked."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import RuntimeServiceError
from edgecore.edged.runtime import keepers
from edgecore.edged.runtime.base import ContainerState
from edgecore.edged.runtime.process import DEFAULT_PATH
from edgecore.edged.runtime.spec import ContainerConfig, Mount, SandboxConfig
from tests.edgecore.edged.runtime.processes import (
    Signs,
    U,
    ended,
    runtime_in,
    start,
    status,
    text_of,
)

ROOT = Path(__file__).parents[4]


def processes_in_session(session: int) -> list[int]:
    """Return pidfds."""
    return [
        os.pidfd_open(int(process.name))
        for process in Path("/proc").iterdir()
        if process.name.isdecimal() and keepers._session_of(process) == session
    ]


@pytest.mark.both_loops
async def test_a_command_runs_with_the_pods_environment_and_nothing_of_ours(tmp_path: Path) -> None:
    async with runtime_in(tmp_path) as runtime:
        await start(
            runtime, tmp_path, "env | grep -v ^PWD= | sort", env=(("A", "1 2"), ("B", "\udcff"))
        )
        seen = await ended(runtime)
        lines = text_of_bytes(tmp_path / "c.log")
    assert (seen.exit_code, seen.reason) == (0, "Completed")
    # A shell adds what it needs itself.
    own = [line for line in lines if not line.startswith((b"SHLVL=", b"_=", b"OLDPWD="))]
    assert own == [b"A=1 2", b"B=\xff", b"PATH=" + DEFAULT_PATH.encode()]


def text_of_bytes(log: Path) -> list[bytes]:
    return [line.split(b" ", 3)[3] for line in log.read_bytes().splitlines()]


async def test_the_exit_code_is_known(tmp_path: Path) -> None:
    async with runtime_in(tmp_path) as runtime:
        await start(runtime, tmp_path, "echo out; echo err >&2; exit 3")
        seen = await ended(runtime)
    assert (seen.exit_code, seen.reason) == (3, "Error")
    assert seen.started_at is not None
    assert seen.finished_at is not None
    assert seen.started_at <= seen.finished_at
    assert sorted(text_of(tmp_path / "c.log")) == ["err", "out"]


async def test_stopping_asks_first(tmp_path: Path, signs: Signs) -> None:
    async with runtime_in(tmp_path) as runtime:
        script = f"trap 'exit 7' TERM; echo up > {signs.path}; while :; do sleep 0.01; done"
        container = await start(runtime, tmp_path, script)
        await signs.next()
        await runtime.stop_container(container, 30)
        assert (await status(runtime)).exit_code == 7


async def test_what_does_not_end_by_itself_is_killed_with_all_that_descends_from_it(
    tmp_path: Path, signs: Signs
) -> None:
    async with runtime_in(tmp_path) as runtime:
        script = (
            "trap '' TERM; (setsid sh -c \"trap '' TERM; "
            f'echo up > {signs.path}; sleep 1000" &); while :; do sleep 0.01; done'
        )
        container = await start(runtime, tmp_path, script)
        await signs.next()
        before = [p for p in Path("/proc").iterdir() if _command(p) == ["sleep", "1000"]]
        await runtime.stop_container(container, 0.05)
        assert (await status(runtime)).exit_code == 137
        assert not [p for p in before if _command(p)]


def _command(process: Path) -> list[str]:
    try:
        return (process / "cmdline").read_text().split("\0")[:-1]
    except OSError:
        return []


async def test_a_stop_that_is_called_off_lets_a_quicker_one_take_over(
    tmp_path: Path, signs: Signs
) -> None:
    async with runtime_in(tmp_path) as runtime:
        script = f"trap '' TERM; echo up > {signs.path}; while :; do sleep 0.01; done"
        container = await start(runtime, tmp_path, script)
        await signs.next()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await runtime.stop_container(container, 1000)
        assert (await status(runtime)).state is ContainerState.RUNNING
        await runtime.stop_container(container, 0)
        assert (await status(runtime)).state is ContainerState.EXITED


async def test_a_command_can_be_run_with_the_files_and_variables_of_a_container(
    tmp_path: Path, signs: Signs
) -> None:
    (tmp_path / "volume").mkdir()
    (tmp_path / "volume" / "text").write_text("from the volume")
    mounts = (Mount("v", tmp_path / "volume", "/no-such-dir/v"),)
    async with runtime_in(tmp_path) as runtime:
        # Not as the last thing, for which a shell may become another program at any moment.
        script = f"echo up > {signs.path}; sleep 1000; exit"
        container = await start(
            runtime, tmp_path, script, env=(("WHO", "the container"),), mounts=mounts
        )
        await signs.next()
        command = ["sh", "-c", 'cat "${FILE:-/no-such-dir/v/text}"; echo " and $WHO"']
        result = await runtime.exec_sync(container, command, 30)
        assert (result.exit_code, result.output) == (0, b"from the volume and the container\n")
        await runtime.stop_container(container, 0)
        with pytest.raises(RuntimeServiceError, match="is not running"):
            await runtime.exec_sync(container, command, 30)


async def test_a_command_that_does_not_exist_ends_with_the_reason(tmp_path: Path) -> None:
    async with runtime_in(tmp_path) as runtime:
        await runtime.run_sandbox(SandboxConfig(U, "default", "web", 0, tmp_path))
        config = ContainerConfig("c", 0, "img", "h", tmp_path / "c.log", ("no-such-thing",))
        container = await runtime.create_container(U, config)
        with pytest.raises(RuntimeServiceError, match="no-such-thing: No such file") as caught:
            await runtime.start_container(container)
        seen = await status(runtime)
    assert caught.value.reason == "RunContainerError"
    assert (seen.state, seen.exit_code, seen.reason) == (ContainerState.EXITED, 128, "StartError")


async def test_a_container_without_a_command_is_told_why_it_cannot_run(tmp_path: Path) -> None:
    async with runtime_in(tmp_path) as runtime:
        await runtime.run_sandbox(SandboxConfig(U, "default", "web", 0, tmp_path))
        with pytest.raises(RuntimeServiceError, match="has no images") as caught:
            await runtime.create_container(U, ContainerConfig("c", 0, "img", "h", tmp_path / "l"))
    assert caught.value.reason == "CommandRequired"


async def test_a_process_outlives_the_runtime_and_is_adopted_with_its_exit_code(
    tmp_path: Path, signs: Signs
) -> None:
    go_on = tmp_path / "go-on"
    os.mkfifo(go_on)
    async with runtime_in(tmp_path) as runtime:
        await start(runtime, tmp_path, f"echo $$ > {signs.path}; read x < {go_on}; exit 5")
        pid = await signs.next()
        first = await status(runtime)
    async with runtime_in(tmp_path) as other:
        adopted = await status(other)
        assert adopted == first
        assert _command(Path("/proc") / pid.strip())
        await asyncio.to_thread(go_on.write_text, "now\n")
        assert (await ended(other)).exit_code == 5


async def test_an_end_while_nobody_was_there_is_known_afterwards(
    tmp_path: Path,
) -> None:
    go_on = tmp_path / "go-on"
    os.mkfifo(go_on)
    async with runtime_in(tmp_path) as runtime:
        container = await start(runtime, tmp_path, f"read x < {go_on}; exit 6")
    keeper = keepers.adopt(tmp_path / "state" / U / container)
    assert keeper is not None
    await asyncio.to_thread(go_on.write_text, "now\n")
    await keepers.readable(keeper)
    os.close(keeper)
    async with runtime_in(tmp_path) as other:
        seen = await status(other)
    assert (seen.state, seen.exit_code) == (ContainerState.EXITED, 6)


STARTER = """
import asyncio, sys
from pathlib import Path
from tests.edgecore.edged.runtime.processes import start, runtime_in

async def main():
    folder = Path(sys.argv[1])
    async with runtime_in(folder) as runtime:
        await start(runtime, folder, f"echo $$ > {folder}/signs; sleep 1000; exit 1")
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_sigkill_of_edgecore_does_not_touch_the_process(tmp_path: Path, signs: Signs) -> None:
    with subprocess.Popen([sys.executable, "-c", STARTER, str(tmp_path)], cwd=ROOT) as edgecore:  # noqa: ASYNC220 - it only has to start
        pid = int(await signs.next())
        before = _command(Path(f"/proc/{pid}"))  # the shell, which stays what it is
        edgecore.kill()
    assert before[:2] == ["sh", "-c"]
    assert _command(Path(f"/proc/{pid}")) == before
    async with runtime_in(tmp_path) as runtime:
        seen = await status(runtime)
        assert seen.state is ContainerState.RUNNING
        await runtime.stop_container(seen.id, 30)
        assert (await status(runtime)).exit_code == 143
    assert not Path(f"/proc/{pid}").exists()


async def test_if_the_keeper_is_killed_its_process_dies_and_is_seen_as_ended(
    tmp_path: Path, signs: Signs
) -> None:
    async with runtime_in(tmp_path) as runtime:
        script = f"sleep 1000 & echo up > {signs.path}; wait"
        container = await start(runtime, tmp_path, script)
        await signs.next()
        keeper = keepers.keeper_of(tmp_path / "state" / U / container)
        assert keeper is not None
        left = processes_in_session(keeper)
        assert len(left) == 3
        os.kill(keeper, signal.SIGKILL)
        seen = await ended(runtime)
        assert (seen.exit_code, seen.reason) == (137, "ContainerStatusUnknown")
        for pidfd in left:
            await keepers.readable(pidfd)
            os.close(pidfd)


async def test_after_a_reboot_everything_has_ended_and_the_pod_needs_a_new_sandbox(
    tmp_path: Path,
) -> None:
    async with runtime_in(tmp_path) as runtime:
        container = await start(runtime, tmp_path, "exec sleep 1000")
        await runtime.stop_container(container, 30)
    # What a reboot leaves: the files, with another boot's id in them, and no end of the process.
    directory = tmp_path / "state" / U
    (directory / container / "state.json").unlink()
    for note in (directory / "sandbox.json", directory / container / "keeper.json"):
        note.write_text(json.dumps(json.loads(note.read_text()) | {"boot_id": "another"}))
    async with runtime_in(tmp_path) as runtime:
        [observed] = await runtime.list_pods()
        assert not observed.sandbox_ready
        assert observed.containers[0].reason == "ContainerStatusUnknown"
        await runtime.run_sandbox(SandboxConfig(U, "default", "web", 1, tmp_path))
        [again] = await runtime.list_pods()
    assert again.sandbox_ready
    assert again.sandbox_id != observed.sandbox_id


@pytest.mark.parametrize("damaged", ["sandbox.json", "meta.json"])
async def test_what_was_not_written_to_its_end_is_cleared_away(
    tmp_path: Path, damaged: str
) -> None:
    async with runtime_in(tmp_path) as runtime:
        container = await start(runtime, tmp_path, "exit 0")
        await ended(runtime)
    for note in (tmp_path / "state").rglob(damaged):
        note.write_text("{")
    async with runtime_in(tmp_path) as runtime:
        observed = await runtime.pod(U)
        assert (observed is None) or not observed.containers
    assert not (tmp_path / "state" / U / container).exists()


async def test_a_container_that_was_only_created_is_created_for_the_next_edgecore(
    tmp_path: Path,
) -> None:
    async with runtime_in(tmp_path) as runtime:
        await runtime.run_sandbox(SandboxConfig(U, "default", "web", 0, tmp_path))
        config = ContainerConfig("c", 0, "img", "h", tmp_path / "c.log", ("true",))
        container = await runtime.create_container(U, config)
    async with runtime_in(tmp_path) as runtime:
        assert (await status(runtime)).state is ContainerState.CREATED
        with pytest.raises(RuntimeServiceError, match="another edgecore"):
            await runtime.start_container(container)
        await runtime.remove_container(container)


async def test_secrets_are_neither_on_disk_nor_on_a_command_line(
    tmp_path: Path, signs: Signs
) -> None:
    async with runtime_in(tmp_path) as runtime:
        script = f"echo up > {signs.path}; exec sleep 1000"
        container = await start(runtime, tmp_path, script, env=(("P", "hunter2"),))
        await signs.next()
        keeper = keepers.keeper_of(tmp_path / "state" / U / container)
        assert b"hunter2" not in Path(f"/proc/{keeper}/cmdline").read_bytes()
        assert b"hunter2" not in Path(f"/proc/{keeper}/environ").read_bytes()
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert not [path for path in files if b"hunter2" in path.read_bytes()]


async def test_a_running_container_cannot_be_removed_and_a_stopped_one_leaves_its_log(
    tmp_path: Path,
) -> None:
    async with runtime_in(tmp_path) as runtime:
        container = await start(runtime, tmp_path, "echo hi; exec sleep 1000")
        with pytest.raises(RuntimeServiceError, match="is running"):
            await runtime.remove_container(container)
        await runtime.stop_sandbox(U)
        await runtime.remove_sandbox(U)
        await runtime.remove_sandbox(U)
        assert await runtime.list_pods() == []
    assert (tmp_path / "c.log").exists()
    assert list((tmp_path / "state").iterdir()) == []


async def test_a_volume_is_found_by_its_variable_where_nothing_can_be_mounted(
    tmp_path: Path,
) -> None:
    (tmp_path / "v").mkdir()
    mounts = (Mount("my-conf", tmp_path / "v", "/no/such/place"),)
    async with runtime_in(tmp_path, mount=False) as runtime:
        await start(runtime, tmp_path, "echo $CLOUDEDGE_VOLUME_MY_CONF; ls /no/such", mounts=mounts)
        await ended(runtime)
    lines = text_of(tmp_path / "c.log")
    assert str(tmp_path / "v") in lines
    assert len(lines) == 2


async def test_the_node_says_that_images_mean_nothing_here(tmp_path: Path) -> None:
    async with runtime_in(tmp_path) as runtime:
        assert str(await runtime.version()).startswith("process://")

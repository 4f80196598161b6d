"""Mount namespaces: real ones. Where there are none, only that this is found out is tested."""

import ctypes
import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import RuntimeServiceError
from edgecore.edged.runtime import mountns
from edgecore.edged.runtime.spec import Mount
from tests.edgecore.edged.runtime.processes import ended, runtime_in, start, text_of

PR_CAPBSET_DROP = 24
CAP_SYS_ADMIN = 21

CAN_MOUNT = subprocess.run([sys.executable, mountns.__file__], check=False).returncode == 0

needs_mounts = pytest.mark.skipif(not CAN_MOUNT, reason="no mount namespaces on this machine")


async def run(folder: Path, script: str, *mounts: Mount) -> list[str]:
    async with runtime_in(folder) as runtime:
        await start(runtime, folder, script, mounts=mounts)
        seen = await ended(runtime)
    return [*text_of(folder / "c.log"), f"exit {seen.exit_code} {seen.message}".strip()]


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "greeting").write_text("hello\n")
    return tmp_path / "v"


def test_the_probe_says_no_to_who_may_not_mount() -> None:
    if os.geteuid() != 0:
        assert not CAN_MOUNT
        return
    libc = ctypes.CDLL(None)
    # Not even root can get this capability back.
    drop = functools.partial(libc.prctl, PR_CAPBSET_DROP, CAP_SYS_ADMIN, 0, 0, 0)
    command = [sys.executable, mountns.__file__]
    assert subprocess.run(command, check=False, preexec_fn=drop).returncode == 1


@needs_mounts
async def test_a_volume_is_at_its_path_even_if_the_machine_has_no_such_path(
    tmp_path: Path, volume: Path
) -> None:
    mounts = (
        Mount("a", volume, "/etc/cloudedge-test/deep"),
        Mount("b", volume, "/cloudedge-test"),
        Mount("c", volume / "greeting", "/var/run/cloudedge-test/file"),
    )
    script = (
        "cat /etc/cloudedge-test/deep/greeting /cloudedge-test/greeting /run/cloudedge-test/file;"
        "test -s /etc/passwd && test -d /proc/self && test -c /dev/null && echo rest"
    )
    assert await run(tmp_path, script, *mounts) == ["hello"] * 3 + ["rest", "exit 0"]
    for path in ("/etc/cloudedge-test", "/cloudedge-test", "/run/cloudedge-test"):
        assert not Path(path).exists()


@needs_mounts
async def test_what_is_made_on_the_way_to_a_volume_is_open_to_any_user(
    tmp_path: Path, volume: Path
) -> None:
    script = "stat -c %a /cloudedge-test; umask"
    old = os.umask(0o077)
    try:
        said = await run(tmp_path, script, Mount("a", volume, "/cloudedge-test/deep"))
    finally:
        os.umask(old)
    assert said == ["755", "0022", "exit 0"]


@needs_mounts
async def test_a_path_that_exists_is_covered_for_this_process_only(
    tmp_path: Path, volume: Path
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    (place / "own").touch()
    assert await run(tmp_path, f"ls {place}", Mount("v", volume, str(place))) == [
        "greeting",
        "exit 0",
    ]
    assert [path.name for path in place.iterdir()] == ["own"]


@needs_mounts
async def test_what_is_mounted_read_only_cannot_be_written(tmp_path: Path, volume: Path) -> None:
    mounts = (
        Mount("r", volume, "/cloudedge-r", read_only=True),
        Mount("w", volume, "/cloudedge-w"),
    )
    script = "touch /cloudedge-r/x 2>/dev/null || echo refused; touch /cloudedge-w/y"
    assert await run(tmp_path, script, *mounts) == ["refused", "exit 0"]
    assert (volume / "y").exists()
    assert not (volume / "x").exists()


@needs_mounts
async def test_a_volume_that_is_not_there_is_named_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeServiceError, match="/cloudedge-x: No such file"):
        await run(tmp_path, "true", Mount("v", tmp_path / "none", "/cloudedge-x"))

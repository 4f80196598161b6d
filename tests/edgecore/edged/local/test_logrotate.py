"""Rotation of real files; the runtime is a writer that reopens its file as containerd does."""

import gzip
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.errors import RuntimeServiceError
from common.names import UID
from edgecore.edged.local.logrotate import LogLimits, LogRotator
from edgecore.edged.runtime.base import ContainerState, ContainerStatus, PodObservation
from edgecore.edged.runtime.hollow import HollowRuntime
from tests.edgecore.edged.bus import HandClock

LIMITS = LogLimits(max_bytes=10, max_files=4)


class Writer(HollowRuntime):
    """Writes the log of one container, as a runtime does: into a file that it holds open."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path, self.reopened, self.fault = path, 0, ""
        path.parent.mkdir(parents=True)
        self._file = path.open("ab", 0)

    def write(self, text: str) -> None:
        self._file.write(text.encode())

    async def reopen_log(self, container_id: str) -> None:
        assert container_id == "id"
        if self.fault == "before":
            raise RuntimeServiceError("Unavailable", "no")
        self._file.close()
        self._file = self.path.open("ab", 0)
        self.reopened += 1
        if self.fault == "after":
            raise RuntimeServiceError("Unavailable", "no answer")

    def close_file(self) -> None:
        self._file.close()


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    made = Writer(tmp_path / "default_web_uid" / "c" / "0.log")
    yield made
    made.close_file()


def pod(state: ContainerState = ContainerState.RUNNING) -> PodObservation:
    containers = (ContainerStatus("id", "c", 0, state, "s"),)
    return PodObservation(UID("uid"), "default", "web", "s", True, containers=containers)  # noqa: FBT003 - a field


def rotator(writer: Writer, clock: HandClock | None = None) -> LogRotator:
    logs_dir = writer.path.parents[2]
    return LogRotator(writer, clock or HandClock(), logs_dir, LIMITS)


def contents(writer: Writer) -> dict[str, str]:
    files = sorted(writer.path.parent.iterdir())
    return {
        path.name.removeprefix("0.log"): (
            gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        ).decode()
        for path in files
    }


async def test_a_log_within_bounds_and_one_of_an_ended_container_stay(writer: Writer) -> None:
    writer.write("short")
    await rotator(writer).rotate([pod()])
    writer.write("long enough")
    await rotator(writer).rotate([pod(ContainerState.EXITED)])
    assert contents(writer) == {"": "shortlong enough"}
    assert writer.reopened == 0


async def test_one_that_is_too_long_is_moved_away_and_goes_on_in_a_new_file(writer: Writer) -> None:
    clock = HandClock()
    clock.seconds = 0.0
    writer.write("0123456789")
    await rotator(writer, clock).rotate([pod()])
    writer.write("next")
    assert contents(writer) == {"": "next", ".20261124-000000": "0123456789"}


async def test_older_ones_are_compressed_and_the_oldest_go(writer: Writer) -> None:
    clock, made = HandClock(), []
    for number in range(6):
        writer.write(f"{number}" * 10)
        clock.seconds += 30
        await rotator(writer, clock).rotate([pod()])
        made.append(contents(writer))
    writer.write("now")
    last = contents(writer)
    assert list(last.values()) == ["now", "3" * 10, "4" * 10, "5" * 10]
    assert [name.endswith(".gz") for name in last] == [False, True, True, False]
    assert max(len(found) for found in made) == 4
    modes = {path.stat().st_mode for path in writer.path.parent.iterdir()}
    assert len(modes) == 1


async def test_nothing_is_lost_when_the_runtime_does_not_reopen(writer: Writer) -> None:
    writer.fault = "before"
    writer.write("0123456789")
    await rotator(writer).rotate([pod()])
    writer.write("more")
    assert contents(writer) == {"": "0123456789more"}
    writer.fault = ""
    await rotator(writer).rotate([pod()])
    assert list(contents(writer).values()) == ["", "0123456789more"]


async def test_a_runtime_that_reopened_and_did_not_say_so_keeps_its_new_file(
    writer: Writer,
) -> None:
    writer.fault = "after"
    writer.write("0123456789")
    await rotator(writer).rotate([pod()])
    writer.write("more")
    assert list(contents(writer).values()) == ["more", "0123456789"]


async def test_a_log_that_is_not_there_is_begun_again(writer: Writer) -> None:
    writer.path.unlink()
    await rotator(writer).rotate([pod()])
    writer.write("new")
    assert contents(writer) == {"": "new"}


async def test_a_log_whose_folder_is_gone_does_not_keep_others_from_rotation(
    writer: Writer, caplog: pytest.LogCaptureFixture
) -> None:
    writer.write("0123456789")
    lost = PodObservation(UID("no"), "default", "no", "s", True, containers=pod().containers)  # noqa: FBT003 - a field
    writer.fault = "before"
    await rotator(writer).rotate([lost])
    assert "log cannot be rotated" in caplog.text
    writer.fault = ""
    await rotator(writer).rotate([lost, pod()])
    assert len(contents(writer)) == 2


async def test_what_cannot_be_compressed_does_not_keep_the_log_growing(
    writer: Writer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    clock = HandClock()
    for _ in range(2):
        writer.write("0123456789")
        clock.seconds += 30
        with monkeypatch.context() as patched:
            patched.setattr("shutil.copyfileobj", full)
            await rotator(writer, clock).rotate([pod()])
    assert "log cannot be compressed" in caplog.text
    assert list(contents(writer).values()) == ["", "0123456789", "0123456789"]
    assert not any(name.endswith((".gz", ".tmp")) for name in os.listdir(writer.path.parent))

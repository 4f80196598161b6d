"""Room for the next start: real files, and a real small disk where this machine allows mounts."""

import errno
import os
from contextlib import suppress
from pathlib import Path

import pytest

from common.errors import StoreError
from edgecore.edgestore.database import Database
from edgecore.edgestore.records import Put
from edgecore.edgestore.room import ROOM_BYTES, give_room, take_room
from edgecore.edgestore.waltail import Loss
from tests.edgecore.edgestore.objects import stored


def test_the_room_is_there_while_the_store_is_closed_and_for_this_user_only(tmp_path: Path) -> None:
    database = Database(tmp_path / "edge-store.db")
    database.open()
    assert not (tmp_path / "edge-store.db-room").exists()
    database.close()
    kept = (tmp_path / "edge-store.db-room").stat()
    assert kept.st_mode & 0o777 == 0o600
    assert kept.st_blocks * 512 >= ROOM_BYTES
    database.open()
    assert not (tmp_path / "edge-store.db-room").exists()
    database.close()


def test_room_that_was_never_taken_is_given_without_an_error(tmp_path: Path) -> None:
    give_room(tmp_path / "edge-store.db")


def test_a_disk_without_that_much_room_is_said_and_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    take_room(tmp_path / "edge-store.db")
    assert "no room is kept" in caplog.text


def test_a_store_that_was_closed_opens_on_a_disk_that_has_filled_up_since(
    small_disk: Path,
) -> None:
    database = Database(small_disk / "edge-store.db")
    database.open()
    database.commit([Put(stored("default/pod/a"))])
    database.close()
    fill(small_disk / "ballast")
    assert database.open() is Loss.NONE
    assert [pod.name for pod in database.of_type("pod")] == ["a"]
    database.commit([Put(stored("default/pod/b"))])
    database.close()


def test_without_its_room_it_does_not_and_says_why(small_disk: Path) -> None:
    database = Database(small_disk / "edge-store.db")
    database.open()
    database.close()
    (small_disk / "edge-store.db-room").unlink()
    fill(small_disk / "ballast")
    with pytest.raises(StoreError, match="No space left"):
        database.open()


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as stream, suppress(OSError):
        while True:
            stream.write(bytes(4096))

"""The edge-store from before an upgrade: real databases, some with a log that was not taken in.

Made up: the full disk, and the power cut, which is an operation on a file that raises.
"""

import shutil
import sqlite3
import stat
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from edgecore.edgestore.store import FILE_NAME
from edgecore.install import storecopy
from tests.edgecore.install.fulldisk import full_disk


def write(folder: Path, schema: int, content: str) -> None:
    """Leave a store behind as a killed edgecore does: what is new is in the log only."""
    work = folder / "work"
    work.mkdir()
    with closing(sqlite3.connect(work / FILE_NAME, isolation_level=None)) as store:
        store.execute("PRAGMA journal_mode=WAL")
        store.execute("PRAGMA wal_autocheckpoint=0")
        store.execute("CREATE TABLE t (content)")
        store.execute("INSERT INTO t VALUES (?)", (content,))
        store.execute(f"PRAGMA user_version={schema}")
        for name in storecopy.FILES:
            (folder / name).unlink(missing_ok=True)
            shutil.copy2(work / name, folder / name)
    shutil.rmtree(work)


def content(path: Path) -> str:
    with closing(sqlite3.connect(path)) as store:
        return str(store.execute("SELECT content FROM t").fetchone()[0])


def test_the_names_are_those_of_the_edge_store() -> None:
    assert storecopy.STORE == FILE_NAME


def test_a_version_that_could_not_read_a_newer_form_gets_its_own_again(tmp_path: Path) -> None:
    write(tmp_path, 3, "old")
    storecopy.save(tmp_path, "1.0")
    assert stat.S_IMODE((tmp_path / storecopy.FOLDER).stat().st_mode) == 0o700
    write(tmp_path, 4, "new")
    assert not storecopy.put_back(tmp_path, "2.0")  # it is not for this one
    assert storecopy.put_back(tmp_path, "1.0")
    assert content(tmp_path / FILE_NAME) == "old"
    assert content(tmp_path / f"{FILE_NAME}.newer") == "new"
    assert not (tmp_path / storecopy.FOLDER).exists()
    assert not storecopy.put_back(tmp_path, "1.0")


def test_where_the_form_is_the_same_nothing_is_lost(tmp_path: Path) -> None:
    """Promise P1: what was acknowledged since then stays."""
    write(tmp_path, 3, "old")
    storecopy.save(tmp_path, "1.0")
    write(tmp_path, 3, "newer")
    assert not storecopy.put_back(tmp_path, "1.0")
    assert content(tmp_path / FILE_NAME) == "newer"
    assert not (tmp_path / storecopy.FOLDER).exists()


def test_an_older_copy_and_one_that_was_interrupted_go(tmp_path: Path) -> None:
    write(tmp_path, 2, "oldest")
    storecopy.save(tmp_path, "0.9")
    (tmp_path / f".{storecopy.FOLDER}").mkdir()
    write(tmp_path, 3, "old")
    storecopy.save(tmp_path, "1.0")
    write(tmp_path, 4, "new")
    assert storecopy.put_back(tmp_path, "1.0")
    assert content(tmp_path / FILE_NAME) == "old"


def test_an_edge_that_had_no_store_keeps_none(tmp_path: Path) -> None:
    storecopy.save(tmp_path, "1.0")
    assert list(tmp_path.iterdir()) == []
    assert not storecopy.put_back(tmp_path, "1.0")


def test_a_store_that_is_damaged_or_gone_is_put_back(tmp_path: Path) -> None:
    write(tmp_path, 3, "old")
    storecopy.save(tmp_path, "1.0")
    for name in storecopy.FILES:
        (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / FILE_NAME).write_text("rubbish" * 1000)
    assert storecopy.put_back(tmp_path, "1.0")
    assert content(tmp_path / FILE_NAME) == "old"


def test_a_copy_for_which_there_is_no_place_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, 3, "old")
    (tmp_path / f".{storecopy.FOLDER}").write_text("in the way")
    with pytest.raises(FileExistsError):
        storecopy.save(tmp_path, "1.0")


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_what_was_in_the_log_only_is_in_the_one_file_of_the_copy(tmp_path: Path) -> None:
    write(tmp_path, 3, "old")
    storecopy.save(tmp_path, "1.0")
    assert names(tmp_path / storecopy.FOLDER) == {FILE_NAME, "version"}
    assert content(tmp_path / storecopy.FOLDER / FILE_NAME) == "old"


def test_a_copy_that_does_not_fit_leaves_nothing_behind(tmp_path: Path) -> None:
    write(tmp_path, 3, "old")
    with full_disk(4096), pytest.raises(OSError, match="too large"):
        storecopy.save(tmp_path, "1.0")
    assert not any(storecopy.FOLDER in name for name in names(tmp_path))
    assert content(tmp_path / FILE_NAME) == "old"


@pytest.mark.parametrize("room", [0, 4096])
def test_a_full_disk_loses_no_copy(tmp_path: Path, room: int) -> None:
    write(tmp_path, 3, "old")
    storecopy.save(tmp_path, "1.0")
    write(tmp_path, 4, "new")
    with full_disk(room):
        assert storecopy.put_back(tmp_path, "1.0")
    assert content(tmp_path / FILE_NAME) == "old"


def test_a_full_disk_takes_the_same_form_for_the_same(tmp_path: Path) -> None:
    write(tmp_path, 3, "old")
    storecopy.save(tmp_path, "1.0")
    write(tmp_path, 3, "newer")
    with full_disk():
        assert not storecopy.put_back(tmp_path, "1.0")
    assert content(tmp_path / FILE_NAME) == "newer"


def test_a_form_that_cannot_be_told_moves_nothing(tmp_path: Path) -> None:
    write(tmp_path, 3, "old")
    storecopy.save(tmp_path, "1.0")
    (tmp_path / FILE_NAME).unlink()
    (tmp_path / FILE_NAME).mkdir()
    with pytest.raises(OSError, match="unable to open"):
        storecopy.put_back(tmp_path, "1.0")
    assert storecopy.is_kept(tmp_path, "1.0")
    assert (tmp_path / FILE_NAME).is_dir()


def test_a_copy_without_its_database_puts_nothing_back(tmp_path: Path) -> None:
    write(tmp_path, 3, "present")
    (tmp_path / storecopy.FOLDER).mkdir()
    (tmp_path / storecopy.FOLDER / "version").write_text("1.0")
    assert not storecopy.put_back(tmp_path, "1.0")
    assert content(tmp_path / FILE_NAME) == "present"


def test_a_trial_that_follows_one_cut_short_keeps_the_good_versions_copy(tmp_path: Path) -> None:
    write(tmp_path, 3, "old")
    storecopy.save(tmp_path, "1.0")
    write(tmp_path, 4, "of the version on trial")
    storecopy.save(tmp_path, "1.0")
    assert storecopy.put_back(tmp_path, "1.0")
    assert content(tmp_path / FILE_NAME) == "old"


class PowerCutError(BaseException):
    """The power is gone."""


class Power:
    """Lets so many changes of folders happen, and then none."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, changes: int) -> None:
        self.left = changes
        for name in ("replace", "rename", "unlink"):
            monkeypatch.setattr(Path, name, self._counted(getattr(Path, name)))
        monkeypatch.setattr(shutil, "rmtree", self._rmtree)

    def _counted(self, real: Any) -> Any:
        def change(*arguments: Any, **named: Any) -> Any:
            self._spend()
            return real(*arguments, **named)

        return change

    def _spend(self) -> None:
        if self.left == 0:
            raise PowerCutError
        self.left -= 1

    def _rmtree(self, folder: Path, *, ignore_errors: bool = False) -> None:  # noqa: ARG002 - rmtree's
        """Remove the database first, which is the worst order."""
        if folder.exists():
            for path in sorted(folder.iterdir()):
                path.unlink()
            self._spend()
            folder.rmdir()


@pytest.mark.parametrize("changes", range(12))
@pytest.mark.parametrize(("schema", "expected"), [(3, "newer"), (4, "old")])
def test_a_power_cut_while_it_is_put_back_loses_nothing(
    tmp_path: Path, changes: int, schema: int, expected: str
) -> None:
    write(tmp_path, 3, "old")
    storecopy.save(tmp_path, "1.0")
    write(tmp_path, schema, "newer")
    with pytest.MonkeyPatch.context() as patches, suppress(PowerCutError):
        Power(patches, changes)
        storecopy.put_back(tmp_path, "1.0")
    storecopy.put_back(tmp_path, "1.0")
    assert content(tmp_path / FILE_NAME) == expected
    assert not (tmp_path / storecopy.FOLDER / FILE_NAME).exists()

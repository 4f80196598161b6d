"""The lock of a folder: real files, two holders in one process."""

from pathlib import Path

import pytest

from common.errors import ConfigError
from edgecore.datadir import locked


def test_a_folder_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    with locked(tmp_path / "a"):
        with pytest.raises(ConfigError, match="in use by another edgecore"), locked(tmp_path / "a"):
            raise AssertionError("two hold it")
        with locked(tmp_path / "b"):
            pass
    with locked(tmp_path / "a"):
        pass
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="--data-dir"), locked(tmp_path / "file" / "a"):
        raise AssertionError("it cannot be")

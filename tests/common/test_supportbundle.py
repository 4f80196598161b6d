"""Bundles for those who help. Real: files. What is secret is made up."""

import json
import stat
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from common import supportbundle
from common.errors import ConfigError, StoreError
from common.supportbundle import SupportBundle

MOMENT = datetime(2026, 11, 26, 12, tzinfo=UTC)


def contents(path: Path) -> dict[str, str]:
    with tarfile.open(path, "r:gz") as archive:
        found = {}
        for entry in archive:
            stream = archive.extractfile(entry)
            assert stream is not None
            assert stat.S_IMODE(entry.mode) == 0o600
            found[entry.name.removeprefix("edgecore-support/")] = stream.read().decode()
        return found


@pytest.fixture
def bundle() -> SupportBundle:
    return SupportBundle("edgecore", MOMENT)


def test_what_was_put_in_is_there_without_what_is_secret(
    bundle: SupportBundle, tmp_path: Path
) -> None:
    bundle.add("version.txt", "edgecore 1.0, token=abc")
    bundle.add_object("config.json", {"node_name": "n1", "token": "hidden"})
    bundle.save(tmp_path / "b.tar.gz")
    found = contents(tmp_path / "b.tar.gz")
    assert found["version.txt"] == "edgecore 1.0, token=(removed)"
    assert json.loads(found["config.json"]) == {"node_name": "n1", "token": "(removed)"}
    assert "What edgecore knew at 2026-11-26T12:00:00+00:00" in found["README.txt"]
    assert "MISSING.txt" not in found
    assert bundle.missing == ()


def test_what_cannot_be_had_is_named(bundle: SupportBundle, tmp_path: Path) -> None:
    def fail() -> str:
        raise StoreError("the store is damaged")

    def refuse() -> str:
        raise PermissionError

    bundle.collect("good.txt", lambda: "fine")
    bundle.collect("good.json", lambda: {"a": 1})
    bundle.collect("store.txt", fail)
    bundle.collect("log.txt", refuse)
    bundle.save(tmp_path / "b.tar.gz")
    found = contents(tmp_path / "b.tar.gz")
    assert (found["good.txt"], json.loads(found["good.json"])) == ("fine", {"a": 1})
    assert found["MISSING.txt"] == "store.txt: the store is damaged\nlog.txt: PermissionError\n"


def test_only_its_owner_may_read_it_and_nothing_is_overwritten(
    bundle: SupportBundle, tmp_path: Path
) -> None:
    path = tmp_path / "b.tar.gz"
    bundle.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="is there already"):
        bundle.save(path)
    assert path.read_bytes() == before
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="is there already"):
        bundle.save(link)
    assert not (tmp_path / "elsewhere").exists()


def test_where_it_cannot_be_written_there_is_none(bundle: SupportBundle, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file or directory"):
        bundle.save(tmp_path / "nowhere" / "b.tar.gz")


@pytest.mark.parametrize(
    ("error", "raised"),
    [(OSError(28, "No space left"), ConfigError), (KeyboardInterrupt(), KeyboardInterrupt)],
)
def test_a_part_of_one_is_not_left_behind(
    bundle: SupportBundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    raised: type[BaseException],
) -> None:
    def fail(*_: object, **__: object) -> bytes:
        raise error

    monkeypatch.setattr("common.supportbundle.gzip.compress", fail)
    with pytest.raises(raised):
        bundle.save(tmp_path / "b.tar.gz")
    assert list(tmp_path.iterdir()) == []


def test_of_a_long_log_the_end_is_kept(
    bundle: SupportBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supportbundle, "MAX_TEXT_BYTES", 5)
    bundle.add("log.txt", "begin and the end")
    bundle.save(tmp_path / "b.tar.gz")
    assert contents(tmp_path / "b.tar.gz")["log.txt"] == "e end"

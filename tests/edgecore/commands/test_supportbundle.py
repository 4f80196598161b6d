"""``edgecore support-bundle`` as typed: a real edge-store and a real file; the journal is faked."""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from common.errors import ConfigError
from edgecore.commands.supportbundle import support_bundle_command
from edgecore.edgestore.database import Database
from edgecore.edgestore.records import Put
from tests.edgecore.edgestore.objects import stored

PASSWORD = "aHVudGVyMg=="


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    database = Database(tmp_path / "edge" / "edge-store.db")
    database.open()
    secret = f'{{"data":{{"password":"{PASSWORD}"}}}}'.encode()
    database.commit([Put(stored("shop/secret/login", value=secret))])
    yield tmp_path / "edge"
    database.close()


@pytest.fixture(autouse=True)
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "bin" / "journalctl"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho a line with Bearer abcdefghijklmnop\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    return program


def run(folder: Path, file: Path, *arguments: str) -> Result:
    commands = typer.Typer()
    commands.command()(support_bundle_command())
    told = ["--cloud=no-such-host.invalid", "--runtime=hollow", "--token=hashed.very.secret.token"]
    return CliRunner().invoke(commands, [str(file), f"--data-dir={folder}", *told, *arguments])


def texts(file: Path) -> dict[str, str]:
    with tarfile.open(file) as archive:
        found = {}
        for member in archive.getmembers():
            stream = archive.extractfile(member)
            assert stream is not None
            found[member.name.rpartition("/")[2]] = stream.read().decode()
        return found


def test_all_that_is_known_is_in_a_private_file_and_no_secret(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "bundle.tar.gz"
    result = run(folder, file)
    assert result.exit_code == 0, result.output
    assert file.stat().st_mode & 0o777 == 0o600
    found = texts(file)
    assert set(found) >= {
        "version.txt",
        "configuration.json",
        "status.json",
        "doctor.json",
        "store.json",
        "journal.txt",
    }
    assert json.loads(found["configuration.json"])["cloud"] == "no-such-host.invalid"
    assert json.loads(found["store.json"])[0]["name"] == "login"
    everything = "".join(found.values())
    for secret in (PASSWORD, "very.secret.token", "abcdefghijklmnop"):
        assert secret not in everything


def test_what_cannot_be_had_is_named(folder: Path, tmp_path: Path, journal: Path) -> None:
    journal.unlink()
    result = run(folder, tmp_path / "bundle.tar.gz")
    assert "not in it: journal.txt: this machine has no journalctl" in result.output
    assert "not in it: metrics.txt" in result.output


def test_a_journal_that_refuses_is_told_in_its_words(
    folder: Path, tmp_path: Path, journal: Path
) -> None:
    journal.write_text("#!/bin/sh\necho no permission >&2\nexit 1\n")
    result = run(folder, tmp_path / "bundle.tar.gz")
    assert "journal.txt: no permission" in result.output


def test_a_faulty_configuration_is_no_reason_for_no_bundle(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "bundle.tar.gz"
    result = run(folder, file, "--websocket-port=no")
    assert result.exit_code == 0, result.output
    assert "not in it: configuration.json" in result.output
    assert "doctor.json" in texts(file)


def test_a_file_that_is_there_is_left_alone(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "bundle.tar.gz"
    file.write_text("mine")
    result = run(folder, file)
    assert isinstance(result.exception, ConfigError)
    assert file.read_text() == "mine"

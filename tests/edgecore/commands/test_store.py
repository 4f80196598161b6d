"""``edgecore store`` as typed on its command line; the edge-store is a real one."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner

from common.errors import ConfigError, StoreError
from edgecore.commands.store import store_commands
from edgecore.edgestore.database import Database
from edgecore.edgestore.records import Put
from tests.edgecore.edgestore.objects import stored


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    database = Database(tmp_path / "edge-store.db")
    database.open()
    secret = b'{"kind":"Secret","data":{"password":"aHVudGVyMg=="}}'
    database.commit(
        [
            Put(stored("default/configmap/web", value=b'{"data":{"a":"b"}}')),
            Put(stored("shop/secret/login", value=secret)),
        ]
    )
    yield tmp_path
    database.close()


def run(folder: Path, *arguments: str) -> str:
    result = CliRunner().invoke(store_commands(), [*arguments, f"--data-dir={folder}"])
    if result.exception is not None and not isinstance(result.exception, typer.Exit):
        raise result.exception
    return result.output


def test_everything_is_listed_in_a_table(folder: Path) -> None:
    lines = run(folder, "ls").splitlines()
    assert lines[0].split() == ["KIND", "NAMESPACE", "NAME", "VERSION", "BYTES", "UID"]
    assert [line.split()[:3] for line in lines[1:]] == [
        ["configmap", "default", "web"],
        ["secret", "shop", "login"],
    ]


def test_a_kind_and_a_namespace_narrow_the_list(folder: Path) -> None:
    assert "login" not in run(folder, "ls", "configmaps")
    assert "web" not in run(folder, "ls", "--namespace=shop")


def test_programs_get_the_list_in_json_and_yaml(folder: Path) -> None:
    as_json = json.loads(run(folder, "ls", "--output=json"))
    assert [one["name"] for one in as_json["items"]] == ["web", "login"]
    assert yaml.safe_load(run(folder, "ls", "-o", "yaml")) == as_json


def test_an_object_is_shown_in_yaml_or_json(folder: Path) -> None:
    assert yaml.safe_load(run(folder, "get", "cm", "web")) == {"data": {"a": "b"}}
    assert json.loads(run(folder, "get", "cm", "default/web", "-o", "json")) == {"data": {"a": "b"}}


def test_what_is_secret_is_shown_only_when_asked_for(folder: Path) -> None:
    hidden = run(folder, "get", "secret", "shop/login")
    assert "aHVudGVyMg==" not in hidden
    assert "password" in hidden
    assert "aHVudGVyMg==" in run(folder, "get", "secret", "shop/login", "--reveal")


def test_what_is_not_held_is_told(folder: Path) -> None:
    with pytest.raises(StoreError, match="holds no pod shop/web"):
        run(folder, "get", "pod", "shop/web")


def test_a_secret_without_its_key_says_what_to_do(folder: Path) -> None:
    (folder / "edge-store.key").unlink()
    with pytest.raises(StoreError, match="Put that key back"):
        run(folder, "get", "secret", "shop/login")


def test_an_unknown_kind_is_a_wrong_usage(folder: Path) -> None:
    with pytest.raises(ConfigError, match="KIND"):
        run(folder, "ls", "jobs")

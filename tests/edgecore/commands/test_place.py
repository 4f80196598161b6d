"""Where the commands look for an edge: real files, a made-up environment."""

import socket
from pathlib import Path

import pytest

from common.errors import ConfigError
from edgecore.commands.place import DATA_DIR, default_config, find_place, key_of


def test_a_flag_wins_over_the_environment_which_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "edgecore.yaml"
    file.write_text("data-dir: /from/file\nnode-name: Edge-1\n")
    environ = {"EDGECORE_DATA_DIR": "/from/environment", "EDGECORE_NODE_NAME": "edge-2"}
    assert find_place(file, Path("/flag"), environ).data_dir == Path("/flag")
    assert find_place(file, None, environ).data_dir == Path("/from/environment")
    found = find_place(file, None, {})
    assert (found.data_dir, found.node_name, found.config) == (Path("/from/file"), "edge-1", file)
    assert find_place(file, None, environ).node_name == "edge-2"


def test_a_file_of_kubeedge_is_read_too(tmp_path: Path) -> None:
    file = tmp_path / "edgecore.yaml"
    file.write_text(
        "apiVersion: edgecore.config.kubeedge.io/v1alpha2\nkind: EdgeCore\n"
        "modules: {edged: {tailoredKubeletConfig: {}, hostnameOverride: edge-7}}\n"
    )
    assert find_place(file, None, {}).node_name == "edge-7"


def test_where_nothing_is_said_the_defaults_hold(tmp_path: Path) -> None:
    empty = tmp_path / "empty.yaml"
    empty.touch()
    found = find_place(empty, None, {})
    assert (found.data_dir, found.node_name) == (DATA_DIR, socket.gethostname().lower())


def test_a_faulty_option_beside_does_not_matter(tmp_path: Path) -> None:
    file = tmp_path / "edgecore.yaml"
    file.write_text("data_dir: /d\nmax-pods: many\nno-such-option: 1\n")
    assert find_place(file, None, {}).data_dir == Path("/d")


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        find_place(tmp_path / "none", None, {})


def test_the_default_file_is_read_only_where_it_is_there(tmp_path: Path) -> None:
    file = tmp_path / "edgecore.yaml"
    assert default_config(file) is None
    file.touch()
    assert default_config(file) == file


def test_the_key_is_the_service_s_credential_where_it_has_one(tmp_path: Path) -> None:
    folder, given = tmp_path / "none", tmp_path / "given"
    given.mkdir()
    (given / "edge-store-key").write_text("x" * 32)
    assert str(key_of(tmp_path, {}, folder)) == str(tmp_path / "edge-store.key")
    assert str(key_of(tmp_path, {}, given)) == str(given / "edge-store-key")
    own = {"CREDENTIALS_DIRECTORY": str(given)}
    assert str(key_of(tmp_path, own, folder)) == str(given / "edge-store-key")

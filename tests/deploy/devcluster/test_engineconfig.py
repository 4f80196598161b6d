"""The configuration of a container engine, read as TOML and JSON; test_containerd.py runs it."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from deploy.devcluster.engineconfig import (
    NETWORKS,
    EngineLayout,
    Network,
    containerd_config,
    network_config,
)

FOLDER = Path('/srv/an "engine"')
LAYOUT = EngineLayout(FOLDER)


@pytest.fixture
def config() -> dict[str, Any]:
    return tomllib.loads(containerd_config(LAYOUT, runc=Path("/sbin/runc"), snapshotter="native"))


def test_every_path_lies_below_the_engine_s_folder(config: dict[str, Any]) -> None:
    cri = config["plugins"]["io.containerd.grpc.v1.cri"]
    paths = [
        config["root"],
        config["state"],
        config["grpc"]["address"],
        config["plugins"]["io.containerd.internal.v1.opt"]["path"],
        cri["cni"]["conf_dir"],
        cri["registry"]["config_path"],
        cri["containerd"]["runtimes"]["runc"]["options"]["Root"],
    ]
    assert all(Path(path).is_relative_to(FOLDER) for path in paths)
    assert len(set(paths)) == len(paths)


def test_network_namespaces_lie_with_the_engine_s_state(config: dict[str, Any]) -> None:
    assert config["plugins"]["io.containerd.grpc.v1.cri"]["netns_mounts_under_state_dir"] is True


def test_containers_may_run_where_no_score_can_be_lowered(config: dict[str, Any]) -> None:
    assert config["plugins"]["io.containerd.grpc.v1.cri"]["restrict_oom_score_adj"] is True


def test_the_snapshotter_is_the_one_that_was_asked_for(config: dict[str, Any]) -> None:
    assert config["plugins"]["io.containerd.grpc.v1.cri"]["containerd"]["snapshotter"] == "native"


def test_a_network_has_a_bridge_addresses_and_host_ports() -> None:
    bridge, ports = json.loads(network_config(LAYOUT, Network(7)))["plugins"]
    assert bridge["bridge"] == "devcluster7"
    assert bridge["ipam"]["ranges"] == [[{"subnet": "10.123.7.0/24"}]]
    assert Path(bridge["ipam"]["dataDir"]).is_relative_to(FOLDER)
    assert ports["capabilities"] == {"portMappings": True}


def test_networks_share_neither_name_nor_addresses_and_the_kernel_takes_the_names() -> None:
    networks = [Network(number) for number in NETWORKS]
    assert len({network.bridge for network in networks}) == len(networks)
    assert len({network.subnet for network in networks}) == len(networks)
    assert max(len(network.bridge) for network in networks) <= 15

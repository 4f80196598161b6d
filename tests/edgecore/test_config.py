"""Configuration of edgecore, from flags and environment as the command line gives them."""

import socket
from collections.abc import Mapping
from pathlib import Path

import pytest

from common.capabilities import Capability
from common.config import Sources, load
from common.errors import ConfigError
from edgecore.config import ENV_PREFIX, EdgeCoreSettings, HollowSettings, RuntimeName
from edgecore.edged.node.pressure import DEFAULT_THRESHOLDS


def settings(
    flags: Mapping[str, object], environ: Mapping[str, str] | None = None
) -> EdgeCoreSettings:
    told = {"cloud": "cloud", "node_name": "n1", **flags}
    return load(EdgeCoreSettings, Sources(ENV_PREFIX, None, environ or {}, told)).settings


def faults(**flags: object) -> str:
    with pytest.raises(ConfigError) as caught:
        settings(flags)
    return str(caught.value)


def test_the_cloud_is_all_that_must_be_told() -> None:
    made = settings({})
    assert (made.websocket_port, made.https_port, made.heartbeat_s) == (10000, 10002, 10.0)
    assert made.runtime is RuntimeName.CRI


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ConfigError, match="--cloud: must be given"):
        load(EdgeCoreSettings, Sources(ENV_PREFIX, None, {}, {}))


def test_a_node_is_called_like_its_host_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "Edge-7")
    assert settings({"node_name": None}).node_name == "edge-7"


@pytest.mark.parametrize("name", ["", "A", "a_b", "-a", "a-", "a..b", "a/b", "a" * 254, "../x"])
def test_a_name_that_no_node_can_have_is_refused(name: str) -> None:
    assert "cannot name a Node" in faults(node_name=name)


def test_thresholds_are_kubelets_unless_told_otherwise() -> None:
    assert settings({}).thresholds() == DEFAULT_THRESHOLDS
    assert settings({"eviction_hard": ""}).thresholds() == ()
    assert "nodefs.avail" in faults(eviction_hard="nodefs.avail<10%")
    assert "memory.available" in faults(eviction_soft="memory.available<1Gi")


def test_images_go_between_two_marks_the_right_way_round() -> None:
    assert "thresholds" in faults(image_gc_high_percent=50, image_gc_low_percent=80)


def test_name_servers_are_addresses() -> None:
    assert settings({"cluster_dns": "10.0.0.10,fd00::a"}).cluster_dns == ("10.0.0.10", "fd00::a")
    assert "cluster" in faults(cluster_dns="dns.example")


def test_logs_go_where_kubelet_has_them_for_a_container_engine_only() -> None:
    assert settings({}).logs_dir() == Path("/var/log/pods")
    assert settings({"runtime": "process", "data_dir": "/d"}).logs_dir() == Path("/d/logs/pods")
    assert settings({"pod_logs_dir": "/logs"}).logs_dir() == Path("/logs")


def test_the_nodes_own_endpoint_is_for_this_machine_alone() -> None:
    assert settings({"local_address": "127.0.0.1:10350"}).local_address == "127.0.0.1:10350"
    assert settings({"local_address": "[::1]:10350"}).local_address == "[::1]:10350"
    assert "loopback" in faults(local_address="192.0.2.1:10350")
    assert "local" in faults(local_address="localhost")


def test_labels_and_taints_are_read_from_text() -> None:
    made = settings({"labels": "a=b,c=", "taints": "edge=yes:NoSchedule,only:NoExecute"})
    assert made.labels == {"a": "b", "c": ""}
    assert made.taint_objects() == (
        {"key": "edge", "value": "yes", "effect": "NoSchedule"},
        {"key": "only", "value": "", "effect": "NoExecute"},
    )
    assert settings({"labels": {"a": "b"}}).labels == {"a": "b"}
    assert "key=value,key=value" in faults(labels="a")
    assert "NoSchedule" in faults(taints="a=b")


def test_a_token_comes_from_one_place(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(" a.b.c.d\n")
    assert settings({"token_file": str(file)}).read_token() == "a.b.c.d"
    assert settings({}, {"EDGECORE_TOKEN": "x.y.z.w"}).read_token() == "x.y.z.w"
    assert settings({}).read_token() == ""
    assert "not both" in faults(token="a", token_file=str(file))
    file.unlink()
    with pytest.raises(ConfigError, match="No such file"):
        settings({"token_file": str(file)}).read_token()


def test_a_token_is_not_shown() -> None:
    assert "hunter2" not in repr(settings({"token": "hunter2"}))


def test_the_address_is_the_one_given_or_that_of_the_default_route(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert settings({"node_ip": "10.1.2.3"}).address() == "10.1.2.3"
    assert settings({}).address().count(".") == 3

    def unreachable(*_: object) -> None:
        raise OSError

    monkeypatch.setattr(socket.socket, "connect", unreachable)
    assert settings({}).address() == "127.0.0.1"


def test_hollow_edges_differ_in_name_and_folder(tmp_path: Path) -> None:
    hollow = HollowSettings(cloud="cloud", count=3, node_name_prefix="h", data_dir=tmp_path)
    edges = list(hollow.edges())
    assert [edge.node_name for edge in edges] == ["h-0", "h-1", "h-2"]
    assert [edge.data_dir for edge in edges] == [tmp_path / f"h-{n}" for n in range(3)]
    assert {edge.runtime for edge in edges} == {RuntimeName.HOLLOW}
    assert {edge.cloud for edge in edges} == {"cloud"}


def test_hollow_edges_speak_and_belong_as_they_are_told() -> None:
    flags = {"cloud": "c", "count": "2", "capabilities": "acks", "accept_cluster": "u1"}
    made = load(HollowSettings, Sources(ENV_PREFIX, None, {}, flags)).settings
    assert [edge.capabilities for edge in made.edges()] == [{Capability.ACKS}] * 2
    assert [edge.accept_cluster for edge in made.edges()] == ["u1"] * 2


def test_kubeedges_certificate_is_of_three_files_or_none() -> None:
    assert settings({}).adoption() is None
    given = {f"kubeedge_{part}": f"/k/{part}" for part in ("certificate", "key", "authority")}
    adoption = settings(given).adoption()
    assert adoption is not None
    assert (adoption.node_name, adoption.key) == ("n1", Path("/k/key"))
    del given["kubeedge_key"]
    assert "or none" in faults(**given)

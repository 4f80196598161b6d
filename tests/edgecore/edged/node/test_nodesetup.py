"""What pods have in common: real files."""

from pathlib import Path

from edgecore.edged.node.nodesetup import PodNetwork, Setup
from edgecore.edged.spec.fields import NodeView


def test_name_servers_follow_the_machines_file(tmp_path: Path) -> None:
    resolv_conf = tmp_path / "resolv.conf"
    view = NodeView("n1", "192.0.2.7")
    setup = Setup(lambda: view, 1024, PodNetwork(("10.0.0.10",), resolv_conf=resolv_conf))
    assert (setup().resolv_conf, setup().cluster_dns) == ("", ("10.0.0.10",))
    resolv_conf.write_text("nameserver 192.0.2.1\n")
    assert setup().resolv_conf == "nameserver 192.0.2.1\n"
    resolv_conf.rename(tmp_path / "old")
    assert setup().resolv_conf == "nameserver 192.0.2.1\n"
    resolv_conf.write_text("nameserver 192.0.2.2\n")
    assert setup().resolv_conf == "nameserver 192.0.2.2\n"


def test_what_pods_may_learn_of_the_node_is_always_the_newest(tmp_path: Path) -> None:
    views = [NodeView("n1", "192.0.2.7"), NodeView("n1", "192.0.2.8")]
    setup = Setup(lambda: views[0], 1024, PodNetwork(resolv_conf=tmp_path / "none"))
    first = setup()
    assert setup() is first
    del views[0]
    assert (setup().view.ip, setup().memory_bytes) == ("192.0.2.8", 1024)

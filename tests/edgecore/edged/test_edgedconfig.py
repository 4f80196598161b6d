"""What edged is told unless told otherwise. Pure."""

from pathlib import Path

from edgecore.edged.edgedconfig import EdgedConfig
from edgecore.edged.node.pressure import DEFAULT_THRESHOLDS


def test_a_node_is_as_kubelets_are_unless_told_otherwise() -> None:
    config = EdgedConfig("n1", "192.0.2.7", Path("/root-dir"), Path("/logs"))
    assert (config.max_pods, config.thresholds) == (110, DEFAULT_THRESHOLDS)
    assert (config.images.high_percent, config.images.low_percent) == (85, 80)
    assert (config.logs.max_bytes, config.logs.max_files) == (10 * 1024 * 1024, 5)
    assert config.network.cluster_domain == "cluster.local"
    assert config.static_pods_dir is None

"""Who makes control groups: pure, nothing faked."""

from edgecore.edged.spec.cgroupdriver import CgroupDriver


def test_they_are_called_as_kubelet_and_containerd_call_them() -> None:
    assert set(CgroupDriver) == {"cgroupfs", "systemd"}

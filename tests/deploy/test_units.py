"""The units, read by the real systemd-analyze; nothing is started."""

import shutil
from pathlib import Path

import pytest

from deploy import units

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="no systemd-analyze on this machine"
)


@needs_systemd
@pytest.mark.parametrize("name", units.UNITS)
def test_systemd_understands_all_of_a_unit(name: str) -> None:
    assert units.faults(units.FOLDER / name) == []


@needs_systemd
def test_the_cloud_reaches_little_and_the_edge_what_it_must() -> None:
    """The figures that stand in docs/how-to/systemd.md."""
    assert units.exposure(units.FOLDER / "cloudcore.service") <= 1.5
    assert units.exposure(units.FOLDER / "edgecore.service") <= 8.5


@needs_systemd
def test_a_mistake_is_found_and_a_unit_that_is_none_has_no_figure(tmp_path: Path) -> None:
    bad = tmp_path / "bad.service"
    bad.write_text("[Service]\nExecStart=/bin/true\nRestrat=always\n")
    assert "Restrat" in units.faults(bad)[0]
    with pytest.raises(ValueError, match=r"none\.service"):
        units.exposure(tmp_path / "none.service")


@needs_systemd
def test_the_command_prints_a_figure_for_each_unit(capsys: pytest.CaptureFixture[str]) -> None:
    assert units.main() == 0
    assert capsys.readouterr().out.count("of 10") == len(units.UNITS)


def test_stopping_the_edge_ends_nothing_but_the_daemon() -> None:
    """Promise P5: what the pods consist of is not systemd's to end, nor an OOM a reason to."""
    text = (units.FOLDER / "edgecore.service").read_text()
    for line in ("KillMode=process", "OOMPolicy=continue", "Delegate=yes", "Restart=always"):
        assert f"\n{line}\n" in text
    for private in ("ProtectSystem", "PrivateTmp", "PrivateMounts", "ProtectKernelModules"):
        assert f"\n{private}=" not in text

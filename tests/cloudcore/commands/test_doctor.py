"""``cloudcore doctor``, from its arguments to its exit code. Real: the API server."""

import json

import pytest

from cloudcore.commands.doctor import place_of
from common.checks import EXIT_FOUND_FAILURE
from deploy.devcluster.controlplane import ControlPlane
from deploy.devcluster.ports import LOOPBACK, free_ports
from tests.cloudcore.commands.running import Run, runner


@pytest.fixture
def doctor(
    control_plane: ControlPlane,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """A function that runs ``cloudcore doctor …`` and returns exit code, output and errors."""
    return runner("doctor", control_plane.kubeconfig, monkeypatch, capsys)


def test_addresses_stand_with_commas_between() -> None:
    assert place_of(" a, ,b,", 1, 2).addresses == ("a", "b")
    assert place_of("", 1, 2).addresses == ()


@pytest.mark.e2e
async def test_what_fails_is_told_to_people_and_to_programs_and_by_the_exit_code(
    doctor: Run,
) -> None:
    closed, other = free_ports(2)
    where = (f"--websocket-port={closed}", f"--https-port={other}")
    code, output, errors = await doctor(f"--advertise-address={LOOPBACK}", *where)
    assert (code, errors) == (EXIT_FOUND_FAILURE, "")
    assert f"FAIL  websocket-port: {LOOPBACK}:{closed}" in output
    assert "fix: does cloudcore run" in output
    code, output, _ = await doctor(f"--advertise-address={LOOPBACK}", "--json", *where)
    assert code == EXIT_FOUND_FAILURE
    shown = json.loads(output)
    assert shown["verdict"] == "FAIL"
    assert {"api-server", "rights", "clock"} <= {one["name"] for one in shown["findings"]}

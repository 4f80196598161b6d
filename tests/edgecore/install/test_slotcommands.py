"""upgrade and rollback on the command line; a real bundle with a stub in it; nothing is started."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from common.errors import ConfigError, EdgeError
from edgecore.commands.tree import commands
from edgecore.install import slots
from edgecore.install.installer import install
from edgecore.install.machine import Machine
from tests.edgecore.install.bundles import make_bundle


@pytest.fixture(autouse=True)
def no_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine of the tests is not to be changed."""
    monkeypatch.setattr(Machine, "has_systemd", False)


def call(*arguments: str) -> str:
    result = CliRunner().invoke(commands(), list(arguments))
    if isinstance(result.exception, EdgeError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_a_bundle_is_installed_and_put_on_trial_and_left_again(tmp_path: Path) -> None:
    home = tmp_path / "home"
    list(install(make_bundle(tmp_path, "1.0"), home))
    output = call("upgrade", f"--bundle={make_bundle(tmp_path, '2.0')}", f"--home={home}")
    assert "installed: version 2.0" in output
    assert "chosen: version 2.0; 1.0 runs again if it fails" in output
    assert "not restarted" in output
    assert slots.read_state(home).on_trial
    assert slots.installed(home) == ["2.0", "1.0"]
    assert "chosen: version 1.0" in call("rollback", f"--home={home}")
    assert "chosen: version 2.0" in call("upgrade", "--to=2.0", f"--home={home}")


@pytest.mark.parametrize("arguments", [(), ("--to=1", "--bundle=b"), ("--to=9.9",)])
def test_what_cannot_be_upgraded_to_is_a_fault_of_usage(
    tmp_path: Path, arguments: Sequence[str]
) -> None:
    slots.write_state(tmp_path, slots.State("1.0"))
    with pytest.raises(ConfigError):
        call("upgrade", *arguments, f"--home={tmp_path}")


def test_a_fault_of_the_bundle_is_one_of_the_program(tmp_path: Path) -> None:
    with pytest.raises(EdgeError, match="was installed in another way"):
        call("upgrade", "--to=1.0", f"--home={tmp_path}")
    with pytest.raises(EdgeError, match="no version to go back to"):
        call("rollback", f"--home={tmp_path}")
    slots.write_state(tmp_path, slots.State("1.0"))
    with pytest.raises(EdgeError, match="cannot be unpacked"):
        call("upgrade", f"--bundle={tmp_path}/none.tar", f"--home={tmp_path}")

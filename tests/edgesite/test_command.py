"""``cloudcore edgesite``, mostly as a process of its own; there is no API server."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import ConfigError
from deploy.devcluster.ports import LOOPBACK
from edgesite.command import edgesite as run
from edgesite.config import EdgeSiteSettings


def edgesite(*arguments: str) -> tuple[int, str, str]:
    environ = {name: value for name, value in os.environ.items() if "EDGESITE" not in name}
    done = subprocess.run(
        # The script: beside its sources Python may find an older list of entry points.
        [str(Path(sys.executable).parent / "cloudcore"), "edgesite", *arguments],
        capture_output=True,
        text=True,
        env=environ,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_it_is_a_command_of_cloudcore_with_its_own_options() -> None:
    code, output, _ = edgesite("--help")
    assert code == 0
    for words in ("--kubeconfig", "--static-pods-dir", "EDGESITE_DATA_DIR"):
        assert words in output
    assert "--websocket-port" not in output


def test_what_is_missing_is_named_with_exit_code_2() -> None:
    code, _, errors = edgesite()
    assert code == 2
    assert "--kubeconfig: must be given" in errors


def test_a_kubeconfig_that_is_not_there_is_named_with_exit_code_2(tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    code, _, errors = edgesite(
        f"--kubeconfig={absent}",
        f"--data-dir={tmp_path / 'site'}",
        "--node-name=site-1",
        "--runtime=hollow",
        f"--node-ip={LOOPBACK}",
        "--monitor-address=",
    )
    assert code == 2
    assert str(absent) in errors


def test_a_site_whose_edge_is_not_installed_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h11", None)
    with pytest.raises(ConfigError, match=r"^h11: not installed: install cloudedge\[edge\]$"):
        run(EdgeSiteSettings(kubeconfig=Path("k")))

"""The edge that runs once all is told: a process of its own, begun by its command line."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

OFFLINE: Final = ("--cloud=127.0.0.1", "--websocket-port=1", "--https-port=1", "--node-ip=::1")

TOO_HEAVY: Final = {
    "aiohttp",
    "click",
    "cryptography",
    "jwt",
    "kubernetes",
    "prometheus_client",
    "pydantic",
    "rich",
    "typer",
    "yaml",
}
"""What a device would pay for as long as its edge runs."""

_IMPORTED: Final = re.compile(r"import time: +\d+ \| +\d+ \| +([\w.]+)")


def test_a_running_edge_has_not_imported_what_judges_configurations(tmp_path: Path) -> None:
    program = [sys.executable, "-c", "from edgecore.cli import main; main()", "run"]
    options = (
        "--runtime=process",
        "--node-name=n1",
        "--monitor-address=",
        f"--data-dir={tmp_path}",
    )
    environ = {**os.environ, "PYTHONPROFILEIMPORTTIME": "1"}
    programs: list[set[str]] = []
    with subprocess.Popen(
        [*program, *options, *OFFLINE], stderr=subprocess.PIPE, text=True, env=environ
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "imported package" in line:  # each program begins with this heading
                programs.append(set())
            elif found := _IMPORTED.match(line):
                programs[-1].add(found[1].partition(".")[0])
            elif "edgecore is ready" in line:  # what it starts afterwards are other programs
                break
        assert Path(f"/proc/{process.pid}/comm").read_text() == "edgecore\n"
        process.terminate()
        process.communicate(timeout=30)
    assert process.returncode == 0
    first, second, *_ = programs
    assert (first | second) & TOO_HEAVY == set()
    assert "asyncio" in second - first


def test_called_by_itself_it_says_who_calls_it() -> None:
    for arguments in ([], ["3"], ["x"]):
        ended = subprocess.run(
            [sys.executable, "-m", "edgecore.daemon", *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 1
        assert ended.stderr == "this program is started by another one: call `edgecore run`\n"

"""The program cloudcore, as a process of its own, with and without what the cloud needs."""

import subprocess
import sys

_PROGRAM = "from cloudcore.entry import main; main()"


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, "--version"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_it_runs_the_command_line() -> None:
    done = run(_PROGRAM)
    assert (done.returncode, done.stdout.partition(" ")[0]) == (0, "cloudcore")


def test_where_only_an_edge_is_installed_one_line_says_what_to_install() -> None:
    done = run(f"import sys; sys.modules['aiohttp'] = None; {_PROGRAM}")
    assert done.returncode == 2
    assert done.stderr == "cloudcore: aiohttp: not installed: install cloudedge[cloud]\n"

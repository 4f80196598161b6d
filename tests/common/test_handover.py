"""A configuration goes to the program that takes over. Real processes, which replace each other."""

import os
import subprocess
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import pytest

from common.capabilities import Capability
from common.handover import decode, encode, take_over
from common.settings import Check, DaemonSettings, Port, configuration, option


class Colour(StrEnum):
    RED = "red"


@configuration
class Sample(DaemonSettings):
    """What the tests configure: something of each kind that there is."""

    port: Port = option(default=1, help="A port.")
    folder: Path | None = option(default=None, help="A folder.")
    files: Annotated[tuple[Path, ...], Check(len)] = option(default=(), help="Files.")
    labels: dict[str, str] = option(default_factory=dict, help="Labels.")
    colour: Colour = option(default=Colour.RED, help="A colour.")
    token: str = option(default="", is_secret=True, help="A secret.")


FULL = Sample(
    port=7,
    folder=Path("/a"),
    files=(Path("b"),),
    labels={"a": "b"},
    capabilities=frozenset({Capability.ACKS}),
    token="hunter2",
    notes=("said",),
)

SENDER = """
from tests.common.test_handover import FULL
from common.handover import hand_over
print("first", flush=False)
hand_over("receiver", FULL, "shown")
"""

RECEIVER = """
import os, sys
from pathlib import Path
from common.handover import be_called, take_over
from tests.common.test_handover import FULL, Sample
be_called("sample")
settings = take_over(Sample, sys.argv[1])
assert settings == FULL and settings.notes == FULL.notes
seen = Path("/proc/self/cmdline").read_bytes() + Path("/proc/self/environ").read_bytes()
assert b"hunter2" not in seen and b"shown" in seen
assert sys.path[0] != os.getcwd()
print(os.getpid(), Path("/proc/self/comm").read_text().strip(), len(os.listdir("/proc/self/fd")))
"""


@pytest.mark.parametrize("settings", [FULL, Sample()])
def test_what_was_handed_over_is_what_was_told(settings: Sample) -> None:
    got = decode(Sample, encode(settings))
    assert got == settings
    assert got.notes == settings.notes


def test_what_cannot_be_handed_over_is_our_fault() -> None:
    with pytest.raises(NotImplementedError):
        encode(Sample(folder=object()))  # type: ignore[arg-type]


def test_the_next_program_is_the_same_process_and_nobody_sees_what_it_is_told(
    tmp_path: Path,
) -> None:
    (tmp_path / "receiver.py").write_text(RECEIVER)
    environ = {**os.environ, "PYTHONPATH": f"{tmp_path}:{Path.cwd()}"}
    with subprocess.Popen(
        [sys.executable, "-c", SENDER], stdout=subprocess.PIPE, text=True, env=environ
    ) as process:
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    # Standard streams, and the descriptor by which the folder is listed: none is left behind.
    assert output == f"first\n{process.pid} sample 4\n"


@pytest.mark.parametrize("argument", ["x", "-1", "9999"])
def test_where_nothing_was_handed_over_there_is_nothing(argument: str) -> None:
    with pytest.raises((ValueError, OSError)):
        take_over(Sample, argument)


def test_something_else_is_not_taken_for_a_configuration(tmp_path: Path) -> None:
    (tmp_path / "file").write_text('{"port": "many"}')
    with (tmp_path / "file").open("rb") as stream, pytest.raises(ValueError, match="int"):
        take_over(Sample, str(os.dup(stream.fileno())))

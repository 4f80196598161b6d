"""What is made of pip-audit's answers. Real: a process that is asked. Faked: pip-audit."""

import json
import sys
from pathlib import Path

import pytest

from deploy import audit

PINS = (
    "a-b==1.0 \\\n    --hash=sha256:00\nc==2.0 ; os_name == 'nt' \\\n    --hash=sha256:11\n# d==3\n"
)
FAULT = {"id": "X-1", "fix_versions": ["1.1", "2.0"]}

ANSWERS = """
import json, pathlib, sys
folder = pathlib.Path(__file__).parent
options = dict(one.split("=", 1) for one in sys.argv[1:] if "=" in one)
asked = pathlib.Path(options["--requirement"]).read_text().split()
with (folder / "asked").open("a") as file:
    print(len(asked), file=file)
known = json.loads((folder / "known.json").read_text())
if known is None:
    sys.exit(1)
listed = []
for one in asked:
    name, version = one.split("==")
    answer = {"vulns": known[name], "version": version} if name in known else {"skip_reason": "?"}
    listed.append({"name": name, **answer})
pathlib.Path(options["--output"]).write_text(json.dumps({"dependencies": listed}))
sys.exit(any(known.values()))
"""


def run(folder: Path, known: object) -> tuple[int, list[str]]:
    """Return how it ends where that is ``known``, and of how many was asked each time."""
    program, pinned = folder / "audit.py", folder / "dev.txt"
    program.write_text(ANSWERS)
    pinned.write_text(PINS)
    (folder / "known.json").write_text(json.dumps(known))
    code = audit.main(pinned, [sys.executable, str(program)])
    return code, (folder / "asked").read_text().split()


def test_what_is_pinned_is_read_from_requirements() -> None:
    assert audit.pins(PINS) == ["a-b==1.0", "c==2.0"]


def test_our_own_requirements_are_read() -> None:
    pinned = audit.pins((Path(__file__).parents[2] / "requirements" / "dev.txt").read_text())
    assert len(pinned) > 50
    assert any(one.startswith("pip-audit==") for one in pinned)


def test_sound_packages_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, {"a-b": [], "c": []}) == (0, ["1", "2"])
    assert capsys.readouterr().out == "audit: 2 of 2 packages known, none is vulnerable\n"


def test_a_vulnerability_is_told_with_its_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, {"a-b": [], "c": [FAULT, {"id": "Y-2"}]})[0] == 1
    out = capsys.readouterr().out
    assert "c 2.0: X-1, mended in 1.1, 2.0" in out
    assert "c 2.0: Y-2, mended in no version" in out


@pytest.mark.parametrize("known", [None, {}, {"c": [FAULT]}])
def test_where_nobody_can_be_asked_one_line_says_so_and_no_more_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], known: object
) -> None:
    assert run(tmp_path, known) == (0, ["1"])
    assert capsys.readouterr().out.splitlines() == [
        "audit skipped: what is known of packages cannot be had here"
    ]


def test_a_program_that_cannot_be_run_answers_nothing(tmp_path: Path) -> None:
    assert audit.ask(["a==1"], [str(tmp_path / "missing")]) is None

"""Both command lines are completed by shells.

Real: the programs, as they are installed, and bash. zsh and fish are not asked for: what they would
ask the programs is asked here, with their own words for it.
"""

import asyncio
import os
import shutil
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(180)

SCRIPTS = Path(sys.executable).parent
BASH = shutil.which("bash") or "/bin/bash"

COMMANDS = {
    "cloudcore": {"run", "token", "cert", "ca", "nodes", "doctor", "support-bundle", "config"},
    "edgecore": {"run", "join", "status", "doctor", "store", "support-bundle", "config"},
}


async def said(words: list[str], home: Path, **environ: str) -> str:
    """Return what a program prints, in a home of its own."""
    found = {"PATH": f"{SCRIPTS}:{os.environ['PATH']}", "HOME": str(home), **environ}
    process = await asyncio.create_subprocess_exec(
        *words,
        env=found,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


def completed(program: str, *words: str) -> str:
    """Return a script for bash that completes the last of ``words``."""
    line = " ".join((program, *words))
    array = " ".join(f"'{word}'" for word in (program, *words))
    return (
        f'eval "$({program} --show-completion)"\n'
        f"COMP_WORDS=({array}) COMP_CWORD={len(words)} COMP_LINE='{line}'\n"
        f"_{program}_completion {program}\n"
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )


@pytest.mark.parametrize("program", COMMANDS)
async def test_bash_completes_commands_and_values(program: str, tmp_path: Path) -> None:
    found = await said([BASH, "-c", completed(program, "")], tmp_path)
    assert COMMANDS[program] <= set(found.split())
    found = await said([BASH, "-c", completed(program, "config", "s")], tmp_path)
    assert found.split() == ["show", "schema"]
    found = await said([BASH, "-c", completed(program, "config", "show", "-o", "")], tmp_path)
    assert found.split() == ["table", "json", "yaml"]


@pytest.mark.parametrize("program", COMMANDS)
async def test_a_user_has_it_installed_for_himself(program: str, tmp_path: Path) -> None:
    # The shell that it is for is the one that it is called by.
    await said([BASH, "-c", f"{program} --install-completion; exit $?"], tmp_path)
    (script,) = (tmp_path / ".bash_completions").iterdir()
    assert f"_{program}_completion" in script.read_text()
    assert str(script) in (tmp_path / ".bashrc").read_text()


@pytest.mark.parametrize("program", COMMANDS)
@pytest.mark.parametrize("shell", ["zsh", "fish"])
async def test_other_shells_get_their_script_and_their_answers(
    program: str, shell: str, tmp_path: Path
) -> None:
    variable = f"_{program.upper()}_COMPLETE"
    script = await said([program], tmp_path, **{variable: f"source_{shell}"})
    assert f"complete_{shell}" in script
    asked = {
        variable: f"complete_{shell}",
        "_TYPER_COMPLETE_ARGS": f"{program} doc",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    assert "doctor" in await said([program], tmp_path, **asked)
